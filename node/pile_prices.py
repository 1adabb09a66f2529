"""Where a pile's prices stand in the chain's state: the tariff contract's layout, for devices that do not know
contracts.
"""

from collections.abc import Mapping
from functools import lru_cache

from contracts.tariff import FEES, PLANS, TARIFFS, in_force_from, tariff_key
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


@lru_cache(maxsize=64)  # the tariffs and fees of a day
def _prices(tariff_raw: bytes, fee_raw: bytes) -> TariffPrices:
    return TariffPrices(TARIFFS.decode(tariff_raw), FEES.decode(fee_raw).service_price_e4)


class RegionPrices:
    """Price book of the piles of one operator in one region."""

    def __init__(self, region: str, operator: str) -> None:
        """Look where that region's and that operator's records stand."""
        self._region = region
        self._plan_key = PLANS.key(region.encode())
        self._fee_key = FEES.key(operator.encode())

    def keys(self, known: Mapping[bytes, bytes], at_ms: int) -> tuple[bytes, ...]:
        """Plan and fee; and, once the plan is known, the tariff that it puts in force."""
        tariff = self._tariff_key(known, at_ms)
        return (self._plan_key, self._fee_key, tariff) if tariff else (self._plan_key, self._fee_key)

    def prices(self, known: Mapping[bytes, bytes], at_ms: int) -> TariffPrices | None:
        """Prices of a session opened at a time; None while a record is missing."""
        tariff = known.get(self._tariff_key(known, at_ms) or b"")
        fee = known.get(self._fee_key)
        return _prices(tariff, fee) if tariff and fee else None

    def _tariff_key(self, known: Mapping[bytes, bytes], at_ms: int) -> bytes | None:
        raw = known.get(self._plan_key)
        return TARIFFS.key(tariff_key(self._region, in_force_from(PLANS.decode(raw), at_ms))) if raw else None
