"""F22: open, start, stop; bills, shares, behaviour; what is refused; sessions that nobody ends."""

from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from contracts import abi, views
from contracts.genesis import ConsortiumParameters
from contracts.host import SCHEDULE
from contracts.records.session import EVENTS, State
from ledger.charging import (
    BorderReading,
    Reading,
    ReadingReason,
    SessionExpired,
    SessionOpened,
    SessionSettled,
    SessionStarted,
    SignedReading,
    reading_digest,
)
from ledger.codec import decode, encode
from ledger.tariff import Period, borders
from tests.consortium import HOUR, T0, Call, Chain, consortium, genesis, key, signer
from tests.oracles.codes import describe

MINUTE = 60_000


def label(receipt) -> str:
    """Name of a receipt's code."""
    return describe(receipt.code)[0]


@dataclass
class Session:
    """A session under test."""

    chain: Chain
    id: bytes = b""
    counter: int = 0
    pile: str = "Pile-1"
    begin_ms: int = 0

    def open(self, driver: str = "d1", after_ms: int = 1_000, **changes) -> str:
        """Open it; the receipt's label."""
        fields = {"pile": self.pile, "connector": 1, "deposit_fen": 20_000, "accept_unverified": False} | changes
        transaction = self.chain.transaction(Call(driver, "session", "open", fields))
        self.id = transaction.id
        self.receipt = self.chain.run([transaction], after_ms)[0]
        return label(self.receipt)

    def start(self, meter_wh: int = 1_000, sender: str = "", after_ms: int = 1_000, **changes) -> str:
        """Start it."""
        self.counter += 1
        self.begin_ms = self.chain.now_ms + after_ms
        fields = {"session": self.id, "counter": self.counter, "time_ms": self.begin_ms, "meter_wh": meter_wh}
        self.receipt = self.chain.call(sender or self.pile, "session.start", after_ms, **fields | changes)
        return label(self.receipt)

    def stop(self, *borders: tuple[int, int], sender: str = "", ended: int | None = None, **changes) -> str:
        """Stop it, after the last border."""
        self.counter += 1
        after_ms = max(borders[-1][0] - self.chain.now_ms, 0) + 1_000
        fields = {
            "session": self.id,
            "counter": self.counter,
            "borders": tuple(BorderReading(*border) for border in borders),
            "charging_ended_ms": borders[-1][0] if ended is None else ended,
            "readings_count": 9,
            "readings_root": bytes(32),
        }
        self.receipt = self.chain.call(sender or self.pile, "session.stop", after_ms, **fields | changes)
        return label(self.receipt)

    @property
    def event(self):
        """The event of the last receipt."""
        (event,) = self.receipt.events
        return decode(EVENTS[event.name], event.data)

    @property
    def record(self):
        """Its record in the state."""
        return views.session_record(self.chain.state, self.id)


@pytest.fixture
def session() -> Session:
    """A chain at half past one in the morning, and a session to be."""
    return Session(Chain())


def test_F22_a_session_is_opened_started_and_settled(session):
    assert session.open() == "done"
    opened = session.event
    assert opened == SessionOpened(session.id, "Pile-1", 1, key("d1"), 20_000, session.chain.now_ms + 60_000)
    assert session.chain.wallet("d1").balance_fen == 80_000
    assert session.start() == "done"
    assert session.event == SessionStarted(session.id, "Pile-1", 1_000, session.begin_ms)
    end = session.begin_ms + HOUR
    assert session.stop((end, 21_000), ended=end - 30 * MINUTE) == "done"
    settled = session.event
    assert isinstance(settled, SessionSettled)
    # 20 kWh at 0.40 + 0.60 yuan; 15 minutes beyond the grace time at 0.50; purchase at 0.30
    assert (settled.energy_wh, settled.occupancy_fen, settled.total_fen) == (20_000, 750, 2_750)
    assert (settled.refund_fen, settled.grid_fen, settled.owner_fen, settled.cut_fen) == (17_250, 600, 0, 0)
    assert (settled.operator, settled.home_operator, settled.behaviour) == ("SGCC", "StarCharge", 0)
    assert session.chain.wallet("d1").balance_fen == 97_250
    assert sorted(views.claims(session.chain.state)) == [("SGCC", "Grid", 600), ("StarCharge", "SGCC", 2_750)]
    assert session.chain.book("SGCC").earned_fen == 2_150
    assert session.chain.book("StarCharge").reserved_fen == 0
    assert session.record.state is State.SETTLED
    assert views.balances_sum_fen(session.chain.state) == 0


