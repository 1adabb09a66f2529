"""The table of traps in docs/consensus.md names guards and tests that exist, and leaves none out."""

import importlib
import re
from functools import cache
from pathlib import Path

import pytest
from msgspec import Struct

from tests.sim.mutants import MUTANTS

ROOT = Path(__file__).resolve().parents[2]


class Row(Struct):
    """One trap."""

    number: int
    guards: list[str]
    """file:function"""
    tests: set[str]
    mutants: list[str]


@cache
def rows() -> list[Row]:
    """The table."""
    text = (ROOT / "docs" / "consensus.md").read_text(encoding="utf-8")
    section = text.split("\n## Traps\n")[1].split("\n## ")[0]
    found = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].isdigit():
            quoted = [re.findall(r"`([^`]+)`", cell) for cell in cells]
            found.append(Row(int(cells[0]), quoted[2], set(quoted[3]), quoted[4]))
    return found


def named_tests() -> dict[int, set[str]]:
    """Trap → the tests that are named for it among the scenarios."""
    named: dict[int, set[str]] = {}
    for path in (ROOT / "tests" / "scenarios").glob("test_*.py"):
        for name, number in re.findall(r"^def (test_trap_(\d\d)_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            named.setdefault(int(number), set()).add(name)
    return named


def test_every_trap_has_a_row_in_order():
    assert [row.number for row in rows()] == list(range(1, 25))


def test_every_row_names_all_mutants_of_its_trap():
    for row in rows():
        assert row.mutants
        assert row.mutants == [name for name in MUTANTS if name.startswith(f"trap-{row.number:02}-")]


def test_every_row_names_all_tests_of_its_trap():
    assert {row.number: row.tests for row in rows()} == named_tests()


@pytest.mark.parametrize("number", range(1, 25))
def test_every_guard_exists(number):
    (row,) = [row for row in rows() if row.number == number]
    assert row.guards
    for guard in row.guards:
        file, name = guard.split(":")
        found = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        for part in name.split("."):
            found = getattr(found, part)
