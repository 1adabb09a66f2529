"""Twins (Bano and others, 2020): a Byzantine member is two correct ones with one key, and partitions that change with
the view make them contradict each other. Small scenarios, many of them.
"""

from random import Random

from tests.sim.plan import NAMES, QUICK, TURN_MS, Plan, Rounds
from tests.sim.run import Report, run_plan

TWINS_MS = 800
"""A few heights, each with a few views."""


def draw_twins(seed: int) -> Plan:
    """Four members and one twin, or seven and two."""
    random = Random(seed)
    nodes = random.choice((4, 4, 4, 7))
    names = NAMES[:nodes]
    twins = tuple(sorted(random.sample(names, 1 if nodes == 4 else 2)))
    rounds = Rounds(0, TWINS_MS, random.randrange(1 << 32), random.choice((0, 0, 20)), random.random() < 0.3)
    return Plan(
        nodes, twins=twins, faults=(rounds,), fault_ms=TWINS_MS, submit_every_ms=30, timing=QUICK, turn_ms=TURN_MS
    )


def run_twins(seed: int) -> Report:
    """Run a scenario."""
    return run_plan(seed, draw_twins(seed))
