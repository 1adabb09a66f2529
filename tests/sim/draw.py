"""How the plan of a seed is drawn: its kind follows from the seed's remainder, everything else from chance.

What a seed has beside its faults (real keys, contracts, …) is drawn apart from its kind, so that all of it meets.
"""

from collections.abc import Callable, Iterator
from itertools import count
from random import Random
from typing import Literal

from msgspec.structs import replace

from consensus.messages import Checkpoint, Commit, NewView, Prepare, PrePrepare
from ledger.genesis import Parameters
from ledger.validators import fault_limit
from node.mempool import MempoolLimits
from tests.sim.forgeries import OPENING
from tests.sim.plan import (
    BLOCKS_MIN,
    FOR_EVER_MS,
    KEYS_MAX,
    NAMES,
    QUICK,
    TURN_MS,
    Clock,
    Crash,
    Cut,
    Decide,
    Fault,
    Full,
    Lie,
    Moment,
    Plan,
    Rounds,
    Weather,
)
from tests.sim.tricks import TRICKS

TWINS_MS = 800
"""A few heights, each with a few views."""
LOCKS_MS = 30_000
"""Some hundred views."""
HOUR_MS = 3_600_000
MUTED = (Checkpoint, Commit, NewView, PrePrepare, Prepare)
"""Kinds of message that a spell of weather may swallow: cut in the middle, agreement rests on locks."""
KINDS = {
    "mixed": (0.6, 0.6, 0.6, 0.3, 0.2),
    "rounds": (0.0, 0.0, 0.0, 0.0, 1.0),
    "crashes": (1.0, 0.0, 0.2, 0.3, 1.0),
    "liars": (0.0, 0.3, 0.3, 0.0, 0.5),
    "forgers": (0.0, 0.0, 0.0, 0.0, 1.0),
    "donors": (0.5, 0.2, 1.0, 0.0, 0.0),
}
"""Kind of plan → how likely it has crashes, weather, cuts, full disks, rounds."""
TRICKS_OF = {
    "forgers": ("forge-certificate", "forge-certificate", "equivocate", "vote-for-all", "bad-proposal"),
    "donors": ("lying-donor",),
}
"""What liars do half of the time in some kinds of plan; otherwise, anything."""
MUTE_TO_ALL = 7
"""The salt of a `mute` that says nothing at all."""
PACK = [trick for trick in TRICKS if trick != OPENING]
"""A liar that forges its openings alone is for the fights over locks, where there is much to open."""
BY_SEED = ("mixed", "rounds", "liars", "crashes", "forgers", "rounds", "forgers", "donors")
"""Kind of plan by the seed's remainder."""
FEATURES = {"real keys": 1, "contracts": 5, "decisions": 10, "crowd": 15, "clocks": 15, "slow": 10}
"""What a plan may have beside its faults → percent of the seeds."""
CROWDS = (
    MempoolLimits(count_max=40, sender_max=12),
    MempoolLimits(count_max=40, sender_max=40),
    MempoolLimits(bytes_max=6_000, sender_max=20),
)
"""Pools that run over …"""
CROWDED_BYTES = 1_100
CROWDED = Parameters(idle_interval_ms=5_000, block_transactions_max=6, block_bytes_max=CROWDED_BYTES)
"""… because blocks hold less than clients want, mostly in number."""
CROWDED_BURST = 12
CROWDED_MS = 1_500
CROWDED_BLOCKS = 130


