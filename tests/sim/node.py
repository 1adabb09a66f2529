"""One simulated node: a real engine, whose effects are performed on the simulated world, and which may crash before, in
or after any of them.
"""

from collections.abc import Callable, Sequence
from random import Random

from consensus.messages import SealedBlock, SealedBlocks, ViewChange
from consensus.state import State, Timing
from ledger.errors import ClientError, PeerError
from ledger.keys import Signer
from ledger.transaction import Transaction, decode_transaction
from node.effects import (
    Accuse,
    Admitted,
    Charge,
    DiskFull,
    Effect,
    Event,
    Execute,
    Executed,
    Halt,
    Log,
    Outcome,
    PeerUp,
    Persist,
    Received,
    Send,
    Serve,
    Stored,
    StoreSealed,
    Tick,
    Truncate,
    Verify,
)
from node.engine import Engine, EngineSetup
from node.mempool import MempoolLimits
from tests.sim import disk
from tests.sim.application import Application, root
from tests.sim.checker import Checker, InvariantError
from tests.sim.disk import Store, StoredBlock
from tests.sim.network import Network, company
from tests.sim.plan import Moment
from tests.sim.scheduler import Scheduler

SERVED_BLOCKS = 8


class SimNode:
    """A node with its disk."""

    def __init__(
        self,
        name: str,
        *,
        application: Application,
        signers: Sequence[Signer],
        verify: Callable[[bytes, bytes, bytes], bool],
        store: Store,
        peers: list[str],
        scheduler: Scheduler,
        network: Network,
        checker: Checker,
        random: Random,
        timing: Timing,
        limits: MempoolLimits,
        segment_batches: int,
        turn_ms: int,
        execution_ms: int,
        store_ms: int,
        clock_offset_ms: int = 0,
        is_honest: bool = True,
    ) -> None:
        self.name = name
        self.company = company(name)
        self.log = disk.Log(segment_batches)
        self.store = store
        self.engine: Engine | None = None
        self.crash_in: int | None = None
        """Crash at that many more effects …"""
        self.crash_kind = ""
        """… of this kind, if not of any …"""
        self.moment: Moment = "before"
        """… before, in or after it."""
        self.crashed: Callable[[str], None] = lambda _name: None
        """Who hears that it crashed."""
        self.cut_off: Callable[[str, str], None] = lambda _name, _peer: None
        """Who ends its connection to a peer that broke a rule."""
        self.charges: list[Charge] = []
        self.trusted: frozenset[str] = frozenset()
        """Members that keep to the protocol: no honest node may find fault with them."""
        self.execution_ms = execution_ms
        """How long a block takes."""
        self.clock_offset_ms = clock_offset_ms
        self.is_honest = is_honest
        """Whether the invariants hold for it."""
        self._application = application
        self._genesis = application.genesis
        self._signers = signers
        self._verify = verify
        self._peers = peers
        self._scheduler = scheduler
        self._network = network
        self._checker = checker
        self._random = random
        self._timing = timing
        self._limits = limits
        self._turn_ms = turn_ms
        self._store_ms = store_ms
        self._life = 0
        self._ticked_ms = -turn_ms
        self._state: dict[bytes, bytes] = {}
        self._asked: set[tuple[int, int]] = set()
        """(height, view) of the VIEW-CHANGEs that it has sent, or may have."""
        self._given_up = (0, 0)
        """The (height, view) that its own timer last made it ask for."""
        self._full = False
        self._suspended: list[Effect] = []
        """What waits for room on the disk."""
        self._puts: list[StoreSealed] = []
        """Likewise, in the store's thread."""
        self._late: list[Event] = []
        """What threads have done in the meantime."""

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self.engine is not None

    @property
    def state(self) -> State:
        """The inside of its replica."""
        assert self.engine is not None, f"{self.name} is down"
        return self.engine._state

    def now_ms(self) -> int:
        """Its chain clock."""
        return self._genesis.time_ms + self._scheduler.now_ms + self.clock_offset_ms

    def start(self) -> None:
        """Begin, or begin again, from what the disk holds."""
        self._life += 1
        self._state = self.store.state
        records = self.log.read()
        self._checker.persisted(self.name, records)  # also what survived unsynced
        setup = EngineSetup(
            genesis=self._genesis,
            me=self.company,
            signers=self._signers,
            head=self.store.head,
            recent=self.store.recent(self._genesis.parameters.expiry_max_ms),
            records=records,
            verify=self._verify,
            timing=self._timing,
            limits=self._limits,
        )
        try:
            self.engine = Engine(setup)
        except Exception as error:
            raise InvariantError(f"{self.name} does not start: {error!r}") from error
        self._asked |= {(height, view) for height, view, kind in self.state.own if kind is ViewChange}
        self._ticked_ms = -self._turn_ms
        self.tick()
        for peer in self._peers:
            if (self.name, peer) not in self._network.parted:
                self.handle(PeerUp(peer))

    def crash(self) -> None:
        """Lose memory."""
        self.engine = None
        self.crash_in = None
        self._life += 1
        self._suspended, self._puts, self._late = [], [], []
        self.crashed(self.name)

    def handle(self, event: Event) -> None:
        """Give the engine an event, and perform what it wants. With the log's disk full, the core stands still."""
        if self.engine is None:
            return
        if self._suspended:
            if not isinstance(event, Received | Tick):
                self._late.append(event)
            return
        try:
            effects = self.engine.handle(event)
        except Exception as error:
            raise InvariantError(f"{self.name} crashed on {event}: {error!r}") from error
        self.perform(effects)

    def tick(self) -> None:
        """Time passes. Before a message it does so only now and then, as the core takes events in turns."""
        now_ms = self._scheduler.now_ms
        if now_ms >= self._ticked_ms + self._turn_ms:
            self._ticked_ms = now_ms
            self.handle(Tick(self.now_ms(), now_ms))

    def submit(self, raws: list[bytes]) -> list[bytes]:
        """Clients' transactions, in one batch; returns the ids of those that were not refused."""
        self.tick()
        engine = self.engine
        if engine is None:
            return []
        taken = []
        for transaction in map(decode_transaction, raws):
            try:
                engine.precheck(transaction)
            except ClientError:
                continue
            taken.append(transaction)
        self.handle(Admitted(tuple(taken), None))
        return [transaction.id for transaction in taken]

    # ── effects ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def perform(self, effects: list[Effect]) -> None:
        """Perform effects in their order. The first `Persist` writes all records of the list, as the core does."""
        written = False
        for at, effect in enumerate(effects):
            moment = None
            if self.crash_in is not None and self.crash_kind in ("", type(effect).__name__):
                self.crash_in -= 1
                if self.crash_in < 0:
                    moment = self.moment
                    if moment == "before":
                        return self.crash()
            if isinstance(effect, Persist):
                if written:
                    continue
                if self._full:
                    self._suspended = effects[at:]
                    return None
                written = True
                batch = [(each.height, each.record) for each in effects if isinstance(each, Persist)]
                if moment == "in":
                    self.log.tear(batch, self._random)
                    return self.crash()
                self.log.append(batch)
                self._checker.persisted(self.name, [record for _, record in batch])
            elif moment == "in" and isinstance(effect, Send):
                self._send(effect, self._random.sample(self._peers, len(self._peers) // 2))
                return self.crash()
            elif moment == "in" and isinstance(effect, StoreSealed):
                if not self._full and effect.outcome.height == self.store.height + 1:
                    self._store(effect)  # durable, but nobody was told
                return self.crash()
            else:
                self._perform(effect)
            if moment is not None:
                return self.crash()
            if self.engine is None:
                return None
        return None

    def fill_disk(self, first: str) -> None:
        """No more room."""
        self._full = True
        if first == "store":
            self.handle(DiskFull(True))

    def free_disk(self) -> None:
        """Room again: what waited goes on, and the engine hears of it in the order in which it happened."""
        self._full = False
        suspended, self._suspended = self._suspended, []
        self.perform(suspended)
        late, self._late = self._late, []
        puts, self._puts = self._puts, []
        for put in puts:
            if self.is_up:  # it may crash at any of them
                self._put(put)
        for event in (*((DiskFull(True),) if suspended else ()), DiskFull(False), *late):
            self.handle(event)

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Send):
            self._send(effect, effect.peers)
        elif isinstance(effect, Execute):
            self._execute(effect)
        elif isinstance(effect, StoreSealed):
            self._later(self._store_ms, self._put, effect)
        elif isinstance(effect, Truncate):
            self.log.truncate(effect.height)
        elif isinstance(effect, Verify):
            self._later(2, self._verify_all, effect)
        elif isinstance(effect, Serve):
            blocks = self.store.blocks[effect.first - 1 : effect.last][:SERVED_BLOCKS]
            served = tuple(SealedBlock(b.sealed, tuple(tx.raw for tx in b.transactions)) for b in blocks)
            self._network.send(self.name, (effect.peer,), SealedBlocks(served, ()))
        elif isinstance(effect, Charge):
            self.charges.append(effect)
            if self.is_honest and effect.peer in self.trusted:
                raise InvariantError(f"I5: {self.name} charges {effect.peer}: {effect.code}, {effect.reason}")
            if effect.cut:
                self.cut_off(self.name, effect.peer)
        elif isinstance(effect, Accuse):
            if self.is_honest and effect.company in self.trusted:
                raise InvariantError(f"I5: {self.name} accuses {effect.company}: {effect.evidence}")
        elif isinstance(effect, Log):
            if self.is_honest and effect.event == "view timed out":
                height, view = int(effect.fields["height"]), int(effect.fields["view"])
                self._checker.late.add((height, view))
                self._given_up = height, view + 1
        elif isinstance(effect, Halt):
            if self.is_honest:
                raise InvariantError(f"{self.name} halted: {effect.error}")
            self.crash()

    def _send(self, effect: Send, peers: list[str] | tuple[str, ...]) -> None:
        if self.is_honest:
            self._checker.sent(self.name, effect.message)
            if isinstance(effect.message, ViewChange):
                self._check_cause(effect.message)
        self._network.send(self.name, tuple(peers), effect.message)

    def _check_cause(self, message: ViewChange) -> None:
        """I6: a member asks for a view when its timer ran out, or with f + 1 members, never because somebody lies."""
        place = message.height, message.view
        if place in self._asked:
            return
        self._asked.add(place)
        round_ = self.state.round
        if place == self._given_up or round_.height != message.height:
            return
        others = [change for change in round_.view_changes.values() if change.voter != message.voter]
        if sum(change.view >= message.view for change in others) < round_.validators.weak_quorum:
            raise InvariantError(f"I6: {self.name} asks for view {message.view} of height {message.height}, uncaused")

    def _verify_all(self, effect: Verify) -> None:
        """As the admission does: bad bytes and bad signatures are dropped."""
        good: list[Transaction] = []
        for raw in effect.raws:
            try:
                transaction = decode_transaction(raw)
            except PeerError:
                continue
            if self._verify(transaction.body.sender, transaction.id, transaction.signature):
                good.append(transaction)
        self.handle(Admitted(tuple(good), effect.source))

    def _execute(self, effect: Execute) -> None:
        block = effect.block
        if self.is_honest:
            entry = self.state.entries.get(block.header.height)
            if entry is None:
                raise InvariantError(f"{self.name} executes a block that it does not hold")
            votes = entry.certificate.commits if entry.certificate else entry.seal.seal if entry.seal else ()
            members = self.state.validators_at(block.header.height).validators
            self._checker.committed(self.name, block, frozenset(members[vote.voter].name for vote in votes))
        self._state = self._application.execute(self._state, block, effect.failures)
        digest = root(self._state)
        timeline = self._application.timeline(self._state)
        outcome = Outcome(block.header.height, block.hash, digest, digest, timeline, self._state)
        if self.is_honest:
            self._checker.executed(self.name, outcome, lambda: self._application.audit(self._state))
        self._later(self.execution_ms, self.handle, Executed(outcome))

    def _put(self, effect: StoreSealed) -> None:
        if self._full:
            self._puts.append(effect)
            return
        self._store(effect)
        self.handle(Stored(effect.block.header.height))

    def _store(self, effect: StoreSealed) -> None:
        header = effect.block.header
        state = effect.outcome.work
        if not isinstance(state, dict):
            raise InvariantError(f"{self.name}: the outcome's work was not handed back untouched")
        if self.is_honest:
            self._checker.stored(self.name, header.height, effect.block.hash)
        validators = self.state.validators_at(header.height)
        block = StoredBlock(effect.sealed, effect.block.transactions, header.time_ms, state, validators)
        self.store.put(block, effect.head)

    def _later(self, delay_ms: int, action: Callable[..., None], argument: object) -> None:
        """Something that takes this node a while, in order, and that a crash undoes."""
        self._scheduler.after(delay_ms, self._run, self._life, action, argument)

    def _run(self, life: int, action: Callable[..., None], argument: object) -> None:
        if self._life == life:
            action(argument)
