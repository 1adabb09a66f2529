"""Bugs beside the traps: of the disk, of the replay window, of the contracts."""

from consensus import checkpoint, normal, recovery, replay, view_change
from node.engine import Engine
from tests.sim.application import Contracts
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
        "window-lost-at-restart",
        "a restarted member takes what old blocks hold for new",
        (Edit(Engine.__init__, "setup.head.tip.time_ms, setup.recent)", "setup.head.tip.time_ms, ())"),),
        "I2",
        11,
    ),
    Mutant(
        "unchecked-time",
        "no proposal is too far ahead",
        (Edit(normal._ahead_of_clock, "return first and", "return False and"),),
        "I2",
        35,
    ),
    Mutant(
        "unsigned-results",
        "a seal counts results that nobody signed",
        (Edit(checkpoint.on_checkpoint, "if not state.signed_by(", "if False and not state.signed_by("),),
        "I2",
        12,
    ),
    Mutant(
        "log-beyond-the-seals",
        "a block of the log is committed before the terms of the next one can be known",
        (Edit(normal.advance, "if not state.has_room:", "if False:"),),
        "I7",
        4010,
    ),
    Mutant(
        "unchecked-requests",
        "the requests in a NEW-VIEW are believed",
        (Edit(view_change._check_new_view, "if known != change:", "if False:"),),
        "I1",
        269,
        "locks",
    ),
    Mutant(
        "two-stories",
        "who was told another story than the quorum stays with it",
        (Edit(normal._take_other, "if round_.view != 0 or", "if True or"),),
        "I6",
        5743,
    ),
    Mutant(
        "free-payments",
        "whoever pays keeps the money",
        (
            Edit(
                Contracts._consortium,
                "contracts()",
                'contracts("money", "Wallet(payer.home, payer.balance_fen - amount_fen)", "payer")',
            ),
        ),
        "I4",
        16,
    ),
)
