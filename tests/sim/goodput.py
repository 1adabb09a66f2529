"""Goodput under attack: sealed transactions per simulated second, with f members mute or lying, beside none.

Clients are patient: each gives its next transaction when it sees the one before sealed, so whatever holds the chain up
holds them up. They use honest members' doors; a door that takes nothing loses its clients.
"""

from ledger.validators import fault_limit
from tests.sim.plan import FOR_EVER_MS, NAMES, Lie, Plan
from tests.sim.tricks import TRICKS
from tests.sim.world import World

LOAD_MS = 60_000
"""Some hundred blocks: members that fail are passed over after K heights, and try again 64 later."""
LOOK_MS = 100
"""How often a client looks for its receipt."""
CLIENTS = 8
GOODPUT_MIN_PERCENT = 50


def goodput(plan: Plan) -> float:
    """Sealed transactions per simulated second."""
    world = World(1, plan)
    for fault in plan.faults:
        world._begin(fault)
    doors = [node.name for node in world.honest]
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


def attack(trick: str, nodes: int) -> Plan:
    """f members at once, from the beginning to the end."""
    liars = NAMES[1 : 1 + fault_limit(nodes)]
    return Plan(nodes, byzantine=liars, faults=tuple(Lie(0, FOR_EVER_MS, name, trick, 100, 11) for name in liars))


def measure_goodput(sizes: tuple[int, ...] = (4, 7)) -> int:
    """Print a table; returns 1 if an attack costs more than half."""
    worst = 100.0
    for nodes in sizes:
        free = goodput(Plan(nodes))
        print(f"n = {nodes}: {free:.1f} transactions per second without faults, f = {fault_limit(nodes)}", flush=True)
        for trick in TRICKS:
            percent = 100 * goodput(attack(trick, nodes)) / free
            worst = min(worst, percent)
            print(f"  {trick:20} {percent:5.1f} %", flush=True)
    print(f"worst: {worst:.1f} %, at least {GOODPUT_MIN_PERCENT} % wanted")
    return 0 if worst >= GOODPUT_MIN_PERCENT else 1