def test_F22_charging_records_point_to_the_piles_previous_one(session):
    ids = []
    for meter_wh in (1_000, 2_000, 3_000):
        session.open()
        session.start(meter_wh)
        assert session.stop((session.begin_ms + 10 * MINUTE, meter_wh + 1_000)) == "done"
        ids.append(session.id)
    previous = [session.chain.session(each).closing.previous for each in ids]
    assert previous == [bytes(32), ids[0], ids[1]]
    assert session.chain.pile_state("Pile-1").last_session == ids[2]


def test_F22_the_bill_stops_at_the_deposit(session):
    session.open(deposit_fen=500)
    session.start()
    assert session.stop((session.begin_ms + HOUR, 21_000)) == "done"
    assert (session.event.total_fen, session.event.cut_fen, session.event.refund_fen) == (500, 1_500, 0)
    assert session.event.grid_fen == 500
    assert views.balances_sum_fen(session.chain.state) == 0


def test_F22_a_private_piles_owner_is_paid_a_share(session):
    session.pile = "Home-1"
    assert session.open("d0") == "pile-out-of-service"  # not shared yet
    assert label(session.chain.call("d1", "registry.share", pile="Home-1", shared=True)) == "done"
    assert session.open("d0") == "done"
    session.start()
    assert session.stop((session.begin_ms + HOUR, 11_000)) == "done"
    # service fee 6.00 yuan, 40 % to the owner
    assert (session.event.total_fen, session.event.owner_fen) == (1_000, 240)
    assert session.chain.wallet("d1").balance_fen == 100_240


@pytest.mark.parametrize(("minutes", "score"), [(15, 1), (16, 0), (75, 0), (76, -1)])
def test_F22_behaviour_is_scored_by_how_long_the_car_blocked_the_pile(session, minutes, score):
    session.open()
    session.start()
    end = session.begin_ms + 2 * HOUR
    assert session.stop((end, 2_000), ended=end - minutes * MINUTE) == "done"
    assert session.event.behaviour == score == session.record.closing.behaviour


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("pile-unknown", {"pile": "Pile-77"}),
        ("connector-unknown", {"connector": 3}),
        ("connector-unknown", {"connector": 0}),
        ("meter-unverified", {"pile": "Pile-2"}),
        ("meter-unverified", {"pile": "Pile-2", "accept_unverified": True}),  # no private pile
        ("amount-zero", {"deposit_fen": 0}),
        ("overspent", {"deposit_fen": 100_001}),
    ],
)
def test_F22_openings_that_are_refused(session, code, changes):
    assert session.open(**changes) == code
    assert session.record is None
    assert session.chain.wallet("d1").balance_fen == 100_000


def test_F22_one_session_per_connector_and_none_out_of_service(session):
    assert session.open() == "done"
    assert session.open("d2") == "connector-taken"
    assert session.open("d2", connector=2) == "done"
    session.chain.call("SGCC", "registry.set_service", pile="Pile-1", in_service=False)
    assert session.open("d3") == "pile-out-of-service"


def test_F22_without_headroom_a_session_is_refused_at_the_start(session):
    chain = session.chain
    fields: dict[str, Any] = {"company": "StarCharge", "collateral_fen": 490_000, "pool_fen": 0, "rewards_fen": 0}
    assert label(chain.call("Regulator", "money.release_margin", **fields)) == "done"
    assert session.open() == "no-headroom"
    assert session.open("d2") == "done"
    fields |= {"company": "SGCC", "collateral_fen": 470_000}
    assert label(chain.call("Regulator", "money.release_margin", **fields)) == "done"
    assert session.open("d2", connector=2) == "pile-operator-no-headroom"


