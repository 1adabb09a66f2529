"""Votes one by one: what counts, what does not, and whom it is charged to."""

from consensus.messages import Checkpoint, Commit, FetchBodies, Prepare
from ledger.block import header_hash, result_digest
from ledger.hashing import Tag
from node.effects import Halt, Persist, Received, Send, StoreSealed
from tests.unit.consensus_kit import (
    GENESIS,
    HEADER,
    NAMES,
    SIGNERS,
    T0,
    TX,
    Bench,
    checkpoint,
    commit,
    committed_bench,
    make_header,
    make_transaction,
    pre_prepare,
    prepare,
    preparing_bench,
    scope,
)


def test_F02_a_height_from_proposal_to_seal():
    bench = preparing_bench()
    assert len(bench.said(Prepare)) == 1
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    assert len(bench.said(Commit)) == 1  # Bohui's proposal, Chengdian's PREPARE and our own are a quorum
    bench.hear("Bohui", commit("Bohui", HEADER))
    assert bench.state.tip.height == 0
    bench.hear("Chengdian", commit("Chengdian", HEADER))
    assert bench.state.tip.height == 1

    bench.execute()
    (ours,) = bench.said(Checkpoint)
    for name in ("Bohui", "Dianneng"):
        assert bench.state.sealed == 0
        bench.hear(name, checkpoint(name, ours.result_digest))
    assert bench.state.sealed == 1
    (stored,) = [effect for effect in bench.effects if isinstance(effect, StoreSealed)]
    assert [vote.voter for vote in stored.sealed.seal] == [0, 1, 3]
    assert stored.head == bench.state.head
    assert stored.head.validators == GENESIS.validators
    bench.store()
    assert bench.state.entries == {}


def test_F02_each_vote_stands_behind_its_record():
    bench = Bench()
    bench.admit(TX)
    for peer, message in (
        ("Bohui", pre_prepare(HEADER, TX)),
        ("Chengdian", prepare("Chengdian", HEADER)),
    ):
        effects = bench.engine.handle(Received(peer, message))
        kinds = [type(effect) for effect in effects if isinstance(effect, Persist | Send)]
        assert kinds[0] is Persist
        assert kinds[-1] is Send


def test_a_vote_counts_for_its_phase_alone():
    digest = header_hash(HEADER)
    as_prepare = SIGNERS["Chengdian"].sign(scope().vote_digest(Tag.COMMIT, 0, digest))
    bench = preparing_bench()
    bench.hear("Chengdian", Prepare(1, 0, digest, 2, as_prepare))
    assert bench.charges == ["vote-forged"]


def test_the_first_vote_of_a_member_stays():
    bench = preparing_bench()
    other = make_header(make_transaction(2))
    bench.hear("Chengdian", prepare("Chengdian", other))
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    assert bench.said(Commit) == []


def test_a_proposal_ahead_of_our_clock_waits():
    bench = Bench()
    bench.admit(TX)
    early = make_header(TX, time_ms=T0 + 1_000 + 2_500)
    bench.hear("Bohui", pre_prepare(early, TX))
    assert bench.said(Prepare) == []
    bench.tick(600)
    assert len(bench.said(Prepare)) == 1
    assert bench.charges == []


def test_missing_bodies_are_asked_for_from_several_sources_in_turn():
    bench = Bench()
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    assert bench.said(FetchBodies) == []
    sources = []
    for _ in range(4):
        bench.tick(100)
        effects = bench.engine.handle(Received("Bohui", prepare("Bohui", HEADER)))
        assert effects
        sources.append(len(bench.said(FetchBodies)))
    assert sources == [1, 2, 3, 4]
    bench.admit(TX)
    assert len(bench.said(Prepare)) == 1


def test_a_quorum_against_our_result_stops_us():
    bench = committed_bench()
    for name in NAMES[1:]:
        bench.hear(name, checkpoint(name, bytes(32)))
    assert not bench.engine.status().halted
    bench.execute()
    (halt,) = [effect for effect in bench.effects if isinstance(effect, Halt)]
    assert halt.error.code == "result-contradicted"
    assert bench.engine.status().halted
    bench.hear("Bohui", commit("Bohui", HEADER))
    assert bench.state.sealed == 0


def test_an_observer_follows_without_a_word():
    bench = preparing_bench()
    observer = Bench(me="Anneng")
    observer.state.signers.clear()
    observer.admit(TX)
    observer.hear("Bohui", pre_prepare(HEADER, TX))
    for name in NAMES[2:]:
        observer.hear(name, prepare(name, HEADER))
    for name in NAMES[1:]:
        observer.hear(name, commit(name, HEADER))
    observer.execute()
    digest = result_digest(observer.state.entries[1].result)
    for name in NAMES[1:]:
        observer.hear(name, checkpoint(name, digest))
    assert observer.state.sealed == 1
    assert not observer.said(Prepare)
    assert not observer.said(Commit)
    assert not observer.said(Checkpoint)
    assert len(bench.said(Prepare)) == 1
