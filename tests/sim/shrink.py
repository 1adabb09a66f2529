"""Makes a failing plan smaller: fewer faults by delta debugging over the drawn list, fewer members, less time."""

from collections.abc import Callable

from msgspec.structs import replace

from tests.sim.plan import NAMES, Plan

NODES_MIN = 4
RUNS_MAX = 400
"""Ends a search that finds no more."""

Fails = Callable[[Plan], bool]


def shrink(plan: Plan, fails: Fails, runs_max: int = RUNS_MAX) -> tuple[Plan, frozenset[int]]:
    """The smallest plan found that still fails, and the numbers of the faults that it keeps."""
    budget = [runs_max]

    def still_fails(smaller: Plan) -> bool:
        budget[0] -= 1
        return budget[0] >= 0 and fails(smaller)

    kept = _fewer_faults(plan, still_fails)
    plan = _less_time(_fewer_nodes(plan, kept, still_fails), kept, still_fails)
    kept = _fewer_faults(plan, still_fails, kept)
    return plan, kept


def _fewer_faults(plan: Plan, fails: Fails, kept: frozenset[int] | None = None) -> frozenset[int]:
    """Zeller's ddmin: leave out ever smaller parts of the list."""
    numbers = sorted(range(len(plan.faults)) if kept is None else kept)
    parts = 2
    while numbers:
        size = -(-len(numbers) // parts)
        for start in range(0, len(numbers), size):
            rest = numbers[:start] + numbers[start + size :]
            if fails(plan.keep(frozenset(rest))):
                numbers, parts = rest, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(2 * parts, len(numbers))
    return frozenset(numbers)


def _fewer_nodes(plan: Plan, kept: frozenset[int], fails: Fails) -> Plan:
    for nodes in range(NODES_MIN, plan.nodes):
        smaller = with_nodes(plan, nodes)
        if fails(smaller.keep(kept)):
            return smaller
    return plan


def _less_time(plan: Plan, kept: frozenset[int], fails: Fails) -> Plan:
    """Heal sooner, and ask for no more blocks than the faults leave."""
    shorter = replace(plan, blocks_min=0)
    if fails(shorter.keep(kept)):
        plan = shorter
    low, high = 0, plan.fault_ms
    while high - low > max(50, plan.fault_ms // 50):
        middle = (low + high) // 2
        if fails(replace(plan, fault_ms=middle).keep(kept)):
            high = middle
        else:
            low = middle
    return replace(plan, fault_ms=high)


def with_nodes(plan: Plan, nodes: int) -> Plan:
    """The plan for the first members only. Faults of the others stay in the list, so that their numbers do; they do
    nothing.
    """
    names = NAMES[:nodes]
    return replace(
        plan,
        nodes=nodes,
        byzantine=tuple(name for name in plan.byzantine if name in names),
        twins=tuple(name for name in plan.twins if name in names),
        off_for_ever=tuple(name for name in plan.off_for_ever if name in names),
    )
