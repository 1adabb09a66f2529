"""Bugs beside the traps: of the disk, of the replay window, of the contracts."""

from consensus import recovery, replay
from contracts import money
from node.engine import Engine
from tests.sim.mutants.edit import Edit, Mutant

OTHERS = (
    Mutant(
        "send-before-persist",
        "a vote leaves before it is on disk",
        (
            Edit(
                Engine.handle,
                "return replica.settle()",
                "return sorted(replica.settle(), key=lambda effect: type(effect).__name__ == 'Persist')",
            ),
        ),
        "I5",
        0,
    ),
    Mutant(
        "forgotten-votes",
        "a restart forgets what was voted for",
        (
            Edit(
                recovery.restore,
                "state.own[record.height, record.view, type(record.message)] = record.digest, record.message",
                "pass",
            ),
        ),
        "I5",
        11,
    ),
    Mutant(
        "no-window",
        "a transaction of an earlier block may come again",
        (Edit(replay.ReplayWindow.__contains__, "return transaction_id in self._ids", "return False"),),
        "I2",
        1,
    ),
    Mutant(
        "free-payments",
        "whoever pays keeps the money",
        (Edit(money.pay, "Wallet(payer.home, payer.balance_fen - amount_fen)", "payer"),),
        "I4",
        16,
    ),
)
