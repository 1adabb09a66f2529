"""Bugs that let something grow, or leave something behind: what I7 and the second half of I6 are for."""

from consensus import catch_up, checkpoint, proposal, recovery
from consensus.round import Tally
from node.mempool import Mempool
from tests.sim.mutants.edit import Edit, Mutant

BOUNDS = (
    Mutant(
        "starved-transaction",
        "a block leaves out one transaction in three, always the same ones, while others wait",
        (
            Edit(
                proposal.build,
                "state.pool.select(time_ms, parent.time_ms)",
                "(lambda all: [tx for tx in all if tx.id[0] % 3] or all)(state.pool.select(time_ms, parent.time_ms))",
            ),
        ),
        "I6: a transaction waits",
        2429,
    ),
    Mutant(
        "full-pool-takes-more",
        "whoever has fewer transactions than another comes in, and nobody makes way",
        (Edit(Mempool.admit, "while self.is_full:", "while False:"),),
        "I7",
        3,
    ),
    Mutant(
        "no-quota",
        "one sender may fill the pool",
        (Edit(Mempool.check, ">= self._limits.sender_max", ">= 1 << 30"),),
        "I7",
        3,
    ),
    Mutant(
        "empty-queues",
        "a sender whose transactions are gone keeps its queue",
        (
            Edit(Mempool.remove, "if queue:", "if True:"),
            Edit(Mempool.remove, "self._look_again = True", "pass"),
        ),
        "I7",
        3,
    ),
    Mutant(
        "expects-for-ever",
        "transactions that never verified are expected for ever",
        (Edit(Mempool.expect, "if len(expected) >= self._limits.count_max:", "if False:"),),
        "I7",
        79,
    ),
    Mutant(
        "every-view-counted",
        "votes of all views are kept",
        (Edit(Tally.add, "if len(votes) > VIEWS_KEPT:", "if False:"),),
        "I7",
        80,
    ),
    Mutant(
        "far-checkpoints",
        "results of any later height are kept",
        (Edit(checkpoint.on_checkpoint, "if message.height > state.executed + DECISION_DELAY:", "if False:"),),
        "I7",
        10,
    ),
    Mutant(
        "answers-pile-up",
        "an answer is taken while the one before waits",
        (Edit(catch_up.on_sealed_blocks, "if peer != fetch.peer or fetch.arrived:", "if peer != fetch.peer:"),),
        "I7",
        55,
    ),
    Mutant(
        "old-votes-kept",
        "own votes of stored heights are kept",
        (
            Edit(
                checkpoint.on_stored,
                "state.own = {key: cast for key, cast in state.own.items() if key[0] > height}",
                "pass",
            ),
        ),
        "I7",
        0,
    ),
    Mutant(
        "old-locks-kept",
        "locks of stored heights that the log still holds are kept",
        (
            Edit(
                recovery.resume,
                "{height: lock for height, lock in state.found_locks.items() if height >= round_.height}",
                "state.found_locks",
            ),
        ),
        "I7",
        40,
    ),
    Mutant(
        "old-blocks-kept",
        "blocks of stored heights that the log still holds are kept",
        (Edit(recovery.resume, "if height < round_.height]", "if height < 0]"),),
        "I7",
        40,
    ),
)
