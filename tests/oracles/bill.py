"""The bill of a session: pure arithmetic over readings, tariff and fee.

Each line is rounded once (`energy_cost_fen`). The total is capped at the deposit: stopping there is the pile's job,
and what the lines and the occupancy fee come to beyond it, `cut_fen`, is the loss of the pile's operator, first of
all out of its service fee.
"""

from collections.abc import Sequence

from msgspec import Struct

from contracts.records.tariff import ServiceFee
from ledger.charging import BillLine, BorderReading
from ledger.tariff import Tariff, period_at
from ledger.units import energy_cost_fen

_PPM = 1_000_000
_MINUTE_MS = 60_000
OVERSTAY_MS_MAX = 60 * _MINUTE_MS
"""Beyond the grace time, from which on blocking a connector counts as bad behaviour."""


class Bill(Struct, frozen=True):
    """What a session costs and who gets what of it."""

    lines: tuple[BillLine, ...]
    energy_wh: int
    occupancy_fen: int
    cut_fen: int
    total_fen: int
    """To the pile's operator, out of the deposit."""
    refund_fen: int
    grid_fen: int
    """From the operator to the grid company; with `owner_fen` never above the deposit, which is what was reserved for
    them.
    """
    owner_fen: int


def make_bill(
    tariff: Tariff,
    fee: ServiceFee,
    begin: BorderReading,
    readings: Sequence[BorderReading],
    charging_ended_ms: int,
    deposit_fen: int,
    owner_share_ppm: int,
) -> Bill:
    """Bill of a stay from `begin` over the readings at the tariff borders to the last one, at its end."""
    lines = []
    purchase_fen = 0
    before = begin
    for reading in readings:
        period = period_at(tariff, before.time_ms)
        energy_wh = reading.meter_wh - before.meter_wh
        lines.append(_line(before.time_ms, reading.time_ms, energy_wh, period.energy_price_e4, fee.service_price_e4))
        purchase_fen += energy_cost_fen(energy_wh, period.purchase_price_e4)
        before = reading
    occupied_ms = before.time_ms - charging_ended_ms - fee.grace_ms
    occupancy_fen = max(occupied_ms, 0) // _MINUTE_MS * fee.occupancy_fen_per_minute
    return _share(tuple(lines), purchase_fen, occupancy_fen, deposit_fen, owner_share_ppm)


def make_coarse_bill(
    tariff: Tariff, fee: ServiceFee, begin: BorderReading, end: BorderReading, deposit_fen: int, owner_share_ppm: int
) -> Bill:
    """Bill of a stay whose border readings nobody brought: all energy at the day's lowest price, in the driver's
    favour.
    """
    period = min(tariff.periods, key=lambda period: (period.energy_price_e4, period.purchase_price_e4))
    energy_wh = end.meter_wh - begin.meter_wh
    line = _line(begin.time_ms, end.time_ms, energy_wh, period.energy_price_e4, fee.service_price_e4)
    purchase_fen = energy_cost_fen(energy_wh, period.purchase_price_e4)
    return _share((line,), purchase_fen, 0, deposit_fen, owner_share_ppm)


def behaviour_score(end_ms: int, charging_ended_ms: int, grace_ms: int, energy_wh: int) -> int:
    """Score B of the driver (P4): +1 charged and left in the grace time, −1 blocked the connector for an hour beyond
    it, else 0.
    """
    overstay_ms = end_ms - charging_ended_ms - grace_ms
    if overstay_ms > OVERSTAY_MS_MAX:
        return -1
    return 1 if overstay_ms <= 0 and energy_wh > 0 else 0


def _line(begin_ms: int, end_ms: int, energy_wh: int, energy_price_e4: int, service_price_e4: int) -> BillLine:
    energy_fen = energy_cost_fen(energy_wh, energy_price_e4)
    service_fen = energy_cost_fen(energy_wh, service_price_e4)
    return BillLine(begin_ms, end_ms, energy_wh, energy_price_e4, service_price_e4, energy_fen, service_fen)


def _share(
    lines: tuple[BillLine, ...], purchase_fen: int, occupancy_fen: int, deposit_fen: int, owner_share_ppm: int
) -> Bill:
    """Cap at the deposit, then split."""
    energy_fen = sum(line.energy_fen for line in lines)
    service_fen = sum(line.service_fen for line in lines)
    full_fen = energy_fen + service_fen + occupancy_fen
    cut_fen = max(full_fen - deposit_fen, 0)
    total_fen = full_fen - cut_fen
    owner_fen = max(service_fen - cut_fen, 0) * owner_share_ppm // _PPM
    return Bill(
        lines=lines,
        energy_wh=sum(line.energy_wh for line in lines),
        occupancy_fen=occupancy_fen,
        cut_fen=cut_fen,
        total_fen=total_fen,
        refund_fen=deposit_fen - total_fen,
        grid_fen=min(purchase_fen, deposit_fen - owner_fen),
        owner_fen=owner_fen,
    )
