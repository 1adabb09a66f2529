"""An adversary that knows the protocol: it loses messages by the height and view that they belong to."""

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
    (50, frozenset((Commit,))),
    (40, frozenset((Prepare,))),
    (5, frozenset((PrePrepare, NewView))),
    (3, frozenset((ViewChange,))),
)
"""Percent of the views in which kinds of message are lost to most: often COMMITs, so that locks remain, and PREPAREs,
so that few have them.
"""
APART_PERCENT = 50
"""Of the views, some members are cut off in all."""
HIDDEN_PERCENT = 70
"""Of those, the members with locks are cut off first: what they know must come out later."""
VIEWS_MAX = 4_096
"""Places that are remembered."""


class RoundsAdversary:
    """Decides for each (height, view) once, by its salt, what is lost there."""

    def __init__(self, fault: Rounds, nodes: list[str], locked: Callable[[int], list[str]]) -> None:
        """`locked(height)` says who holds a prepared certificate: the adversary hides it when it can."""
        self.fault = fault
        self._locked = locked
        self._nodes = nodes
        self._lost: dict[tuple[int, int], list[Lost]] = {}

    def loses(self, sender: str, receiver: str, message: Message) -> bool:
        """Whether a message is lost."""
        if isinstance(message, SealedBlocks):
            return self.fault.is_deaf
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
            self._lost[place] = self._draw(place)
        kind = type(message)
        return any(
            kind in kinds and sender in senders and receiver in receivers
            for kinds, senders, receivers in self._lost[place]
        )

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
