"""One run of a seed, and what it says."""

import time
from collections.abc import Iterable

from msgspec import Struct

from tests.sim.checker import InvariantError
from tests.sim.mutants import MUTANTS, mutated
from tests.sim.plan import BLOCKS_MIN, EVENTS_MIN, FAMILIES, Plan
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
    world = World(seed, plan)
    failure = ""
    try:
        world.run_plan()
    except InvariantError as error:
        failure = str(error)
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


def hunt(name: str, seeds: Iterable[int]) -> Report | None:
    """The first failing run with a bug in, of the mutant's own seed or of these; None if none fails."""
    mutant = MUTANTS[name]
    with mutated(mutant):
        runs = (run_seed(seed, mutant.family) for seed in (mutant.seed, *seeds))
        return next((report for report in runs if report.failure), None)
