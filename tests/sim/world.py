"""A consortium in a seeded world, and the two phases of a run: faults (safety), then healing (liveness)."""

import hashlib
from collections.abc import Callable
from functools import partial
from random import Random

from msgspec import Struct

from consensus.head import genesis_head
from consensus.messages import Message
from consensus.state import State
from ledger.codec import decode
from ledger.transaction import Signed, transaction_id
from ledger.validators import Validator, ValidatorSet
from node.effects import Received
from node.engine import Engine, EngineStatus
from tests.sim.application import GENESIS_TIME_MS, Application, Contracts, KeyValue
from tests.sim.checker import Checker, InvariantError
from tests.sim.disk import Store
from tests.sim.network import Network, Weather
from tests.sim.node import SimNode
from tests.sim.scheduler import Scheduler
from tests.sim.signing import make_signer, verify

TICK_MS = 100
HEAL_MS_MAX = 240_000
"""After healing, everything that waits is sealed everywhere within this time: the view timer may have doubled a few
times.
"""
NAMES = (
    *("Anneng", "Bohui", "Chengdian", "Dianneng", "Ercheng", "Futong", "Guowang"),
    *("Huineng", "Jiading", "Kelu", "Longdian", "Minsheng", "Nanwang"),
)


class Plan(Struct, frozen=True):
    """What a run is made of; drawn from its seed."""

    nodes: int
    real_signatures: bool = False
    contracts: bool = False
    """Whether the real contracts run, and I4 is checked; else the key-value application, which is faster."""
    fault_ms: int = 60_000
    """How long faults go on."""
    crash_every_ms: int = 0
    """Mean time between crashes; 0: none."""
    weather_every_ms: int = 0
    """Mean time between changes of weather and partitions; 0: always fair."""
    submit_every_ms: int = 300
    """Mean time between transactions."""
    skew_ms_max: int = 0
    """How far clocks are off."""

    @classmethod
    def draw(cls, seed: int) -> "Plan":
        """The plan of a seed."""
        random = Random(seed)
        return cls(
            nodes=random.choice((4, 4, 4, 5, 6, 7)),
            real_signatures=seed % 100 == 7,
            contracts=seed % 4 == 3,
            crash_every_ms=random.choice((0, 3_000, 8_000, 20_000)),
            weather_every_ms=random.choice((0, 4_000, 8_000, 15_000)),
            submit_every_ms=random.choice((40, 150, 600)),
            skew_ms_max=random.choice((0, 500, 1_500)),
        )


