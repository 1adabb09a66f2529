"""Votes one by one: what counts, what does not, and whom it is charged to."""

import pytest
from msgspec.structs import replace

from consensus.messages import Checkpoint, Commit, FetchBodies, Prepare
from ledger.block import header_hash
from ledger.hashing import Tag
from ledger.transaction import Branch
from node.effects import Execute, Halt, Persist, Received, Send, StoreSealed
from tests.unit.consensus_kit import (
    NAMES,
    SIGNERS,
    T0,
    Bench,
    checkpoint,
    commit,
    make_header,
    make_transaction,
    pre_prepare,
    prepare,
    scope,
)

TX = make_transaction(1)
HEADER = make_header(TX)


def prepared_bench() -> Bench:
    """Anneng with the transaction and the proposal of Bohui."""
    bench = Bench()
    bench.admit(TX)
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    return bench


def committed_bench() -> Bench:
    """… and the block committed."""
    bench = prepared_bench()
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    for name in ("Bohui", "Chengdian"):
        bench.hear(name, commit(name, HEADER))
    return bench


def test_F02_a_height_from_proposal_to_seal():
    bench = prepared_bench()
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


def test_trap_01_votes_of_three_decide_among_four_and_no_fewer():
    bench = prepared_bench()
    assert bench.said(Commit) == []


def test_trap_02_a_vote_in_anothers_name_does_not_count():
    bench = prepared_bench()
    bench.hear("Dianneng", replace(prepare("Dianneng", HEADER), voter=2))
    bench.hear("Dianneng", replace(prepare("Dianneng", HEADER), voter=77))
    assert bench.charges == ["vote-stranger", "vote-stranger"]
    assert bench.said(Commit) == []


def test_trap_02_a_forged_signature_does_not_count():
    bench = prepared_bench()
    bench.hear("Dianneng", replace(prepare("Dianneng", HEADER), signature=bytes(64)))
    assert bench.charges == ["vote-forged"]
    assert bench.said(Commit) == []


def test_trap_04_a_prepare_of_the_primary_is_refused():
    bench = prepared_bench()
    bench.hear("Bohui", prepare("Bohui", HEADER))
    assert bench.charges == ["prepare-by-primary"]
    assert bench.said(Commit) == []


def test_trap_05_votes_for_different_blocks_or_views_are_not_added_up():
    bench = prepared_bench()
    other = make_header(make_transaction(2))
    bench.hear("Chengdian", prepare("Chengdian", other))
    bench.hear("Dianneng", prepare("Dianneng", HEADER, view=1))
    assert bench.said(Commit) == []
    bench.hear("Bohui", commit("Bohui", HEADER, view=0))
    bench.hear("Chengdian", commit("Chengdian", HEADER, view=1))
    bench.hear("Dianneng", commit("Dianneng", other, view=0))
    assert bench.state.tip.height == 0


def test_a_vote_counts_for_its_phase_alone():
    digest = header_hash(HEADER)
    as_prepare = SIGNERS["Chengdian"].sign(scope().vote_digest(Tag.COMMIT, 0, digest))
    bench = prepared_bench()
    bench.hear("Chengdian", Prepare(1, 0, digest, 2, as_prepare))
    assert bench.charges == ["vote-forged"]


def test_the_first_vote_of_a_member_stays():
    bench = prepared_bench()
    other = make_header(make_transaction(2))
    bench.hear("Chengdian", prepare("Chengdian", other))
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    assert bench.said(Commit) == []


WRONG_HEADERS = {
    "chain": {"chain_id": bytes(32)},
    "parent": {"parent": bytes(32)},
    "set": {"set_hash": bytes(32)},
    "view": {"view": 1},
    "proposer": {"proposer": "Anneng"},
    "time": {"time_ms": T0},
    "count": {"tx_count": 3_000},
}


@pytest.mark.parametrize("changes", WRONG_HEADERS.values(), ids=WRONG_HEADERS)
def test_trap_06_a_wrong_header_gets_no_vote(changes):
    bench = Bench()
    bench.admit(TX)
    bench.hear("Bohui", pre_prepare(make_header(TX, **changes), TX))
    assert bench.charges == ["proposal-header"]
    assert bench.said(Prepare) == []


