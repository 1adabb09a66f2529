"""When a join ends without a snapshot: a young chain, nobody left, or nobody who is of use."""

from consensus.messages import FetchManifest
from node.join.actions import Finish, GiveUp, Replay
from node.join.plan import WAIT_MS, JoinPlan
from tests.unit.test_join_plan import HARMLESS, NAMED, World, honest, slowly
from tests.unit.test_store import GENESIS

__all__ = ["honest"]  # the fixture


def test_F13_a_chain_without_snapshots_is_replayed(honest):
    none = HARMLESS["no snapshot"](honest)
    assert isinstance(World({"A": none, "B": none}).run(), Replay)
    assert isinstance(World({"A": none, "Liar": NAMED["forged seal"][1](honest)}).run(), Replay)
    mute = World({"A": none, "Mute": NAMED["mute"][1](honest)})
    assert isinstance(mute.run(), Replay)
    assert mute.dropped == {"Mute": "join-mute"}


def test_F13_one_peers_word_that_there_is_no_snapshot_starts_no_replay(honest):
    none = HARMLESS["no snapshot"](honest)
    assert isinstance(World({"A": none, "Honest": slowly(8_000)(honest)}).run(), Finish)
    two = World({"A": none, "B": none, "Mute": NAMED["mute"][1](honest)})
    assert isinstance(two.run(until_ms=10_000), Replay), "among f + 1 is an honest one"


def test_F13_liars_among_the_configured_peers_do_not_end_a_join_that_an_honest_member_dialled_into(honest):
    liar = NAMED["forged seal"][1](honest)
    for peers in ({"A", "B"}, {"Honest", "C"}):  # two dropped, as many as are configured
        world = World({"A": liar, "B": liar, "Honest": slowly(500)(honest)}, peers=frozenset(peers))
        assert isinstance(world.run(), Finish)
        assert set(world.dropped) == {"A", "B"}


def test_F13_configured_peers_that_are_not_there_yet_are_waited_for(honest):
    liar = NAMED["forged seal"][1](honest)
    world = World({"A": liar, "B": liar}, peers=frozenset({"A", "Honest"}))
    assert world.run(until_ms=60_000) is None
    world.donors["Honest"] = honest
    world.perform(world.plan.peer_up("Honest", world.now_ms))
    assert isinstance(world.run(), Finish)


def test_F13_without_peers_the_settings_are_named_and_not_liars():
    end = World({}).run()
    assert isinstance(end, GiveUp)
    assert "p2p.peers is empty" in end.reason


def test_F13_a_snapshot_that_is_not_above_the_ledger_is_no_offer(honest):
    """A liar may offer any old one, and it is true: taking it would take this node back behind its own votes."""
    [height] = honest.donor._snapshots.heights()
    assert isinstance(World({"A": honest, "B": honest}, floor=height - 1, wanted=height).run(), Finish)
    for floor in (height, height + 5):
        world = World({"A": honest, "B": honest}, floor=floor, wanted=height)
        end = world.run()
        assert isinstance(end, GiveUp), "neither taken, nor a sign of a young chain"
        assert f"above height {floor}" in end.reason
        assert (world.begun, world.dropped) == ([], {}), "nor a lie"
        assert FetchManifest(height) not in [asked for _, asked in world.asked], "pieces of it are of no use"


def test_F13_donors_that_are_of_no_use_are_not_waited_for_for_ever(honest):
    world = World({"A": HARMLESS["chunks it has no more"](honest)})
    end = world.run()
    assert isinstance(end, GiveUp), "a snapshot that is gone meanwhile is no young chain"
    assert end.code == "join-failed"
    assert WAIT_MS <= world.now_ms <= 2 * WAIT_MS
    on_old_machine = JoinPlan(GENESIS, None, frozenset("A"), 0).peer_up("A", 9 * WAIT_MS)
    assert not any(isinstance(action, GiveUp) for action in on_old_machine), "time counts from the first donor on"
