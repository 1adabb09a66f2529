"""Traps 7 to 17: giving up on a primary without losing what may be decided."""

from itertools import permutations

import pytest
from msgspec.structs import replace

from consensus.certificates import choose
from consensus.messages import Bodies, Commit, FetchBodies, NewView, Prepare, ViewChange
from ledger.block import Vote, header_hash
from tests.unit.consensus_kit import (
    FRESH,
    HEADER,
    NAMES,
    OTHER,
    T0,
    TX,
    VIEW_MS,
    Bench,
    certificate,
    changing_bench,
    commit,
    locked_bench,
    make_header,
    make_transaction,
    new_view,
    pre_prepare,
    prepare,
    preparing_bench,
    requests,
    view_change,
    waiting_bench,
)


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
        "another view": new_view(good, pre_prepare(FRESH, TX, view=5)),
        "unproven re-proposal": new_view(good, pre_prepare(HEADER, TX, view=1)),
    }


@pytest.mark.parametrize("name", wrong_new_views())
def test_trap_07_a_new_view_stands_or_falls_with_everything_in_it(name):
    bench = waiting_bench()
    bench.hear("Chengdian", wrong_new_views()[name])
    assert bench.charges == [FAULTS[name]]
    assert bench.said(Prepare) == []


FAULTS = {
    "unsigned": "new-view-forged",
    "short": "new-view-short",
    "repeated": "votes-repeated",
    "mixed": "new-view-mixed",
    "forged request": "view-change-forged",
    "short certificate": "certificate-short",
    "primary twice": "certificate-short",
    "forged certificate": "certificate-forged",
    "late certificate": "certificate-late",
    "another view": "new-view-choice",
    "unproven re-proposal": "new-view-choice",
}
"""What each of them is charged as."""


def test_trap_07_a_request_counts_only_with_a_certificate_that_holds():
    hollow = replace(certificate(HEADER), prepares=(Vote(0, bytes(64)), Vote(3, bytes(64))))
    wrong = {
        "certificate-forged": view_change("Dianneng", 1, hollow),
        "certificate-short": view_change("Dianneng", 1, certificate(HEADER, 0, ("Anneng",))),
        "certificate-late": view_change("Dianneng", 1, certificate(FRESH, 1)),
        "proposal-header": view_change("Dianneng", 1, certificate(make_header(TX, height=2))),
        "view-change-forged": replace(view_change("Dianneng", 1, certificate(HEADER)), certificate=None),
        "view-change-zero": view_change("Dianneng", 0),
        "vote-stranger": view_change("Chengdian", 1),
    }
    for code, message in wrong.items():
        bench = waiting_bench()
        bench.hear("Dianneng", message)
        assert bench.charges == [code]
        assert bench.state.round.view_changes == {}


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_trap_08_the_choice_is_a_function_of_all_requests_whatever_their_order(order):
    """Four came, one of them with a certificate: a choice over the first three would miss it."""
    asking = [view_change(name, 1, certificate(HEADER) if name == "Dianneng" else None) for name in NAMES]
    assert choose(tuple(asking[at] for at in order)) == certificate(HEADER)
    later = certificate(FRESH, 1, ("Anneng", "Bohui"))
    both = [*asking[:2], view_change("Chengdian", 2, later), asking[3]]
    assert choose(tuple(both[at] for at in order)) == later
    bench = waiting_bench()
    proposal = pre_prepare(FRESH, TX, view=1)
    bench.hear("Chengdian", new_view(asking, proposal))
    assert bench.charges == ["new-view-choice"]
    bench.hear("Chengdian", new_view(asking, replace(proposal, header=HEADER)))
    assert bench.charges[1:] == ["proposal-forged"], "the right choice, under a signature for another"


@pytest.mark.parametrize("order", list(permutations(("Anneng", "Bohui", "Dianneng"))))
def test_trap_10_the_certificate_of_the_highest_view_wins(order):
    """The prepared block of view 1, not that of view 0, which more members show."""
    in_view_1 = make_header(make_transaction(2), view=1)
    shown = {
        "Anneng": certificate(HEADER, 0, ("Anneng", "Dianneng")),
        "Bohui": certificate(in_view_1, 1, ("Anneng", "Bohui")),
        "Dianneng": certificate(HEADER, 0, ("Chengdian", "Dianneng")),
    }
    asking = [view_change(name, 2, shown[name]) for name in order]
    assert choose(tuple(asking)) == shown["Bohui"]
    bench = waiting_bench("Dianneng")  # the primary of view 2
    for request in asking:
        if request.voter != 3:
            bench.hear(NAMES[request.voter], request)
    (message,) = bench.said(NewView)
    assert message.proposal.header == in_view_1


def test_trap_09_a_member_shows_what_it_prepared():
    bench = locked_bench()
    bench.tick(10)
    bench.tick(VIEW_MS)
    (asked,) = bench.said(ViewChange)
    assert asked.certificate is not None
    assert (asked.certificate.view, asked.certificate.header) == (0, HEADER)


def test_trap_09_a_prepared_block_is_not_replaced():
    bench = waiting_bench()
    bench.hear("Chengdian", new_view(requests(1, certificate(HEADER)), pre_prepare(FRESH, TX, view=1)))
    bench.hear("Chengdian", new_view(requests(1, certificate(HEADER)), pre_prepare(OTHER, view=1)))
    assert bench.charges == ["new-view-choice", "new-view-choice"]
    assert bench.engine.status().view == 0


