"""The plan of a chaos run: which faults befall whom and when, drawn from a seed. Data, so that a run can be told and
replayed.

Faults come in waves. In a tolerated wave all of them befall one member (f = 1 of four), and the others must go on
sealing. In a storm they befall several at once: then only safety is asked for, and that the chain goes on afterwards.
"""

import random
from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct


class Kind(StrEnum):
    """What can befall a member."""

    KILL_CORE = "kill core"
    KILL_EDGE = "kill edge"
    KILL_NODE = "kill node"
    """kill -9 of the supervisor, with which its children die; started again afterwards."""
    STOP_CORE = "stop core"
    """SIGSTOP, shorter than a view."""
    STOP_CORE_LONG = "stop core long"
    """Longer than a view."""
    STOP_EDGE = "stop edge"
    CUT = "cut"
    """Its connections are reset and refused."""
    BLACK_HOLE = "black hole"
    """Nothing from or to it arrives; it comes late."""
    ONE_WAY = "one-way cut"
    """It hears and is not heard, or the other way round."""
    HALF_OPEN = "half-open"
    """Its connections end, and the other ends are not told."""
    DELAY = "delay"
    SLOW_LINE = "slow line"
    REORDER = "reorder"
    """Its connections are dialled again and again while bytes are on the way, at differing delays."""
    CLOCK = "clock"
    """Started again with a clock an hour off, and then with a right one."""
    FULL_DISK = "full disk"
    POWER_CUT = "power cut"
    """kill -9 of every process of all members at once."""


RESTARTS = (Kind.KILL_NODE, Kind.CLOCK, Kind.POWER_CUT)
"""A member can have one of these at a time."""
STARTS_ANEW = (*RESTARTS, Kind.KILL_CORE, Kind.KILL_EDGE)
"""After these a process knows only what its disk does."""
BRIEF = (Kind.KILL_CORE, Kind.KILL_EDGE, Kind.HALF_OPEN, Kind.STOP_CORE)
"""Over at once, or before a view is: no block need be sealed meanwhile."""
DURATIONS_S: dict[Kind, tuple[float, float]] = {
    Kind.KILL_CORE: (0, 0),
    Kind.KILL_EDGE: (0, 0),
    Kind.KILL_NODE: (0, 3),
    Kind.STOP_CORE: (0.2, 1.5),
    Kind.STOP_CORE_LONG: (4, 9),
    Kind.STOP_EDGE: (2, 8),
    Kind.CUT: (1, 6),
    Kind.BLACK_HOLE: (1, 8),
    Kind.ONE_WAY: (1, 6),
    Kind.HALF_OPEN: (0, 0),
    Kind.DELAY: (2, 6),
    Kind.SLOW_LINE: (2, 6),
    Kind.REORDER: (2, 5),
    Kind.CLOCK: (2, 5),
    Kind.FULL_DISK: (2, 6),
    Kind.POWER_CUT: (0, 0),
}
"""Shortest and longest."""
STRENGTHS: dict[Kind, tuple[int, ...]] = {
    Kind.ONE_WAY: (0, 1),  # 0: it is not heard, 1: it does not hear
    Kind.DELAY: (50, 200, 800),  # ms, and as much jitter
    Kind.SLOW_LINE: (20_000, 200_000),  # bytes/s
    Kind.CLOCK: (-3_600_000, 3_600_000),  # ms
    Kind.FULL_DISK: (0, 16 * 1024 * 1024),  # bytes left: writes fail, or the node stops voting before they do
}
BEGIN_S_MAX = 2.0
"""Faults of a wave begin within so long."""
TOLERATED_SHARE = 0.6


class Fault(Struct, frozen=True):
    """One fault."""

    kind: Kind
    victim: str
    """A company; empty for all."""
    begin_s: float
    """After the wave's begin."""
    duration_s: float
    strength: int
    """In the kind's own unit, 0 where it has none."""


class Wave(Struct, frozen=True):
    """Faults that overlap; the next wave comes when all members are well again."""

    tolerated: bool
    """At most f members are struck: the others must go on."""
    faults: tuple[Fault, ...]


def make_plan(seed: int, count: int, members: Sequence[str], disk_of: str) -> tuple[Wave, ...]:
    """`count` faults for these members, always the same for a seed. Kinds are dealt like cards, so all come equally
    often. `disk_of` is the member whose disk can be filled; empty if none can.
    """
    rng = random.Random(seed)
    deck: list[Kind] = []
    kinds = [kind for kind in Kind if disk_of or kind is not Kind.FULL_DISK]
    while len(deck) < count:
        deck += rng.sample(kinds, len(kinds))
    del deck[count:]
    waves = []
    while deck:
        waves.append(_deal(rng, deck, members, disk_of))
    return tuple(waves)


def _deal(rng: random.Random, deck: list[Kind], members: Sequence[str], disk_of: str) -> Wave:
    """Take the next wave off the deck: fewer faults than wished for where two of them cannot be at once."""
    if deck[0] is Kind.POWER_CUT:
        return Wave(False, (_fault(rng, deck.pop(0), ""),))
    tolerated = rng.random() < TOLERATED_SHARE
    size = rng.choice((1, 1, 2, 3) if tolerated else (2, 3, 4))
    victim = rng.choice(members)
    faults: list[Fault] = []
    for kind in deck[:size]:
        chosen = disk_of if kind is Kind.FULL_DISK else victim if tolerated else rng.choice(members)
        moves = tolerated and bool(faults) and chosen != victim
        if kind is Kind.POWER_CUT or moves or _clashes(kind, chosen, faults):
            break
        victim = chosen
        faults.append(_fault(rng, kind, chosen))
    del deck[: len(faults)]
    return Wave(len({fault.victim for fault in faults}) == 1, tuple(faults))


def describe(seed: int, waves: Sequence[Wave]) -> list[str]:
    """The plan in lines."""
    lines = [f"seed {seed}: {sum(len(wave.faults) for wave in waves)} faults in {len(waves)} waves"]
    for number, wave in enumerate(waves, 1):
        faults = "; ".join(
            f"{fault.kind}{f' {fault.strength}' if fault.strength else ''} {fault.victim or 'all'}"
            f" at {fault.begin_s:.1f} for {fault.duration_s:.1f} s"
            for fault in wave.faults
        )
        lines.append(f"{number:3} {'tolerated' if wave.tolerated else 'storm    '} {faults}")
    return lines


def _clashes(kind: Kind, victim: str, faults: Sequence[Fault]) -> bool:
    """Whether these two cannot be at once: a member starts again for one reason, at most one clock is off, and what
    finds no page free when it starts does not come up: somebody has to make room and start the node again.
    """
    if kind is Kind.CLOCK and any(fault.kind is Kind.CLOCK for fault in faults):
        return True
    there = {kind, *(fault.kind for fault in faults if fault.victim == victim)}
    is_twice = any(fault.kind is kind and fault.victim == victim for fault in faults)
    starts_full = Kind.FULL_DISK in there and not there.isdisjoint(STARTS_ANEW)
    return is_twice or starts_full or len(there.intersection(RESTARTS)) > 1


def _fault(rng: random.Random, kind: Kind, victim: str) -> Fault:
    return Fault(
        kind,
        victim,
        round(rng.uniform(0, BEGIN_S_MAX), 2) if victim else 0.0,
        round(rng.uniform(*DURATIONS_S[kind]), 2),
        rng.choice(STRENGTHS.get(kind, (0,))),
    )
