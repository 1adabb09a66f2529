"""Traps 1 to 6, 15, 18 and 24: what counts as a vote, and what must hold before one is given."""

import pytest
from msgspec.structs import replace

from consensus.messages import Bodies, Commit, Prepare, SealedBlocks, ViewChange
from ledger.block import Header, branch_table, header_hash
from ledger.codec import decode, encode
from ledger.transaction import Branch, Signed, decode_transaction
from node.effects import Verify
from tests.sim.world import Plan, World
from tests.unit.consensus_kit import (
    FRESH,
    HEADER,
    NAMES,
    OTHER,
    OTHER_TX,
    SIGNERS,
    T0,
    TX,
    VIEW_MS,
    Bench,
    asking_bench,
    certificate,
    commit,
    committed_bench,
    make_header,
    make_next_header,
    make_transaction,
    new_view,
    pre_prepare,
    prepare,
    preparing_bench,
    requests,
    sealed_block,
    view_change,
    waiting_bench,
)


def test_trap_01_half_of_six_members_decide_nothing():
    """With 2f + 1 of n votes, three of six would decide, and so would the other three."""
    world = World(1, Plan(nodes=6))
    names = list(world.nodes)
    halves = names[:3], names[3:]
    world.network.cut = {(a, b) for here, there in (halves, halves[::-1]) for a in here for b in there}
    for half in halves:
        world.submit(to=half[0])
    world.run(30_000)
    assert world.checker.hashes == [], "half of them committed a block"
    world.network.heal()
    assert world.run_until(world.is_settled, 120_000)


def test_trap_02_a_position_outside_of_the_set_signs_nothing():
    bench = Bench()
    digest = bytes(32)
    for voter, holds in ((1, True), (4, False), (2**32 - 1, False)):
        assert bench.state.signed_by(1, voter, digest, SIGNERS["Bohui"].sign(digest)) is holds


def test_trap_02_a_vote_in_anothers_name_does_not_count():
    bench = preparing_bench()
    bench.hear("Dianneng", replace(prepare("Dianneng", HEADER), voter=2))
    bench.hear("Dianneng", replace(prepare("Dianneng", HEADER), voter=77))
    assert bench.charges == ["vote-stranger", "vote-stranger"]
    assert bench.said(Commit) == []


def test_trap_02_a_forged_signature_does_not_count():
    bench = preparing_bench()
    bench.hear("Dianneng", replace(prepare("Dianneng", HEADER), signature=bytes(64)))
    assert bench.charges == ["vote-forged"]
    assert bench.said(Commit) == []


def test_trap_02_a_certificate_counts_nobody_twice_and_nobody_from_outside():
    shown = certificate(HEADER, 0, ("Anneng", "Dianneng"))
    anneng, dianneng = shown.prepares
    for votes in ((dianneng, dianneng), (dianneng, anneng), (anneng, replace(dianneng, voter=4))):
        bench = Bench()
        bench.hear("Dianneng", view_change("Dianneng", 1, replace(shown, prepares=votes)))
        assert bench.charges == ["votes-repeated"]
        assert bench.state.round.view_changes == {}


def test_trap_03_what_is_nested_is_hashed_again_by_the_receiver():
    shown = replace(certificate(HEADER), header=OTHER)  # HEADER's signatures under another block
    bench = Bench()
    bench.hear("Bohui", replace(view_change("Bohui", 1, certificate(HEADER)), certificate=shown))
    bench.hear("Chengdian", view_change("Chengdian", 1, shown))  # … and its sender signs for it
    assert bench.charges == ["view-change-forged", "certificate-forged"]
    assert bench.state.round.view_changes == {}

    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.hear("Bohui", Bodies(header_hash(HEADER), b"", (OTHER_TX.raw,)))
    assert bench.wants(Verify) == [], "a body is known by its own hash, not by its place in an answer"

    late = asking_bench()
    late.hear("Bohui", SealedBlocks((replace(sealed_block(), transactions=(OTHER_TX.raw,)),), ()))
    assert late.charges == ["proposal-root"]
    assert late.state.tip.height == 0


def test_trap_04_a_prepare_of_the_primary_is_refused():
    bench = preparing_bench()
    bench.hear("Bohui", prepare("Bohui", HEADER))
    assert bench.charges == ["prepare-by-primary"]
    assert bench.said(Commit) == []


