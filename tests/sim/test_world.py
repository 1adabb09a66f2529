"""The parts of the simulated world: disks, connections, crashes, lies, and where the checker looks."""

from random import Random

import pytest

from consensus.messages import Message, Prepare, ViewChange
from tests.sim import world as worlds
from tests.sim.disk import Log
from tests.sim.lies import _changed
from tests.sim.plan import QUICK, Crash, Lie, Plan
from tests.sim.world import BOUNDS_EVERY, TICK_MS, World

SEGMENT_BATCHES = 9


def test_I7_is_checked_at_every_honest_node(monkeypatch):
    looked: set[str] = set()
    monkeypatch.setattr(worlds, "check_bounds", lambda name, _engine, _companies: looked.add(name))
    world = World(1, Plan(4, byzantine=("Dianneng",)))
    world.run(TICK_MS * (BOUNDS_EVERY + 1))
    assert looked == {"Anneng", "Bohui", "Chengdian"}


def test_a_log_drops_whole_segments_and_a_restart_begins_a_new_one():
    log = Log(SEGMENT_BATCHES)
    for height in range(1, SEGMENT_BATCHES + 1):
        log.append([(height, bytes([height]))])
    log.truncate(SEGMENT_BATCHES)
    assert len(log.read()) == SEGMENT_BATCHES, "the open segment stays"
    log.append([(9, b"new")])
    log.truncate(SEGMENT_BATCHES - 1)
    assert len(log.read()) == SEGMENT_BATCHES + 1
    log.truncate(SEGMENT_BATCHES)
    assert log.read() == []


def test_a_crash_in_storing_leaves_a_block_that_nobody_was_told_of():
    world = World(1, Plan(4))
    node = world.nodes["Anneng"]
    node.crash_in, node.crash_kind, node.moment = 0, "StoreSealed", "in"
    world.submit(to="Bohui")
    assert world.run_until(lambda: not node.is_up, 5_000)
    assert node.store.height == 1
    assert node.log.read(), "nothing was truncated"
    node.start()
    assert world.run_until(world.is_settled, 5_000)


def test_a_node_crashes_again_in_its_start():
    plan = Plan(4, faults=(Crash(100, "Anneng", 0, "before", 200, "", 0),), fault_ms=2_000)
    world = World(1, plan)
    node = world.nodes["Anneng"]
    lives = []
    node.crashed = lambda _name: lives.append(world.scheduler.now_ms)
    world.faults.begin(plan.faults[0])
    world.run(1_000)
    assert len(lives) == 2
    assert node.is_up


def test_both_ends_hear_of_a_crash_and_of_the_restart():
    world = World(1, Plan(4))
    world.links.watch()
    world.run(50)
    world.nodes["Anneng"].crash()
    world.links.part("Anneng", "Bohui")  # unless they have heard already
    world.run(5)
    assert "Anneng" not in world.status("Bohui").peers
    world.start("Anneng")
    world.run(500)
    assert "Anneng" in world.status("Bohui").peers
    assert set(world.status("Anneng").peers) == {"Bohui", "Chengdian", "Dianneng"}


def test_a_peer_that_breaks_a_rule_is_cut_off_and_comes_back():
    world = World(1, Plan(4, byzantine=("Dianneng",)))
    world.links.watch()
    world.run(50)
    world.liars["Dianneng"].send("Anneng", Prepare(1, 0, bytes(32), 3, bytes(64)))
    world.run(10)
    assert world.nodes["Anneng"].charges[-1].cut
    assert "Dianneng" not in world.status("Anneng").peers
    assert "Anneng" not in world.status("Dianneng").peers
    world.run(500)
    assert "Dianneng" in world.status("Anneng").peers


@pytest.mark.parametrize("value", ["Anneng", True, 7, b"bytes", ("a", "b")])
def test_every_kind_of_field_is_changed(value):
    assert any(_changed(Random(seed), value) != value for seed in range(5))


def test_a_mutating_member_shows_certificates_where_there_are_none(monkeypatch):
    """The liar alone hears the primary of height 1, so all ask for the next view, and nobody has prepared anything."""
    world = World(1, Plan(4, byzantine=("Dianneng",), timing=QUICK))
    world.faults.begin(Lie(0, 60_000, "Dianneng", "mutate", 100, 3))
    shown: list[ViewChange] = []
    carry = world.network.carry

    def watch(sender: str, receiver: str, message: Message) -> None:
        if isinstance(message, ViewChange) and message.certificate is not None:
            shown.append(message)
        carry(sender, receiver, message)

    monkeypatch.setattr(world.network, "carry", watch)
    world.network.cut = {("Bohui", "Anneng"), ("Bohui", "Chengdian")}
    world.submit(to="Anneng")
    world.run(3_000)
    assert shown
