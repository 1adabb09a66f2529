"""Contract number 0: what the executor itself keeps in the state, so that all that is needed for the next block is
under its root.
"""

from contracts.host import SYSTEM, StateReader, Table
from ledger.block import BranchHead
from ledger.codec import Wire
from ledger.transaction import Branch
from ledger.units import U63
from ledger.validators import Failure


class FailedTurns(Wire):
    """The turns of bookkeepers that came and went without a block and may still pass a member over. Here so that a node
    that joins by snapshot knows them: from headers alone they follow only by way of all the turns before.
    """

    turns: tuple[Failure, ...]
    """By company."""


class DeviceCounter(Wire):
    """The last counter of a device. Key: its public key."""

    counter: U63


BRANCH_HEADS = Table(SYSTEM, b"b", BranchHead)
"""Key: the branch (1 byte)."""
FAILED_TURNS = Table(SYSTEM, b"f", FailedTurns)
"""One entry, under no key of its own; none while no turn has failed."""
COUNTERS = Table(SYSTEM, b"c", DeviceCounter)


def branch_key(branch: Branch) -> bytes:
    """Own key of a branch's head."""
    return branch.to_bytes(1, "big")


def branch_heads(state: StateReader) -> dict[Branch, BranchHead]:
    """Where each branch stands."""
    heads = {branch: BRANCH_HEADS.read(state, branch_key(branch)) for branch in Branch}
    return {branch: head for branch, head in heads.items() if head is not None}


def failed_turns(state: StateReader) -> tuple[Failure, ...]:
    """The failed turns that count."""
    found = FAILED_TURNS.read(state)
    return found.turns if found else ()
