"""Bodies: what a proposal names and gossip did not bring is asked for, and served, and no more."""

from msgspec.structs import replace

from consensus.messages import Bodies, FetchBodies, Prepare, Transactions
from ledger.block import header_hash
from node.effects import Verify
from tests.unit.consensus_kit import (
    HEADER,
    OTHER_TX,
    TX,
    Bench,
    certificate,
    committed_bench,
    make_header,
    new_view,
    pre_prepare,
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
