"""What to do about this node's vote keys, from what the chain says. Pure."""

from enum import Enum

from msgspec import Struct


class KeyStep(Enum):
    """What is due."""

    NONE = "none"
    REGISTER = "register"
    """Have a fresh key registered for the next epoch."""
    REPLACE = "replace"
    """The next key was registered once and will never be in force: its company was out when its epoch came. Make
    another.
    """
    PROMOTE = "promote"
    """The next key is in force, and every block before it is stored: the former one may go."""


class KeyFacts(Struct, frozen=True):
    """What the decision rests on; keys are public keys."""

    has_seat: bool
    """Whether the chain knows this company's node."""
    present: bytes | None
    """The company's vote key of the next block; None if it does not vote."""
    decided: bytes | None
    """That of the last terms decided."""
    registered: bytes | None
    """What waits on chain for the next epoch."""
    held: bytes | None
    """What this node may vote with; None if it must not."""
    waiting: bytes | None
    """The next key that this node has."""
    waiting_known: bool
    """Whether the chain has this key, as one that waits or was in force once: it takes none for the second time. One
    that was dropped while it waited is forgotten, and may be registered again.
    """


def next_step(facts: KeyFacts) -> KeyStep:
    """What is due now. A node whose key must not vote (restored, or its log lost) registers nothing by itself: the
    node that it was copied from may be running.
    """
    if facts.waiting is not None and facts.present == facts.waiting:
        return KeyStep.PROMOTE
    is_itself = facts.present is None or facts.present == facts.held
    if facts.waiting_known and facts.waiting not in (facts.registered, facts.decided, facts.present):
        return KeyStep.REPLACE
    is_prepared = facts.waiting is not None and facts.waiting in (facts.registered, facts.decided)
    if facts.has_seat and is_itself and not is_prepared:
        return KeyStep.REGISTER
    return KeyStep.NONE
