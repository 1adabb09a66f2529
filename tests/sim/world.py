"""A consortium in a seeded world, and the two phases of a run: faults (safety), then healing (liveness)."""

import hashlib
from collections.abc import Callable
from random import Random

from msgspec.structs import replace

from consensus.head import genesis_head
from consensus.messages import Message, SealedBlocks
from consensus.state import State
from ledger.codec import decode
from ledger.transaction import Signed, decode_transaction, transaction_id, transaction_leaf
from ledger.validators import Validator, ValidatorSet
from node.effects import Received
from node.engine import EngineStatus
from tests.sim import client
from tests.sim.application import GENESIS_TIME_MS, Application, Contracts, KeyValue
from tests.sim.bounds import check_bounds
from tests.sim.checker import Checker, InvariantError
from tests.sim.disk import Store
from tests.sim.faults import Faults
from tests.sim.liar import Conspiracy, Liar
from tests.sim.links import Links
from tests.sim.network import Network, company
from tests.sim.node import SimNode
from tests.sim.plan import EVENTS_MIN, KEYS_MAX, Decide, Plan
from tests.sim.scheduler import Scheduler
from tests.sim.signing import make_signer, verify

__all__ = ["Plan", "World"]

TICK_MS = 100
"""How often time passes by itself; more often for nodes that are less patient."""
ASK_MS = 500
"""How often a client looks."""
BOUNDS_EVERY = 32
"""Ticks of a node between two looks at its queues."""
HEAL_VIEWS_MAX = 3_000
"""Ends a run whose nodes do not settle, in first time-outs; the real limit is counted in views."""
STILL_VIEWS_MAX = 300
"""Longest that nothing is sealed after healing, likewise, though something waits or an idle block is due every 5 s."""
FAULTY_BLOCKS_MAX = 70
"""The faults end earlier when so many blocks are committed: other seeds say more than more of the same."""
HEALED_BLOCKS_MIN = 20
"""Sealed after the healing in every run that is long enough to count."""
REPEATED_PERCENT = 30
"""Of the clients' turns, old transactions are given again as well …"""
REPEATED_MAX = 200
"""… of the last ones of the chain."""
SUBMIT_HEALED_MS = 40
"""Time between transactions when only the number of blocks is wanted."""
VIEWS_IN_VAIN_MAX = 12
"""How many views may run out of time between healing and the last seal, per member: f members of n may let every turn
of theirs pass until they are passed over, and former views may have left the others far apart.
"""
CLOCKS_APART_MS = 2_000
"""How far right clocks differ: as far ahead a proposal may be."""
BLOCKS_WAITED_MAX = 15
"""How many blocks may be sealed before one holds a transaction that all honest members have, per member."""


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
        self.application: Application = kind(ValidatorSet(0, members), plan.parameters, plan.real_signatures)
        genesis = self.application.genesis
        right_ms = None if plan.may_be_led else self.now_ms
        self.checker = Checker(genesis.hash(), genesis.parameters, genesis.time_ms, check, right_ms)
        self.submitted: dict[bytes, bytes] = {}
        """Id → bytes of the transactions that clients gave to some node, and want to see sealed."""
        self._due: dict[bytes, tuple[bytes, int]] = {}
        """Id → leaf, and the height at which one must be sealed, of those that an honest member took after healing."""
        self._passed_ms = 0
        """Time that clocks waited, and no simulated step did."""
        self._healed_at = 0
        """Height of the last seal before the healing."""
        self._repeats = Random(f"{seed} repeats")
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
                limits=plan.limits,
                segment_batches=plan.segment_batches,
                turn_ms=plan.turn_ms,
                execution_ms=plan.execution_ms,
                store_ms=plan.store_ms,
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
        self.faults = Faults(self)
        self.links = Links(self.nodes, self.network, self.scheduler, self.random)
        self._ticks = dict.fromkeys(ids, 0)
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
        if not plan.twins:  # a connection to a company is one to both
            self.links.watch()
        for fault in plan.faults:
            self.scheduler.after(fault.at_ms, self.faults.begin, fault)
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
        while not self.run_until(condition, 500):
            if self.checker.sealed > sealed:
                moved_ms, sealed = self.scheduler.now_ms, self.checker.sealed
            if self.scheduler.now_ms > min(end_ms, moved_ms + STILL_VIEWS_MAX * view_ms):
                raise InvariantError(f"I6: the chain stands still after healing: {self.describe()}")
            self._check_waits()
        self._check_waits()

    def _check_waits(self) -> None:
        """I6: few views in vain, and no transaction left behind by the chain."""
        if (views := len(self.checker.late)) > VIEWS_IN_VAIN_MAX * self.plan.nodes:
            raise InvariantError(f"I6: {views} views in vain after healing")
        waited = BLOCKS_WAITED_MAX * self.plan.nodes
        for digest, (leaf, due) in list(self._due.items()):
            if digest in self.checker.placed:
                del self._due[digest]
            elif not all(node.engine is not None and node.engine.holds(leaf) for node in self.honest):
                self._due[digest] = leaf, self.checker.sealed + waited  # a full pool dropped it: at the end of the line
            elif self.checker.sealed > due:
                raise InvariantError(f"I6: a transaction waits at every honest member while {waited} blocks are sealed")
        self._let_clocks_wait()

    def heal(self) -> None:
        """No more faults but the lies and wrong clocks of at most f members; everybody is up; clients submit again what
        they have not seen sealed.
        """
        self.is_healed = True
        self._healed_at = self.checker.sealed
        self.network.heal()
        offsets = dict(self.plan.offsets_ms)
        for name, node in self.nodes.items():
            node.crash_in = None
            if name not in self.plan.off_for_ever:
                node.clock_offset_ms = offsets.get(name, 0)
            node.free_disk()
            if not node.is_up:
                self.start(name)
        self.links.heal()
        self._let_clocks_wait()
        self.checker.late.clear()
        self._resubmit()

    def start(self, name: str) -> None:
        """Start a node that is down."""
        if self.plan.twins:
            self.nodes[name].start()
        else:
            self.links.start(name)

    def _let_clocks_wait(self) -> None:
        """If a quorum of wrong clocks has led the chain's time ahead, right ones accept no proposal until they are
        there as well. That is safe, not live, and takes as long as the clocks were off: let it pass at once.
        """
        ahead_ms = self.checker.time_ms - self.now_ms()
        if ahead_ms <= CLOCKS_APART_MS:
            return
        self._passed_ms += ahead_ms
        for node in self.nodes.values():
            node.clock_offset_ms += ahead_ms
        for digest, raw in list(self.submitted.items()):
            expired = decode_transaction(raw).body.valid_until_ms <= self.checker.time_ms
            if expired and digest not in self.checker.placed:
                del self.submitted[digest]
                self._due.pop(digest, None)

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
        """Digest of everything that happened, in order, and of what came of it: blocks and states."""
        trace = self._trace.copy()
        for digest in (*self.checker.hashes, *self.checker.roots):
            trace.update(digest)
        return trace.hexdigest()

    def now_ms(self) -> int:
        """What right clocks show."""
        return GENESIS_TIME_MS + self.scheduler.now_ms + self._passed_ms

    def status(self, name: str) -> EngineStatus:
        """Where a node that is up stands."""
        engine = self.nodes[name].engine
        assert engine is not None, f"{name} is down"
        return engine.status()

    def state(self, name: str) -> State:
        """The inside of a replica that is up, for tests that must see a lock."""
        return self.nodes[name].state

    def _has_run_enough(self) -> bool:
        if not self.plan.blocks_min:
            return True
        blocks = max(self.plan.blocks_min, self._healed_at + HEALED_BLOCKS_MIN)
        return self.checker.sealed >= blocks and self.scheduler.steps >= EVENTS_MIN

    # ── clients ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, to: str | None = None, count: int = 1) -> list[bytes]:
        """Give new transactions to a node, one of those that are up if not named; returns the ids of those it took."""
        up = [node for node in self.nodes.values() if node.is_up and (to is None or node.name == to)]
        if not up:
            return []
        now_ms = max(self.now_ms(), self.checker.time_ms)
        made = [self.application.make(self.random, now_ms) for _ in range(count)]
        return self._give(self.random.choice(up), made)

    def decide(self, seats: tuple[tuple[str, int], ...]) -> None:
        """Some honest node is given a decision on who votes, (name, how often its key has changed), as a transaction
        like any other.
        """
        up = [node for node in self.honest if node.is_up]
        if up and isinstance(self.application, KeyValue):
            members = tuple(self._validator(name, change) for name, change in seats)
            now_ms = max(self.now_ms(), self.checker.time_ms)
            self._give(self.random.choice(up), [self.application.decide(members, self.random, now_ms)])

    def _give(self, node: SimNode, raws: list[bytes]) -> list[bytes]:
        """Transactions that their clients want to see sealed; returns the ids of those that the node took."""
        taken = node.submit(raws)
        made = {transaction_id(decode(Signed, raw).body): raw for raw in raws}
        for digest in taken:
            self.submitted[digest] = made[digest]
            if self.is_healed and node.is_honest:
                waited = BLOCKS_WAITED_MAX * self.plan.nodes
                self._due[digest] = transaction_leaf(made[digest]), self.checker.sealed + waited
        return taken

    def load(self, every_ms: int) -> None:
        """Transactions, as long as the plan wants them."""
        if self.plan.blocks_min or not self.is_healed:
            burst = self.plan.burst
            self.submit(count=1 if burst == 1 else self.random.randint(1, burst))
            self._repeat()
            mean_ms = SUBMIT_HEALED_MS if self.is_healed else every_ms
            self.scheduler.after(1 + self.random.randrange(2 * mean_ms), self.load, every_ms)

    def _repeat(self) -> None:
        """Now and then somebody gives a node what the chain has held for a while (I2)."""
        if self._repeats.random() * 100 < REPEATED_PERCENT:
            old = [each for each in list(self.checker.placed)[-REPEATED_MAX:] if each in self.submitted]
            up = [node for node in self.nodes.values() if node.is_up]
            if old and up:
                self._repeats.choice(up).submit([self.submitted[self._repeats.choice(old)]])

    def _ask(self) -> None:
        """A client looks at the chain."""
        node = self.random.choice(list(self.nodes.values()))
        client.ask(node, self._conspiracy, self.checker, verify[self.plan.real_signatures])
        self.scheduler.after(ASK_MS, self._ask)

    def _resubmit(self) -> None:
        """Clients try another node when they have seen no receipt for a while."""
        waiting = [each for each in self.submitted if self.checker.placed.get(each, 1 << 62) > self.checker.sealed]
        for digest in waiting[:200]:
            self._give(self.random.choice(self.honest), [self.submitted[digest]])
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
        self._ticks[name] += 1
        if self._ticks[name] % BOUNDS_EVERY == 0:
            self._check_bounds(node)

    def _check_bounds(self, node: SimNode) -> None:
        if node.engine is not None and node.is_honest:
            check_bounds(node.name, node.engine, len(self.plan.names))

    def _deliver(self, sender: str, receiver: str, message: Message) -> None:
        node = self.nodes[receiver]
        if node.engine is None or (sender, receiver) in self.network.parted:
            return
        kind, blocks = type(message).__name__, len(self.checker.hashes)
        signature = getattr(message, "signature", b"")  # which says all that the message says
        self._trace.update(f"{self.scheduler.now_ms}{sender}{receiver}{kind}{blocks}".encode() + signature)
        node.tick()
        if not node.is_up:
            return
        liar = self.liars.get(receiver)
        if liar is None or liar.incoming(company(sender), message):
            node.handle(Received(company(sender), message))
            if isinstance(message, SealedBlocks):  # which fill a queue that is soon empty
                self._check_bounds(node)

    def _validator(self, name: str, change: int) -> Validator:
        """A member with its vote key after so many changes."""
        company_key, vote_key = (self._signers[name][at].public_key for at in (0, change))
        return Validator(name, company_key, vote_key, hashlib.sha256(name.encode()).digest())


def _seed(name: str, change: int) -> bytes:
    """Of a member's vote key after so many changes."""
    return hashlib.sha256(f"{name} {change}".encode() if change else name.encode()).digest()
