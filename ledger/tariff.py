"""Time-of-use tariffs: the record, and the arithmetic that contracts and piles share.

A region's day is divided into periods with one energy price each, the same at every operator. Minutes are counted in
the region's own time, a fixed offset from UTC (China: 480, no daylight saving). It maps one to one to OCPI 2.2.1
tariffs: a period is a tariff element with `restrictions.start_time/end_time` and one ENERGY component, whose price is
energy price plus the operator's service price (OCPI lets one ENERGY component be active at a time; the bill shows the
two parts); the occupancy fee is an element with a PARKING_TIME component and `step_size` 60; FLAT and TIME are zero.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from ledger.codec import Wire
from ledger.units import U63, Name

DAY_MINUTES = 24 * 60
PERIODS_MAX = 24
"""Periods of a day: hourly prices."""
PRICE_E4_MAX = 1_000_000
"""100 yuan per kWh: a typing error, not a price, above it. Keeps every product within 64 bits."""
_MINUTE_MS = 60_000
_DAY_MS = DAY_MINUTES * _MINUTE_MS

PriceE4 = Annotated[int, Meta(ge=0, le=PRICE_E4_MAX)]
"""0.0001 yuan per kWh."""


class Period(Wire):
    """From its minute of the day to the next period's."""

    begin_minute: Annotated[int, Meta(ge=0, le=DAY_MINUTES - 1)]
    energy_price_e4: PriceE4
    """What the driver pays for energy."""
    purchase_price_e4: PriceE4
    """What the operator owes the grid company for it: never more than the energy price."""


class Tariff(Wire):
    """Prices of a region from a time on."""

    region: Name
    grid: Name
    """The grid company that sells the energy."""
    effective_from_ms: U63
    utc_offset_minutes: Annotated[int, Meta(ge=-DAY_MINUTES, le=DAY_MINUTES)]
    periods: Annotated[tuple[Period, ...], Meta(min_length=1, max_length=PERIODS_MAX)]
    """Sorted by minute, the first at 0."""


def is_well_formed(tariff: Tariff) -> bool:
    """Whether the periods form a day and none sells below its purchase price."""
    minutes = [period.begin_minute for period in tariff.periods]
    return (
        minutes[0] == 0
        and minutes == sorted(set(minutes))
        and all(period.purchase_price_e4 <= period.energy_price_e4 for period in tariff.periods)
    )


def period_at(tariff: Tariff, time_ms: int) -> Period:
    """The period that a time lies in; a border belongs to the period that it begins."""
    minute = (time_ms + tariff.utc_offset_minutes * _MINUTE_MS) % _DAY_MS // _MINUTE_MS
    return tariff.periods[bisect_right(tariff.periods, minute, key=lambda period: period.begin_minute) - 1]


def borders(tariff: Tariff, begin_ms: int, end_ms: int) -> list[int]:
    """Times strictly between `begin_ms` and `end_ms` at which a period begins whose prices differ from the one before.

    A pile reads its register at each of them; the bill is split there. The caller bounds the stay: one pass per day.
    """
    offset_ms = tariff.utc_offset_minutes * _MINUTE_MS
    minutes = _changes(tariff.periods)
    found = []
    midnight_ms = (begin_ms + offset_ms) // _DAY_MS * _DAY_MS - offset_ms
    while midnight_ms < end_ms and minutes:
        found += [at for minute in minutes if begin_ms < (at := midnight_ms + minute * _MINUTE_MS) < end_ms]
        midnight_ms += _DAY_MS
    return found


def _changes(periods: Sequence[Period]) -> list[int]:
    """Minutes of the day at which prices change; midnight too, if the last period's differ from the first's."""
    changes = []
    before = periods[-1]
    for period in periods:
        if (period.energy_price_e4, period.purchase_price_e4) != (before.energy_price_e4, before.purchase_price_e4):
            changes.append(period.begin_minute)
        before = period
    return changes
