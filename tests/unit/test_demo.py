"""The demo day's parts without nodes: who is counted how, what a fault leaves behind, and what the audit says of it."""

import asyncio
import subprocess
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from devices.pile_parts import Contactor
from node.demo import faults
from node.demo.city import HOUR_MS, Car
from node.demo.drivers import Charged, Outcome
from node.demo.faults import Faults, count_lost
from node.demo.fleet import Charger
from node.demo.parking import Parking
from node.demo.percentiles import percentiles
from node.demo.plan import Refusal, Wish
from node.demo.summary import asked_and_got, obtainable_wh
from node.demo.verdict import limits, problems
from node.storage.reader import Place

CAR = Car("c1", 0, HOUR_MS, 5_000, 6_600)
HONEST = Wish("d", "SGCC", "p", CAR, 1)
BAD = Wish("d", "SGCC", "p", CAR, 1, Refusal.OVERSPENT)
SPEED = 480


def stand_in(**fields: Any) -> Any:
    """For an object of which a test needs a few fields."""
    return SimpleNamespace(**fields)


def test_F61_a_second_car_goes_to_the_nearest_free_pile_or_waits():
    """Within reach only, ties by name."""
    parking = Parking({"a": (0, 0), "b": (0, 9_000), "c": (0, 900_000), "d": (0, -9_000)})  # b, d 100 m away, c 10 km
    assert parking.take("a") == "a"
    assert parking.take("a", reach_m=5_000) == "b"
    assert parking.take("a", reach_m=5_000) == "d"
    assert parking.take("a", reach_m=5_000) is None
    assert parking.take("a") == "c"
    parking.free("a")
    assert parking.take("b", reach_m=5_000) == "a"


def test_F61_percentiles_are_by_nearest_rank():
    """Of nothing they are zero."""
    assert percentiles([]) == {"p50": 0, "p99": 0}
    assert percentiles([3.0, 1.0, 2.0]) == {"p50": 2.0, "p99": 3.0}


@pytest.mark.parametrize(
    ("wish", "reason", "refused", "failed"),
    [
        (HONEST, "", {}, {}),
        (HONEST, "start-late", {}, {"start-late": 1}),
        (BAD, "overspent", {"overspent": 1}, {}),
        (BAD, "", {}, {"let through instead of overspent": 1}),
        (BAD, "node-unreachable", {}, {"node-unreachable instead of overspent": 1}),
        (BAD, "no-headroom", {}, {"no-headroom instead of overspent": 1}),
    ],
)
def test_F61_a_bad_wish_is_refused_only_with_the_code_of_its_own_flaw(wish, reason, refused, failed):
    """A node that was down, or another code, is a failure."""
    outcome = Outcome()
    outcome.close(wish, reason)
    assert (outcome.refused, outcome.failed) == (refused, failed)


