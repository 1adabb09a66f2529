"""Records of contract 5, session, as the node reads them.

The states and what leads from one to another are said in `contracts/library/session.py`.
"""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from contracts.host import Table
from contracts.numbers import SESSION
from contracts.records.registry import PileKind
from contracts.records.tariff import ServiceFee
from ledger.charging import (
    BorderReading,
    SessionExpired,
    SessionOpened,
    SessionSettled,
    SessionStarted,
    SessionTimedOut,
)
from ledger.codec import Wire
from ledger.units import U32, U63, Hash, Name, PublicKey


class State(IntEnum):
    """See the table above."""

    OPEN = 1
    CHARGING = 2
    CLAIM = 3
    SETTLED = 4
    EXPIRED = 5


class Agreed(Wire):
    """What was fixed when the session opened; never changes."""

    driver: PublicKey
    pile: Name
    pile_key: PublicKey
    pile_kind: PileKind
    connector: U32
    power_w: U32
    operator: Name
    home: Name
    """The driver's operator."""
    region: Name
    tariff_from_ms: U63
    fee: ServiceFee
    owner: Annotated[bytes, Meta(max_length=65)]
    owner_share_ppm: U32
    deposit_fen: U63
    opened_ms: U63


class Claim(Wire):
    """The newest signed reading that a side has brought."""

    number: U32
    reading: BorderReading


class Closing(Wire):
    """How it ended."""

    end: BorderReading
    energy_wh: U63
    total_fen: U63
    refund_fen: U63
    behaviour: Annotated[int, Meta(ge=-1, le=1)]
    """Score B of the driver: −1, 0 or +1."""
    readings_count: U32
    readings_root: Hash
    """Root over all signed readings, which lie in the operator's archive; zero if the pile did not stop it."""
    previous: Hash
    """The pile's previous charging record (P4's index pointer); zero for the first."""


class Session(Wire):
    """The record. Key: the session's id."""

    state: State
    agreed: Agreed
    due_ms: U63
    """When the scheduled call that waits for this session comes; 0 in the last two states."""
    begin: BorderReading | None = None
    claim: Claim | None = None
    closing: Closing | None = None


class Settings(Wire):
    """From genesis; chain time."""

    start_max_ms: U63
    """From opening to start."""
    time_out_ms: U63
    """From start to the claim window."""
    claim_window_ms: U63
    clock_error_max_ms: U63
    """How far a device's clock may be off the chain's."""


SESSIONS = Table(SESSION, b"s", Session, Hash)
SETTINGS = Table(SESSION, b"c", Settings)

EVENTS: dict[str, type[Wire]] = {
    "session.opened": SessionOpened,
    "session.started": SessionStarted,
    "session.timed-out": SessionTimedOut,
    "session.settled": SessionSettled,
    "session.expired": SessionExpired,
}
"""What piles and the read model follow sessions by."""
