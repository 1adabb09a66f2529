"""VIEW-CHANGE and NEW-VIEW one by one."""

from itertools import permutations

import pytest
from msgspec.structs import replace

from consensus.certificates import choose
from consensus.messages import Commit, NewView, Prepare, ViewChange
from ledger.block import Vote
from tests.unit.consensus_kit import (
    NAMES,
    Bench,
    certificate,
    commit,
    make_header,
    make_transaction,
    new_view,
    pre_prepare,
    prepare,
    view_change,
)

TX = make_transaction(1)
HEADER = make_header(TX)
OTHER = make_header(make_transaction(2))
FRESH = make_header(TX, view=1)
VIEW_MS = 2_000


def waiting_bench(me: str = "Anneng") -> Bench:
    """A node with a transaction that waits, and a primary that does nothing."""
    bench = Bench(me)
    bench.admit(TX)
    return bench


def requests(view: int = 1, shown=None, by: tuple[str, ...] = NAMES[1:]) -> list[ViewChange]:
    """A quorum's requests, the first of them with a certificate."""
    return [view_change(name, view, shown if name == by[0] else None) for name in by]


def test_F03_the_timer_runs_only_while_something_waits():
    bench = Bench()
    bench.tick(5 * VIEW_MS)
    assert bench.said(ViewChange) == []
    bench.admit(TX)
    bench.tick(10)
    bench.tick(VIEW_MS - 20)
    assert bench.said(ViewChange) == []
    bench.tick(20)
    assert [message.view for message in bench.said(ViewChange)] == [1]


def test_trap_24_a_proposal_alone_does_not_calm_the_timer():
    bench = waiting_bench()
    bench.tick(10)
    bench.tick(VIEW_MS - 20)
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.tick(20)
    assert [message.view for message in bench.said(ViewChange)] == [1]


def test_trap_13_a_huge_view_moves_nobody():
    bench = waiting_bench()
    bench.hear("Dianneng", view_change("Dianneng", 4_000_000_000))
    assert bench.engine.status().view == 0
    bench.hear("Chengdian", view_change("Chengdian", 2))
    assert bench.engine.status().view == 2, "f + 1 members want view 2 or a later one"


def test_trap_14_the_new_view_timer_starts_at_a_quorum_and_doubles():
    bench = waiting_bench()
    bench.tick(10)
    bench.tick(VIEW_MS)
    for _ in range(10):
        bench.tick(VIEW_MS)
    assert bench.engine.status().view == 1, "alone it asks for view 1 and no more"
    for name in ("Bohui", "Dianneng"):
        bench.hear(name, view_change(name, 1))
    bench.tick(10)
    bench.tick(2 * VIEW_MS - 20)
    assert bench.engine.status().view == 1
    bench.tick(20)
    assert bench.engine.status().view == 2


def test_trap_16_who_gave_up_takes_part_in_the_old_view_no_more():
    bench = waiting_bench()
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.tick(10)
    bench.tick(VIEW_MS)
    assert bench.state.round.proposal is None
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    assert bench.said(Commit) == []


def test_a_quorum_of_commits_of_an_old_view_still_decides():
    bench = waiting_bench()
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.tick(10)
    bench.tick(VIEW_MS)
    for name in NAMES[1:]:
        bench.hear(name, commit(name, HEADER))
    assert (bench.state.tip.height, bench.engine.status().view) == (1, 0)


def test_F03_the_new_primary_proposes_afresh_when_nobody_prepared():
    bench = waiting_bench("Chengdian")
    for name in ("Anneng", "Bohui"):
        bench.hear(name, view_change(name, 1))
    (message,) = bench.said(NewView)
    assert [change.voter for change in message.view_changes] == [0, 1, 2]
    assert bench.engine.status().phase == "preparing"


@pytest.mark.parametrize("order", list(permutations(("Anneng", "Bohui", "Dianneng"))))
def test_trap_08_09_10_the_new_primary_proposes_the_block_of_the_highest_view(order):
    """Whatever the order of arrival: the prepared block of view 1, not that of view 0, and no fresh one."""
    in_view_1 = make_header(make_transaction(2), view=1)
    shown = {
        "Anneng": certificate(HEADER, 0, ("Anneng", "Dianneng")),
        "Bohui": certificate(in_view_1, 1, ("Anneng", "Bohui")),
        "Dianneng": None,
    }
    requests = [view_change(name, 2, shown[name]) for name in order]
    assert choose(tuple(requests)) == shown["Bohui"]
    bench = waiting_bench("Dianneng")  # the primary of view 2
    for request in requests:
        if request.voter != 3:
            bench.hear(NAMES[request.voter], request)
    (message,) = bench.said(NewView)
    assert message.proposal.header == in_view_1