def test_trap_05_votes_for_different_blocks_or_views_are_not_added_up():
    bench = preparing_bench()
    other = make_header(make_transaction(2))
    bench.hear("Chengdian", prepare("Chengdian", other))
    bench.hear("Dianneng", prepare("Dianneng", HEADER, view=1))
    assert bench.said(Commit) == []
    bench.hear("Bohui", commit("Bohui", HEADER, view=0))
    bench.hear("Chengdian", commit("Chengdian", HEADER, view=1))
    bench.hear("Dianneng", commit("Dianneng", other, view=0))
    assert bench.state.tip.height == 0


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


def test_trap_06_a_transaction_that_the_list_names_twice_gets_no_vote():
    """Its second place would wait for a body for ever, under a root that holds."""
    rows, root = branch_table([(Branch.CHARGING, TX.leaf)] * 2, {})
    header = encode(replace(decode(Header, HEADER), branches=rows, tx_root=root, tx_count=2))
    bench = Bench()
    bench.admit(TX)
    bench.hear("Bohui", replace(pre_prepare(header), leaves=TX.leaf * 2))
    assert bench.charges == ["proposal-root"]


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

    rows, root = branch_table([(Branch.CHARGING, rows_of.leaf)], {})
    wrong = encode(replace(decode(Header, header), branches=rows, tx_root=root))
    bench = Bench()
    bench.admit(rows_of)
    bench.hear("Bohui", pre_prepare(wrong, rows_of))
    assert bench.charges == ["proposal-content"]


def test_trap_06_a_transaction_of_an_earlier_block_gets_no_vote():
    bench = committed_bench()
    header = make_next_header(HEADER, TX)
    bench.hear("Chengdian", pre_prepare(header, TX))
    bench.admit(TX)
    assert bench.charges == ["proposal-content"]
    assert [message.height for message in bench.said(Prepare)] == [1]
    assert len(bench.state.pool) == 0


def test_trap_06_a_transaction_that_stands_twice_in_a_block_gets_no_vote():
    """Signed twice: two leaves, one id (CVE-2018-17144 is what comes of leaving this to others)."""
    again = decode_transaction(encode(replace(decode(Signed, TX.raw), signature=bytes(64))))
    assert (again.id, again.leaf == TX.leaf) == (TX.id, False)
    bench = Bench()
    bench.hear("Bohui", pre_prepare(make_header(TX, again), TX, again))
    bench.admit(TX, again)
    assert bench.charges == ["proposal-content"]
    assert bench.said(Prepare) == []


def test_trap_06_a_transaction_whose_signature_nobody_verified_gets_no_vote():
    bench = Bench()
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.hear("Bohui", Bodies(header_hash(HEADER), b"", (TX.raw,)))
    assert [effect.raws for effect in bench.wants(Verify)] == [(TX.raw,)]
    assert bench.said(Prepare) == []
    bench.admit(TX)
    assert len(bench.said(Prepare)) == 1


def test_trap_15_a_proposal_of_anybody_else_triggers_nothing():
    bench = Bench()
    bench.admit(TX)
    bench.hear("Dianneng", pre_prepare(make_header(TX, proposer="Dianneng"), TX, by="Dianneng"))
    bench.hear("Dianneng", pre_prepare(HEADER, TX, by="Dianneng"))
    assert bench.charges == ["proposal-stranger", "proposal-stranger"]
    assert bench.engine.status().phase == "waiting"


def test_trap_18_votes_that_come_before_the_proposal_or_the_height_are_kept():
    bench = Bench()
    bench.admit(TX)
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    bench.hear("Chengdian", commit("Chengdian", HEADER))
    bench.hear("Bohui", commit("Bohui", HEADER))
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    assert bench.state.tip.height == 1


def test_trap_18_votes_of_the_next_view_are_kept_until_its_new_view_comes():
    bench = waiting_bench()
    bench.hear("Bohui", prepare("Bohui", FRESH, view=1))
    for name in NAMES[1:3]:
        bench.hear(name, commit(name, FRESH, view=1))
    bench.hear("Chengdian", new_view(requests(), pre_prepare(FRESH, TX, view=1)))
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


def test_trap_24_a_proposal_alone_does_not_calm_the_timer():
    bench = waiting_bench()
    bench.tick(10)
    bench.tick(VIEW_MS - 20)
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.tick(20)
    assert [message.view for message in bench.said(ViewChange)] == [1]
