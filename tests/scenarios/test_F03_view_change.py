"""F03: a primary fails, a block that may be decided survives, a node that was away comes back."""

from consensus.messages import Commit, NewView, Prepare, PrePrepare, ViewChange
from ledger.block import Header
from ledger.codec import decode
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


def header_at(world: World, height: int) -> Header:
    """The header that every store holds."""
    headers = {node.store.blocks[height - 1].sealed.header for node in world.nodes.values() if node.is_up}
    assert len(headers) == 1
    return decode(Header, headers.pop())


def test_F03_the_next_member_takes_over_from_a_dead_primary():
    world = world_of()
    world.nodes["Bohui"].crash()  # the primary of height 1
    world.submit(to="Anneng", count=2)
    world.run(VIEW_MS - 100)
    assert world.checker.sealed == 0
    assert world.run_until(lambda: world.checker.sealed == 1, 1_500)
    assert (header_at(world, 1).view, header_at(world, 1).proposer) == (1, "Chengdian")


def test_F03_a_prepared_block_survives_with_its_bytes():
    world = world_of()
    without(world, Commit)
    world.submit(to="Bohui", count=2)
    world.run(1_000)
    locks = locks_of(world)
    assert len(locks) == 1, "everybody prepared the block"

    without(world, Commit, PrePrepare)
    world.nodes["Bohui"].crash()
    world.run(VIEW_MS)
    without(world)
    assert world.run_until(lambda: world.checker.sealed >= 1, 10_000)
    header = header_at(world, 1)
    assert (header.view, header.proposer, header.tx_count) == (0, "Bohui", 2)  # re-proposed by another, unchanged


def test_F03_a_prepared_block_survives_the_crash_of_everybody():
    world = world_of()
    without(world, Commit)
    world.submit(to="Bohui", count=2)
    world.run(1_000)
    locked = locks_of(world)
    for node in world.nodes.values():
        node.crash()
    without(world)
    for node in world.nodes.values():
        node.start()
    assert world.run_until(world.is_settled, 10_000)
    assert {world.nodes["Anneng"].store.blocks[0].sealed.header} == locked


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


def test_F03_a_lonely_node_seals_the_committed_tail_with_the_one_that_has_it():
    """Three of four are needed; one of them missed the last block, and whoever else has it is down."""
    world = world_of()
    cut_off = [(other, "Dianneng") for other in ("Anneng", "Bohui", "Chengdian")]
    world.nodes["Anneng"].execution_ms = world.nodes["Bohui"].execution_ms = 60_000
    world.nodes["Chengdian"].execution_ms = 60_000
    world.network.cut = set(cut_off)
    world.submit(to="Bohui")
    world.run(500)
    assert (len(world.checker.hashes), world.checker.sealed) == (1, 0)
    world.nodes["Anneng"].crash()
    for name in ("Bohui", "Chengdian"):
        world.nodes[name].crash()
        world.nodes[name].execution_ms = 4
        world.nodes[name].start()
    world.network.cut = set()
    assert world.run_until(lambda: world.nodes["Dianneng"].store.height >= 1, 10_000)


def test_F03_catch_up_ends_a_lonely_view_change():
    """Traps 20 and 21: a node that gave up learns the block from others, and takes part in the next height."""
    world = world_of()
    deaf = {(other, "Dianneng") for other in ("Anneng", "Bohui", "Chengdian")}
    world.network.cut = set(deaf)
    world.submit(to="Dianneng")
    world.run(5_000)
    assert world.status("Dianneng").phase == "changing"
    world.network.cut = set()
    assert world.run_until(world.is_settled, 5_000)
    assert (world.status("Dianneng").view, world.status("Dianneng").phase) == (0, "waiting")


def test_F03_overlapping_view_changes_end_in_one_view():
    world = world_of(7)
    without(world, NewView)
    world.nodes["Bohui"].crash()
    world.submit(to="Anneng")
    world.run(3 * VIEW_MS)
    without(world)
    assert world.run_until(lambda: world.checker.sealed >= 1, 40_000)


def test_F03_lost_view_changes_are_told_again():
    world = world_of()
    without(world, ViewChange)
    world.nodes["Bohui"].crash()
    world.submit(to="Anneng")
    world.run(2 * VIEW_MS)
    without(world)
    assert world.run_until(lambda: world.checker.sealed >= 1, VIEW_MS)


def test_F03_lost_votes_are_told_again_without_a_view_change():
    world = world_of()
    without(world, Prepare, Commit)
    world.submit(to="Bohui")
    world.run(1_000)
    without(world)
    assert world.run_until(lambda: world.checker.sealed == 1, 1_200)
    assert header_at(world, 1).view == 0
    assert {world.status(name).view for name in world.nodes} == {0}
