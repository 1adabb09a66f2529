"""A plan as data: who takes part, and the list of everything that goes wrong, each with its time.

The list is drawn up front from the seed, so a failing run is made smaller by leaving faults out, and read by a person.
"""

from collections.abc import Callable, Iterator
from itertools import count
from random import Random
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from consensus.messages import Checkpoint, Commit, NewView, Prepare, PrePrepare
from consensus.state import Timing
from ledger.validators import fault_limit
from tests.sim.tricks import TRICKS

NAMES = (
    *("Anneng", "Bohui", "Chengdian", "Dianneng", "Ercheng", "Futong", "Guowang"),
    *("Huineng", "Jiading", "Kelu", "Longdian", "Minsheng", "Nanwang"),
)
HOUR_MS = 3_600_000
FOR_EVER_MS = 1 << 40
"""A lie that outlasts the healing: up to f members never come to their senses."""
EVENTS_MIN = 1_000
BLOCKS_MIN = 50
"""What every seed runs through at least."""

QUICK = Timing(view_ms=200, view_ms_max=800, bodies_ms=20, status_ms=300, still_ms=250, fetch_ms=400)
"""Less patience than a real node: more views, and more goes wrong in a view, for the same number of events."""
TURN_MS = 10
KEYS_MAX = 16
"""Vote keys of a member in one run."""
TWINS_MS = 800
"""A few heights, each with a few views."""
LOCKS_MS = 30_000
"""Some hundred views."""

Moment = Literal["before", "in", "after"]


class Crash(Struct, frozen=True, tag="crash"):
    """A node stops before, in or after its n-th effect from then on, and starts again."""

    at_ms: int
    node: str
    effects: int
    moment: Moment
    """`in`: a record half written (torn pages, or an fsync that failed), a message sent to some."""
    down_ms: int


class Weather(Struct, frozen=True, tag="weather"):
    """How bad the network is for a while."""

    at_ms: int = 0
    for_ms: int = 0
    delay_ms_max: int = 5
    loss_percent: int = 0
    duplicate_percent: int = 0
    muted: str = ""
    """A kind of message that hardly ever arrives."""


class Cut(Struct, frozen=True, tag="cut"):
    """Pairs (sender, receiver) that lose everything for a while."""

    at_ms: int
    for_ms: int
    pairs: tuple[tuple[str, str], ...]
    witness: str = ""
    """Alone hears every COMMIT, which are muted for the others."""


class Rounds(Struct, frozen=True, tag="rounds"):
    """For a while, each (height, view) has its own partition or loses a kind of message to some: what a view leaves
    undone, the next must take up.
    """

    at_ms: int
    for_ms: int
    salt: int
    fair_percent: int
    """Of the views, nothing is lost."""
    deaf_percent: int
    """Of the views, fetched blocks are lost as well: nobody learns by catch-up what a view decided."""


class Full(Struct, frozen=True, tag="full"):
    """A node's disk is full for a while, and its log or its store is the first to notice."""

    at_ms: int
    for_ms: int
    node: str
    first: Literal["log", "store"]


class Clock(Struct, frozen=True, tag="clock"):
    """A node's clock jumps."""

    at_ms: int
    node: str
    offset_ms: int


class Lie(Struct, frozen=True, tag="lie"):
    """A Byzantine member plays a trick for a while."""

    at_ms: int
    for_ms: int
    node: str
    trick: str
    percent: int
    """Of the messages that the trick applies to."""
    salt: int
    """Decides whom it treats how."""


class Decide(Struct, frozen=True, tag="decide"):
    """The members decide who votes from K + 1 blocks on."""

    at_ms: int
    seats: tuple[tuple[str, int], ...]
    """(name, how often its vote key has changed)."""


Fault = Crash | Weather | Cut | Rounds | Full | Clock | Lie | Decide

MUTED = (Checkpoint, Commit, NewView, PrePrepare, Prepare)
"""Kinds of message that a spell of weather may swallow: cut in the middle, agreement rests on locks."""


class Plan(Struct, frozen=True):
    """What a run is made of."""

    nodes: int
    """Members at genesis."""
    spares: int = 0
    """Further nodes, which follow the chain and may come to vote."""
    real_signatures: bool = False
    contracts: bool = False
    """Whether the real contracts run, and I4 is checked; else the key-value application, which is faster."""
    byzantine: tuple[str, ...] = ()
    """Members that lie; the invariants hold for the others."""
    twins: tuple[str, ...] = ()
    """Members that run twice under one key."""
    offsets_ms: tuple[tuple[str, int], ...] = ()
    """How far clocks are off."""
    off_for_ever: tuple[str, ...] = ()
    """Members whose clock stays wrong after healing."""
    faults: tuple[Fault, ...] = ()
    fault_ms: int = 0
    """How long faults go on."""
    submit_every_ms: int = 200
    """Mean time between transactions."""
    timing: Timing = Timing()
    turn_ms: int = 1
    """A node's clocks are read so often, at most: the core takes events in turns."""
    blocks_min: int = 0
    """The load goes on after healing until so many blocks are committed, and as many events as fit."""

    @property
    def names(self) -> list[str]:
        """The members and the spares."""
        return list(NAMES[: self.nodes + self.spares])

    def keep(self, numbers: frozenset[int]) -> "Plan":
        """The plan with only these of its faults."""
        return replace(self, faults=tuple(fault for at, fault in enumerate(self.faults) if at in numbers))

    def describe(self) -> list[str]:
        """Its faults as a person reads them."""
        return [f"{at:3d}  {fault}" for at, fault in enumerate(self.faults)]


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
"""What liars do in some kinds of plan; in the others, anything."""
BY_SEED = ("mixed", "rounds", "liars", "crashes", "forgers", "rounds", "forgers", "donors")
"""Kind of plan by the seed's remainder."""


