"""After a crash a replica stands by every word that it gave."""

import pytest
from msgspec.structs import replace

from consensus.messages import (
    Bodies,
    Checkpoint,
    Commit,
    FetchBodies,
    NewView,
    Prepare,
    PrePrepare,
    SealedBlocks,
    ViewChange,
)
from ledger.block import header_hash
from ledger.errors import OurError
from ledger.terms import K
from node.effects import DiskFull, Execute, Halt
from tests.sim.plan import Plan
from tests.sim.world import World
from tests.unit.consensus_kit import (
    GENESIS,
    HEADER,
    OTHER,
    OTHER_TX,
    TX,
    Bench,
    asking_bench,
    checkpoint,
    commit,
    committed_bench,
    make_header,
    make_next_header,
    make_transaction,
    new_view,
    pre_prepare,
    prepare,
    preparing_bench,
    sealed_block,
    view_change,
)


def test_I5_a_restarted_backup_prepares_nothing_else():
    bench = Bench()
    bench.admit(TX)
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    again = Bench(records=bench.records)
    again.admit(TX, make_transaction(2))
    again.hear("Bohui", pre_prepare(OTHER, make_transaction(2)))
    assert [message.header_hash for message in again.said(Prepare)] == [
        message.header_hash for message in bench.said(Prepare)
    ] * len(again.said(Prepare))


def test_I5_a_restarted_primary_stands_by_its_proposal():
    bench = Bench("Bohui")
    bench.admit(TX)
    (proposal,) = bench.said(PrePrepare)
    again = Bench("Bohui", bench.records)
    again.admit(make_transaction(2))
    assert {message.header for message in again.said(PrePrepare)} == {proposal.header}


def test_I5_a_restarted_primary_of_a_later_view_stands_by_its_new_view():
    bench = Bench("Chengdian")
    bench.admit(TX)
    for name in ("Anneng", "Bohui"):
        bench.hear(name, view_change(name, 1))
    (sent,) = bench.said(NewView)
    again = Bench("Chengdian", bench.records)
    again.admit(make_transaction(2))
    assert {message.proposal.header for message in again.said(NewView)} == {sent.proposal.header}
    assert again.engine.status().view == 1


def test_F03_a_restarted_member_goes_on_from_its_commit():
    bench = Bench()
    bench.admit(TX)
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    again = Bench(records=bench.records)
    assert again.engine.status().phase == "committing"
    assert again.said(Commit)
    for name in ("Bohui", "Chengdian"):
        again.hear(name, commit(name, HEADER))
    assert again.state.tip.height == 1
    assert next(effect for effect in again.effects if isinstance(effect, Execute)).block.transactions[0].raw == TX.raw


def committed() -> Bench:
    """Height 1 committed and executed, not sealed."""
    bench = Bench()
    bench.admit(TX)
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    for name in ("Bohui", "Chengdian"):
        bench.hear(name, commit(name, HEADER))
    bench.execute()
    return bench


def test_F03_a_committed_block_is_executed_again_and_sealed():
    bench = committed()
    again = Bench(records=bench.records)
    assert again.state.tip.height == 1
    again.execute()
    digest = again.said(Checkpoint)[-1].result_digest
    assert digest == bench.said(Checkpoint)[-1].result_digest
    for name in ("Bohui", "Chengdian"):
        again.hear(name, checkpoint(name, digest))
    assert again.state.sealed == 1


def test_F03_another_result_than_before_the_restart_stops_us():
    again = Bench(records=committed().records)
    again.execute(root=bytes([1]) * 32)
    assert [effect.error.code for effect in again.effects if isinstance(effect, Halt)] == ["result-contradicted"]


def test_F03_a_restarted_member_of_a_later_view_waits_for_its_new_view():
    fresh = make_header(TX, view=1)
    message = new_view([view_change(n, 1) for n in ("Bohui", "Chengdian", "Dianneng")], pre_prepare(fresh, TX, view=1))
    bench = Bench()
    bench.admit(TX)
    bench.hear("Chengdian", message)
    again = Bench(records=bench.records)
    assert (again.engine.status().view, again.engine.status().phase) == (1, "waiting")
    again.admit(TX)
    again.hear("Chengdian", message)
    assert again.engine.status().phase == "preparing"


