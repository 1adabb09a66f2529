"""The simulator itself: seeds hold, replay exactly, and fail when the engine has a bug or too many members lie."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.checker import InvariantError
from tests.sim.goodput import GOODPUT_MIN_PERCENT, attack, steady
from tests.sim.mutants import MUTANTS, mutated
from tests.sim.plan import BLOCKS_MIN, EVENTS_MIN, Cut, Plan, draw
from tests.sim.run import hunt, run_plan, run_seed
from tests.sim.shrink import shrink
from tests.sim.tricks import TRICKS
from tests.sim.world import World

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("first", range(0, 100, 10))
def test_seeds_hold(first):
    for seed in range(first, first + 10):
        report = run_seed(seed)
        assert report.failure == "", f"python -m tests.sim --seed {seed} --shrink"
        assert report.steps >= EVENTS_MIN
        assert report.blocks >= BLOCKS_MIN


@pytest.mark.long
@pytest.mark.parametrize("first", range(100, 1_100, 50))
def test_many_seeds_hold(first):
    assert [report.failure for seed in range(first, first + 50) if (report := run_seed(seed)).failure] == []


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_twins_hold(first):
    assert [report.failure for seed in range(first, first + 50) if (report := run_seed(seed, "twins")).failure] == []


@pytest.mark.parametrize("seed", range(2))
def test_fights_over_locks_hold(seed):
    assert run_seed(seed, "locks").failure == ""


@pytest.mark.long
@pytest.mark.parametrize("first", range(200, 10_200, 500))
def test_many_twins_hold(first):
    assert [report.failure for seed in range(first, first + 500) if (report := run_seed(seed, "twins")).failure] == []


def test_a_seed_replays_to_the_same_trace_whatever_the_hash_seed():
    traces = set()
    for hash_seed in ("0", "4242"):
        command = [sys.executable, "-m", "tests.sim", "--seed", "4"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
        traces.add(told.split("trace ")[1].split(";")[0])
    assert len(traces) == 1


def test_every_part_of_the_plans_is_drawn():
    plans = [draw(seed) for seed in range(200)]
    assert {type(fault).__name__ for plan in plans for fault in plan.faults} == {
        *("Crash", "Weather", "Cut", "Rounds", "Full", "Clock", "Lie", "Decide"),
    }
    assert sum(plan.real_signatures for plan in plans) == 2
    assert sum(plan.contracts for plan in plans) == 10
    assert any(plan.off_for_ever for plan in plans)
    assert all(len({*plan.byzantine, *plan.off_for_ever}) <= (plan.nodes - 1) // 3 for plan in plans)


def test_more_than_f_faults_fork_the_chain_and_the_checker_names_the_signers():
    """Two of four members are doubled; each half of the network has three votes, and both write block 1."""
    plan = Plan(4, twins=("Chengdian", "Dianneng"))
    world = World(1, plan)
    one, other = {"Bohui", "Chengdian", "Dianneng"}, {"Anneng", "Chengdian'", "Dianneng'"}
    world.network.cut = {pair for a in one for b in other for pair in ((a, b), (b, a))}
    world.submit(to="Bohui")
    world.submit(to="Anneng")
    with pytest.raises(InvariantError, match=r"I1: .* signed on both sides: Chengdian, Dianneng$"):
        world.run(20_000)


def test_a_failing_plan_is_shrunk():
    mutant = MUTANTS["trap-01-short-quorum"]

    def fails(plan: Plan) -> bool:
        return run_plan(mutant.seed, plan).failure.startswith("I1")

    whole = draw(mutant.seed)
    with mutated(mutant):
        assert fails(whole)
        plan, kept = shrink(whole, fails, runs_max=25)
        assert len(kept) < len(whole.faults)
        assert fails(plan.keep(kept))


def test_a_shrunk_plan_replays_by_its_command():
    def run(*options: str) -> str:
        command = [sys.executable, "-m", "tests.sim", "--mutant", "trap-09-dropped-lock", *options]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout

    whole = MUTANTS["trap-09-dropped-lock"].seed
    small = run("--seed", str(whole), "--shrink")
    again = run(*small.split("replay: python -m tests.sim ")[1].split())
    assert "I1: " in small
    assert again.split("trace")[1] == small.split("trace")[1]


def test_shrinking_keeps_what_matters():
    faults = tuple(Cut(at, 10, ()) for at in range(40))
    plan = Plan(7, faults=faults, fault_ms=10_000, blocks_min=BLOCKS_MIN)

    def fails(plan: Plan) -> bool:
        return {faults[7], faults[31]} <= set(plan.faults) and plan.nodes >= 5 and plan.fault_ms >= 3_000

    smaller, kept = shrink(plan, fails)
    assert kept == {7, 31}
    assert (smaller.nodes, smaller.blocks_min) == (5, 0)
    assert 3_000 <= smaller.fault_ms <= 3_300


@pytest.mark.parametrize("name", MUTANTS)
def test_a_bug_is_found(name):
    assert hunt(name, range(HUNTED_SEEDS)), MUTANTS[name].what


def test_every_trap_has_a_bug():
    assert {name[:7] for name in MUTANTS if name.startswith("trap-")} == {
        f"trap-{number:02}" for number in range(1, 25)
    }


HUNTED_SEEDS = 60
"""A change of timing moves a bug to another seed: it must still be found among so many."""


@pytest.mark.long
@pytest.mark.parametrize("trick", TRICKS)
def test_goodput_under_attack(trick):
    assert steady(attack(trick, 4)) * 100 >= GOODPUT_MIN_PERCENT * steady(Plan(4))
