"""One run of a seed, and what it says."""

import time
import traceback
from collections.abc import Iterable

from msgspec import Struct

from tests.sim.checker import InvariantError
from tests.sim.draw import FAMILIES
from tests.sim.mutants import MUTANTS, mutated
from tests.sim.plan import BLOCKS_MIN, EVENTS_MIN, Plan
from tests.sim.world import World


class Report(Struct):
    """How a run went."""

    seed: int
    trace: str
    steps: int
    blocks: int
    transactions: int
    views: int
    """In vain after healing."""
    simulated_ms: int
    seconds: float
    failure: str = ""


def run_plan(seed: int, plan: Plan) -> Report:
    """Run both phases of a plan. What the network and the clients do follows from the seed."""
    began = time.perf_counter()
    failure, world = "", None
    try:
        world = World(seed, plan)
        world.run_plan()
    except InvariantError as error:
        failure = str(error)
    except Exception as error:  # noqa: BLE001 - of whatever part: this seed fails, and the others go on
        failure = " ".join(" ".join(traceback.format_exception(error)[-2:]).split())
    if world is None:
        return Report(seed, "", 0, 0, 0, 0, 0, time.perf_counter() - began, failure)
    steps, blocks = world.scheduler.steps, len(world.checker.hashes)
    if not failure and plan.blocks_min >= BLOCKS_MIN and (steps < EVENTS_MIN or blocks < BLOCKS_MIN):
        failure = f"the seed is too short: {steps} events, {blocks} blocks"
    return Report(
        seed,
        world.trace,
        steps,
        blocks,
        len(world.checker.placed),
        len(world.checker.late),
        world.scheduler.now_ms,
        time.perf_counter() - began,
        failure,
    )


def run_seed(seed: int, family: str = "seed") -> Report:
    """Run a seed's own plan."""
    return run_plan(seed, FAMILIES[family](seed))


def replay(seed: int, family: str = "seed") -> str:
    """The command that runs a seed again."""
    return f"python -m tests.sim --seed {seed}" + (f" --family {family}" if family != "seed" else "")


def failures(seeds: Iterable[int], family: str = "seed") -> list[str]:
    """What went wrong with which seeds, each with its command."""
    reports = (run_seed(seed, family) for seed in seeds)
    return [f"{replay(report.seed, family)} --shrink: {report.failure}" for report in reports if report.failure]


def hunt(name: str, seeds: Iterable[int]) -> Report | None:
    """The first run that a bug makes fail as it should, of the mutant's own seed or of these, and that holds without
    the bug; None if there is none.
    """
    mutant = MUTANTS[name]
    for seed in (mutant.seed, *seeds):
        with mutated(mutant):
            report = run_seed(seed, mutant.family)
        if report.failure.startswith(mutant.breaks) and not run_seed(seed, mutant.family).failure:
            return report
    return None