class World:
    """Nodes, network, clients."""

    def __init__(self, seed: int, plan: Plan) -> None:
        self.seed = seed
        self.plan = plan
        self.random = Random(seed * 2 + 1)
        self.scheduler = Scheduler()
        self.checker = Checker()
        self._trace = hashlib.blake2b(digest_size=8)
        names = list(NAMES[: plan.nodes])
        self.network = Network(self.scheduler, self.random, names)
        self.network.deliver = self._deliver
        signers = {name: make_signer(hashlib.sha256(name.encode()).digest(), plan.real_signatures) for name in names}
        members = tuple(
            Validator(name, signers[name].public_key, signers[name].public_key, hashlib.sha256(name.encode()).digest())
            for name in names
        )
        kind = Contracts if plan.contracts else KeyValue
        self.application: Application = kind(ValidatorSet(0, members), plan.real_signatures)
        genesis = self.application.genesis
        self.submitted: dict[bytes, bytes] = {}
        """Id → bytes of the transactions that clients gave to some node, and want to see sealed."""
        self.nodes = {
            name: SimNode(
                name,
                application=self.application,
                signer=signers[name],
                verify=verify[plan.real_signatures],
                store=Store(genesis_head(genesis), self.application.first_state),
                names=names,
                scheduler=self.scheduler,
                network=self.network,
                checker=self.checker,
                random=self.random,
                clock_offset_ms=self.random.randint(-plan.skew_ms_max, plan.skew_ms_max),
            )
            for name in names
        }
        for at, name in enumerate(names):
            self.nodes[name].start()
            self.scheduler.after(1 + at, partial(self._tick, name))

    # ── running ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self, duration_ms: int) -> None:
        """Let time pass."""
        self.scheduler.run_until(self.scheduler.now_ms + duration_ms)

    def run_until(self, condition: Callable[[], bool], within_ms: int) -> bool:
        """Let time pass until a condition holds; False if it does not within the time."""
        end_ms = self.scheduler.now_ms + within_ms
        while not condition() and self.scheduler.now_ms < end_ms:
            self.run(50)
        return condition()

    def run_plan(self) -> None:
        """Both phases. Raises InvariantError."""
        plan = self.plan
        if plan.crash_every_ms:
            self._repeat(plan.crash_every_ms, self._crash_some)
        if plan.weather_every_ms:
            self._repeat(plan.weather_every_ms, self._change_weather)
        self._repeat(plan.submit_every_ms, self.submit)
        self.run(plan.fault_ms)
        self.heal()
        if not self.run_until(self.is_settled, HEAL_MS_MAX):
            raise InvariantError(f"I6: not settled {HEAL_MS_MAX} ms after healing: {self.describe()}")
        self.check_stores()

    def heal(self) -> None:
        """No more faults; everybody is up; clients submit again what they have not seen sealed."""
        self.plan = Plan(self.plan.nodes, self.plan.real_signatures, fault_ms=0)
        self.network.heal()
        for node in self.nodes.values():
            node.crash_in = None
            if not node.is_up:
                node.start()
        self._resubmit()

    def is_settled(self) -> bool:
        """Whether all nodes' stores hold the same chain and every transaction that was submitted."""
        heights = {node.store.height for node in self.nodes.values()}
        return (
            len(heights) == 1
            and self.checker.sealed in heights
            and all(
                self.checker.placed.get(each, self.checker.sealed + 1) <= self.checker.sealed for each in self.submitted
            )
        )

    def check_stores(self) -> None:
        """I2, I3 at rest: every node holds every acknowledged transaction, once, and the same state."""
        for node in self.nodes.values():
            held = [tx.id for block in node.store.blocks for tx in block.transactions]
            if len(held) != len(set(held)) or not set(self.submitted) <= set(held):
                raise InvariantError(f"I2: the store of {node.name} lost or repeated a transaction")
        if len({tuple(sorted(node.store.state.items())) for node in self.nodes.values()}) != 1:
            raise InvariantError("I3: states differ at rest")

    def describe(self) -> str:
        """Where the nodes stand."""
        return "; ".join(
            f"{node.name} {node.engine.status() if node.engine else 'down'}" for node in self.nodes.values()
        )

    @property
    def trace(self) -> str:
        """Digest of everything that happened, in order."""
        return self._trace.hexdigest()

    def status(self, name: str) -> EngineStatus:
        """Where a node that is up stands."""
        return self._engine(name).status()

    def state(self, name: str) -> State:
        """The inside of a replica that is up, for tests that must see a lock."""
        return self._engine(name)._state

    def _engine(self, name: str) -> Engine:
        engine = self.nodes[name].engine
        assert engine is not None, f"{name} is down"
        return engine

    # ── clients ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, to: str | None = None, count: int = 1) -> list[bytes]:
        """Give new transactions to a node, one of those that are up if not named; returns the ids of those it took."""
        up = [node for node in self.nodes.values() if node.is_up and (to is None or node.name == to)]
        if not up:
            return []
        now_ms = GENESIS_TIME_MS + self.scheduler.now_ms
        made = [self.application.make(self.random, now_ms) for _ in range(count)]
        taken = self.random.choice(up).submit(made)
        self.submitted |= {transaction_id(decode(Signed, raw).body): raw for raw in made if taken}
        return taken

    def _resubmit(self) -> None:
        waiting = [each for each in self.submitted if self.checker.placed.get(each, 1 << 62) > self.checker.sealed]
        for digest in waiting[:200]:
            self.random.choice(list(self.nodes.values())).submit([self.submitted[digest]])
        if waiting:
            self.scheduler.after(5_000, self._resubmit)

    # ── what happens by itself ──────────────────────────────────────────────────────────────────────────────────────

    def note(self, *words: object) -> None:
        """Take something into the trace."""
        self._trace.update(f"{self.scheduler.now_ms} {words}\n".encode())

    def _tick(self, name: str) -> None:
        self.scheduler.after(TICK_MS, partial(self._tick, name))
        self.nodes[name].tick()

    def _deliver(self, sender: str, receiver: str, message: Message) -> None:
        node = self.nodes[receiver]
        if node.is_up:
            self.note(sender, receiver, type(message).__name__, len(self.checker.hashes))
            node.tick()
            node.handle(Received(sender, message))

    def _repeat(self, mean_ms: int, action: Callable[[], object]) -> None:
        """Do something again and again while the faults last."""

        def run() -> None:
            if self.plan.fault_ms:
                action()
                self._repeat(mean_ms, action)

        self.scheduler.after(1 + self.random.randrange(2 * mean_ms), run)

    def _crash_some(self) -> None:
        """Have some nodes crash, one as a rule, now and then all, each before one of its next effects; they come back
        one after the other.
        """
        random, names = self.random, list(self.nodes)
        many = random.choice((1, 1, 1, 1, 2, len(names)))
        for name in random.sample(names, many):
            self.nodes[name].crash_in = random.randrange(30)
            self.scheduler.after(random.randrange(100, 10_000), partial(self._restart, name))
        self.note("crash", many)

    def _restart(self, name: str) -> None:
        """Start a node again that has crashed; one that was to crash and found no time to goes on."""
        node = self.nodes[name]
        node.crash_in = None
        if not node.is_up:
            node.start()
            self.note("restart", name)

    def _change_weather(self) -> None:
        random = self.random
        self.network.weather = Weather.draw(random)
        if random.random() < 0.5:
            self.network.partition(random)
        else:
            self.network.cut = set()
            self.network.witness = None
        self.note("weather", self.network.weather, sorted(self.network.cut))
