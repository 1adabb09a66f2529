"""Bodies: what a proposal names and gossip did not bring is asked for, and served, and no more."""

import pytest
from msgspec.structs import replace

from consensus.messages import Bodies, Commit, FetchBodies, Prepare, Shown, Transactions
from ledger.block import header_hash
from node.effects import PeerDown, PeerUp, Verify
from tests.unit.consensus_kit import (
    HEADER,
    OTHER_TX,
    TX,
    Bench,
    certificate,
    commit,
    committed_bench,
    locked_bench,
    make_header,
    make_next_header,
    new_view,
    pre_prepare,
    prepare,
    preparing_bench,
    requests,
)

BOTH = make_header(TX, OTHER_TX)


def test_what_is_being_verified_is_not_asked_for_unless_it_takes_too_long():
    bench = Bench()
    bench.hear("Chengdian", Transactions((TX.raw,)))
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    for _ in range(9):
        bench.tick(100)
    assert bench.said(FetchBodies) == []
    bench.tick(100)
    assert [message.leaves for message in bench.said(FetchBodies)] == [TX.leaf], "it may have been dropped"


def test_only_what_is_missing_is_asked_for_and_verified():
    bench = Bench()
    bench.admit(TX)
    bench.hear("Bohui", pre_prepare(BOTH, TX, OTHER_TX))
    bench.tick(100)
    assert [message.leaves for message in bench.said(FetchBodies)] == [OTHER_TX.leaf]
    bench.hear("Bohui", Bodies(header_hash(BOTH), b"", (TX.raw,)))
    assert bench.wants(Verify) == []
    bench.admit(TX)  # gossip may bring it once more
    assert bench.said(Prepare) == []
    bench.hear("Bohui", Bodies(header_hash(BOTH), b"", (OTHER_TX.raw,)))
    assert [effect.raws for effect in bench.wants(Verify)] == [(OTHER_TX.raw,)]
    bench.admit(OTHER_TX)
    assert len(bench.said(Prepare)) == 1
    bench.hear("Bohui", Bodies(header_hash(BOTH), b"", (OTHER_TX.raw,)))
    assert len(bench.wants(Verify)) == 1, "nothing is missing any more"


def test_a_re_proposal_without_its_list_is_completed_list_first():
    bench = Bench()
    named = replace(pre_prepare(BOTH, view=1), leaves=b"")
    bench.hear("Chengdian", new_view(requests(1, certificate(BOTH)), named))
    bench.tick(100)
    assert [message.leaves for message in bench.said(FetchBodies)] == [b""], "the list itself is missing"
    bench.hear("Dianneng", Bodies(header_hash(BOTH), TX.leaf, ()))
    assert bench.charges == ["proposal-root"]
    bench.hear("Chengdian", Bodies(header_hash(BOTH), TX.leaf + OTHER_TX.leaf, ()))
    bench.tick(1)
    assert [message.leaves for message in bench.said(FetchBodies)] == [b"", TX.leaf + OTHER_TX.leaf], "at once"
    assert [to for to, sent in zip(bench.receivers, bench.sent, strict=True) if isinstance(sent, FetchBodies)] == [
        ("Chengdian",),
        ("Chengdian",),
    ], "from whoever had the list"
    bench.admit(TX, OTHER_TX)
    assert len(bench.said(Prepare)) == 1


def test_lists_and_bodies_of_open_and_of_unsealed_blocks_are_served():
    for bench in (preparing_bench(), committed_bench()):
        bench.hear("Dianneng", FetchBodies(header_hash(HEADER), b""))
        bench.hear("Dianneng", FetchBodies(header_hash(HEADER), TX.leaf + OTHER_TX.leaf))
        assert bench.said(Bodies) == [
            Bodies(header_hash(HEADER), TX.leaf, ()),
            Bodies(header_hash(HEADER), b"", (TX.raw,)),
        ]


def test_a_node_that_lacks_the_list_itself_serves_none():
    bench = Bench()
    bench.hear("Chengdian", new_view(requests(1, certificate(BOTH)), replace(pre_prepare(BOTH, view=1), leaves=b"")))
    bench.hear("Dianneng", FetchBodies(header_hash(BOTH), b""))
    assert bench.said(Bodies) == []


def test_who_asks_for_what_nobody_knows_gets_no_answer():
    bench = Bench()
    bench.hear("Dianneng", FetchBodies(bytes(32), b""))
    bench.hear("Dianneng", FetchBodies(bytes(32), TX.leaf))
    assert bench.said(Bodies) == []
    assert bench.charges == []