def has(seed: int, feature: str) -> bool:
    """Whether a seed's plan has a feature."""
    return Random(f"{seed} {feature}").random() * 100 < FEATURES[feature]


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    random, kind = Random(seed), BY_SEED[seed % len(BY_SEED)]
    nodes = random.choice((4, 4, 4, 4, 4, 4, 4, 5, 5, 6, 7))
    names = NAMES[:nodes]
    fault_ms = random.choice((2_500, 4_000, 7_000))
    some = random.randint(0 if kind in ("mixed", "rounds") else 1, fault_limit(nodes))
    bad = random.sample(names, 0 if kind in ("rounds", "crashes") else some)
    liars = tuple(sorted(bad)) if random.random() < 0.7 or kind != "mixed" else ()
    skew_ms = random.choice((0, 0, 500, 1_000))  # two of them: `time_ahead_max_ms`, beyond which proposals must wait
    offsets = {name: random.randint(-skew_ms, skew_ms) for name in names}
    faults: list[Fault] = []
    for chance, source in zip(KINDS[kind], (_crashes, _weather, _cuts, _full, _rounds), strict=True):
        if random.random() < chance:
            faults += source(random, names, fault_ms)
    for name in liars:
        faults += _lies(random, name, fault_ms, TRICKS_OF.get(kind, ()))
    plan = Plan(
        nodes=nodes,
        real_signatures=has(seed, "real keys"),
        contracts=has(seed, "contracts"),
        byzantine=liars,
        offsets_ms=tuple(sorted(offsets.items())),
        faults=tuple(faults),
        fault_ms=fault_ms,
        submit_every_ms=random.choice((50, 150, 400)),
        segment_batches=random.choice((1, 64)),
        timing=QUICK,
        turn_ms=TURN_MS,
        blocks_min=BLOCKS_MIN,
    )
    features = {"crowd": _with_a_crowd, "clocks": _with_wrong_clocks, "decisions": _with_decisions, "slow": _slowed}
    for feature, with_it in features.items():
        if has(seed, feature):
            plan = with_it(Random(f"{seed} {feature} drawn"), plan)
    return replace(plan, faults=tuple(sorted(plan.faults, key=lambda fault: fault.at_ms)))


def _with_a_crowd(random: Random, plan: Plan) -> Plan:
    """The same with more transactions than fit, in blocks and in pools; mostly after the healing, when each of them
    must have its turn.
    """
    return replace(
        plan,
        limits=random.choice(CROWDS),
        parameters=CROWDED,
        timing=replace(plan.timing, linger_count=4),
        burst=CROWDED_BURST,
        submit_every_ms=50,
        fault_ms=CROWDED_MS,
        blocks_min=CROWDED_BLOCKS,
    )


def _with_wrong_clocks(random: Random, plan: Plan) -> Plan:
    """The same with clocks that are far off, and jump: any number of them until the healing, liars or not. Then those
    of at most f members, liars among these, stay wrong.
    """
    names = NAMES[: plan.nodes]
    honest = set(names).difference(plan.byzantine)
    far_ms = random.choice(((-HOUR_MS, HOUR_MS), (HOUR_MS,), (-10_000, 10_000), (-HOUR_MS, -10_000, 10_000, HOUR_MS)))
    wrong = random.sample(names, random.randint(1, plan.nodes))
    off = [name for name in wrong if name in honest][: fault_limit(plan.nodes) - len(plan.byzantine)]
    clocks: list[Fault] = []
    for name in wrong:
        times = (0, *_times(random, 2_000, plan.fault_ms)) if random.random() < 0.5 else (0,)
        may_be_right = [at_ms > 0 and (at_ms < times[-1] or name not in off) for at_ms in times]
        clocks += [
            Clock(at_ms, name, random.choice((*far_ms, 0) if may else far_ms))
            for at_ms, may in zip(times, may_be_right, strict=True)
        ]
    return replace(plan, faults=(*plan.faults, *clocks), off_for_ever=tuple(sorted(off)))


