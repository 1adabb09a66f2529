"""One run of a seed, and what it says."""

import time

from msgspec import Struct
from msgspec.structs import replace

from tests.sim.checker import InvariantError
from tests.sim.world import Plan, World


class Report(Struct):
    """How a run went."""

    seed: int
    trace: str
    steps: int
    blocks: int
    transactions: int
    simulated_ms: int
    seconds: float
    failure: str = ""


def run_seed(seed: int, fault_ms: int | None = None) -> Report:
    """Run both phases of a seed, the first for its plan's time or another."""
    began = time.perf_counter()
    plan = Plan.draw(seed)
    world = World(seed, plan if fault_ms is None else replace(plan, fault_ms=fault_ms))
    failure = ""
    try:
        world.run_plan()
    except InvariantError as error:
        failure = str(error)
    return Report(
        seed,
        world.trace,
        world.scheduler.steps,
        len(world.checker.hashes),
        len(world.checker.placed),
        world.scheduler.now_ms,
        time.perf_counter() - began,
        failure,
    )
