"""F03: a primary fails, a block that may be decided survives, a node that was away comes back."""

from consensus.messages import Commit, ViewChange
from tests.sim.world import Plan, World

VIEW_MS = 2_000


def world_of(n: int = 4, seed: int = 1) -> World:
    """A consortium in fair weather."""
    return World(seed, Plan(nodes=n))


def without(world: World, *kinds: type) -> None:
    """Lose all messages of these kinds."""
    world.network.adversary = lambda _sender, _receiver, message: [] if isinstance(message, kinds) else [message]


def locks_of(world: World) -> set[bytes]:
    """The headers that the members prepared at the open height."""
    locks = [world.state(name).round.lock for name in world.nodes]
    return {lock.header for lock in locks if lock is not None}


def test_trap_12_a_lock_survives_the_crash_of_everybody_and_the_loss_of_its_primary():
    world = world_of()
    without(world, Commit)
    world.submit(to="Bohui", count=2)
    world.run(1_000)
    locked = locks_of(world)
    for node in world.nodes.values():
        node.crash()
    for name in ("Anneng", "Chengdian", "Dianneng"):
        world.nodes[name].start()
    world.submit(to="Anneng")
    assert world.run_until(lambda: world.status("Anneng").view == 1, 2 * VIEW_MS)
    without(world)  # only now: the COMMITs of view 0 alone would have decided
    assert world.run_until(lambda: world.checker.sealed >= 1, 10_000)
    assert {world.nodes["Anneng"].store.blocks[0].sealed.header} == locked


def test_F03_committed_unsealed_blocks_survive_the_crash_of_everybody():
    world = world_of()
    for node in world.nodes.values():
        node.execution_ms = 60_000
    for _ in range(5):
        world.submit(count=1)
        world.run(100)
    assert (len(world.checker.hashes), world.checker.sealed) == (5, 0)
    for node in world.nodes.values():
        node.crash()
    for node in world.nodes.values():
        node.execution_ms = 4
        node.start()
    assert world.run_until(world.is_settled, 5_000)
    world.check_stores()


def test_F03_a_node_that_was_away_catches_up():
    world = world_of()
    world.nodes["Dianneng"].crash()
    for _ in range(30):
        world.submit(count=1)
        world.run(300)
    assert world.run_until(lambda: world.checker.sealed >= 15, 30_000)
    world.nodes["Dianneng"].start()
    assert world.run_until(world.is_settled, 5_000)
    world.check_stores()


def test_F03_lost_view_changes_are_told_again():
    world = world_of()
    without(world, ViewChange)
    world.nodes["Bohui"].crash()
    world.submit(to="Anneng")
    world.run(2 * VIEW_MS)
    without(world)
    assert world.run_until(lambda: world.checker.sealed >= 1, VIEW_MS)
