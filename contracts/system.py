"""Contract number 0: what the executor itself keeps in the state, so that all that is needed for the next block is
under its root.
"""

from contracts.host import SYSTEM, StateReader, Table
from ledger.block import BranchHead
from ledger.codec import Wire
from ledger.transaction import Branch
from ledger.units import U63
from ledger.validators import ValidatorSet


class DeviceCounter(Wire):
    """The last counter of a device. Key: its public key."""

    counter: U63


BRANCH_HEADS = Table(SYSTEM, b"b", BranchHead)
"""Key: the branch (1 byte)."""
SETS = Table(SYSTEM, b"v", ValidatorSet)
"""The set schedule. Key: the height (8 bytes) from which on the set votes."""
COUNTERS = Table(SYSTEM, b"c", DeviceCounter)


def branch_key(branch: Branch) -> bytes:
    """Own key of a branch's head."""
    return branch.to_bytes(1, "big")


def height_key(height: int) -> bytes:
    """Own key of an entry of the set schedule."""
    return height.to_bytes(8, "big")


def branch_heads(state: StateReader) -> dict[Branch, BranchHead]:
    """Where each branch stands."""
    heads = {branch: BRANCH_HEADS.read(state, branch_key(branch)) for branch in Branch}
    return {branch: head for branch, head in heads.items() if head is not None}


def next_set(state: StateReader, height: int, present: ValidatorSet) -> ValidatorSet:
    """The set that votes on `height`, given the one that votes on the block before."""
    return SETS.read(state, height_key(height)) or present
