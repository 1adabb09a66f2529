"""F03: a primary that tells two stories and holds back its own COMMIT costs no time-out: whoever has the story that a
quorum did not accept takes the other.
"""

import pytest
from msgspec.structs import replace

from consensus.messages import Bodies, Commit, FetchBodies, Prepare, PrePrepare, Shown
from ledger.block import header_hash
from tests.unit.consensus_kit import (
    FRESH,
    HEADER,
    NAMES,
    OTHER,
    OTHER_TX,
    T0,
    TX,
    Bench,
    commit,
    make_header,
    make_transaction,
    new_view,
    pre_prepare,
    prepare,
    requests,
)

SHOWN = Shown(replace(pre_prepare(OTHER, OTHER_TX), leaves=b""))


def lied_to(*, admits: bool = True) -> Bench:
    """Dianneng, to whom Bohui proposed TX; it proposes OTHER_TX to Anneng and Chengdian."""
    bench = Bench("Dianneng")
    bench.admit(TX, OTHER_TX) if admits else bench.admit(OTHER_TX)
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    return bench


def outvoted(bench: Bench) -> None:
    for name in ("Anneng", "Chengdian"):
        bench.hear(name, prepare(name, OTHER))


def commits(bench: Bench) -> list[bytes]:
    return [message.header_hash for message in bench.said(Commit)]


@pytest.mark.parametrize("shown_first", [True, False])
@pytest.mark.parametrize("admits", [True, False])
def test_F03_who_was_told_another_story_than_the_quorum_locks_on_the_quorum_s(shown_first, admits):
    bench = lied_to(admits=admits)
    prepared = [header_hash(HEADER)] if admits else []
    if shown_first:
        bench.hear("Anneng", SHOWN)
    outvoted(bench)
    if not shown_first:
        assert bench.engine.status().phase == ("preparing" if admits else "gathering")
        bench.hear("Anneng", SHOWN)
    assert bench.engine.status().phase == "gathering"
    bench.tick(100)
    asked = bench.said(FetchBodies)[-1]
    assert bench.receivers[bench.sent.index(asked)] != ("Bohui",), "not the one that told us otherwise"
    bench.hear("Anneng", Bodies(header_hash(OTHER), OTHER_TX.leaf, ()))
    assert commits(bench) == [header_hash(OTHER)]
    said = [message.header_hash for message in bench.said(Prepare)]
    assert said == (prepared or [header_hash(OTHER)]), "never two PREPAREs of one view"
    for name in ("Anneng", "Chengdian"):
        bench.hear(name, commit(name, OTHER))
    assert bench.engine.status().committed == 1


def test_F03_a_story_that_no_quorum_accepted_moves_nobody():
    bench = lied_to()
    bench.hear("Anneng", SHOWN)
    bench.hear("Anneng", prepare("Anneng", OTHER))
    assert bench.engine.status().phase == "preparing"
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    assert commits(bench) == [header_hash(HEADER)], "here the quorum is for ours"
    bench.hear("Chengdian", SHOWN)
    assert bench.engine.status().phase == "committing"


def test_F03_a_refused_story_gives_way_to_the_accepted_one():
    bad = make_transaction(3, valid_until_ms=T0 + 999)
    bench = Bench("Dianneng")
    bench.admit(OTHER_TX)
    bench.hear("Bohui", pre_prepare(make_header(bad), bad))
    bench.admit(bad)
    assert bench.engine.status().phase == "refusing"
    bench.hear("Anneng", SHOWN)
    outvoted(bench)
    bench.hear("Anneng", Bodies(header_hash(OTHER), OTHER_TX.leaf, ()))
    assert commits(bench) == [header_hash(OTHER)]


def test_F03_a_forged_story_is_charged_to_whoever_showed_it_and_the_true_one_taken():
    bench = lied_to()
    bench.hear("Bohui", pre_prepare(OTHER, OTHER_TX))  # Bohui is accused: from now on nothing more is verified for that
    bench.hear("Anneng", Shown(replace(SHOWN.proposal, signature=bytes(64))))
    bench.hear("Chengdian", SHOWN)
    assert bench.charges == []
    outvoted(bench)
    assert bench.charges == ["proposal-forged"]
    assert bench.state.round.proposal is not None
    assert bench.state.round.proposal.header_raw == OTHER


def test_F03_only_the_first_story_of_each_voting_peer_is_kept_and_none_of_its_list():
    bench = lied_to()
    third = make_header(TX, OTHER_TX)
    long = PrePrepare(0, third, bytes(32 * 100), pre_prepare(third).signature)
    bench.hear("Anneng", Shown(long))
    bench.hear("Anneng", SHOWN)
    bench.hear("Observer", SHOWN)
    assert [(peer, other.header, other.leaves) for peer, other in bench.state.round.others.items()] == [
        ("Anneng", third, b"")
    ]


def test_F03_in_later_views_the_certificate_binds_and_no_story_is_taken():
    bench = lied_to()
    bench.hear("Chengdian", new_view(requests(by=NAMES[:3]), pre_prepare(FRESH, TX, view=1)))
    bench.hear("Anneng", SHOWN)
    assert bench.state.round.others == {}
    for name in ("Anneng", "Bohui"):
        bench.hear(name, prepare(name, OTHER, view=1))
    assert bench.engine.status().phase == "preparing"