def _with_decisions(random: Random, plan: Plan) -> Plan:
    """The same with members that come, go and change keys: every set has at least four, so one member may be bad."""
    if plan.contracts or len({*plan.byzantine, *plan.off_for_ever}) > 1:
        return plan
    spares = random.randint(0, 3)
    names = NAMES[: plan.nodes + spares]
    changes = dict.fromkeys(names, 0)
    decisions: list[Fault] = []
    for at_ms in _times(random, random.choice((300, 800, 2_000)), plan.fault_ms):
        for name in names:
            if name not in plan.byzantine and random.random() < 0.5 and changes[name] < KEYS_MAX - 1:
                changes[name] += 1
        chosen = sorted(random.sample(names, random.randint(4, len(names))))
        decisions.append(Decide(at_ms, tuple((name, changes[name]) for name in chosen)))
    return replace(plan, spares=spares, faults=(*plan.faults, *decisions))


def _slowed(random: Random, plan: Plan) -> Plan:
    """The same with executions and stores that take several blocks' time, so that more waits for them; half of the time
    with a power cut of everybody, which leaves much in the logs.
    """
    at_ms = random.randrange(500, plan.fault_ms)
    cuts = [Crash(at_ms, name, 0, "before", random.randrange(20, 100)) for name in NAMES[: plan.nodes]]
    return replace(
        plan,
        execution_ms=random.choice((4, 50, 150)),
        store_ms=random.choice((50, 200, 400)),
        submit_every_ms=50,
        faults=(*plan.faults, *(cuts if random.random() < 0.5 else ())),
    )


def draw_locks(seed: int) -> Plan:
    """A long fight over few heights: views that leave locks behind, alone, or with power cuts of everybody, or with
    liars who show locks that are none.
    """
    random = Random(seed)
    nodes = random.choice((4, 4, 4, 7))
    names = NAMES[:nodes]
    faults: list[Fault] = [Rounds(0, LOCKS_MS, random.randrange(1 << 32), 0, 100)]
    liars: tuple[str, ...] = ()
    if seed % 3 == 1:
        for at_ms in _times(random, 500, LOCKS_MS):
            faults += [Crash(at_ms, name, 0, "before", random.randrange(20, 100)) for name in names]
    elif seed % 3 == 2:
        liars = tuple(sorted(random.sample(names, fault_limit(nodes))))
        others = ("forge-certificate", random.choice(("equivocate", "vote-for-all")))
        tricks = (OPENING,) if seed % 2 else others
        faults += [Lie(0, LOCKS_MS, name, trick, 50, random.randrange(1 << 16)) for name in liars for trick in tricks]
        if seed % 4 < 2:  # then all the others are needed, whatever they are locked on
            faults += [Lie(LOCKS_MS - 1, FOR_EVER_MS, name, "mute", 100, MUTE_TO_ALL) for name in liars]
    return Plan(
        nodes,
        byzantine=liars,
        faults=tuple(sorted(faults, key=lambda fault: fault.at_ms)),
        fault_ms=LOCKS_MS,
        submit_every_ms=50,
        segment_batches=1,
        timing=QUICK,
        turn_ms=TURN_MS,
    )


def draw_twins(seed: int) -> Plan:
    """Twins (Bano and others, 2020): a Byzantine member is two correct ones with one key, and partitions that change
    with the view make them contradict each other. Four members and one twin, or seven and two; small, for there are
    many.
    """
    random = Random(seed)
    nodes = random.choice((4, 4, 4, 7))
    twins = tuple(sorted(random.sample(NAMES[:nodes], 1 if nodes == 4 else 2)))
    rounds = Rounds(0, TWINS_MS, random.randrange(1 << 32), random.choice((0, 0, 20)), random.choice((0, 50, 80)))
    return Plan(
        nodes, twins=twins, faults=(rounds,), fault_ms=TWINS_MS, submit_every_ms=30, timing=QUICK, turn_ms=TURN_MS
    )


FAMILIES: dict[str, Callable[[int], Plan]] = {"seed": draw, "twins": draw_twins, "locks": draw_locks}
"""Kinds of runs, and how the plan of a seed is drawn for each."""


