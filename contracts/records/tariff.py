"""Records of contract 4, tariff, as the node reads them: energy prices by region and time, service fees, caps.

What they mean is said in `contracts/library/tariff.py`.
"""

from contracts.host import Table
from contracts.numbers import TARIFF
from ledger.codec import Wire
from ledger.tariff import PriceE4, Tariff
from ledger.units import U32, U63, Name

REGIONS_MAX = 500
"""Cities and prefectures of a large country: when a grid company leaves, all of them are looked through."""


class Plan(Wire):
    """Which tariffs of a region count. Key: the region."""

    current_from_ms: U63
    next_from_ms: U63
    """Equal to `current_from_ms` if none waits."""


class ServiceFee(Wire):
    """What an operator asks beside the energy. Key: the operator."""

    service_price_e4: PriceE4
    occupancy_fen_per_minute: U32
    """For a car that stays after charging ended, per full minute after the grace time."""
    grace_ms: U32


class Caps(Wire):
    """The regulator's upper limits."""

    service_price_e4_max: PriceE4
    occupancy_fen_per_minute_max: U32


class Settings(Wire):
    """From genesis; chain time."""

    notice_ms: U63
    """From a tariff's publication to its beginning, at least."""


PLANS = Table(TARIFF, b"p", Plan, Name)
TARIFFS = Table(TARIFF, b"t", Tariff, Name, U63)
"""Key: region, NUL, effective_from_ms (8 bytes). Kept for good: bills are checked against it."""
FEES = Table(TARIFF, b"f", ServiceFee, Name)
CAPS = Table(TARIFF, b"c", Caps)
SETTINGS = Table(TARIFF, b"s", Settings)


def tariff_key(region: str, effective_from_ms: int) -> bytes:
    """Own key of a tariff."""
    return region.encode() + b"\0" + effective_from_ms.to_bytes(8, "big")


def in_force_from(plan: Plan, now_ms: int) -> int:
    """`effective_from_ms` of the plan's tariff that is in force, or of its first one before that."""
    return plan.next_from_ms if plan.next_from_ms <= now_ms else plan.current_from_ms
