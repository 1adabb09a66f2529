"""F20: the arithmetic of tariffs and bills as the contracts' texts say it: what piles and bills compute by."""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.host import Failure
from contracts.records.registry import PileKind
from contracts.records.session import Agreed
from contracts.records.tariff import ServiceFee
from ledger.charging import BorderReading
from ledger.codec import decode, encode
from ledger.tariff import PRICE_E4_MAX, Tariff, borders, is_well_formed, period_at
from tests.consortium import HOUR, T0, key
from tests.oracles.bill import behaviour_score, make_bill, make_coarse_bill
from tests.oracles.codes import Code
from tests.vm.twins import MACHINES, drawn_periods, drawn_tariff

MINUTE = 60_000


def drawn_time(chance: random.Random, prices: Tariff) -> int:
    """A time of some days, often exactly where a period begins."""
    time_ms = T0 + chance.randrange(3 * 24 * HOUR)
    if chance.random() < 0.5:
        day_ms = time_ms // (24 * HOUR) * 24 * HOUR
        time_ms = day_ms + (chance.choice(prices.periods).begin_minute - prices.utc_offset_minutes) * MINUTE
    return time_ms + chance.choice((0, 0, 0, -1, 1))


def fields_of(record: Any) -> list[Any]:
    """What a record says, whatever its class is called."""
    return decode(list, encode(record))


def test_F20_the_contract_s_tariff_is_that_of_the_piles():
    chance, machine = random.Random(1), MACHINES["session"]
    judged, stays, bad = Counter[bool](), Counter[int](), 0
    for _ in range(1_500):
        loose = replace(drawn_tariff(chance), periods=drawn_periods(chance, sound=False))
        judged[is_well_formed(loose)] += 1
        assert MACHINES["tariff"].call("is_well_formed", loose) == is_well_formed(loose)
        prices = drawn_tariff(chance)
        begin_ms, end_ms = sorted(drawn_time(chance, prices) for _ in range(2))
        assert fields_of(machine.call("period_at", prices, begin_ms)) == fields_of(period_at(prices, begin_ms))
        times = [*borders(prices, begin_ms, end_ms), end_ms]
        stays[len(times)] += 1
        readings = [BorderReading(time_ms, 0) for time_ms in times]
        found = machine.call("periods_of_stay", prices, begin_ms, readings)
        priced = [period_at(prices, time_ms) for time_ms in (begin_ms, *times[:-1])]
        assert [fields_of(each)[1:] for each in found] == [fields_of(each)[1:] for each in priced]
        place = chance.randrange(len(times))
        match chance.randrange(3):
            case 0 if len(times) > 1:
                del times[-2]
            case 1:
                times.insert(place, chance.choice((begin_ms, times[place], end_ms)))
            case _:
                times[place] += chance.choice((-1, 1, MINUTE))
        if times[:-1] != borders(prices, begin_ms, times[-1]):
            bad += 1
            with pytest.raises(Failure) as caught:
                machine.call("periods_of_stay", prices, begin_ms, [BorderReading(time_ms, 0) for time_ms in times])
            assert caught.value.code == Code.BORDER_MISMATCH
    assert min(judged.values()) > 50
    assert min(sum(stays[n] for n in few) for few in ((1,), (2, 3), range(4, 30), range(30, 99))) > 20
    assert bad > 1_000


def test_F20_the_contract_s_bill_is_that_of_its_twin():
    chance, machine = random.Random(2), MACHINES["session"]
    fee = ServiceFee(0, 0, 0)
    names = ("SGCC", "Teld", "Shenzhen")
    agreed = Agreed(key("d1"), "P", key("P"), PileKind.PRIVATE, 1, 9, *names, T0, fee, key("d2"), 0, 1, T0)
    for _ in range(1_000):
        prices = drawn_tariff(chance)
        fee = ServiceFee(
            chance.randrange(PRICE_E4_MAX + 1), chance.choice((0, 50, 2**32 - 1)), chance.choice((0, HOUR))
        )
        deposit_fen, share_ppm = chance.choice((1, 5_000, 10**12)), chance.choice((0, 1, 333_333, 1_000_000))
        terms = replace(agreed, fee=fee, deposit_fen=deposit_fen, owner_share_ppm=share_ppm)
        begin_ms, end_ms = sorted(drawn_time(chance, prices) for _ in range(2))
        begin = BorderReading(begin_ms, chance.randrange(10**9))
        readings, meter_wh = [], begin.meter_wh
        for time_ms in (*borders(prices, begin_ms, end_ms), end_ms):
            meter_wh += chance.choice((0, 1, 333, 10**6))
            readings.append(BorderReading(time_ms, meter_wh))
        ended_ms = chance.randint(begin_ms, end_ms)
        bill = make_bill(prices, fee, begin, readings, ended_ms, deposit_fen, share_ppm)
        periods = machine.call("periods_of_stay", prices, begin_ms, readings)
        ours = machine.call("bill_of", terms, begin, readings, periods, bill.occupancy_fen)
        assert fields_of(ours) == fields_of(list(bill_fields(bill)))
        overstay_ms = end_ms - ended_ms - fee.grace_ms
        score = behaviour_score(end_ms, ended_ms, fee.grace_ms, bill.energy_wh)
        assert machine.call("behaviour_score", overstay_ms, bill.energy_wh) == score
        cheapest = machine.call("cheapest_period", prices)
        coarse = make_coarse_bill(prices, fee, begin, readings[-1], deposit_fen, share_ppm)
        ours = machine.call("bill_of", terms, begin, readings[-1:], [cheapest], 0)
        assert fields_of(ours) == fields_of(list(bill_fields(coarse)))


def bill_fields(bill: Any) -> Iterator[Any]:
    """A bill's fields in order."""
    return (getattr(bill, name) for name in bill.__struct_fields__)