def test_trap_11_a_re_proposal_keeps_the_headers_bytes():
    shown = certificate(HEADER)
    primary = waiting_bench("Chengdian")
    primary.hear("Anneng", view_change("Anneng", 1))
    primary.hear("Bohui", view_change("Bohui", 1, shown))
    (message,) = primary.said(NewView)
    assert message.proposal.header == HEADER, "a new view number inside would be a new hash, and a block to lose"

    bench = waiting_bench()
    bench.hear("Chengdian", message)
    assert bench.charges == []
    assert bench.state.round.proposal is not None
    assert bench.state.round.proposal.header_raw == HEADER
    for changes in ({"time_ms": T0 + 1_001}, {"view": 1, "proposer": "Chengdian"}):
        other = waiting_bench()
        same_block = make_header(TX, **changes)
        other.hear("Chengdian", new_view(requests(1, shown), pre_prepare(same_block, TX, view=1)))
        assert other.charges == ["new-view-choice"]


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


def test_trap_12_a_block_that_was_accepted_is_there_after_a_power_cut():
    """A liar may hold a certificate of it that nobody else has, and show it in every view change from now on."""
    bench = Bench()
    bench.admit(TX)
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    again = Bench(records=bench.records)
    again.hear("Dianneng", FetchBodies(header_hash(HEADER), TX.leaf))
    assert again.said(Bodies)[0].raws == (TX.raw,)
    shown = [view_change("Bohui", 1, certificate(HEADER)), *(view_change(n, 1) for n in ("Chengdian", "Dianneng"))]
    again.hear("Chengdian", new_view(shown, replace(pre_prepare(HEADER, view=1), leaves=b"")))
    assert again.engine.status().phase == "preparing"
    assert again.said(FetchBodies) == []


def test_trap_12_an_accepted_block_is_served_however_many_views_go_by():
    """A liar may hold its certificate, and bind a new primary to it."""
    bench = preparing_bench()
    for view in range(1, 20):
        primary = NAMES[(1 + view) % 4]
        if primary != bench.me:
            salt = make_transaction(100 + view)
            proposal = pre_prepare(make_header(salt, view=view), salt, view=view)
            bench.hear(primary, new_view(requests(view), proposal, view))
    for asked in (bench, Bench(records=bench.records)):
        asked.hear("Dianneng", FetchBodies(header_hash(HEADER), b""))
        assert [message.leaves for message in asked.said(Bodies)] == [TX.leaf]


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


def test_trap_14_progress_resets_the_timer():
    bench = changing_bench()
    for name in ("Bohui", "Dianneng"):
        bench.hear(name, view_change(name, 1))
    bench.tick(10)
    bench.tick(2 * VIEW_MS - 20)  # nearly all of the wait for a NEW-VIEW
    bench.hear("Chengdian", new_view(requests(), pre_prepare(FRESH, TX, view=1)))
    bench.tick(10)
    bench.tick(2 * VIEW_MS - 20)
    assert bench.engine.status().view == 1, "the view that was entered has its whole time"
    for name in NAMES[1:]:
        bench.hear(name, commit(name, FRESH, view=1))
    bench.admit(make_transaction(7))
    assert (bench.state.tip.height, bench.engine.status().view) == (1, 0)
    bench.tick(10)
    bench.tick(VIEW_MS - 20)
    assert bench.engine.status().view == 0, "so has the next height, and no more than the first view's time"
    bench.tick(20)
    assert bench.engine.status().view == 1


def test_trap_15_nothing_of_what_is_wrong_moves_the_view_or_the_timer():
    bench = waiting_bench()
    bench.tick(10)
    before = bench.engine.status(), bench.state.round.deadline_ms
    for message in wrong_new_views().values():
        bench.hear("Chengdian", message)
    assert len(bench.charges) == len(FAULTS)
    assert (bench.engine.status(), bench.state.round.deadline_ms) == before


def test_trap_15_a_new_view_of_anybody_else_triggers_nothing():
    bench = waiting_bench()
    bench.hear("Dianneng", new_view(requests(), pre_prepare(FRESH, TX, view=1)))
    assert bench.charges == ["new-view-stranger"]


def test_trap_16_an_old_primary_drops_its_open_block():
    bench = waiting_bench("Bohui")
    assert bench.engine.status().phase == "preparing"
    for name in ("Anneng", "Chengdian"):
        bench.hear(name, view_change(name, 1))
    assert (bench.engine.status().view, bench.state.round.proposal) == (1, None)
    for name in ("Anneng", "Dianneng"):
        bench.hear(name, prepare(name, HEADER))
    assert bench.said(Commit) == [], "it gave up on view 0, and takes part in it no more"
    assert len(bench.state.pool) == 1, "what it held goes into another block"
    fresh = pre_prepare(FRESH, TX, view=1)
    bench.hear("Chengdian", new_view([view_change(name, 1) for name in ("Anneng", "Chengdian", "Dianneng")], fresh))
    assert [(message.view, message.header_hash) for message in bench.said(Prepare)] == [(1, header_hash(FRESH))]


def test_trap_16_who_gave_up_on_a_view_does_not_lock_in_it():
    bench = waiting_bench()
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.tick(10)
    bench.tick(VIEW_MS)
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    assert bench.said(Commit) == []
    assert bench.state.round.lock is None


def test_trap_17_a_lock_is_let_go_where_a_quorum_proves_that_nothing_was_decided():
    bench = waiting_bench()
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    assert bench.state.round.lock is not None
    bench.hear("Chengdian", new_view(requests(), pre_prepare(FRESH, TX, view=1)))
    assert [message.view for message in bench.said(Prepare)] == [0, 1]
