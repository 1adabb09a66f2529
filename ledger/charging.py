"""The charging records that contracts and devices both speak: readings, the three transactions of a session, and its
events.

A session's id is the id of the transaction that opened it. A pile reads its register at start, once a minute, at tariff
borders and at the end; each reading carries its number and the digest of the one before, so none can be left out,
swapped or slipped in later.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from ledger.codec import Wire
from ledger.hashing import Tag, sm3
from ledger.merkle import merkle_root
from ledger.units import U32, U63, Hash, Name, PublicKey, Signature

SESSION_CONTRACT = 5
"""Stable number of the session contract; piles address it and read its events."""
BORDERS_MAX = 256
"""Register values in a stop: ten days of hourly prices, the longest stays that real records show (cars left at a pile
over a holiday).
"""


class ReadingReason(IntEnum):
    """Why the register was read (OCPP 1.6 ReadingContext: Transaction.Begin, Sample.Periodic, Sample.Clock,
    Transaction.End).
    """

    BEGIN = 0
    PERIODIC = 1
    TARIFF_BORDER = 2
    END = 3


class Reading(Wire):
    """What the pile signs each time it reads its register."""

    session: Hash
    number: U32
    """From 0, gap-free within the session."""
    time_ms: U63
    meter_wh: U63
    """The register itself, never a difference: it begins where the previous reading ended."""
    reason: ReadingReason
    previous: Hash
    """Digest of the reading before; zero for the first."""


class SignedReading(Wire):
    """A reading as it leaves the pile."""

    reading: Annotated[bytes, Meta(max_length=256)]
    signature: Signature


def reading_digest(reading: bytes) -> bytes:
    """Digest of an encoded reading: what the pile signs and what the next reading points to."""
    return sm3(Tag.METER_READING, reading)


def readings_root(digests: Sequence[bytes]) -> bytes:
    """Merkle root over all readings of a session, in order; the readings in an operator's archive prove against it."""
    return merkle_root([sm3(Tag.METER_CHAIN, digest) for digest in digests])


class BorderReading(Wire):
    """A register value that a bill line begins or ends with."""

    time_ms: U63
    meter_wh: U63


class StartArgs(Wire):
    """`session.start`, sent by the pile within the start limit of the opening; device class."""

    session: Hash
    counter: U63
    """The device's own counter, larger than in any earlier record of it."""
    time_ms: U63
    meter_wh: U63


class StopArgs(Wire):
    """`session.stop`, sent by the pile; device class. Settles the session."""

    session: Hash
    counter: U63
    borders: Annotated[tuple[BorderReading, ...], Meta(min_length=1, max_length=BORDERS_MAX)]
    """Register at each tariff border passed, in order, and last at the end."""
    charging_ended_ms: U63
    """When current stopped flowing; from then on the pile was merely occupied."""
    readings_count: U32
    readings_root: Hash


class SessionOpened(Wire):
    """Event `session.opened`: tells the pile that it may start."""

    session: Hash
    pile: Name
    connector: U32
    driver: PublicKey
    """Public key of the driver's account."""
    deposit_fen: U63
    start_until_ms: U63


class SessionStarted(Wire):
    """Event `session.started`: its sealed receipt closes the contactor."""

    session: Hash
    pile: Name
    meter_wh: U63
    time_ms: U63


class BillLine(Wire):
    """Energy of one tariff period, priced."""

    begin_ms: U63
    end_ms: U63
    energy_wh: U63
    energy_price_e4: U63
    service_price_e4: U63
    energy_fen: U63
    service_fen: U63


class SessionSettled(Wire):
    """Event `session.settled`: the bill."""

    session: Hash
    pile: Name
    driver: PublicKey
    operator: Name
    home_operator: Name
    energy_wh: U63
    lines: Annotated[tuple[BillLine, ...], Meta(max_length=BORDERS_MAX)]
    beans_wh: U63
    """Energy paid by electric beans; none until their contract comes."""
    occupancy_fen: U63
    total_fen: U63
    refund_fen: U63
    grid_fen: U63
    """What the operator owes the grid company for the energy."""
    owner_fen: U63
    """Share of a private pile's owner."""
    previous: Hash
    """The pile's previous session: the index pointer of charging records (P4). Zero for the first."""
    cut_fen: U63
    """What the lines and the occupancy fee come to beyond the deposit: not paid, the pile's operator bears it."""
    behaviour: Annotated[int, Meta(ge=-1, le=1)]
    """Score B of the driver (P4)."""


class SessionExpired(Wire):
    """Event `session.expired`: not started in time; the deposit is back and the connector free."""

    session: Hash
    pile: Name
    connector: U32


class SessionTimedOut(Wire):
    """Event `session.timed-out`: neither side ended it; readings may be claimed until then."""

    session: Hash
    pile: Name
    claim_until_ms: U63
