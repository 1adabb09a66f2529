"""F13: what the engine does while the disk is full, or slower than the others'."""

from collections.abc import Callable

from consensus.messages import Checkpoint, Commit, Prepare
from consensus.records import BlockRecord, LockRecord, VoteRecord, decode_record
from ledger.block import header_hash
from ledger.terms import K
from node.effects import DiskFull, StoreSealed
from tests.sim.plan import Plan
from tests.sim.world import World
from tests.unit.consensus_kit import (
    HEADER,
    OTHER_TX,
    TX,
    VIEW_MS,
    Bench,
    commit,
    committed_bench,
    locked_bench,
    make_next_header,
    pre_prepare,
    prepare,
)


def gathering_bench() -> Bench:
    """A node with a proposal whose transaction it lacks, and a full disk."""
    bench = Bench()
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    return bench


def test_F13_a_prepare_that_fell_due_while_the_disk_was_full_is_sent_when_there_is_room():
    bench = gathering_bench()
    bench.perform(DiskFull(True))
    bench.admit(TX)
    assert bench.engine.status().phase == "preparing"
    assert bench.said(Prepare) == []
    bench.perform(DiskFull(False))
    assert len(bench.said(Prepare)) == 1
    assert bench.engine.status().phase == "committing", "with Chengdian's it makes a certificate"
    bench.perform(DiskFull(True))
    bench.perform(DiskFull(False))
    assert (len(bench.said(Prepare)), len(bench.said(Commit))) == (1, 1), "none is given twice"


def test_F13_a_commit_that_fell_due_while_the_disk_was_full_follows_its_lock_to_the_disk():
    bench = gathering_bench()
    bench.hear("Dianneng", prepare("Dianneng", HEADER))
    bench.perform(DiskFull(True))
    bench.admit(TX)
    assert bench.engine.status().phase == "committing"
    assert bench.records == []
    bench.perform(DiskFull(False))
    assert len(bench.said(Commit)) == 1
    assert [type(decode_record(data)) for data in bench.records] == [BlockRecord, LockRecord, VoteRecord]


def test_F13_a_result_of_while_the_disk_was_full_is_signed_when_there_is_room():
    bench = committed_bench()
    bench.perform(DiskFull(True))
    bench.execute()
    assert bench.said(Checkpoint) == []
    for is_full in (False, True, False):
        bench.perform(DiskFull(is_full))
        assert len(bench.said(Checkpoint)) == 1, "once"


def test_F13_a_view_s_time_is_not_over_when_the_disk_has_room_again():
    bench = gathering_bench()
    bench.admit(TX)
    bench.tick(10)
    bench.perform(DiskFull(True))
    bench.tick(100 * VIEW_MS)
    bench.perform(DiskFull(False))
    bench.tick(10)
    assert bench.engine.status().view == 0


def test_F13_early_messages_are_kept_while_the_disk_is_full():
    bench = locked_bench()
    next_header = make_next_header(HEADER, OTHER_TX)
    bench.hear("Chengdian", pre_prepare(next_header, OTHER_TX))
    bench.perform(DiskFull(True))
    bench.state.round.commits.add(2, 0, header_hash(HEADER), commit("Chengdian", HEADER).signature)
    bench.state.round.commits.add(1, 0, header_hash(HEADER), commit("Bohui", HEADER).signature)
    bench.tick(10)
    assert (bench.engine.status().committed, bench.engine.status().phase) == (1, "waiting")
    bench.perform(DiskFull(False))
    assert bench.engine.status().phase == "gathering"


def test_F13_the_chain_goes_on_after_all_disks_were_full():
    world = World(1, Plan(nodes=4))
    for node in world.nodes.values():
        node.execution_ms = 300
    world.submit()
    world.run(100)
    for node in world.nodes.values():
        node.fill_disk("store")
    world.run(1_000)
    assert world.checker.sealed == 0
    for node in world.nodes.values():
        node.free_disk()
    world.submit()
    assert world.run_until(world.is_settled, 10_000)


def test_F13_a_store_that_is_slower_than_the_others_bounds_what_waits_for_it():
    world = World(1, Plan(nodes=4))
    slow = world.nodes["Dianneng"]
    put: Callable[[StoreSealed], None] = slow._put
    waiting: list[StoreSealed] = []

    def pump() -> None:
        if waiting:
            put(waiting.pop(0))
        world.scheduler.after(500, pump)

    slow._put = waiting.append  # type: ignore[assignment, method-assign]
    pump()
    for _ in range(300):
        world.submit(to="Anneng")
        world.run(50)
        assert len(world.state("Dianneng").entries) <= 2 * K
    assert world.status("Anneng").sealed > 40, "they go on, though at its turns they wait for it"
    slow._put = put  # type: ignore[assignment, method-assign]
    for effect in waiting:
        put(effect)
    assert world.run_until(world.is_settled, 20_000)


def test_F13_what_a_node_that_catches_up_fetches_is_bounded_by_its_store():
    world = World(1, Plan(nodes=4))
    late = world.nodes["Dianneng"]
    late.crash()
    for _ in range(60):
        world.submit(to="Anneng")
        world.run(50)
    late.start()
    waiting: list[StoreSealed] = []
    put: Callable[[StoreSealed], None] = late._put
    late._put = waiting.append  # type: ignore[assignment, method-assign]
    world.run(30_000)
    assert len(world.state("Dianneng").entries) <= 2 * K
    late._put = put  # type: ignore[assignment, method-assign]
    for effect in waiting:
        put(effect)
    assert world.run_until(world.is_settled, 20_000)
