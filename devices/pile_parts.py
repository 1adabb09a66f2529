"""What a pile is set up with, what it keeps through a power cut, and what it asks of the world."""

from collections.abc import Mapping
from typing import Annotated, Protocol

from msgspec import Meta, Struct

from devices.light_state import LightState
from devices.pile_states import Status
from devices.session import Prices, ReadingLog, Session
from devices.wire import STATE_KEYS_MAX

LOGS_MAX = 8
"""Sessions whose readings may wait for the archive."""
FINAL_REFUSALS = frozenset({"reading-conflict", "reading-forged", "reading-malformed", "reading-session"})
"""Codes after which the archive will hardly ever take a log: it is left alone for a while. Never dropped: a refusal is
unsigned, and a broker that could make a pile forget its evidence would be believed.
"""
ARCHIVE_PAUSE_MS = 60 * 60 * 1000
"""How long a log rests that the archive does not take."""
STOPS_REFUSED_MAX = 3
"""Stops made anew for one session; after that the claim window settles it."""
OCCUPIED = frozenset({Status.CHARGING, Status.SUSPENDED_EV, Status.SUSPENDED_EVSE})
"""States between the start and the stop."""


class PriceBook(Protocol):
    """Where in the chain's state a session's prices stand: the contracts' layout, which devices do not know."""

    def keys(self, known: Mapping[bytes, bytes], session: bytes) -> tuple[bytes, ...]:
        """State keys that a session's prices rest on, as far as the known values tell; its own record first."""

    def prices(self, known: Mapping[bytes, bytes], session: bytes) -> Prices | None:
        """Those prices, or None while values are missing."""

    def runs(self, record: bytes) -> bool:
        """Whether a session's record says that its start ran and its stop did not."""


class PileConfig(Struct, frozen=True):
    """Set up by the owner. Times in chain time."""

    name: str
    """As registered on the chain; also its MQTT client id."""
    power_max_w: int
    price_book: PriceBook
    archive_key: bytes
    """Public key of the operator's readings archive: what it has signed for, the pile may forget."""
    connector: int = 1
    reading_interval_ms: int = 60_000
    readings_batch: int = 30
    """Readings in one message: half an hour's, so that the envelopes of a long stay fit its byte budget."""
    retry_first_ms: int = 5_000
    """Wait before an unanswered message is sent again; doubles up to the next."""
    retry_max_ms: int = 300_000
    session_ms_max: int = 86_340_000
    """A stay ends within 24 hours, when the pile's records would expire."""
    gas_limit: int = 1_000_000
    device_expiry_ms: int = 82_800_000
    """How long a stop may travel: 23 hours, below the chain's 24."""


class PileState(Struct, array_like=True, forbid_unknown_fields=True):
    """All that survives a power cut. The secret key lies beside it, in the device's key store."""

    light: LightState
    status: Status = Status.AVAILABLE
    register_mwh: int = 0
    """The meter's counter, in thousandths of its 1 Wh register; never runs back."""
    counter: int = 0
    """Of records on the chain: each larger than all before."""
    message_id: int = 0
    price_values: Annotated[dict[bytes, bytes], Meta(max_length=STATE_KEYS_MAX)] = {}
    """Proven state values by key: the session's record and its tariff; the last tariff between sessions."""
    clock_lead_ms: int = 0
    """What the device's own clock is ahead of the chain's, as far as sealed heads tell."""
    session: Session | None = None
    logs: Annotated[list[ReadingLog], Meta(max_length=LOGS_MAX)] = []
    """Readings not confirmed by the archive, by session, the oldest first; a pile that cannot reach any archive
    drops the oldest.
    """


class Send(Struct, frozen=True):
    """Publish an enveloped message on the device's own topic."""

    data: bytes
    kind: str


class Contactor(Struct, frozen=True):
    """Close or open the contactor: the one effect that lets energy flow."""

    closed: bool


class Save(Struct, frozen=True):
    """Write the state to flash before anything that stands behind it: a message sent is never forgotten."""


class Changed(Struct, frozen=True):
    """The status changed (StatusNotification of OCPP)."""

    status: Status


class Note(Struct, frozen=True):
    """Something for the display and the log: a refusal, a proof that did not hold."""

    code: str
    message: str


Effect = Send | Contactor | Save | Changed | Note
