"""VIEW-CHANGE and NEW-VIEW one by one."""

from msgspec.structs import replace

from consensus.messages import NewView, Prepare, PrePrepare, ViewChange
from consensus.round import ACCEPTED_KEPT, VIEWS_KEPT
from ledger.block import header_hash
from tests.unit.consensus_kit import (
    FRESH,
    HEADER,
    NAMES,
    T0,
    TX,
    VIEW_MS,
    Bench,
    certificate,
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


def test_F03_a_valid_new_view_is_entered():
    bench = waiting_bench()
    bench.hear("Chengdian", new_view(requests(), pre_prepare(FRESH, TX, view=1)))
    assert bench.charges == []
    assert (bench.engine.status().view, bench.engine.status().phase) == (1, "preparing")
    assert [message.view for message in bench.said(Prepare)] == [1]


def test_what_waits_but_expired_is_not_proposed():
    bench = Bench("Chengdian")  # the primary of height 2
    bench.admit(TX, make_transaction(3, valid_until_ms=T0 + 1_050))
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.tick(60)
    for name in ("Anneng", "Bohui", "Dianneng"):
        bench.hear(name, commit(name, HEADER))
    assert (bench.state.tip.height, len(bench.state.pool)) == (1, 1)
    assert bench.said(PrePrepare) == []


def test_a_refused_proposal_is_left_when_its_time_is_over():
    """A primary that proposes what nobody may accept costs one time-out."""
    bad = make_transaction(3, valid_until_ms=T0 + 999)
    bench = waiting_bench()
    bench.hear("Bohui", pre_prepare(make_header(bad), bad))
    bench.admit(bad)
    assert bench.engine.status().phase == "refusing"
    bench.tick(10)
    bench.tick(VIEW_MS)
    assert [message.view for message in bench.said(ViewChange)] == [1]
    bench.hear("Chengdian", new_view(requests(), pre_prepare(FRESH, TX, view=1)))
    assert [message.view for message in bench.said(Prepare)] == [1]


def test_a_voter_that_tells_each_another_story_is_believed_by_each_once():
    """Dianneng shows Chengdian a certificate, and us none: the NEW-VIEW stands on what Chengdian got, checked here."""
    bench = waiting_bench()
    bench.hear("Dianneng", view_change("Dianneng", 1))
    told = [view_change("Bohui", 1), view_change("Chengdian", 1), view_change("Dianneng", 1, certificate(HEADER))]
    bench.hear("Chengdian", new_view(told, pre_prepare(FRESH, TX, view=1)))
    assert bench.charges == ["new-view-choice"]
    forged = view_change("Dianneng", 1, replace(certificate(HEADER), proposal=bytes(64)))
    bench.hear("Chengdian", new_view([*told[:2], forged], pre_prepare(HEADER, TX, view=1)))
    assert bench.charges[1:] == ["certificate-forged"]
    bench.hear("Chengdian", new_view(told, pre_prepare(HEADER, TX, view=1)))
    assert (bench.engine.status().view, bench.engine.status().phase) == (1, "preparing")


def test_the_locked_block_stays_however_many_views_go_by():
    bench = locked_bench()
    for view in range(1, 20):
        primary = NAMES[(1 + view) % 4]
        if primary != bench.me:
            salt = make_transaction(view)
            header = make_header(salt, view=view)
            bench.hear(primary, new_view(requests(view), pre_prepare(header, salt, view=view), view))
    assert bench.engine.status().view == 18
    assert header_hash(HEADER) in bench.state.round.candidates
    assert len(bench.state.round.candidates) == VIEWS_KEPT + 2  # and the two that were accepted, one of them locked on


def test_of_the_blocks_accepted_at_a_height_the_newest_are_kept():
    bench = Bench()
    for view in range(1, 4 * ACCEPTED_KEPT):
        primary, salt = NAMES[(1 + view) % 4], make_transaction(view)
        if primary != bench.me:
            bench.admit(salt)
            proposal = pre_prepare(make_header(salt, view=view), salt, view=view)
            bench.hear(primary, new_view(requests(view), proposal, view))
            bench.tick(100)
    accepted = [candidate for candidate in bench.state.round.candidates.values() if candidate.durable]
    assert len(accepted) == ACCEPTED_KEPT + 1  # the newest was accepted after it came


def test_a_block_that_is_proposed_again_is_the_newest_candidate():
    """Else it would go at once, as the oldest, and a quorum's COMMITs for it would decide nothing."""
    bench = locked_bench()
    view = 0
    views: list[tuple[int, str, bytes]] = []
    while len(views) <= ACCEPTED_KEPT:
        view += 1
        if (primary := NAMES[(1 + view) % 4]) == bench.me:
            continue
        salt = make_transaction(100 + view)
        bench.admit(salt)
        header = make_header(salt, view=view)
        bench.hear(primary, new_view(requests(view), pre_prepare(header, salt, view=view), view))
        bench.tick(100)
        views.append((view, primary, header))
    view, primary, header = views[-1]
    for name in NAMES[1:]:
        if name != primary:
            bench.hear(name, prepare(name, header, view))
    assert bench.state.round.lock is not None
    assert bench.state.round.lock.view == view
    again = view + 1 if NAMES[(2 + view) % 4] != bench.me else view + 2
    prepared = certificate(HEADER, again, tuple(name for name in NAMES[1:] if name != NAMES[(1 + again) % 4]))
    later = again + 1 if NAMES[(2 + again) % 4] != bench.me else again + 2
    bench.hear(NAMES[(1 + later) % 4], new_view(requests(later, prepared), pre_prepare(HEADER, TX, view=later), later))
    assert bench.charges == []
    for name in NAMES[1:]:
        bench.hear(name, commit(name, HEADER, later))
    assert bench.state.tip.height == 1


def test_a_request_of_the_next_height_is_kept():
    bench = preparing_bench()
    early = replace(view_change("Dianneng", 1), height=2)
    bench.hear("Dianneng", early)
    assert [message for message, _ in bench.state.later.values()] == [early]
    for name in NAMES[1:]:
        bench.hear(name, commit(name, HEADER))
    assert bench.state.later == {}
    assert bench.charges == ["view-change-forged"], "it was signed for height 1"
