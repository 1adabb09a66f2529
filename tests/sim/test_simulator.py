"""The simulator itself: seeds hold, replay exactly, and fail when the engine has a bug or too many members lie."""

import os
import subprocess
import sys
from collections import Counter
from itertools import count
from pathlib import Path

import pytest

from ledger.validators import fault_limit
from tests.sim import application
from tests.sim.application import GENESIS_TIME_MS, KeyValue
from tests.sim.checker import InvariantError
from tests.sim.draw import BY_SEED, FEATURES, KINDS, PACK, draw, has
from tests.sim.goodput import GOODPUT_MIN_PERCENT, attack, steady
from tests.sim.mutants import MUTANTS, mutated
from tests.sim.plan import BLOCKS_MIN, NAMES, QUICK, Clock, Cut, Decide, Lie, Plan
from tests.sim.run import failures, hunt, run_plan, run_seed
from tests.sim.shrink import shrink, with_nodes
from tests.sim.tricks import TRICKS
from tests.sim.world import World

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("first", range(0, 100, 10))
def test_seeds_hold(first):
    """… and each is long enough, or its report says that it is not."""
    assert failures(range(first, first + 10)) == []


@pytest.mark.long
@pytest.mark.parametrize("first", range(100, 1_100, 50))
def test_many_seeds_hold(first):
    assert failures(range(first, first + 50)) == []


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_twins_hold(first):
    assert failures(range(first, first + 50), "twins") == []


@pytest.mark.parametrize("seed", range(2))
def test_fights_over_locks_hold(seed):
    assert failures([seed], "locks") == []


@pytest.mark.long
@pytest.mark.parametrize("first", range(200, 10_200, 500))
def test_many_twins_hold(first):
    assert failures(range(first, first + 500), "twins") == []


def test_a_failure_tells_its_seed_and_command(monkeypatch):
    """… be it of an invariant or of any part of the simulated world; the other seeds go on."""

    def execute(*_: object) -> None:
        raise KeyError("a wallet")

    monkeypatch.setattr(KeyValue, "execute", execute)
    (one, other) = failures([1, 2], "twins")
    assert one.startswith("python -m tests.sim --seed 1 --family twins --shrink: ")
    assert "KeyError: 'a wallet'" in one
    assert "test_simulator.py" in one
    assert other.startswith("python -m tests.sim --seed 2")


def first_seed(kind: str, feature: str = "") -> int:
    """The first seed of a kind that has a feature, or none."""
    wanted = {feature} - {""}
    return next(s for s in count() if BY_SEED[s % 8] == kind and {f for f in FEATURES if has(s, f)} == wanted)


def test_a_seed_replays_to_the_same_trace_whatever_the_hash_seed():
    """Of every kind; with contracts, with decisions, in a crowd; of every family."""
    seeds = [(first_seed(kind), "seed") for kind in KINDS]
    seeds += [(first_seed("liars", each), "seed") for each in ("contracts", "decisions", "crowd")]
    seeds += [(0, "twins"), (1, "twins")]
    code = f"from tests.sim.run import run_seed\nfor each in {seeds}: print(run_seed(*each).trace)"
    traces = []
    for hash_seed in ("0", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", code]
        told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
        traces.append(dict(zip(seeds, told.split(), strict=True)))
    assert traces[0] == traces[1]


def test_a_trace_tells_what_is_in_the_blocks(monkeypatch):
    """Transactions that are valid for a millisecond less: no message more, no step sooner."""
    seed = first_seed("crashes")
    right = run_seed(seed)
    monkeypatch.setattr(application, "VALID_MS", application.VALID_MS - 1)
    other = run_seed(seed)
    assert (other.steps, other.blocks) == (right.steps, right.blocks)
    assert other.trace != right.trace


def test_every_part_of_the_plans_is_drawn_and_all_of_them_meet():
    plans = {seed: draw(seed) for seed in range(3_000)}
    assert {type(fault).__name__ for plan in plans.values() for fault in plan.faults} == {
        *("Crash", "Weather", "Cut", "Rounds", "Full", "Clock", "Lie", "Decide"),
    }
    met = {(feature, BY_SEED[seed % 8]) for seed in plans for feature in FEATURES if has(seed, feature)}
    assert met == {(feature, kind) for feature in FEATURES for kind in KINDS}
    decided = [seed for seed, plan in plans.items() if any(isinstance(fault, Decide) for fault in plan.faults)]
    assert {BY_SEED[seed % 8] for seed in decided} == set(KINDS)
    assert any(set(plans[seed].byzantine) for seed in decided)
    assert sum(plan.real_signatures for plan in plans.values()) == 29
    assert sum(plan.contracts for plan in plans.values()) == 153
    lies = Counter(fault.trick for plan in plans.values() for fault in plan.faults if isinstance(fault, Lie))
    assert min(lies[trick] for trick in PACK) * 7 > max(lies.values()), "no trick is rare"


def test_clocks_are_wrong_everywhere_until_the_healing_and_then_of_f_members():
    plans = [draw(seed) for seed in range(1_000)]
    assert all(len({*plan.byzantine, *plan.off_for_ever}) <= fault_limit(plan.nodes) for plan in plans)
    wrong = [(plan, {fault.node for fault in plan.faults if isinstance(fault, Clock)}) for plan in plans]
    assert any(len(names) == plan.nodes for plan, names in wrong)
    assert any(names and plan.byzantine for plan, names in wrong)
    assert any(plan.off_for_ever for plan, _ in wrong)
    assert sum(bool(names) for _, names in wrong[:100]) > 5, "in the normal test run too"


def test_a_chain_led_ahead_by_wrong_clocks_goes_on_when_the_right_ones_are_there():
    clocks = tuple(Clock(0, name, 3_600_000) for name in NAMES[:4])
    plan = Plan(4, faults=clocks, fault_ms=1_000, timing=QUICK, blocks_min=BLOCKS_MIN)
    world = World(1, plan)
    world.run_plan()
    assert world.now_ms() > 3_600_000 + GENESIS_TIME_MS + world.scheduler.now_ms - 2_000


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


def test_a_plan_with_decisions_is_shrunk_to_fewer_members():
    plan = next(p for p in map(draw, count()) if p.nodes > 4 and any(isinstance(f, Decide) for f in p.faults))
    assert run_plan(1, with_nodes(plan, 4)).failure == ""


def test_a_crash_is_no_bug_found(monkeypatch):
    """A mutant is found when its seed fails as it should, and holds without it."""
    name = "free-payments"
    monkeypatch.setitem(MUTANTS, name, MUTANTS[name]._replace(breaks="I1"))
    assert hunt(name, ()) is None


@pytest.mark.parametrize("name", MUTANTS)
def test_a_bug_is_found(name):
    """… by a seed that holds without it."""
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
