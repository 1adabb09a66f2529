"""VIEW-CHANGE and NEW-VIEW one by one."""

from consensus.messages import NewView, Prepare, ViewChange
from tests.unit.consensus_kit import (
    FRESH,
    HEADER,
    NAMES,
    TX,
    VIEW_MS,
    Bench,
    commit,
    new_view,
    pre_prepare,
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
