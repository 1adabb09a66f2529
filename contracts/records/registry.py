"""Records of contract 3, registry, as the node reads them: piles, their meters' registers, their connectors.

What they mean is said in `contracts/library/registry.py`.
"""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from contracts.host import Table
from contracts.numbers import REGISTRY
from ledger.codec import Wire
from ledger.hashing import ZERO_HASH
from ledger.units import U63, Hash, Name, PublicKey

CONNECTORS_MAX = 16
"""Connectors of one pile: bounds its record."""
PPM = 1_000_000
PUBLIC_KEY_BYTES_MIN = 33
"""Fewer are no account's key."""


class PileKind(IntEnum):
    """Whose pile it is; every charging record carries it."""

    OPERATOR = 1
    PRIVATE = 2
    PUBLIC = 3


class MeterState(IntEnum):
    """What is known of the meter."""

    UNVERIFIED = 0
    VERIFIED = 1
    FAILED = 2
    """Found wrong: no session, whoever accepts it."""


class Pile(Wire):
    """What a pile is. Key: its name."""

    name: Name
    operator: Name
    kind: PileKind
    owner: Annotated[bytes, Meta(max_length=65)]
    """Account of a private pile's owner; empty for the others."""
    owner_share_ppm: Annotated[int, Meta(ge=0, le=PPM)]
    """The owner's part of the service fee."""
    public_key: PublicKey
    latitude_e7: Annotated[int, Meta(ge=-900_000_000, le=900_000_000)]
    longitude_e7: Annotated[int, Meta(ge=-1_800_000_000, le=1_800_000_000)]
    power_w: Annotated[int, Meta(ge=1, le=10_000_000)]
    """Of one connector."""
    connectors: Annotated[int, Meta(ge=1, le=CONNECTORS_MAX)]
    region: Name
    meter_state: MeterState


class Connector(Wire):
    """State of one connector."""

    session: Annotated[bytes, Meta(max_length=32)]
    """The session that it is taken by; empty if it is free."""
    register_wh: U63
    """Where the last reading ended."""
    register_open: bool
    """The last session ended without the pile's own end reading: the next may begin higher, and what lies between is
    nobody's bill.
    """


class PileState(Wire):
    """What changes while it works. Key: its name."""

    in_service: bool
    shared: bool
    """Standing authorisation of a private pile's owner to charge others' cars; true for the other kinds."""
    connectors: Annotated[tuple[Connector, ...], Meta(min_length=1, max_length=CONNECTORS_MAX)]
    """In order; connector n of OCPP is at n − 1."""
    last_session: Hash
    """Newest settled session: the index pointer that charging records are walked by."""


class DeviceKey(Wire):
    """Whose key it is. Key: the public key."""

    pile: Name


PILES = Table(REGISTRY, b"p", Pile, Name)
STATES = Table(REGISTRY, b"s", PileState, Name)
DEVICES = Table(REGISTRY, b"k", DeviceKey, PublicKey)


def is_consistent(pile: Pile, registers_wh: tuple[int, ...]) -> bool:
    """Whether a new pile's record agrees with itself: one register per connector, an owner exactly if it is private."""
    if pile.kind is PileKind.PRIVATE:
        owned = len(pile.owner) >= PUBLIC_KEY_BYTES_MIN
    else:
        owned = not pile.owner and not pile.owner_share_ppm
    return owned and len(registers_wh) == pile.connectors


def first_state(pile: Pile, registers_wh: tuple[int, ...], *, in_service: bool) -> PileState:
    """State of a pile that has served nobody yet."""
    connectors = tuple(Connector(b"", register_wh, False) for register_wh in registers_wh)
    return PileState(in_service, pile.kind is not PileKind.PRIVATE, connectors, ZERO_HASH)
