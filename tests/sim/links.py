"""Connections between nodes. Where one ends, nothing passes until there is a new one, and both sides hear of both."""

from collections.abc import Callable
from itertools import combinations
from random import Random

from node.effects import Event, PeerDown, PeerUp
from tests.sim.network import Network, company
from tests.sim.node import SimNode
from tests.sim.scheduler import Scheduler

DIAL_MS = 10
"""From a node's start to its connections."""
CUT_MS = 200
"""From a connection that a member cut to the next one."""
SILENT_PERCENT = 50
"""Of the crashes, nobody notices before the node is there again."""


class Links:
    """All of them; at first, everybody is connected."""

    def __init__(self, nodes: dict[str, SimNode], network: Network, scheduler: Scheduler, random: Random) -> None:
        self._nodes = nodes
        self._network = network
        self._scheduler = scheduler
        self._random = random

    def watch(self) -> None:
        """End connections by themselves where a node crashes, or cuts off a peer that broke a rule."""
        for node in self._nodes.values():
            node.crashed = self._leave
            node.cut_off = self._cut_off

    def part(self, one: str, other: str) -> None:
        """End a connection."""
        if (one, other) not in self._network.parted:
            self._network.parted |= {(one, other), (other, one)}
            self._tell(one, other, PeerDown)

    def meet(self, one: str, other: str) -> None:
        """Begin a new one, if both are up."""
        if (one, other) in self._network.parted and self._nodes[one].is_up and self._nodes[other].is_up:
            self._network.parted -= {(one, other), (other, one)}
            self._tell(one, other, PeerUp)

    def start(self, name: str) -> None:
        """Start a node that is down; it dials all others, and is dialled."""
        others = [other for other in self._nodes if other != name]
        for other in others:
            self.part(name, other)
        self._nodes[name].start()
        for other in others:
            self._dial(name, other, DIAL_MS)

    def heal(self) -> None:
        """Connect everybody."""
        for one, other in combinations(self._nodes, 2):
            if (one, other) in self._network.parted:
                self._dial(one, other, DIAL_MS)

    def _leave(self, name: str) -> None:
        if self._random.random() * 100 >= SILENT_PERCENT:
            for other in self._nodes:
                if other != name:
                    self.part(name, other)

    def _cut_off(self, one: str, other: str) -> None:
        self.part(one, other)
        self._dial(one, other, CUT_MS)

    def _dial(self, one: str, other: str, within_ms: int) -> None:
        self._scheduler.after(1 + self._random.randrange(within_ms), self.meet, one, other)

    def _tell(self, one: str, other: str, event: Callable[[str], Event]) -> None:
        """Later, never within what a node is doing just now."""
        for name, peer in ((one, other), (other, one)):
            self._scheduler.after(0, self._nodes[name].handle, event(company(peer)))