def test_trap_06_a_list_that_is_not_the_headers_gets_no_vote():
    bench = Bench()
    bench.admit(TX)
    for leaves in (b"", make_transaction(2).leaf, TX.leaf * 2, TX.leaf[:31]):
        message = pre_prepare(HEADER, TX)
        bench.hear("Bohui", replace(message, leaves=leaves) if leaves else replace(message, leaves=TX.leaf + TX.leaf))
    assert bench.charges[-1] == "leaves-length"
    assert set(bench.charges[:-1]) == {"proposal-root"}
    assert bench.said(Prepare) == []


WRONG_TRANSACTIONS = {
    "chain": {"chain_id": bytes(32)},
    "expired": {"valid_until_ms": T0 + 999},
    "too far": {"valid_until_ms": T0 + 600_001},
    "gas": {"gas_limit": 2_000_000_001},
}


@pytest.mark.parametrize("changes", WRONG_TRANSACTIONS.values(), ids=WRONG_TRANSACTIONS)
def test_trap_06_a_wrong_transaction_gets_no_vote(changes):
    bad = make_transaction(3, **changes)
    bench = Bench()
    bench.hear("Bohui", pre_prepare(make_header(bad), bad))
    bench.admit(bad)  # verified, though not fit for the pool
    assert bench.charges == ["proposal-content"]
    assert bench.said(Prepare) == []
    assert bench.engine.status().phase == "refusing"


def test_trap_06_a_transaction_under_another_branch_gets_no_vote():
    rows_of = make_transaction(3, branch=Branch.SERVICE)
    header = make_header(TX)
    assert header != make_header(rows_of)
    from ledger.block import Header, branch_table
    from ledger.codec import decode, encode

    rows, root = branch_table([(Branch.CHARGING, rows_of.leaf)], {})
    wrong = encode(replace(decode(Header, header), branches=rows, tx_root=root))
    bench = Bench()
    bench.admit(rows_of)
    bench.hear("Bohui", pre_prepare(wrong, rows_of))
    assert bench.charges == ["proposal-content"]


def test_trap_06_a_transaction_does_not_run_twice():
    bench = committed_bench()
    bench.execute()
    (ours,) = bench.said(Checkpoint)
    for name in ("Bohui", "Dianneng"):
        bench.hear(name, checkpoint(name, ours.result_digest))
    assert TX.id in bench.state.window
    bench.admit(TX)
    assert len(bench.state.pool) == 0


def test_trap_15_a_proposal_of_anybody_else_triggers_nothing():
    bench = Bench()
    bench.admit(TX)
    bench.hear("Dianneng", pre_prepare(make_header(TX, proposer="Dianneng"), TX, by="Dianneng"))
    bench.hear("Dianneng", pre_prepare(HEADER, TX, by="Dianneng"))
    assert bench.charges == ["proposal-stranger", "proposal-stranger"]
    assert bench.engine.status().phase == "waiting"


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


def test_trap_18_votes_that_come_before_the_proposal_or_the_height_are_kept():
    bench = Bench()
    bench.admit(TX)
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    bench.hear("Chengdian", commit("Chengdian", HEADER))
    bench.hear("Bohui", commit("Bohui", HEADER))
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    assert bench.state.tip.height == 1


def test_trap_18_what_is_kept_for_later_is_bounded():
    bench = Bench()
    for height in range(2, 200):
        for name in NAMES[1:]:
            for view in range(3):
                bench.hear(name, replace(prepare(name, HEADER, view), height=height))
    assert len(bench.state.later) == 3 * 8
    for view in range(100):
        bench.hear("Dianneng", commit("Dianneng", HEADER, view))
    assert len(bench.state.round.commits.choices()) == 8


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
    bench = prepared_bench()
    observer = Bench(me="Anneng")
    observer.state.signers.clear()
    observer.admit(TX)
    observer.hear("Bohui", pre_prepare(HEADER, TX))
    for name in NAMES[1:]:
        observer.hear(name, commit(name, HEADER))
    assert [effect for effect in observer.effects if isinstance(effect, Execute)]
    assert not observer.said(Prepare)
    assert not observer.said(Commit)
    assert len(bench.said(Prepare)) == 1