def test_F22_starts_that_are_refused(session):
    session.open()
    assert session.start(sender="Pile-2") == "device-wrong"
    assert session.start(meter_wh=999) == "reading-gap"
    assert session.start(meter_wh=1_001) == "reading-gap"
    assert session.start(time_ms=session.chain.now_ms + 5 * MINUTE) == "time-implausible"
    assert session.start(session=bytes(32)) == "session-unknown"
    assert session.start() == "done"
    assert session.start() == "session-state"


def test_F22_a_device_record_runs_once(session):
    session.open()
    session.counter = 41
    assert session.start() == "done"
    session.counter = 41
    assert session.stop((session.begin_ms + HOUR, 2_000)) == "counter-stale"
    assert session.stop((session.begin_ms + HOUR, 2_000)) == "done"


def test_F22_a_session_not_started_in_time_gives_everything_back(session):
    session.open()
    assert session.start(after_ms=59_000) == "done"
    other = Session(session.chain, pile="Pile-1")
    other.open("d2", connector=2)
    receipts = other.chain.block(after_ms=60_000)
    assert [label(receipt) for receipt in receipts] == ["done"]
    assert decode(SessionExpired, receipts[0].events[0].data) == SessionExpired(other.id, "Pile-1", 2)
    assert other.chain.wallet("d2").balance_fen == 100_000
    other.counter = 5
    assert other.start(2_000) == "start-late"
    assert other.open("d2", connector=2) == "done"


@pytest.mark.parametrize(("ahead_ms", "code"), [(3 * MINUTE, "done"), (3 * MINUTE + 1, "time-implausible")])
def test_F22_a_start_that_is_accepted_can_be_stopped_at_once(session, ahead_ms, code):
    session.open()
    begin_ms = session.chain.now_ms + 1_000 + ahead_ms
    assert session.start(time_ms=begin_ms) == code
    if code == "done":
        fields = {"borders": (BorderReading(begin_ms, 1_000),), "charging_ended_ms": begin_ms}
        assert session.stop((0, 1_000), **fields) == "done"


def test_F22_a_start_is_not_before_its_opening(session):
    session.open()
    opened_ms = session.chain.now_ms
    assert session.start(time_ms=opened_ms - 3 * MINUTE - 1) == "time-implausible"
    assert session.start(time_ms=opened_ms - 3 * MINUTE) == "done"


def test_F22_a_start_after_the_limit_is_late_even_if_the_schedule_is_behind(session):
    session.open()
    for entry in list(SCHEDULE.scan(session.chain.state)):  # as if its gas had been used up by others
        del session.chain.state.entries[SCHEDULE.key(entry[0])]
    assert session.start(after_ms=60_000) == "start-late"


def test_F22_a_stay_of_ten_days_at_hourly_prices_is_settled_within_the_usual_gas():
    hourly = tuple(Period(hour * 60, 5_000 + hour, 4_000) for hour in range(24))
    setup = consortium(parameters=ConsortiumParameters(session_time_out_ms=11 * 24 * HOUR))
    tariff = replace(setup.tariffs[0], periods=hourly)
    session = Session(Chain(genesis(replace(setup, tariffs=(tariff,)))))
    session.open(deposit_fen=100_000)
    session.start()
    end = session.begin_ms + 10 * 24 * HOUR
    times = [*borders(tariff, session.begin_ms, end), end]
    assert session.stop(*((time, 1_000 + 10 * i) for i, time in enumerate(times))) == "done"
    assert len(session.event.lines) == 241
    assert session.receipt.gas_used < abi.GAS_LIMIT // 1.2


