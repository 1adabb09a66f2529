"""An adversary that knows the protocol: it loses messages by the height and view that they belong to."""

import zlib
from collections.abc import Callable
from random import Random

from consensus.messages import (
    Checkpoint,
    Commit,
    Message,
    NewView,
    Own,
    Prepare,
    PrePrepare,
    SealedBlocks,
    ViewChange,
)
from ledger.block import Header
from ledger.codec import decode
from ledger.errors import PeerError
from ledger.validators import fault_limit
from tests.sim.plan import Rounds

Lost = tuple[frozenset[type], frozenset[str], frozenset[str]]
"""Kinds of message, and from whom to whom they are lost."""
KINDS = frozenset((PrePrepare, Prepare, Commit, NewView, ViewChange))
SOME = (
    (60, frozenset((Commit,))),
    (60, frozenset((Prepare,))),
    (5, frozenset((PrePrepare, NewView))),
    (3, frozenset((ViewChange,))),
)
"""Percent of the views in which kinds of message are lost to most: often COMMITs, so that locks remain, and PREPAREs,
so that few have them.
"""
APART_PERCENT = 60
"""Of the views, some members are cut off in all."""
HIDDEN_PERCENT = 90
"""Of those, the members with locks are cut off first: what they know must come out later."""
LOST_MS = 600
"""Then the view's messages arrive: a network that never delivers what is repeated lets nobody ever agree on a view."""
PATIENT_MS = 150
"""The same for VIEW-CHANGEs, without which there is no next view to spoil."""
DEAF_MS = 1_000
"""The same for fetched blocks: a few views."""
VIEWS_MAX = 4_096
"""Places that are remembered."""


class RoundsAdversary:
    """Decides for each (height, view) once, by its salt, what is lost there."""

    def __init__(
        self,
        fault: Rounds,
        nodes: list[str],
        locked: Callable[[int], list[str]],
        place: Callable[[str], tuple[int, int]],
        clock: Callable[[], int],
    ) -> None:
        """`locked(height)` says who holds a prepared certificate: the adversary hides it when it can. `place(node)`
        says where a node stands.
        """
        self.fault = fault
        self._locked = locked
        self._place = place
        self._clock = clock
        self._asked: dict[tuple[str, tuple[int, int]], int] = {}
        """(node, place) → when it first got blocks there."""
        self._nodes = nodes
        self._lost: dict[tuple[int, int], tuple[int, list[Lost]]] = {}

    def loses(self, sender: str, receiver: str, message: Message) -> bool:
        """Whether a message is lost."""
        if isinstance(message, SealedBlocks):
            return self._is_deaf(receiver)
        if not isinstance(message, Own) or isinstance(message, Checkpoint):
            return False
        try:
            height = decode(Header, message.header).height if isinstance(message, PrePrepare) else message.height
        except PeerError:
            return True
        place = height, message.view
        if place not in self._lost:
            if len(self._lost) > VIEWS_MAX:
                self._lost.clear()
            self._lost[place] = self._clock(), self._draw(place)
        kind, (began_ms, lost) = type(message), self._lost[place]
        if self._clock() > began_ms + (PATIENT_MS if kind is ViewChange else LOST_MS):
            return False
        return any(kind in kinds and sender in senders and receiver in receivers for kinds, senders, receivers in lost)

    def _is_deaf(self, receiver: str) -> bool:
        """Whether a node gets no blocks where it stands, for a while."""
        place = self._place(receiver)
        began_ms = self._asked.setdefault((receiver, place), self._clock())
        is_drawn = zlib.crc32(f"{self.fault.salt} {receiver} {place}".encode()) % 100 < self.fault.deaf_percent
        return is_drawn and self._clock() <= began_ms + DEAF_MS

    def _draw(self, place: tuple[int, int]) -> list[Lost]:
        random, everybody = Random(f"{self.fault.salt} {place}"), frozenset(self._nodes)
        if random.random() * 100 < self.fault.fair_percent:
            return []
        lost: list[Lost] = []
        if random.random() * 100 < APART_PERCENT:
            few = self._few(random, place[0])
            lost += [(KINDS, few, everybody - few), (KINDS, everybody - few, few)]
        for percent, kinds in SOME:
            if random.random() * 100 < percent:
                lost.append((kinds, everybody, self._some(random)))
        return lost

    def _few(self, random: Random, height: int) -> frozenset[str]:
        """At most f, those that hold a lock before all others."""
        limit = fault_limit(len(self._nodes))
        locked = self._locked(height)
        if locked and random.random() * 100 < HIDDEN_PERCENT:
            return frozenset(locked[:limit])
        return frozenset(random.sample(self._nodes, random.randint(1, limit)))

    def _some(self, random: Random) -> frozenset[str]:
        """Most of the nodes, or all."""
        return frozenset(random.sample(self._nodes, len(self._nodes) - random.choice((0, 1, 1, 2))))