def left_out_bench() -> Bench:
    """Dianneng, to whom Bohui sent no proposal; Anneng and Chengdian are locked on it, and short of a COMMIT."""
    bench = Bench("Dianneng")
    bench.admit(TX)
    for name in ("Anneng", "Chengdian"):
        bench.hear(name, prepare(name, HEADER))
        bench.hear(name, commit(name, HEADER))
    return bench


def test_a_locked_member_shows_the_proposal_to_those_whom_the_primary_left_out():
    bench = locked_bench()
    bench.tick(99)
    assert bench.said(Shown) == [], "the PREPARE may be on its way"
    bench.tick(1)
    bench.tick(100)
    assert [message.proposal for message in bench.said(Shown)] == [replace(pre_prepare(HEADER, TX), leaves=b"")]
    assert bench.receivers[bench.sent.index(bench.said(Shown)[0])] == ("Dianneng",)


def test_who_is_not_locked_on_a_first_proposal_shows_nothing():
    for bench in (preparing_bench(), committed_bench()):
        bench.tick(200)
        assert bench.said(Shown) == []
    bench = locked_bench()
    bench.hear("Dianneng", prepare("Dianneng", HEADER))
    bench.tick(200)
    assert bench.said(Shown) == [], "nobody is left out"


def test_who_was_left_out_takes_the_proposal_that_a_member_shows():
    bench = left_out_bench()
    bench.hear("Anneng", Shown(replace(pre_prepare(HEADER, TX), leaves=b"")))
    assert bench.engine.status().phase == "gathering"
    bench.tick(100)
    asked = bench.said(FetchBodies)[0]
    assert asked.leaves == b""
    assert bench.receivers[bench.sent.index(asked)] != ("Bohui",), "not the one that left us out"
    bench.hear("Anneng", Bodies(header_hash(HEADER), TX.leaf, ()))
    assert len(bench.said(Commit)) == 1
    assert bench.engine.status().committed == 1


@pytest.mark.parametrize(
    ("shown", "charge"),
    [
        (replace(pre_prepare(HEADER, TX), signature=bytes(64)), ["proposal-forged"]),
        (pre_prepare(HEADER, TX, view=1), []),
    ],
)
def test_what_the_primary_did_not_propose_first_is_not_taken_from_others(shown, charge):
    bench = left_out_bench()
    bench.hear("Anneng", Shown(shown))
    assert bench.engine.status().phase == "waiting"
    assert bench.charges == charge


def test_the_primary_s_own_list_is_taken_behind_a_proposal_that_others_showed_first():
    """A liar could else have every member fetch the list that the primary is about to bring."""
    bench = Bench()
    bench.admit(TX)
    bench.hear("Chengdian", Shown(replace(pre_prepare(HEADER, TX), leaves=b"")))
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    assert len(bench.said(Prepare)) == 1
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    assert (len(bench.said(Prepare)), bench.charges) == (1, [])


def test_a_wrong_list_behind_a_shown_proposal_is_charged_to_its_sender_and_asked_for():
    bench = left_out_bench()
    bench.hear("Anneng", Shown(replace(pre_prepare(HEADER, TX), leaves=b"")))
    bench.hear("Bohui", replace(pre_prepare(HEADER, TX), leaves=OTHER_TX.leaf))
    assert bench.charges == ["proposal-root"]
    bench.tick(100)
    assert bench.said(FetchBodies)[0].leaves == b""


def test_what_is_shown_too_early_is_kept_until_its_height_opens():
    bench = locked_bench()
    header = make_next_header(HEADER, OTHER_TX)
    bench.hear("Dianneng", Shown(replace(pre_prepare(header, OTHER_TX), leaves=b"")))
    for name in ("Bohui", "Chengdian"):
        bench.hear(name, commit(name, HEADER))
    status = bench.engine.status()
    assert (status.committed, status.phase) == (1, "gathering")
    bench.hear("Dianneng", Shown(pre_prepare(HEADER, TX)))
    assert bench.charges == []


def test_a_proposal_is_shown_again_over_a_new_connection():
    bench = locked_bench()
    bench.tick(100)
    bench.perform(PeerDown("Dianneng"))
    bench.tick(100)
    assert len(bench.said(Shown)) == 1
    bench.perform(PeerUp("Dianneng"))
    bench.tick(100)
    assert len(bench.said(Shown)) == 2


def test_of_those_who_do_not_vote_nobody_shows_and_nobody_is_believed():
    bench = left_out_bench()
    bench.hear("an observer", Shown(replace(pre_prepare(HEADER, TX), leaves=b"")))
    assert bench.engine.status().phase == "waiting"
    bench = locked_bench()
    bench.state.signers.clear()
    bench.tick(100)
    assert bench.said(Shown) == []
