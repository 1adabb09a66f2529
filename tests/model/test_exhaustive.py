"""Every reachable state of one height: no two commits, no lock that cannot be released. See docs/model.md."""

import pytest

from tests.model.__main__ import CASES
from tests.model.explore import Consortium
from tests.model.mutants import MUTANTS, mutated
from tests.model.real import BrokenError

SLOW = ("primary-prepares",)
"""Mutants that take more than a second or two."""


@pytest.mark.parametrize(("liar", "states"), [(None, 11_625), (0, 1_815)])
def test_trap_17_every_lock_of_two_views_can_be_released(liar: int | None, states: int):
    report = Consortium(liar, views=2).explore()
    assert report.states == states  # a smaller space would prove less than it says
    assert report.split > 0


@pytest.mark.long
@pytest.mark.parametrize(("liar", "views", "crashes"), CASES)
def test_trap_17_every_lock_can_be_released_and_no_two_blocks_commit(liar: int | None, views: int, crashes: int):
    report = Consortium(liar, views, crashes).explore()
    assert report.split > 0


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long if n in SLOW else ()) for n in MUTANTS])
def test_a_deliberate_bug_is_found(name: str):
    with mutated(name) as mutant, pytest.raises(BrokenError, match=f"^{mutant.breaks}"):
        Consortium(mutant.liar, mutant.views, mutant.crashes).explore()
