"""A consortium in a seeded world, and the two phases of a run: faults (safety), then healing (liveness)."""

import hashlib
from collections.abc import Callable
from random import Random

from msgspec.structs import replace

from consensus.head import genesis_head
from consensus.messages import Message
from consensus.state import State
from ledger.codec import decode
from ledger.transaction import Signed, transaction_id
from ledger.validators import Validator, ValidatorSet
from node.effects import Received
from node.engine import EngineStatus
from tests.sim import client
from tests.sim.application import GENESIS_TIME_MS, Application, Contracts, KeyValue
from tests.sim.bounds import check_bounds
from tests.sim.checker import Checker, InvariantError
from tests.sim.disk import Store
from tests.sim.liar import Conspiracy, Liar
from tests.sim.network import FAIR, Network, company
from tests.sim.node import SimNode
from tests.sim.plan import EVENTS_MIN, KEYS_MAX, Clock, Crash, Cut, Decide, Fault, Full, Lie, Plan, Rounds, Weather
from tests.sim.rounds import RoundsAdversary
from tests.sim.scheduler import Scheduler
from tests.sim.signing import make_signer, verify

__all__ = ["Plan", "World"]

TICK_MS = 100
"""How often time passes by itself; more often for nodes that are less patient."""
ASK_MS = 500
"""How often a client looks."""
BOUNDS_EVERY = 32
"""Ticks between two looks at a node's queues."""
HEAL_VIEWS_MAX = 3_000
"""Ends a run whose nodes do not settle, in first time-outs; the real limit is counted in views."""
STILL_VIEWS_MAX = 300
"""Longest that nothing is sealed after healing, likewise, though something waits or an idle block is due every 5 s."""
FAULTY_BLOCKS_MAX = 100
"""The faults end earlier when so many blocks are committed: other seeds say more than more of the same."""
SUBMIT_HEALED_MS = 40
"""Time between transactions when only the number of blocks is wanted."""
VIEWS_IN_VAIN_MAX = 12
"""How many views may run out of time between healing and the last seal, per member: f members of n may let every turn
of theirs pass until they are passed over, and former views may have left the others far apart.
"""


