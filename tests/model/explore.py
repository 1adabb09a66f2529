"""Every reachable state of the consortium at one height, and the properties of each.

A state is one local state of every honest member; what was said follows from these, and what the liar can say from
that. Any member may at any time hear anything that was said, or be timed out: loss, delay, reordering and repetition
are all in this. Left out, because it changes nothing:

- hearing a vote that leads to no conclusion yet: it can be heard later, together with those that it needs;
- hearing fewer votes for a block than were said: more never prevent a conclusion;
- committing, which ends a member's part in the height: whether it may commit is asked in every state, and whether one
  that is late takes the block from it, of every bond.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from tests.model.liar import Liar
from tests.model.member import Member
from tests.model.real import BrokenError
from tests.model.release import bonds, check_late, check_release, check_resisted
from tests.model.words import SIZE, Language

BITS = 20
"""A local state's number within a state's."""


class Report(NamedTuple):
    """What was looked at."""

    liar: int | None
    views: int
    crashes: int
    states: int
    transitions: int
    local_states: int
    events: int
    """That the real code handled."""
    locked: int
    """States in which an honest member is locked."""
    split: int
    """… in which two are locked on different blocks."""
    continuations: int
    seconds: float


class Consortium:
    """Four members: all honest, or one a liar; so many crashes at most."""

    def __init__(self, liar: int | None, views: int = 3, crashes: int = 0) -> None:
        self.language = Language(liar, views)
        self.members = [Member(self.language, at) for at in range(SIZE) if at != liar]
        self.speak: Callable[[int], int] = (lambda said: said) if liar is None else Liar(self.language, liar).speak
        self.crashes = crashes
        self.came: dict[int, int] = {}
        """State → the one that it was first reached from."""
        self.transitions = self.locked = self.split = self.continuations = 0
        self._bonds = [Bonds(member) for member in self.members]
        self._shown = self.language.mask(lambda word: word.view == views)
        self._released: dict[tuple[int, ...], str] = {}
        self._resisted: dict[tuple[tuple[int, ...], int | None], list[str]] = {}

    def explore(self) -> Report:
        """Look at every state. Raises BrokenError with the way to the first that breaks a property."""
        began = time.perf_counter()
        first = self._pack([member.first for member in self.members], 0)
        self.came = {first: -1}
        waiting = [first]
        while waiting:
            place = waiting.pop()
            try:
                ats, crashed = self._unpack(place)
                said = 0
                for member, at in zip(self.members, ats, strict=True):
                    said |= member.locals[at].said
                heard = self.speak(said)
                self._check(ats, heard)
                for index, member in enumerate(self.members):
                    calm, crashes = member.follow(ats[index], heard)
                    shift = BITS * index
                    rest = place - (ats[index] << shift)
                    steps = [rest + (to << shift) for to in calm]
                    if crashed < self.crashes:
                        rest += 1 << (BITS * len(self.members))
                        steps += [rest + (to << shift) for to in crashes]
                    self.transitions += len(steps)
                    for step in steps:
                        if step not in self.came:
                            self.came[step] = place
                            waiting.append(step)
            except BrokenError as error:
                raise BrokenError(f"{error}\n{self.tell(place)}") from error
        for member, known in zip(self.members, self._bonds, strict=True):
            for at in known.first.values():
                self.continuations += check_late(member, at)
        return Report(
            self.language.liar,
            self.language.views,
            self.crashes,
            len(self.came),
            self.transitions,
            sum(len(member.locals) for member in self.members),
            sum(member.runs for member in self.members),
            self.locked,
            self.split,
            self.continuations,
            time.perf_counter() - began,
        )

    def _check(self, ats: tuple[int, ...], heard: int) -> None:
        """The properties of one state."""
        blocks: set[str] = set()
        locks: set[str] = set()
        for member, at in zip(self.members, ats, strict=True):
            blocks |= member.decides(at, heard)
            if (lock := member.locals[at].lock) is not None:
                locks.add(lock)
        if len(blocks) > 1:
            raise BrokenError(f"two commits: blocks {' and '.join(sorted(blocks))}")
        self.locked += bool(locks)
        self.split += len(locks) > 1
        bound = tuple(known[at] for known, at in zip(self._bonds, ats, strict=True))
        if bound not in self._released:
            self._released[bound] = check_release(self.members, bound)
            self.continuations += 1
        ends = [self._released[bound]]
        if self.language.liar is not None:
            for shown in (None, *self.language.spell(heard & self._shown)):
                if (bound, shown) not in self._resisted:
                    self._resisted[bound, shown] = check_resisted(self.members, bound, shown)
                    self.continuations += len(self._resisted[bound, shown])
                ends += self._resisted[bound, shown]
        if blocks and not blocks.issuperset(ends):
            raise BrokenError(f"two commits: block {min(blocks)} now, {' or '.join(sorted(set(ends)))} later")

    def tell(self, place: int) -> str:
        """How a state came about, a line per step."""
        path = [place]
        while self.came[path[-1]] >= 0:
            path.append(self.came[path[-1]])
        lines = []
        for before, after in zip(path[:0:-1], path[-2::-1], strict=True):
            (old, _), (new, crashed) = self._unpack(before), self._unpack(after)
            (index,) = [index for index in range(len(old)) if old[index] != new[index]] or [0]
            member = self.members[index]
            local = member.locals[new[index]]
            words = self.language.spell(local.said & ~member.locals[old[index]].said)
            said = ", ".join(self.language.read(word) for word in words) or "nothing"
            crash = " crashes," if crashed != self._unpack(before)[1] else ""
            lines.append(f"  {member.name}{crash} says {said}: {local.key[1]} in view {local.key[0]}")
        return "\n".join(lines)

    def _pack(self, ats: list[int], crashed: int) -> int:
        return sum(at << (BITS * index) for index, at in enumerate([*ats, crashed]))

    def _unpack(self, place: int) -> tuple[tuple[int, ...], int]:
        ones = (1 << BITS) - 1
        return tuple((place >> (BITS * index)) & ones for index in range(len(self.members))), place >> (
            BITS * len(self.members)
        )


class Bonds(dict[int, int]):
    """Local state → the first one with the same bonds."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.first: dict[tuple, int] = {}

    def __missing__(self, at: int) -> int:
        self[at] = self.first.setdefault(bonds(self.member.locals[at]), at)
        return self[at]
