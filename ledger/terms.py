"""Terms: who votes, who else may connect, and within which limits, from a height on.

A decision of block n rules from n + K + 1 on, when block n is sealed everywhere that can vote: no proposal is accepted
more than K above the last sealed block, so every member knows the terms of a height before it opens.
"""

from typing import Annotated

from msgspec import Meta

from ledger.codec import Wire
from ledger.errors import OurError
from ledger.genesis import Genesis, Parameters
from ledger.units import U63, Name
from ledger.validators import ValidatorSet

K = 8
"""Most committed blocks that may wait for their seals: bounds memory, the log, and how far agreement may run ahead of
execution.
"""
DECISION_DELAY = K + 1
"""K + 1: so many heights after its decision a change of the terms rules."""
OBSERVERS_MAX = 200
"""Members and observers together, for each of those that vote may be suspended, and then observes: each is a connection
at every member.
"""


class Observer(Wire):
    """A company whose node may follow the chain: one that has still to catch up, is suspended, or never votes."""

    name: Name
    node_key: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """Raw Ed25519 key of its node's TLS certificate."""


class Terms(Wire):
    """What members agree by, from a height on."""

    height: U63
    """The first block that they rule."""
    validators: ValidatorSet
    observers: Annotated[tuple[Observer, ...], Meta(max_length=OBSERVERS_MAX)]
    """Sorted by name; none of them votes."""
    parameters: Parameters

    @property
    def node_keys(self) -> dict[bytes, str]:
        """TLS key → company, of all who may connect."""
        voting = {member.node_key: member.name for member in self.validators.validators}
        return voting | {observer.node_key: observer.name for observer in self.observers}


Timeline = Annotated[tuple[Terms, ...], Meta(min_length=1, max_length=DECISION_DELAY + 1)]
"""The terms in force and those that are decided, by height: one decision per height of the delay at most."""


def first_timeline(genesis: Genesis) -> Timeline:
    """What rules before anything is decided."""
    return (Terms(1, genesis.validators, (), genesis.parameters),)


def terms_at(timeline: Timeline, height: int) -> Terms:
    """The terms that rule a height, which is not before the timeline's first."""
    for terms in reversed(timeline):
        if terms.height <= height:
            return terms
    raise OurError("terms-past", f"the terms of height {height} are no longer known")


def advance(timeline: Timeline, height: int) -> Timeline:
    """The timeline without what no longer rules at `height`."""
    present = terms_at(timeline, height)
    return tuple(terms for terms in timeline if terms.height >= present.height)
