"""Goodput under attack: sealed transactions per simulated second, with f members mute or lying, beside none.

Two loads. *Steady*: so many transactions per second at honest members' doors, whatever happens. *Patient*: a few
clients, each of which gives its next transaction when it sees the one before sealed; every hiccup holds them up, and
without faults they have a block made every 50 ms, so this is the harsher one. Simulated machines are never busy: what
attacks cost in work is measured elsewhere.
"""

from ledger.validators import fault_limit
from tests.sim.plan import FOR_EVER_MS, NAMES, Lie, Plan
from tests.sim.tricks import TRICKS
from tests.sim.world import World

LOAD_MS = 60_000
"""Some hundred blocks: members that fail are passed over, and try again 64 heights later, then 128."""
LOOK_MS = 100
"""How often a client looks for its receipt."""
BATCH = 10
"""100 transactions per second."""
CLIENTS = 8
GOODPUT_MIN_PERCENT = 50


def steady(plan: Plan) -> float:
    """Sealed transactions per simulated second of a steady load."""
    world, doors = _begun(plan)
    for turn in range(LOAD_MS // LOOK_MS):
        world.submit(to=doors[turn % len(doors)], count=BATCH)
        world.run(LOOK_MS)
    placed, sealed = world.checker.placed, world.checker.sealed  # also what liars made up, which does not count
    return sum(placed.get(each, sealed + 1) <= sealed for each in world.submitted) * 1_000 / LOAD_MS


def patient(plan: Plan) -> float:
    """Sealed transactions per simulated second of clients that wait."""
    world, doors = _begun(plan)
    waiting: list[bytes | None] = [None] * CLIENTS
    sealed = 0
    while world.scheduler.now_ms < LOAD_MS:
        world.run(LOOK_MS)
        for client, digest in enumerate(waiting):
            if digest is not None and world.checker.placed.get(digest, 1 << 62) > world.checker.sealed:
                continue
            sealed += digest is not None
            waiting[client] = next(iter(world.submit(to=doors[client % len(doors)])), None)
    return sealed * 1_000 / LOAD_MS


def _begun(plan: Plan) -> tuple[World, list[str]]:
    world = World(1, plan)
    for fault in plan.faults:
        world.faults.begin(fault)
    return world, [node.name for node in world.honest]


def attack(trick: str, nodes: int) -> Plan:
    """f members at once, from the beginning to the end."""
    liars = NAMES[1 : 1 + fault_limit(nodes)]
    return Plan(nodes, byzantine=liars, faults=tuple(Lie(0, FOR_EVER_MS, name, trick, 100, 11) for name in liars))


def measure_goodput(sizes: tuple[int, ...] = (4, 7)) -> int:
    """Print a table; returns 1 if an attack costs more than half of a steady load."""
    worst = 100.0
    for nodes in sizes:
        free = steady(Plan(nodes)), patient(Plan(nodes))
        print(
            f"n = {nodes}, f = {fault_limit(nodes)}; without faults {free[0]:.1f} steady, {free[1]:.1f} patient per s"
        )
        for trick in TRICKS:
            plan = attack(trick, nodes)
            percent = 100 * steady(plan) / free[0]
            worst = min(worst, percent)
            print(f"  {trick:20} {percent:5.1f} % {100 * patient(plan) / free[1]:5.1f} %", flush=True)
    print(f"worst of the steady load: {worst:.1f} %, at least {GOODPUT_MIN_PERCENT} % wanted")
    return 0 if worst >= GOODPUT_MIN_PERCENT else 1