def test_F22_readings_stand_exactly_at_the_tariff_borders(session):
    session.open()
    session.start()
    border, end = T0 + 8 * HOUR, T0 + 9 * HOUR
    assert session.stop((end, 30_000)) == "border-mismatch"
    assert session.stop((border - 1, 20_000), (end, 30_000)) == "border-mismatch"
    assert session.stop((border - HOUR, 9_000), (border, 20_000), (end, 30_000)) == "border-mismatch"
    assert session.stop((border, 20_000), (end, 19_999)) == "register-backwards"
    assert session.stop((border, 999), (end, 30_000)) == "register-backwards"
    assert session.stop((border, 20_000), (end, 2_000_000)) == "energy-implausible"
    assert session.stop((border, 20_000), (end, 30_000), ended=end + 1) == "time-implausible"
    assert session.stop((border, 20_000), (end, 30_000), sender="Home-1") == "device-wrong"
    assert session.stop((border, 20_000), (end, 30_000)) == "done"
    assert [line.energy_wh for line in session.event.lines] == [19_000, 10_000]
    assert session.stop((border, 20_000), (end, 30_000)) == "session-state"


def test_F22_an_end_ahead_of_the_chain_is_refused(session):
    session.open()
    session.start()
    now = session.chain.now_ms
    border = BorderReading(now + 10 * MINUTE, 1_100)
    fields: dict[str, Any] = {
        "session": session.id, "counter": 9, "borders": (border,), "charging_ended_ms": now,
        "readings_count": 1, "readings_root": bytes(32),
    }  # fmt: skip
    assert label(session.chain.call("Pile-1", "session.stop", **fields)) == "time-implausible"


def timed_out(session: Session) -> None:
    """A session that nobody stopped."""
    session.open()
    session.start()
    receipt = session.chain.block(after_ms=24 * HOUR)[0]
    assert [event.name for event in receipt.events] == ["session.timed-out"]
    assert session.record.state is State.CLAIM


def claim(session: Session, sender: str, number: int, meter_wh: int, /, by: str = "Pile-1", **changes) -> str:
    """Bring a reading."""
    fields: dict[str, Any] = {
        "session": session.id,
        "number": number,
        "time_ms": session.begin_ms + HOUR,
        "meter_wh": meter_wh,
    }
    reading = encode(Reading(**fields | {"reason": ReadingReason.PERIODIC, "previous": bytes(32)} | changes))
    signed = SignedReading(reading, signer(by).sign(reading_digest(reading)))
    return label(session.chain.call(sender, "session.claim", session=session.id, signed=signed))


def test_F22_a_zombie_with_no_reading_closes_at_the_meter_start(session):
    timed_out(session)
    receipt = session.chain.block(after_ms=24 * HOUR)[0]
    settled = decode(SessionSettled, receipt.events[0].data)
    assert (settled.energy_wh, settled.total_fen, settled.refund_fen) == (0, 0, 20_000)
    assert session.record.state is State.SETTLED
    session.open(after_ms=1_000)
    assert session.start(5_000) == "done"  # what flowed unseen is nobody's bill


def test_F22_a_zombie_is_billed_up_to_the_newest_reading_that_a_side_brings(session):
    session.open()
    session.start()
    assert claim(session, "d1", 5, 6_000) == "session-state"
    session.chain.block(after_ms=24 * HOUR)
    assert claim(session, "d2", 5, 6_000) == "not-party"
    assert claim(session, "Teld", 5, 6_000) == "not-party"
    assert claim(session, "d1", 5, 6_000, by="Pile-2") == "reading-forged"
    assert claim(session, "d1", 5, 6_000, session=bytes(32)) == "reading-mismatch"
    assert claim(session, "d1", 5, 900) == "register-backwards"
    assert claim(session, "d1", 5, 6_000) == "done"
    assert claim(session, "SGCC", 5, 6_000) == "reading-mismatch"
    assert claim(session, "SGCC", 8, 11_000) == "done"
    settled = decode(SessionSettled, session.chain.block(after_ms=24 * HOUR)[0].events[0].data)
    # 10 kWh at the day's lowest price and the service fee
    assert (settled.energy_wh, settled.total_fen) == (10_000, 1_000)
    assert session.chain.pile_state("Pile-1").connectors[0].register_wh == 11_000


def test_F22_the_pile_may_still_stop_a_session_that_timed_out(session):
    timed_out(session)
    assert session.stop((session.begin_ms + HOUR, 11_000)) == "done"
    assert session.event.energy_wh == 10_000
    assert session.chain.block(after_ms=25 * HOUR) == []
