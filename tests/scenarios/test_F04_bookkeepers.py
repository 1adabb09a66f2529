"""F04: the companies keep the book in turn, and write as soon as there is something to write."""

from functools import partial
from itertools import pairwise

from ledger.block import Header
from ledger.codec import decode
from ledger.validators import PASS_OVER_HEIGHTS
from tests.sim.world import Plan, World

IDLE_MS = 5_000
T_MS = 1_000
"""The paper's t: the longest that a bookkeeper may leave transactions unproposed."""


def headers(world: World, of: str = "Anneng") -> list[Header]:
    """The sealed chain."""
    return [decode(Header, block.sealed.header) for block in world.nodes[of].store.blocks]


def reached(world: World, height: int) -> bool:
    """Whether some node has sealed the height."""
    return world.checker.sealed >= height


def grow(world: World, blocks: int, to: str = "Anneng") -> None:
    """Have that many more blocks sealed, one transaction each."""
    for _ in range(blocks):
        target = world.checker.sealed + 1
        world.submit(to=to)
        assert world.run_until(partial(reached, world, target), 30_000)


def test_F04_the_book_goes_round_by_company_name():
    world = World(1, Plan(nodes=5))
    grow(world, 10)
    names = sorted(world.nodes)
    assert [header.proposer for header in headers(world)] == [names[height % 5] for height in range(1, 11)]


def test_F04_an_idle_chain_writes_at_once():
    world = World(1, Plan(nodes=4))
    world.run(2_000)
    for _ in range(8):  # every member is the bookkeeper twice
        began_ms = world.scheduler.now_ms
        target = world.checker.sealed + 1
        world.submit()
        assert world.run_until(partial(reached, world, target), 1_000)
        assert world.scheduler.now_ms - began_ms <= 100, "it waited, though nothing stood before it"
        world.run(700)


def test_F04_an_idle_chain_makes_an_empty_block_now_and_then():
    world = World(1, Plan(nodes=4))
    world.run(4 * IDLE_MS + 1_000)
    made = headers(world)
    assert len(made) == 4
    assert all(header.tx_count == 0 for header in made)
    assert all(b.time_ms - a.time_ms <= IDLE_MS + 200 for a, b in pairwise(made))


def test_F04_no_transaction_waits_longer_than_t():
    world = World(1, Plan(nodes=4))
    given: dict[bytes, int] = {}
    for _ in range(100):
        for digest in world.submit(count=70):  # more than the count that means load
            given[digest] = world.scheduler.now_ms
        world.run(10)
    assert world.run_until(world.is_settled, 3_000)
    times = {height: header.time_ms for height, header in enumerate(headers(world), 1)}
    waits = [times[world.checker.placed[d]] - world.application.genesis.time_ms - at_ms for d, at_ms in given.items()]
    assert max(waits) <= T_MS
    assert len(times) < 40, "under load blocks fill"


def test_F04_a_company_whose_turn_failed_is_passed_over():
    """A dead member costs one time-out, then no more for a while, then it gets its turn again."""
    world = World(1, Plan(nodes=4))
    world.nodes["Chengdian"].crash()  # its turns are heights 2, 6, 10, …
    grow(world, 30)
    made = headers(world)
    assert [header.height for header in made if header.view > 0] == [2]
    assert {header.proposer for header in made[2:]} == {"Anneng", "Bohui", "Dianneng"}

    world.nodes["Chengdian"].start()
    grow(world, PASS_OVER_HEIGHTS)
    back = [header.height for header in headers(world) if header.proposer == "Chengdian"]
    assert back
    assert back[0] > 2 + PASS_OVER_HEIGHTS
    assert [header.height for header in headers(world) if header.view > 0] == [2]


def test_F04_a_company_that_stays_away_costs_fewer_time_outs_the_longer_it_does():
    world = World(1, Plan(nodes=4))
    world.nodes["Chengdian"].crash()
    grow(world, 500)
    late = [header.height for header in headers(world) if header.view > 0]
    pauses = [after - before for before, after in pairwise(late)]
    assert len(pauses) == 3
    for pause, heights in zip(pauses, (64, 128, 256), strict=True):
        assert heights < pause <= heights + 4, "passed over for so long, and then its next turn"


def test_F04_a_quorum_of_companies_always_keeps_its_turn():
    world = World(1, Plan(nodes=4))
    for name in ("Bohui", "Chengdian"):
        for _ in range(2):  # each fails its turn while the others go on
            world.nodes[name].crash()
            grow(world, 5)
            world.nodes[name].start()
            world.run(2_000)
    grow(world, 20)
    last = {header.proposer for header in headers(world)[-12:]}
    assert len(last) == 3