class World:
    """Nodes, network, clients."""

    def __init__(self, seed: int, plan: Plan) -> None:
        self.seed = seed
        self.plan = plan
        self.random = Random(seed * 2 + 1)
        self.scheduler = Scheduler()
        self.is_healed = False
        self._trace = hashlib.blake2b(digest_size=8)
        names = plan.names
        ids = sorted([*names, *(f"{name}'" for name in plan.twins)])
        self.network = Network(self.scheduler, self.random, ids)
        self.network.deliver = self._deliver
        keys = KEYS_MAX if plan.spares or any(isinstance(fault, Decide) for fault in plan.faults) else 1
        self._signers = signers = {
            name: [make_signer(_seed(name, change), plan.real_signatures) for change in range(keys)] for name in names
        }
        members = tuple(self._validator(name, 0) for name in names[: plan.nodes])
        check = verify[plan.real_signatures]
        kind = Contracts if plan.contracts else KeyValue
        self.application: Application = kind(ValidatorSet(0, members), plan.real_signatures)
        genesis = self.application.genesis
        self.checker = Checker(genesis.hash(), genesis.parameters, genesis.time_ms, check)
        self.submitted: dict[bytes, bytes] = {}
        """Id → bytes of the transactions that clients gave to some node, and want to see sealed."""
        offsets = dict(plan.offsets_ms)
        self.nodes = {
            name: SimNode(
                name,
                application=self.application,
                signers=signers[company(name)],
                verify=check,
                store=Store(genesis_head(genesis), self.application.first_state),
                peers=[each for each in names if each != company(name)],
                scheduler=self.scheduler,
                network=self.network,
                checker=self.checker,
                random=self.random,
                timing=plan.timing,
                turn_ms=plan.turn_ms,
                clock_offset_ms=offsets.get(name, 0),
                is_honest=name not in plan.byzantine,
            )
            for name in ids
        }
        self.honest = [node for node in self.nodes.values() if node.is_honest]
        self._conspiracy = conspiracy = Conspiracy(genesis, {name: signers[name][0] for name in plan.byzantine})
        self.liars = {name: Liar(self.nodes[name], conspiracy, self.network, self.scheduler) for name in plan.byzantine}
        for name, liar in self.liars.items():
            self.network.liars[name] = liar.outgoing
        self._ticks = 0
        for at, name in enumerate(ids):
            self.nodes[name].start()
            self.scheduler.after(1 + at, self._tick, name)

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
        trusted = frozenset(node.name for node in self.honest) - set(plan.twins)
        for node in self.honest:
            if node.company not in plan.twins:  # a twin also gets what the other one asked for
                node.trusted = trusted
        for fault in plan.faults:
            self.scheduler.after(fault.at_ms, self.begin, fault)
        self._ask()
        self.load(plan.submit_every_ms)
        self.run_until(lambda: len(self.checker.hashes) >= FAULTY_BLOCKS_MAX, plan.fault_ms)
        self.heal()
        self._live(self._has_run_enough)
        self.plan = replace(plan, blocks_min=0)  # no more load
        self._live(self.is_settled)
        self.check_stores()

    def _live(self, condition: Callable[[], bool]) -> None:
        """Let time pass until a condition holds. Raises InvariantError if the chain stands still meanwhile, or wastes
        views.
        """
        view_ms = self.plan.timing.view_ms
        end_ms = self.scheduler.now_ms + HEAL_VIEWS_MAX * view_ms
        moved_ms, sealed = self.scheduler.now_ms, self.checker.sealed
        while not self.run_until(condition, 1_000):
            if self.checker.sealed > sealed:
                moved_ms, sealed = self.scheduler.now_ms, self.checker.sealed
            if self.scheduler.now_ms > min(end_ms, moved_ms + STILL_VIEWS_MAX * view_ms):
                raise InvariantError(f"I6: the chain stands still after healing: {self.describe()}")
            self._check_views()
        self._check_views()

    def _check_views(self) -> None:
        if (views := len(self.checker.late)) > VIEWS_IN_VAIN_MAX * self.plan.nodes:
            raise InvariantError(f"I6: {views} views in vain after healing")

    def heal(self) -> None:
        """No more faults but the lies and wrong clocks of at most f members; everybody is up; clients submit again what
        they have not seen sealed.
        """
        self.is_healed = True
        self.network.heal()
        offsets = dict(self.plan.offsets_ms)
        for name, node in self.nodes.items():
            node.crash_in = None
            if name not in self.plan.off_for_ever:
                node.clock_offset_ms = offsets.get(name, 0)
            node.free_disk()
            if not node.is_up:
                node.start()
        self.checker.late.clear()
        self._resubmit()

    def is_settled(self) -> bool:
        """Whether all honest nodes' stores hold the same chain and every transaction that was submitted."""
        heights = {node.store.height for node in self.honest}
        return (
            len(heights) == 1
            and self.checker.sealed in heights
            and all(
                self.checker.placed.get(each, self.checker.sealed + 1) <= self.checker.sealed for each in self.submitted
            )
        )

    def check_stores(self) -> None:
        """I2, I3 at rest: every node holds every acknowledged transaction, once, and the same state."""
        for node in self.honest:
            held = [tx.id for block in node.store.blocks for tx in block.transactions]
            if len(held) != len(set(held)) or not set(self.submitted) <= set(held):
                raise InvariantError(f"I2: the store of {node.name} lost or repeated a transaction")
        if len({tuple(sorted(node.store.state.items())) for node in self.honest}) != 1:
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
        engine = self.nodes[name].engine
        assert engine is not None, f"{name} is down"
        return engine.status()

    def state(self, name: str) -> State:
        """The inside of a replica that is up, for tests that must see a lock."""
        return self.nodes[name].state

    def _has_run_enough(self) -> bool:
        return self.checker.sealed >= self.plan.blocks_min and (
            self.scheduler.steps >= EVENTS_MIN or not self.plan.blocks_min
        )

    # ── clients ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, to: str | None = None, count: int = 1) -> list[bytes]:
        """Give new transactions to a node, one of those that are up if not named; returns the ids of those it took."""
        up = [node for node in self.nodes.values() if node.is_up and (to is None or node.name == to)]
        if not up:
            return []
        now_ms = GENESIS_TIME_MS + self.scheduler.now_ms
        made = [self.application.make(self.random, now_ms) for _ in range(count)]
        taken = self.random.choice(up).submit(made)
        if taken:
            self.submitted |= {transaction_id(decode(Signed, raw).body): raw for raw in made}
        return taken

    def load(self, every_ms: int) -> None:
        """Transactions, as long as the plan wants them."""
        if self.plan.blocks_min or not self.is_healed:
            self.submit()
            mean_ms = SUBMIT_HEALED_MS if self.is_healed else every_ms
            self.scheduler.after(1 + self.random.randrange(2 * mean_ms), self.load, every_ms)

    def _ask(self) -> None:
        """A client looks at the chain."""
        node = self.random.choice(list(self.nodes.values()))
        client.ask(node, self._conspiracy, self.checker, verify[self.plan.real_signatures])
        self.scheduler.after(ASK_MS, self._ask)

    def _resubmit(self) -> None:
        """Clients try another node when they have seen no receipt for a while."""
        waiting = [each for each in self.submitted if self.checker.placed.get(each, 1 << 62) > self.checker.sealed]
        for digest in waiting[:200]:
            self.random.choice(self.honest).submit([self.submitted[digest]])
        self.scheduler.after(2_000, self._resubmit)

    # ── what happens by itself ──────────────────────────────────────────────────────────────────────────────────────

    def note(self, *words: object) -> None:
        """Take something into the trace."""
        self._trace.update(f"{self.scheduler.now_ms} {words}\n".encode())

    def _tick(self, name: str) -> None:
        self.scheduler.after(min(TICK_MS, self.plan.timing.view_ms // 10), self._tick, name)
        node = self.nodes[name]
        node.tick()
        if name in self.liars:
            self.liars[name].act()
        self._ticks += 1
        if node.engine is not None and node.is_honest and self._ticks % BOUNDS_EVERY == 0:
            check_bounds(name, node.engine, len(self.plan.names))

    def _deliver(self, sender: str, receiver: str, message: Message) -> None:
        node = self.nodes[receiver]
        if node.engine is None:
            return
        self._trace.update(
            f"{self.scheduler.now_ms}{sender}{receiver}{type(message).__name__}{len(self.checker.hashes)}".encode()
        )
        node.tick()
        if not node.is_up:
            return
        liar = self.liars.get(receiver)
        if liar is None or liar.incoming(company(sender), message):
            node.handle(Received(company(sender), message))

    # ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, fault: Fault) -> None:
        """Have a fault happen. Those that last end by themselves."""
        if self.is_healed or getattr(fault, "node", self.honest[0].name) not in self.nodes:
            return  # a shrunk plan has fewer members than its faults name
        self.note(fault)
        after = self.scheduler.after
        if isinstance(fault, Crash):
            node = self.nodes[fault.node]
            node.crash_in, node.moment = fault.effects, fault.moment
            after(fault.down_ms, self._restart, fault.node)
        elif isinstance(fault, Weather):
            self.network.weather = fault
            after(fault.for_ms, self._end_weather, fault)
        elif isinstance(fault, Cut):
            self.network.cut |= set(fault.pairs)
            self.network.witness = fault.witness or self.network.witness
            if fault.witness:
                self.network.weather = Weather(muted="Commit")
            after(fault.for_ms, self._end_cut, fault)
        elif isinstance(fault, Rounds):
            self.network.rounds = RoundsAdversary(
                fault, list(self.nodes), self._locked, self._place, lambda: self.scheduler.now_ms
            )
            after(fault.for_ms, self.network.end_rounds, fault)
        elif isinstance(fault, Full):
            self.nodes[fault.node].fill_disk(fault.first)
            after(fault.for_ms, self.nodes[fault.node].free_disk)
        elif isinstance(fault, Clock):
            self.nodes[fault.node].clock_offset_ms = fault.offset_ms
        elif isinstance(fault, Lie):
            self.liars[fault.node].begin(fault)
        elif isinstance(fault, Decide):
            self._decide(fault)

    def _decide(self, fault: Decide) -> None:
        """Some node is given the decision, as a transaction like any other."""
        if not isinstance(self.application, KeyValue):
            return
        members = tuple(self._validator(name, change) for name, change in fault.seats)
        raw = self.application.decide(members, self.random, GENESIS_TIME_MS + self.scheduler.now_ms)
        up = [node for node in self.honest if node.is_up]
        if up and self.random.choice(up).submit([raw]):
            self.submitted[transaction_id(decode(Signed, raw).body)] = raw

    def _validator(self, name: str, change: int) -> Validator:
        """A member with its vote key after so many changes."""
        company_key, vote_key = (self._signers[name][at].public_key for at in (0, change))
        return Validator(name, company_key, vote_key, hashlib.sha256(name.encode()).digest())

    def _place(self, name: str) -> tuple[int, int]:
        """The height and view in which a node stands."""
        node = self.nodes[name]
        return (node.state.round.height, node.state.round.view) if node.is_up else (0, 0)

    def _locked(self, height: int) -> list[str]:
        """Who holds a prepared certificate at a height, that of the highest view last."""
        states = [(node.name, node.state) for node in self.nodes.values() if node.is_up]
        locks = [(state.round.lock, name) for name, state in states if state.round.height == height]
        return [name for _, name in sorted((lock.view, name) for lock, name in locks if lock)]

    def _restart(self, name: str) -> None:
        """Start a node again that has crashed; one that was to crash and found no time to goes on."""
        node = self.nodes[name]
        node.crash_in = None
        if not node.is_up:
            node.start()
            self.note("restart", name)

    def _end_weather(self, fault: Weather) -> None:
        if self.network.weather == fault:
            self.network.weather = FAIR

    def _end_cut(self, fault: Cut) -> None:
        """The others' cuts go on; two that cut the same line end together."""
        self.network.cut -= set(fault.pairs)
        if fault.witness and self.network.witness == fault.witness:
            self.network.witness = ""
            self._end_weather(Weather(muted="Commit"))


def _seed(name: str, change: int) -> bytes:
    """Of a member's vote key after so many changes."""
    return hashlib.sha256(f"{name} {change}".encode() if change else name.encode()).digest()