def test_F03_a_valid_new_view_is_entered():
    bench = waiting_bench()
    bench.hear("Chengdian", new_view(requests(), pre_prepare(FRESH, TX, view=1)))
    assert bench.charges == []
    assert (bench.engine.status().view, bench.engine.status().phase) == (1, "preparing")
    assert [message.view for message in bench.said(Prepare)] == [1]


def test_trap_11_a_re_proposal_keeps_the_headers_bytes():
    bench = waiting_bench()
    shown = requests(1, certificate(HEADER))
    bench.hear("Chengdian", new_view(shown, pre_prepare(HEADER, TX, view=1)))
    assert bench.charges == []
    assert bench.engine.status().phase == "preparing"


def test_trap_09_a_prepared_block_is_not_replaced():
    bench = waiting_bench()
    bench.hear("Chengdian", new_view(requests(1, certificate(HEADER)), pre_prepare(FRESH, TX, view=1)))
    bench.hear("Chengdian", new_view(requests(1, certificate(HEADER)), pre_prepare(OTHER, view=1)))
    assert bench.charges == ["new-view-choice", "new-view-choice"]
    assert bench.engine.status().view == 0


def wrong_new_views() -> dict[str, NewView]:
    """NEW-VIEWs that no honest primary sends."""
    fresh = pre_prepare(FRESH, TX, view=1)
    good = requests()
    twice = [good[0], good[0], good[1]]
    forged = [replace(good[0], signature=bytes(64)), *good[1:]]
    short = certificate(HEADER, 0, ("Dianneng",))
    by_primary = certificate(HEADER, 0, ("Bohui", "Dianneng"))
    hollow = replace(certificate(HEADER), prepares=(Vote(0, bytes(64)), Vote(3, bytes(64))))
    late = certificate(FRESH, 1, ("Anneng", "Dianneng"))
    return {
        "unsigned": replace(new_view(good, fresh), signature=bytes(64)),
        "short": new_view(good[:2], fresh),
        "repeated": new_view(twice, fresh),
        "mixed": new_view([*good[:2], view_change("Dianneng", 2)], fresh),
        "forged request": new_view(forged, fresh),
        "short certificate": new_view(requests(1, short), pre_prepare(HEADER, TX, view=1)),
        "primary twice": new_view(requests(1, by_primary), pre_prepare(HEADER, TX, view=1)),
        "forged certificate": new_view(requests(1, hollow), pre_prepare(HEADER, TX, view=1)),
        "late certificate": new_view(requests(1, late), fresh),
        "another view": new_view(good, pre_prepare(HEADER, TX, view=0)),
        "unproven re-proposal": new_view(good, pre_prepare(HEADER, TX, view=1)),
    }


@pytest.mark.parametrize("name", wrong_new_views())
def test_trap_07_15_an_invalid_new_view_triggers_nothing(name):
    bench = waiting_bench()
    bench.hear("Chengdian", wrong_new_views()[name])
    assert len(bench.charges) == 1
    assert (bench.engine.status().view, bench.engine.status().phase) == (0, "waiting")
    assert bench.said(Prepare) == []


def test_trap_15_a_new_view_of_anybody_else_triggers_nothing():
    bench = waiting_bench()
    bench.hear("Dianneng", new_view(requests(), pre_prepare(FRESH, TX, view=1)))
    assert bench.charges == ["new-view-stranger"]


def test_trap_12_the_lock_is_shown_again_and_again():
    bench = waiting_bench()
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    for view in (1, 2):
        for name in ("Bohui", "Chengdian"):
            bench.hear(name, view_change(name, view))
    shown = [message.certificate for message in bench.said(ViewChange)]
    assert len(shown) == 2
    assert {each.header for each in shown if each is not None} == {HEADER}
    again = Bench(records=bench.records)
    assert again.state.round.lock == shown[-1]
    assert again.engine.status().phase == "changing"


def test_trap_17_a_lock_is_let_go_where_a_quorum_proves_that_nothing_was_decided():
    bench = waiting_bench()
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    assert bench.state.round.lock is not None
    bench.hear("Chengdian", new_view(requests(), pre_prepare(FRESH, TX, view=1)))
    assert [message.view for message in bench.said(Prepare)] == [0, 1]
