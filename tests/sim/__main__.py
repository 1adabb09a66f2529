"""`python -m tests.sim --seeds 1000 --jobs 2`; `--seed N` replays one, `--shrink` makes its plan small; `--twins N`;
`--mutant NAME` and `--mutants` run with deliberate bugs; `--goodput` measures.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial

from msgspec.structs import replace

from tests.sim.draw import FAMILIES
from tests.sim.goodput import measure_goodput
from tests.sim.mutants import MUTANTS, mutated
from tests.sim.plan import Plan
from tests.sim.run import Report, hunt, replay, run_plan, run_seed
from tests.sim.shrink import shrink, with_nodes

MUTANT_SEEDS = 200
"""A mutant that none of so many seeds finds is not caught."""
CHUNK = 8
"""Seeds that a process takes at once."""


def main() -> int:
    """Do what is asked; a failure prints the command that replays it. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, help="run so many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, help="run this one alone, and show its plan")
    parser.add_argument("--twins", type=int, help="run so many scenarios with doubled members")
    parser.add_argument("--family", choices=sorted(FAMILIES), default="seed", help="what the seeds are seeds of")
    parser.add_argument("--shrink", action="store_true", help="make a failing seed's plan as small as possible")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="with this bug; without a seed, look for one")
    parser.add_argument("--mutants", action="store_true", help="look for a seed for every bug")
    parser.add_argument("--goodput", action="store_true", help="transactions per second with mute and lying members")
    parser.add_argument("--only", help="with --seed: keep only these faults (numbers, commas)")
    parser.add_argument("--nodes", type=int, help="with --seed: the first so many members")
    parser.add_argument("--until", type=int, help="with --seed: heal after so many ms")
    parser.add_argument("--blocks", type=int, help="with --seed: then go on until there are so many blocks")
    options = parser.parse_args()
    if options.goodput:
        return measure_goodput()
    if options.mutants:
        return _run_mutants(options.jobs)
    if options.twins:
        options.family, options.seeds = "twins", options.twins
    if options.seed is not None:
        with mutated(MUTANTS[options.mutant]) if options.mutant else nullcontext():
            return _run_one(options)
    if options.mutant:
        return _run_mutant(options.mutant)
    return _run_many(options.family, options.first, options.seeds or 100, options.jobs)


def _run_many(family: str, first: int, count: int, jobs: int) -> int:
    began = time.perf_counter()
    failed = steps = blocks = transactions = 0
    busy_s = 0.0
    for report in _each(partial(run_seed, family=family), range(first, first + count), jobs):
        steps, blocks = steps + report.steps, blocks + report.blocks
        transactions, busy_s = transactions + report.transactions, busy_s + report.seconds
        if report.failure:
            failed += 1
            print(f"seed {report.seed}: {report.failure}")
            print(f"  replay: {replay(report.seed, family)}; make it small with --shrink", flush=True)
    print(f"{count - failed} of {count} seeds hold: {steps:,} steps, {blocks:,} blocks, {transactions:,} transactions")
    print(f"{steps / busy_s:,.0f} steps per second and job; {time.perf_counter() - began:,.0f} s in all")
    return 1 if failed else 0


def _each(run: partial[Report], seeds: Iterable[int], jobs: int) -> Iterator[Report]:
    if jobs == 1:
        yield from map(run, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(run, seeds, chunksize=CHUNK)


def _run_one(options: argparse.Namespace) -> int:
    """One seed, whole or in part, and its plan."""
    seed = options.seed
    plan = FAMILIES[options.family](seed)
    kept = frozenset(map(int, options.only.split(","))) if options.only else frozenset(range(len(plan.faults)))
    if options.only == "":
        kept = frozenset()
    if options.nodes:
        plan = with_nodes(plan, options.nodes)
    if options.until is not None:
        plan = replace(plan, fault_ms=options.until)
    if options.blocks is not None:
        plan = replace(plan, blocks_min=options.blocks)
    report = run_plan(seed, plan.keep(kept))
    if report.failure and options.shrink:
        invariant = report.failure[:2]
        plan, kept = shrink(plan, lambda smaller: run_plan(seed, smaller).failure[:2] == invariant)
        report = run_plan(seed, plan.keep(kept))
    _tell_plan(plan, kept)
    print(f"seed {seed}: {report.failure or 'holds'}")
    print(f"  {report.blocks} blocks, {report.transactions} transactions, {report.steps} steps, {report.seconds:.2f} s")
    command = replay(seed, options.family)
    if len(kept) < len(plan.faults):
        command += f" --only {','.join(map(str, sorted(kept)))}" if kept else ' --only ""'
    whole = FAMILIES[options.family](seed)
    for flag, now, drawn in (
        ("nodes", plan.nodes, whole.nodes),
        ("until", plan.fault_ms, whole.fault_ms),
        ("blocks", plan.blocks_min, whole.blocks_min),
    ):
        if now != drawn:
            command += f" --{flag} {now}"
    if options.mutant:
        command += f" --mutant {options.mutant}"
    print(f"  trace {report.trace}; replay: {command}")
    return 1 if report.failure else 0


def _tell_plan(plan: Plan, kept: frozenset[int]) -> None:
    print(
        f"{plan.nodes} members; liars: {', '.join(plan.byzantine) or 'none'}; twins: {', '.join(plan.twins) or 'none'}"
    )
    clocks = ", ".join(f"{name} {offset_ms:+d} ms" for name, offset_ms in plan.offsets_ms if offset_ms)
    print(f"clocks: {clocks or 'right'}; faults until {plan.fault_ms} ms:")
    for number, fault in enumerate(plan.faults):
        if number in kept:
            print(f"  {number:3d}  {fault}")


def _run_mutant(name: str) -> int:
    report = hunt(name, range(MUTANT_SEEDS))
    _tell_hunt(name, report)
    return 1 if report is None else 0


def _run_mutants(jobs: int) -> int:
    names = list(MUTANTS)
    with ProcessPoolExecutor(jobs) as pool:
        reports = pool.map(partial(hunt, seeds=range(MUTANT_SEEDS)), names)
        missed = [name for name, report in zip(names, reports, strict=True) if not _tell_hunt(name, report)]
    print(f"{len(names) - len(missed)} of {len(names)} bugs found")
    return 1 if missed else 0


def _tell_hunt(name: str, report: Report | None) -> bool:
    if report is None:
        print(f"{name}: NOT FOUND ({MUTANTS[name].what})", flush=True)
        return False
    print(f"{name}: {report.failure[:120]}")
    print(f"  {replay(report.seed, MUTANTS[name].family)} --mutant {name}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