def test_F61_a_car_can_get_what_power_stay_and_taper_leave():
    """The weaker of pile and car, for the stay; less when the battery tapers."""
    assert obtainable_wh(Car("", 0, HOUR_MS, 20_000, 6_600), 7_000) == pytest.approx(6_600)
    assert obtainable_wh(Car("", 0, HOUR_MS, 20_000, 11_000), 7_000) == pytest.approx(7_000)
    assert obtainable_wh(Car("", 0, 10 * HOUR_MS, 20_000, 11_000), 7_000) == pytest.approx(20_000)
    # 10 kWh of a 60 kWh battery lie in its taper, where 60 kW cannot flow for the last fifth.
    assert 5_000 < obtainable_wh(Car("", 0, HOUR_MS // 6, 10_000, 60_000), 60_000) < 10_000


@pytest.mark.parametrize(
    ("got_wh", "unlike"),
    [(5_000, 0), (4_999, 0), (4_000, 1), (6_000, 1), (0, 1)],
)
def test_F61_energy_is_compared_with_what_the_car_could_get(got_wh, unlike):
    """Within two Wh and a tenth of a real second's power."""
    charged = [Charged(HONEST, "p", stand_in(energy_wh=got_wh))]
    found = asked_and_got(charged, {"p": 7_000}, SPEED)
    assert len(found["sessions_unlike_car"]) == unlike
    assert (found["energy_asked_wh"], found["energy_obtainable_wh"]) == (5_000, 5_000)
    assert found["sessions_empty"] == (got_wh == 0)


def test_F61_an_empty_session_is_explained_only_if_its_car_could_get_nothing():
    """A stay of a second, or a real one: the tolerance of a fast clock does not hide it."""
    brief, fast = Car("c2", 0, 900, 5_000, 6_600), Car("c3", 0, 30_000, 5_000, 6_600)
    charged = [Charged(Wish("d", "SGCC", "p", car, 1), "p", stand_in(energy_wh=0)) for car in (brief, fast)]
    found = asked_and_got(charged, {"p": 7_000}, SPEED)
    assert (found["sessions_empty"], found["sessions_empty_explained"]) == (2, 1)
    assert found["sessions_unlike_car"] == ["c3 got nothing of 55 Wh"]


async def test_F61_a_stay_counts_from_the_moment_the_contactor_closes():
    """Not from when a busy loop gets round to it: on a fast clock that would give the car minutes of energy."""
    clock: Any = stand_in(now_ms=lambda: clock.time_ms, time_ms=1_000)
    plugged: list[int] = []
    agent = stand_in(plug_in=lambda _vehicle, departure_ms: plugged.append(departure_ms))
    charger = Charger(clock, 60_000, lambda on_effect: stand_in(plug_in=agent.plug_in, on_effect=on_effect))
    charger.plug_in(5_000, 6_600, 3_000)
    pile: Any = charger.agent
    pile.on_effect(pile, Contactor(closed=True))
    clock.time_ms = 50_000
    await asyncio.sleep(0)
    assert plugged == [61_000, 4_000]


class Store:
    """A node's store: heights and places."""

    def __init__(self, height: int, places: dict[bytes, Place]) -> None:
        self.height = height
        self.places = places

    @contextmanager
    def snapshot(self):
        """As a ledger reader's."""
        yield stand_in(height=self.height, locate=self.places.get)


RECEIPTS = [(b"a", Place(3, 0)), (b"b", Place(3, 1))]


@pytest.mark.parametrize(
    ("places", "lost"),
    [
        ({b"a": Place(3, 0), b"b": Place(3, 1)}, 0),
        ({b"a": Place(3, 0)}, 1),
        ({b"a": Place(3, 0), b"b": Place(4, 1)}, 1),
        ({b"a": Place(3, 1), b"b": Place(3, 0)}, 2),
    ],
)
def test_F61_a_transaction_that_is_missing_or_elsewhere_counts_as_lost(places, lost):
    """Its receipt names height and index."""
    store: Any = Store(9, places)
    assert count_lost(store, RECEIPTS) == lost


class Day:
    """Two nodes, of which `A` is killed; what it has sealed at each look afterwards comes from a list."""

    def __init__(self, sealed: list[int], places: dict[bytes, Place]) -> None:
        self.height = 10
        self.process: Any = None
        self.sealed = sealed
        self.store = Store(0, places)
        self.killed = False

    def heights(self):
        """The peer goes on."""
        return {"A": 0, "B": 20}

    def reader(self, _company):
        """Of the killed node."""
        return self.store

    def pid(self, _part):
        """A new process as soon as the old one is dead."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            return self.process.pid
        return 1

    async def status(self, _home):
        """Sealed so far, then always the last."""
        return {"primary": "A", "sealed": self.sealed.pop(0) if len(self.sealed) > 1 else self.sealed[0]}


@pytest.fixture
def quick(monkeypatch):
    """Look often, give up soon."""
    monkeypatch.setattr(faults, "LOOK_S", 0.01)
    monkeypatch.setattr(faults, "BACK_S_MAX", 0.5)
    monkeypatch.setattr(faults, "KILLS", ((0.5, True),))


async def play(day: Day, monkeypatch, alive: bool = True) -> faults.Fault:
    """Let the fault take place."""
    monkeypatch.setattr(faults, "core_status", day.status)
    outcome = Outcome()
    outcome.offered = 1
    outcome.acknowledged = list(RECEIPTS)
    node: Any = day
    played = Faults({"A": node, "B": node}, {"A": node, "B": node}, node, seed=1)
    if alive:
        with subprocess.Popen(["sleep", "60"]) as day.process:  # noqa: ASYNC220 - it begins at once
            await played.run(outcome, 2)
    else:
        await played.run(outcome, 2)
    return played.done[0]


async def test_F61_a_killed_node_is_back_when_it_has_sealed_what_the_others_have_by_then(quick, monkeypatch):
    """Not already when it has sealed a block more than at its death."""
    day = Day([11, 15, 20], dict(RECEIPTS))
    fault = await play(day, monkeypatch)
    assert (fault.back_height, fault.lost) == (20, 0)
    assert fault.back_s is not None
    assert day.sealed == [20], "it was looked at until it was level"


async def test_F61_a_killed_node_that_stays_behind_is_not_back(quick, monkeypatch):
    """And what it lacks is counted."""
    fault = await play(Day([19], {b"a": Place(3, 0)}), monkeypatch)
    assert (fault.back_s, fault.lost) == (None, 1)


async def test_F61_a_fault_without_a_process_is_recorded(quick, monkeypatch):
    """As one that nobody came back from."""
    fault = await play(Day([20], dict(RECEIPTS)), monkeypatch, alive=False)
    assert fault.back_s is None
    assert fault.what.endswith("which was not running")


GOOD: dict[str, Any] = {
    "sessions": {"offered": 3, "settled": 2, "settled_on_ledger": 2, "refused": {"overspent": 1}, "failed": {}},
    "common_height": 8,
    "nodes": [
        {"name": "A", "height": 8, "state_root": "aa", "common_root": "aa"},
        {"name": "B", "height": 9, "state_root": "ab", "common_root": "aa"},
    ],
    "level_s": 0.5,
    "unarchived": 0,
    "balances_sum_fen": 0,
    "books_wrong": [],
    "energy_wh": 5,
    "readings_energy_wh": 5,
    "sessions_unlike_readings": 0,
    "sessions_unlike_readings_root": 0,
    "sessions_unlike_car": [],
    "faults_planned": 1,
    "faults": [{"what": "kill", "lost": 0, "back_s": 1.0}],
    "acknowledged": {"transactions": 4, "lost": {"A": 0, "B": 0}},
    "ready_s": 10.0,
    "first_settled_s": 16.0,
    "memory_mb": {"A": 100, "B": 220},
}


def node(number: int, **change: Any) -> dict[str, Any]:
    """The good summary with one of its nodes changed."""
    return {"nodes": [entry | (change if at == number else {}) for at, entry in enumerate(GOOD["nodes"])]}


@pytest.mark.parametrize(
    "change",
    [
        {"sessions": GOOD["sessions"] | {"settled": 1, "settled_on_ledger": 1, "failed": {"start-late": 1}}},
        {"sessions": GOOD["sessions"] | {"settled_on_ledger": 3}},
        node(1, common_root="bb"),
        node(1, height=8),
        node(1, height=11),
        {"level_s": None},
        {"unarchived": 1},
        {"balances_sum_fen": 1},
        {"books_wrong": ["SGCC: its book says 1 fen of debts, their records 2"]},
        {"readings_energy_wh": 6},
        {"sessions_unlike_readings": 2},
        {"sessions_unlike_readings_root": 1},
        {"sessions_unlike_car": ["c got nothing of 5 Wh"]},
        {"faults": []},
        {"faults": [{"what": "kill", "lost": 1, "back_s": 1.0}]},
        {"faults": [{"what": "kill", "lost": 0, "back_s": None}]},
        {"acknowledged": {"transactions": 4, "lost": {"A": 0, "B": 1}}},
    ],
)
def test_F61_the_audit_finds_what_must_not_be(change):
    """Each rule, broken once."""
    assert problems(GOOD) == []
    assert len(problems(GOOD | change)) == 1


@pytest.mark.parametrize(
    "change",
    [{"ready_s": 30.1}, {"first_settled_s": 60.1}, {"first_settled_s": None}, {"memory_mb": {"A": 100, "B": 221}}],
)
def test_F61_slowness_and_size_are_told_and_not_judged(change):
    """A busy machine is no fault of the ledger."""
    assert limits(GOOD) == []
    assert len(limits(GOOD | change)) == 1
    assert problems(GOOD | change) == []
