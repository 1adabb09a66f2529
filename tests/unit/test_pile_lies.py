"""F43: a pile whose broker, gateway, archive or clock is wrong, and what its session comes to all the same."""

from pathlib import Path

import pytest

from contracts.records.tariff import ServiceFee
from devices.pile_states import Status
from devices.wire import Refused
from ledger.charging import reading_digest
from ledger.tariff import Period, Tariff
from node.gateway.archive import Archive
from tests.pile_bench import PileBench, bill

MINUTE = 60_000
HOUR = 60 * MINUTE


@pytest.fixture
def bench(tmp_path: Path) -> PileBench:
    """A pile that has found the chain's head."""
    made = PileBench(tmp_path)
    made.chain.seal()
    made.tick(MINUTE)
    return made


def charging(bench: PileBench, minutes: int = 20) -> bytes:
    """A session under way whose readings are not sent yet; its id."""
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open(20_000))
    bench.tick(minutes * MINUTE, 7_000)
    assert bench.pile.state.session is not None
    return bench.pile.state.session.id


def test_F43_no_unsigned_word_destroys_a_reading(bench: PileBench):
    session = charging(bench)
    (log,) = bench.pile.state.logs
    kept = list(log.readings)
    assert len(kept) == 21
    digest = reading_digest(kept[-1].reading)
    for count, of, by in ((10**9, digest, "thief"), (21, digest, "thief"), (21, bytes(32), "archive SGCC")):
        bench.down(bench.archived(session, count, of, by))
    for code in ("reading-conflict", "reading-forged", "reading-session"):
        bench.down(Refused(0, code, ""))
    assert log.readings == kept
    assert bench.pile.state.logs == [log]
    bench.do(bench.pile.unplug(bench.now_ms))
    bench.tick(2 * HOUR)
    assert len(bench.archive.readings(session)) == 22, "only later"
    assert bench.pile.state.logs == []


def test_F43_an_archive_that_lost_readings_is_not_flooded(bench: PileBench):
    session = charging(bench, 40)
    (log,) = bench.pile.state.logs
    assert log.first == 30
    bench.archive = Archive(bench.archive_file.with_name("restored from an old backup"))
    bench.kinds.clear()
    bench.do(bench.pile.unplug(bench.now_ms))
    bench.tick(24 * HOUR)
    assert bench.kinds["Readings"] <= 25, "once an hour"
    assert 1 <= bench.notes["archive-behind"] <= 25
    assert [log.session for log in bench.pile.state.logs] == [session]


def test_F43_an_answer_without_progress_sends_nothing(bench: PileBench):
    session = charging(bench, 10)
    bench.online = False
    bench.tick(HOUR, 7_000)
    bench.kinds.clear()
    for _ in range(100):
        bench.down(bench.archived(session, 0, bytes(32)))
    assert bench.kinds["Readings"] == 0
    (log,) = bench.pile.state.logs
    assert log.sent == 60
    bench.down(bench.archived(session, 30, reading_digest(log.readings[29].reading)))
    assert log.first == 30
    assert bench.kinds["Readings"] == 0, "what is under way is not sent again for the first answer"


def test_F43_a_start_that_ran_unseen_is_stopped_with_nothing(bench: PileBench):
    bench.sealing = False
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.chain.seal(bench.held[0].transaction, at_ms=bench.now_ms)
    bench.held = []
    bench.online = False  # the receipt is lost with the link
    bench.tick(2 * MINUTE)
    assert bench.notes["start-late"] == 1
    bench.power_cut()
    bench.sealing = bench.online = True
    bench.chain.seal(at_ms=bench.now_ms)
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.do(bench.pile.link_up(bench.now_ms))
    bench.tick(10 * MINUTE, 7_000)
    assert not bench.flows()
    assert bill(bench).total_fen == 0
    assert bench.pile.state.session is None
    bench.down(bench.open(driver="d1"))
    bench.tick(MINUTE)
    assert bench.flows(), "the connector is free for the next driver"


