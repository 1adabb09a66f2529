"""Where a session's prices stand in the chain's state: the contracts' layout, for devices that do not know
contracts.
"""

from collections.abc import Mapping
from functools import lru_cache

from contracts.records.session import SESSIONS, Session, State
from contracts.records.tariff import TARIFFS, tariff_key
from ledger.tariff import Tariff, borders, period_at

_SEARCH_MS = 2 * 24 * 60 * 60 * 1000
"""Two days hold every border that a tariff has."""
_NEVER_MS = 2**62


class TariffPrices:
    """A tariff and a service fee as a pile reads them."""

    def __init__(self, tariff: Tariff, service_price_e4: int) -> None:
        """Prices of one session, to its end."""
        self._tariff = tariff
        self._service_price_e4 = service_price_e4

    def prices_e4(self, time_ms: int) -> tuple[int, int]:
        """Energy price and service fee at a time."""
        return period_at(self._tariff, time_ms).energy_price_e4, self._service_price_e4

    def next_border_ms(self, time_ms: int) -> int:
        """The first border after a time; never, where one price holds all day."""
        return _next_border_ms(self._tariff, time_ms)


@lru_cache(maxsize=1024)  # piles of a region ask for the same borders again and again
def _next_border_ms(tariff: Tariff, time_ms: int) -> int:
    found = borders(tariff, time_ms, time_ms + _SEARCH_MS)
    return found[0] if found else _NEVER_MS


@lru_cache(maxsize=1024)  # the running sessions of a fleet in one process
def _session(record: bytes) -> Session:
    return SESSIONS.decode(record)


@lru_cache(maxsize=64)  # the tariffs of a day
def _tariff(raw: bytes) -> Tariff:
    return TARIFFS.decode(raw)


class SessionPrices:
    """Price book of any pile: a session's record names its tariff and holds its fee."""

    def keys(self, known: Mapping[bytes, bytes], session: bytes) -> tuple[bytes, ...]:
        """The session's record; and, once it is known, the tariff that it opened under."""
        record_key = SESSIONS.key(session)
        record = known.get(record_key)
        return (record_key, _tariff_key(record)) if record else (record_key,)

    def prices(self, known: Mapping[bytes, bytes], session: bytes) -> TariffPrices | None:
        """Prices of a session; None while a value is missing."""
        record = known.get(SESSIONS.key(session))
        tariff = known.get(_tariff_key(record)) if record else None
        return (
            TariffPrices(_tariff(tariff), _session(record).agreed.fee.service_price_e4) if record and tariff else None
        )

    def runs(self, record: bytes) -> bool:
        """Whether a session has started and is not settled."""
        return _session(record).state in (State.CHARGING, State.CLAIM)


def _tariff_key(record: bytes) -> bytes:
    agreed = _session(record).agreed
    return TARIFFS.key(tariff_key(agreed.region, agreed.tariff_from_ms))
