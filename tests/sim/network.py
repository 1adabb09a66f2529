"""Seeded network: delay, loss, duplicates, reordering, one-way cuts. An adversary may stand in the way of every
message.
"""

from collections.abc import Callable
from random import Random

from msgspec import Struct

from consensus.messages import Checkpoint, Commit, Message, NewView, Prepare, PrePrepare
from tests.sim.scheduler import Scheduler

Adversary = Callable[[str, str, Message], list[Message]]
"""(sender, receiver, message) → the messages that take its place: none, another, several."""


MUTED = (Checkpoint, Commit, NewView, PrePrepare, Prepare)
"""Kinds of message that a spell of weather may swallow: cut in the middle, agreement rests on locks."""
MUTED_PERCENT = 80


class Weather(Struct, frozen=True):
    """How bad the network is."""

    delay_ms_max: int = 5
    loss_percent: int = 0
    duplicate_percent: int = 0
    muted: type[Message] | None = None
    """A kind of message that hardly ever arrives."""

    @classmethod
    def draw(cls, random: Random) -> "Weather":
        """Some weather."""
        return cls(
            random.choice((5, 20, 100, 400)),
            random.choice((0, 0, 3, 10, 30)),
            random.choice((0, 0, 5, 20)),
            random.choice((None, None, *MUTED)),
        )


class Network:
    """Carries messages between named nodes."""

    def __init__(self, scheduler: Scheduler, random: Random, names: list[str]) -> None:
        self._scheduler = scheduler
        self._random = random
        self._names = names
        self.weather = Weather()
        self.cut: set[tuple[str, str]] = set()
        """(sender, receiver) pairs that lose everything."""
        self.witness: str | None = None
        """Hears what is muted for the others."""
        self.adversary: Adversary | None = None
        self.deliver: Callable[[str, str, Message], None] = lambda _sender, _receiver, _message: None

    def send(self, sender: str, receivers: tuple[str, ...], message: Message) -> None:
        """Send; every copy meets its own fate, in the order of names."""
        for receiver in receivers or self._names:
            if receiver == sender:
                continue
            altered = [message] if self.adversary is None else self.adversary(sender, receiver, message)
            for each in altered:
                self._carry(sender, receiver, each)

    def _carry(self, sender: str, receiver: str, message: Message) -> None:
        random, weather = self._random, self.weather
        if (sender, receiver) in self.cut or random.random() * 100 < weather.loss_percent:
            return
        if type(message) is weather.muted and receiver != self.witness and random.random() * 100 < MUTED_PERCENT:
            return
        copies = 2 if random.random() * 100 < weather.duplicate_percent else 1
        for _ in range(copies):
            delay_ms = 1 + int(random.random() * weather.delay_ms_max)
            self._scheduler.after(delay_ms, lambda: self.deliver(sender, receiver, message))

    def partition(self, random: Random) -> None:
        """Cut some connections: a node off, two halves, some one-way lines; or make a witness, who alone sees a block
        committed, and can tell nobody while the others change views.
        """
        names = self._names
        self.witness = None
        kind = random.randrange(5)
        if kind == 0:
            lonely = random.choice(names)
            self.cut = {pair for pair in self._pairs() if lonely in pair}
        elif kind == 1:
            half = set(random.sample(names, len(names) // 2))
            self.cut = {(a, b) for a, b in self._pairs() if (a in half) != (b in half)}
        elif kind == 2:
            deaf = random.choice(names)
            self.cut = {(a, b) for a, b in self._pairs() if b == deaf}
        elif kind == 3:
            self.cut = {pair for pair in self._pairs() if random.random() < 0.3}
        else:
            self.witness = witness = random.choice(names)
            self.cut = {(a, b) for a, b in self._pairs() if a == witness}
            self.weather = Weather(muted=Commit)

    def heal(self) -> None:
        """Fair weather, no cuts."""
        self.cut = set()
        self.witness = None
        self.weather = Weather()

    def _pairs(self) -> list[tuple[str, str]]:
        return [(a, b) for a in self._names for b in self._names if a != b]
