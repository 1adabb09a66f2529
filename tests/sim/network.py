"""Seeded network: delay, loss, duplicates, reordering, one-way cuts. An adversary may stand in the way of every
message.
"""

from collections.abc import Callable
from random import Random

from consensus.messages import Message
from tests.sim.plan import Rounds, Weather
from tests.sim.rounds import RoundsAdversary
from tests.sim.scheduler import Scheduler

Adversary = Callable[[str, str, Message], list[Message]]
"""(sender, receiver, message) → the messages that take its place: none, another, several."""
MUTED_PERCENT = 80
FAIR = Weather()


class Network:
    """Carries messages between nodes. A twin is a second node at its company's address."""

    def __init__(self, scheduler: Scheduler, random: Random, nodes: list[str]) -> None:
        self._scheduler = scheduler
        self._random = random
        self._nodes: dict[str, list[str]] = {}
        for node in nodes:
            self._nodes.setdefault(company(node), []).append(node)
        self.weather = FAIR
        self.cut: set[tuple[str, str]] = set()
        """(sender, receiver) pairs that lose everything."""
        self.parted: set[tuple[str, str]] = set()
        """(sender, receiver) pairs, both ways, that have no connection."""
        self.witness = ""
        """Hears what is muted for the others."""
        self.rounds: RoundsAdversary | None = None
        """Loses messages by the view that they belong to."""
        self.adversary: Adversary | None = None
        self.liars: dict[str, Adversary] = {}
        """Node → what its messages go through."""
        self.deliver: Callable[[str, str, Message], None] = lambda _sender, _receiver, _message: None

    def send(self, sender: str, companies: tuple[str, ...], message: Message) -> None:
        """Send; every copy meets its own fate, in the order of names."""
        own = company(sender)
        liar = self.liars.get(sender)
        for receiver in companies or self._nodes:
            if receiver == own:
                continue
            for each in (message,) if liar is None else liar(sender, receiver, message):
                for node in self._nodes[receiver]:
                    self.carry(sender, node, each)

    def carry(self, sender: str, receiver: str, message: Message) -> None:
        """Bring a message to a node, or not."""
        altered = (message,) if self.adversary is None else self.adversary(sender, receiver, message)
        for each in altered:
            self._carry(sender, receiver, each)

    def _carry(self, sender: str, receiver: str, message: Message) -> None:
        chance, weather = self._random.random, self.weather
        if (sender, receiver) in self.cut or (sender, receiver) in self.parted:
            return
        if self.rounds is not None and self.rounds.loses(sender, receiver, message):
            return
        if weather.loss_percent and chance() * 100 < weather.loss_percent:
            return
        if weather.muted == type(message).__name__ and receiver != self.witness and chance() * 100 < MUTED_PERCENT:
            return
        copies = 2 if weather.duplicate_percent and chance() * 100 < weather.duplicate_percent else 1
        for _ in range(copies):
            delay_ms = 1 + int(chance() * weather.delay_ms_max)
            self._scheduler.after(delay_ms, self.deliver, sender, receiver, message)

    def heal(self) -> None:
        """Fair weather, no cuts."""
        self.cut = set()
        self.witness = ""
        self.weather = FAIR
        self.rounds = None

    def end_rounds(self, fault: Rounds) -> None:
        """Lose no more by view, unless another such fault has begun."""
        if self.rounds is not None and self.rounds.fault == fault:
            self.rounds = None


def company(node: str) -> str:
    """Whose node it is."""
    return node.rstrip("'")
