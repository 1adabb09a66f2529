"""The simulator itself: seeds hold, replay exactly, and fail when the engine has a bug."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.test_F03_view_change import (
    test_trap_12_a_lock_survives_the_crash_of_everybody_and_the_loss_of_its_primary as lock_scenario,
)
from tests.sim.mutants import MUTANTS, mutated
from tests.sim.run import run_seed

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(24)
"""Seed 7 signs with real keys; every fourth runs the real contracts."""


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_hold(seed):
    report = run_seed(seed, fault_ms=20_000)
    assert report.failure == ""
    assert report.blocks >= 5


@pytest.mark.long
@pytest.mark.parametrize("first", range(10, 310, 50))
def test_many_seeds_hold(first):
    assert [report.failure for seed in range(first, first + 50) if (report := run_seed(seed)).failure] == []


def test_a_seed_replays_to_the_same_trace_whatever_the_hash_seed():
    traces = set()
    for hash_seed in ("0", "4242"):
        command = [sys.executable, "-m", "tests.sim", "--seed", "12"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
        traces.add(told.split("trace ")[1].split(";")[0])
    assert len(traces) == 1


FOUND_BY = {
    "short-quorum": (8, "I1"),
    "send-before-persist": (0, "I5"),
    "forgotten-votes": (0, "I5"),
    "dropped-lock": (5, "I1"),
    "no-window": (1, "I2"),
    "free-payments": (3, "I4"),
}
"""Mutant → a seed that finds it in this version of the engine, and the invariant that breaks."""
SEEDS_TRIED = 40
"""A change of timing moves a bug to another seed: it must still be found among so many."""
FOUND_BY_SCENARIO = {
    "forgotten-locks": lock_scenario,
}
"""Mutants for which chance takes too many seeds."""


@pytest.mark.parametrize("name", FOUND_BY)
def test_a_bug_is_found(name):
    hint, invariant = FOUND_BY[name]
    with mutated(name):
        assert any(run_seed(seed).failure.startswith(invariant) for seed in (hint, *range(SEEDS_TRIED)))


@pytest.mark.parametrize("name", FOUND_BY_SCENARIO)
def test_a_bug_fails_its_scenario(name):
    with mutated(name), pytest.raises(AssertionError):
        FOUND_BY_SCENARIO[name]()


def test_every_mutant_is_found():
    assert set(FOUND_BY) | set(FOUND_BY_SCENARIO) == set(MUTANTS)