def _times(random: Random, mean_ms: int, end_ms: int) -> Iterator[int]:
    """Random times up to the end, so far apart in the mean."""
    at_ms = 0
    for _ in count():
        at_ms += 1 + random.randrange(2 * mean_ms)
        if at_ms >= end_ms:
            return
        yield at_ms


def _crashes(random: Random, names: tuple[str, ...], end_ms: int) -> Iterator[Fault]:
    """One node as a rule, now and then all of them."""
    for at_ms in _times(random, random.choice((400, 1_000, 3_000)), end_ms):
        many = random.choice((1, 1, 1, 1, 2, len(names)))
        for name in random.sample(names, many):
            moment: Moment = random.choice(("before", "in", "after"))
            kind = random.choice(("", "Persist", "StoreSealed"))
            effects = random.randrange(4 if kind else 30)
            again = random.randrange(5) if random.random() < 0.5 else None
            yield Crash(at_ms, name, effects, moment, random.randrange(20, 2_000), kind, again)


def _weather(random: Random, _names: tuple[str, ...], end_ms: int) -> Iterator[Fault]:
    mean_ms = random.choice((500, 1_000, 3_000))
    for at_ms in _times(random, mean_ms, end_ms):
        muted = random.choice((None, None, *MUTED))
        yield Weather(
            at_ms,
            random.randrange(100, 2 * mean_ms),
            random.choice((5, 20, 50, 200)),
            random.choice((0, 0, 3, 10, 30)),
            random.choice((0, 0, 5, 20)),
            muted.__name__ if muted else "",
        )


def _cuts(random: Random, names: tuple[str, ...], end_ms: int) -> Iterator[Fault]:
    """A node off, two halves, a deaf node, some one-way lines; or a witness, who alone sees a block committed, and can
    tell nobody while the others change views.
    """
    every = [(a, b) for a in names for b in names if a != b]
    mean_ms = random.choice((500, 1_000, 3_000))
    for at_ms in _times(random, mean_ms, end_ms):
        for_ms = random.randrange(100, 2 * mean_ms)
        one, half, kind = random.choice(names), set(random.sample(names, len(names) // 2)), random.randrange(5)
        pairs = (
            [pair for pair in every if one in pair],
            [(a, b) for a, b in every if (a in half) != (b in half)],
            [(a, b) for a, b in every if b == one],
            [pair for pair in every if random.random() < 0.3],
            [(a, b) for a, b in every if a == one],
        )[kind]
        yield Cut(at_ms, for_ms, tuple(pairs), one if kind == 4 else "", random.random() < 0.5)


def _rounds(random: Random, _names: tuple[str, ...], end_ms: int) -> Iterator[Fault]:
    at_ms = random.choice((0, end_ms // 2))
    yield Rounds(at_ms, end_ms, random.randrange(1 << 16), random.choice((0, 20, 40)), random.choice((0, 50, 100)))


def _full(random: Random, names: tuple[str, ...], end_ms: int) -> Iterator[Fault]:
    for at_ms in _times(random, random.choice((1_000, 4_000)), end_ms):
        first: Literal["log", "store"] = random.choice(("log", "store"))
        yield Full(at_ms, random.randrange(50, 3_000), random.choice(names), first)


def _lies(random: Random, name: str, end_ms: int, tricks: tuple[str, ...]) -> Iterator[Fault]:
    """A few tricks at a time, half of them of these; the others as from a pack of cards, so that all come up. The last
    ones outlast the healing.
    """
    pack: list[str] = []
    for at_ms in (0, 0, *_times(random, 1_000, end_ms)):
        for_ms = FOR_EVER_MS if random.random() < 0.2 else random.randrange(500, 4_000)
        percent = random.choice((10, 50, 100, 100))
        pack = pack or random.sample(PACK, len(PACK))
        trick = random.choice(tricks) if tricks and random.random() < 0.5 else pack.pop()
        yield Lie(at_ms, for_ms, name, trick, percent, random.randrange(1 << 16))