def test_F43_a_late_start_is_told_by_the_sessions_record_alone(bench: PileBench):
    bench.sealing = False
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.chain.seal(bench.held[0].transaction, at_ms=bench.now_ms)
    bench.online = False
    bench.tick(2 * MINUTE)
    bench.chain.seal(at_ms=bench.now_ms)
    session = bench.pile.state.session
    assert session is not None
    assert session.pending is not None
    session.pending.next_try_ms = 2**60  # the start is not asked for again
    bench.online = True
    bench.tick(10 * MINUTE)
    bench.seal_held()
    assert bill(bench).total_fen == 0


@pytest.mark.parametrize("what", ["tariff", "fee"])
def test_F43_prices_that_changed_unseen_are_those_of_the_bill(bench: PileBench, what: str):
    charging(bench, 5)
    bench.do(bench.pile.unplug(bench.now_ms))
    bench.tick(MINUTE)
    bench.chain.receipts.clear()
    if what == "tariff":
        periods = tuple(Period(hour * 60, 5_000 + 100 * hour, 3_000) for hour in range(24))
        tariff = Tariff("Shenzhen", "Grid", bench.now_ms + 25 * HOUR, 480, periods)
        (receipt,) = bench.chain.seal(bench.chain.call("Grid", "tariff", "publish", tariff=tariff), at_ms=bench.now_ms)
    else:
        fee = ServiceFee(100, 50, 15 * 60_000)
        (receipt,) = bench.chain.seal(bench.chain.call("SGCC", "tariff", "set_fee", fee=fee), at_ms=bench.now_ms)
    assert receipt.code == 0
    bench.tick(25 * HOUR + MINUTE)
    charging(bench, 150)
    prices, session = bench.pile.prices(), bench.pile.state.session
    assert prices is not None
    assert session is not None
    cost = session.cost_fen(bench.pile.meter_wh, prices)
    bench.do(bench.pile.unplug(bench.now_ms))
    assert bill(bench).total_fen == cost
    assert len(bill(bench).lines) == {"tariff": 3, "fee": 1}[what]


def test_F43_a_refused_stop_is_made_again_a_few_times(bench: PileBench):
    charging(bench, 10)
    bench.sealing = False
    bench.do(bench.pile.unplug(bench.now_ms))
    first = bench.held.pop().transaction
    bench.held = []
    bench.chain.seal(first, at_ms=bench.now_ms - 10 * MINUTE)  # a chain whose clock is behind the pile's
    bench.push(first)
    assert bench.notes["stop-refused"] == 1
    assert bench.pile.state.session is not None
    bench.sealing = True
    bench.tick(10 * MINUTE)
    assert bill(bench).energy_wh > 0
    assert bench.pile.state.session is None


@pytest.mark.parametrize("fast_ms", [-3 * HOUR, 0, 50_000, 210_000, 3 * HOUR])
def test_F43_a_clock_that_is_wrong_is_set_by_sealed_heads(tmp_path: Path, fast_ms: int):
    bench = PileBench(tmp_path, clock_ahead_ms=fast_ms)
    bench.chain.seal(at_ms=bench.now_ms - fast_ms)
    bench.tick(MINUTE)
    bench.session(30, power_w=7_000)
    bench.tick(MINUTE)
    settled = bill(bench)
    assert settled.energy_wh > 3_000
    assert abs(settled.lines[0].begin_ms - (bench.now_ms - fast_ms - 31 * MINUTE)) <= 30_000
    assert bench.shows(Status.AVAILABLE)


def test_F43_an_open_that_is_not_taken_is_told(bench: PileBench):
    opened = bench.open()
    bench.now_ms += 5 * MINUTE
    bench.chain.seal(at_ms=bench.now_ms)
    bench.do(bench.pile.set_service(bench.now_ms, False))
    bench.down(opened)
    bench.down(bench.open(driver="d1"))
    assert bench.notes["open-late"] == 1
    assert bench.notes["open-status"] == 1