def draw(seed: int) -> Plan:
    """The plan of a seed: one in twenty runs the real contracts, one in a hundred signs with real keys."""
    random, kind = Random(seed), BY_SEED[seed % len(BY_SEED)]
    nodes = random.choice((4, 4, 4, 4, 4, 4, 4, 5, 5, 6, 7))
    names = NAMES[:nodes]
    fault_ms = random.choice((3_000, 5_000, 8_000))
    some = random.randint(0 if kind in ("mixed", "rounds") else 1, fault_limit(nodes))
    bad = random.sample(names, 0 if kind in ("rounds", "crashes") else some)
    liars = tuple(sorted(bad)) if random.random() < 0.7 or kind != "mixed" else ()
    off = () if liars else tuple(sorted(bad))
    skew_ms = random.choice((0, 0, 500, 1_500))
    offsets = {name: random.randint(-skew_ms, skew_ms) for name in names}
    offsets |= {name: random.choice((-HOUR_MS, HOUR_MS, 10_000, -10_000)) for name in off}
    faults: list[Fault] = []
    for chance, source in zip(KINDS[kind], (_crashes, _weather, _cuts, _full, _rounds), strict=True):
        if random.random() < chance:
            faults += source(random, names, fault_ms)
    for name in liars:
        faults += _lies(random, name, fault_ms, TRICKS_OF.get(kind, tuple(TRICKS)))
    for name in off:
        if random.random() < 0.5:
            faults.append(Clock(random.randrange(fault_ms), name, random.choice((-HOUR_MS, HOUR_MS, 0))))
    plan = Plan(
        nodes=nodes,
        real_signatures=seed % 100 == 7,
        contracts=seed % 20 == 3,
        byzantine=liars,
        offsets_ms=tuple(sorted(offsets.items())),
        off_for_ever=off,
        faults=tuple(sorted(faults, key=lambda fault: fault.at_ms)),
        fault_ms=fault_ms,
        submit_every_ms=random.choice((50, 150, 400)),
        timing=QUICK,
        turn_ms=TURN_MS,
        blocks_min=BLOCKS_MIN,
    )
    return _with_decisions(Random(~seed), plan) if seed % 10 == 9 else plan


def _with_decisions(random: Random, plan: Plan) -> Plan:
    """The same with members that come, go and change keys: every set has at least four, so one member may be bad."""
    if plan.contracts or len(plan.byzantine) > 1 or len(plan.off_for_ever) > 1:
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
    faults = sorted((*plan.faults, *decisions), key=lambda fault: fault.at_ms)
    return replace(plan, spares=spares, faults=tuple(faults))


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
        tricks = ("forge-certificate", random.choice(("equivocate", "vote-for-all")))
        faults += [Lie(0, LOCKS_MS, name, trick, 50, random.randrange(1 << 16)) for name in liars for trick in tricks]
    return Plan(
        nodes,
        byzantine=liars,
        faults=tuple(sorted(faults, key=lambda fault: fault.at_ms)),
        fault_ms=LOCKS_MS,
        submit_every_ms=50,
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
            yield Crash(at_ms, name, random.randrange(30), moment, random.randrange(20, 2_000))


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
        yield Cut(at_ms, for_ms, tuple(pairs), one if kind == 4 else "")


def _rounds(random: Random, _names: tuple[str, ...], end_ms: int) -> Iterator[Fault]:
    at_ms = random.choice((0, end_ms // 2))
    yield Rounds(at_ms, end_ms, random.randrange(1 << 16), random.choice((0, 20, 40)), random.choice((0, 50, 100)))


def _full(random: Random, names: tuple[str, ...], end_ms: int) -> Iterator[Fault]:
    for at_ms in _times(random, random.choice((1_000, 4_000)), end_ms):
        first: Literal["log", "store"] = random.choice(("log", "store"))
        yield Full(at_ms, random.randrange(50, 3_000), random.choice(names), first)


def _lies(random: Random, name: str, end_ms: int, tricks: tuple[str, ...]) -> Iterator[Fault]:
    """A few tricks at a time; the last ones outlast the healing."""
    for at_ms in (0, 0, *_times(random, 1_000, end_ms)):
        for_ms = FOR_EVER_MS if random.random() < 0.2 else random.randrange(500, 4_000)
        percent = random.choice((10, 50, 100, 100))
        yield Lie(at_ms, for_ms, name, random.choice(tricks), percent, random.randrange(1 << 16))