def test_F13_a_full_disk_stops_votes_and_nothing_else():
    bench = Bench()
    bench.admit(TX)
    bench.perform(DiskFull(True))
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    for _ in range(5):
        bench.tick(2_000)
    assert bench.said(Prepare) == []
    assert bench.said(ViewChange) == []
    assert not bench.engine.status().voting
    bench.hear("Bohui", FetchBodies(bytes(32), TX.leaf))
    assert bench.said(Bodies)[0].raws == (TX.raw,), "it answers reads"

    bench.perform(DiskFull(False))
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    assert len(bench.said(Prepare)) == 1


def test_a_restarted_primary_stands_by_its_empty_block():
    bench = Bench("Bohui")
    bench.tick(GENESIS.parameters.idle_interval_ms)
    (proposal,) = bench.said(PrePrepare)
    again = Bench("Bohui", bench.records)
    again.tick(GENESIS.parameters.idle_interval_ms)
    assert again.engine.status().phase == "preparing"
    assert {message.header for message in again.said(PrePrepare)} == {proposal.header}


def test_a_restarted_primary_whose_transactions_are_lost_waits_for_others_to_bring_them():
    bench = Bench("Bohui")
    bench.admit(TX)
    again = Bench("Bohui", bench.records)
    assert again.engine.status().phase == "gathering"
    again.tick(100)
    assert [message.leaves for message in again.said(FetchBodies)] == [b""]
    again.hear("Anneng", Bodies(header_hash(again.said(PrePrepare)[0].header), TX.leaf, (TX.raw,)))
    again.admit(TX)
    assert again.engine.status().phase == "preparing"


def test_a_vote_above_a_gap_in_the_log_counts_again_when_the_gap_is_filled():
    """Height 1 came by catch-up, with its seal and without a record; at height 2 we voted; then the power failed."""
    bench = asking_bench()
    bench.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    bench.admit(OTHER_TX)
    header = make_next_header(HEADER, OTHER_TX)
    bench.hear("Chengdian", pre_prepare(header, OTHER_TX))
    assert [message.height for message in bench.said(Prepare)] == [2]

    again = Bench(records=bench.records)
    assert again.state.round.height == 1
    asking_bench(again).hear("Bohui", SealedBlocks((sealed_block(),), ()))
    again.hear("Dianneng", FetchBodies(header_hash(header), OTHER_TX.leaf))
    assert again.said(Bodies)[-1].raws == (OTHER_TX.raw,)
    again.hear("Chengdian", pre_prepare(make_next_header(HEADER), by="Chengdian"))
    assert [message.header_hash for message in again.said(Prepare)] == [], "it stands by its word"


def test_a_contradiction_of_our_own_vote_is_never_signed():
    bench = preparing_bench()
    state = bench.state
    with pytest.raises(OurError, match="vote-contradicted"):
        state.cast_first(1, 0, bytes(32), lambda voter, signature: replace(prepare("Anneng", HEADER), voter=voter))


def test_what_the_log_holds_of_earlier_heights_is_forgotten_with_them():
    again = Bench(records=committed_bench().records)
    assert again.state.round.height == 2
    assert (again.state.found_locks, again.state.found_blocks) == ({}, {})


def test_F13_a_block_of_the_log_is_not_committed_before_the_terms_behind_it_are_known():
    # Block 1 changes the set from block K + 2 on. All nodes lose their power while more than K blocks are in their logs
    # and none in their stores: K are committed again, and the next ones when block 1 is sealed again.
    world = World(1, Plan(nodes=4, spares=1))
    nodes = list(world.nodes.values())
    for node in nodes:
        node.execution_ms = 1_000
        node._put = lambda _: None  # type: ignore[assignment, method-assign]
    world.decide(tuple((node.name, int(node.name == "Bohui")) for node in nodes[:4]))

    while world.scheduler.now_ms < 10_000 and any(node.state.tip.height <= K for node in nodes):
        world.submit(to="Anneng")
        world.run(50)
    for node in nodes:
        node.crash()
    for node in nodes:
        del node._put
        node.start()
    for _ in range(200):
        world.submit(to="Anneng")
        world.run(50)
        assert all(node.state.tip.height <= node.state.sealed + K for node in nodes)
    assert world.run_until(world.is_settled, 30_000)
    assert {node.state.round.validators.epoch for node in nodes} == {1}
    world.check_stores()
