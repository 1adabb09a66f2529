"""One simulated node: a real engine, whose effects are performed on the simulated world, and which may crash before any
of them.
"""

from collections.abc import Callable
from random import Random

from consensus.messages import SealedBlock, SealedBlocks
from ledger.errors import ClientError
from ledger.keys import Signer
from ledger.transaction import decode_transaction
from node.effects import (
    Admitted,
    Charge,
    Effect,
    Event,
    Execute,
    Executed,
    Halt,
    Outcome,
    PeerUp,
    Persist,
    Send,
    Serve,
    Stored,
    StoreSealed,
    Tick,
    Truncate,
    Verify,
)
from node.engine import Engine, EngineSetup
from tests.sim.application import Application, root
from tests.sim.checker import Checker, InvariantError
from tests.sim.disk import Log, Store, StoredBlock
from tests.sim.network import Network
from tests.sim.scheduler import Scheduler

SERVED_BLOCKS = 8


class SimNode:
    """A node with its disk."""

    def __init__(
        self,
        name: str,
        *,
        application: Application,
        signer: Signer | None,
        verify: Callable[[bytes, bytes, bytes], bool],
        store: Store,
        names: list[str],
        scheduler: Scheduler,
        network: Network,
        checker: Checker,
        random: Random,
        clock_offset_ms: int,
    ) -> None:
        self.name = name
        self.log = Log()
        self.store = store
        self.engine: Engine | None = None
        self.crash_in: int | None = None
        """Crash before that many more effects."""
        self.charges: list[Charge] = []
        self._application = application
        self._genesis = application.genesis
        self._signer = signer
        self._verify = verify
        self._names = names
        self._scheduler = scheduler
        self._network = network
        self._checker = checker
        self._random = random
        self._clock_offset_ms = clock_offset_ms
        self._life = 0
        self.execution_ms = 4
        """How long a block takes."""
        self._state: dict[bytes, bytes] = {}

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self.engine is not None

    def now_ms(self) -> int:
        """Its chain clock."""
        return self._genesis.time_ms + self._scheduler.now_ms + self._clock_offset_ms

    def start(self) -> None:
        """Begin, or begin again, from what the disk holds."""
        self._life += 1
        self._state = self.store.state
        self._checker.persisted(self.name, self.log.read())  # also what survived unsynced
        self.engine = Engine(
            EngineSetup(
                genesis=self._genesis,
                me=self.name,
                signers=(self._signer,) if self._signer else (),
                head=self.store.head,
                recent=self.store.recent(self._genesis.parameters.expiry_max_ms),
                records=self.log.read(),
                verify=self._verify,
            )
        )
        self.handle(Tick(self.now_ms(), self._scheduler.now_ms))
        for peer in self._names:
            if peer != self.name:
                self.handle(PeerUp(peer))

    def crash(self) -> None:
        """Lose memory, and of the disk what was not synced."""
        self.engine = None
        self.crash_in = None
        self._life += 1
        self.log.crash(self._random)

    def handle(self, event: Event) -> None:
        """Give the engine an event, and perform what it wants."""
        if self.engine is not None:
            self.perform(self.engine.handle(event))

    def tick(self) -> None:
        """Time passes."""
        self.handle(Tick(self.now_ms(), self._scheduler.now_ms))

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

    def perform(self, effects: list[Effect]) -> None:
        """Perform effects in their order; whatever stands behind a `Persist` finds it synced."""
        unsynced: list[bytes] = []
        for effect in effects:
            if self.crash_in is not None:
                self.crash_in -= 1
                if self.crash_in < 0:
                    self.crash()
                    return
            if isinstance(effect, Persist):
                self.log.append(effect.height, effect.record)
                unsynced.append(effect.record)
                continue
            if unsynced:
                self.log.sync()
                self._checker.persisted(self.name, unsynced)
                unsynced = []
            self._perform(effect)
        if unsynced:
            self.log.sync()
            self._checker.persisted(self.name, unsynced)

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Send):
            self._checker.sent(self.name, effect.message)
            self._network.send(self.name, effect.peers, effect.message)
        elif isinstance(effect, Execute):
            self._execute(effect)
        elif isinstance(effect, StoreSealed):
            self._later(3, lambda: self._put(effect))
        elif isinstance(effect, Truncate):
            self.log.truncate(effect.height)
        elif isinstance(effect, Verify):
            transactions = tuple(decode_transaction(raw) for raw in effect.raws)
            self._later(2, lambda: self.handle(Admitted(transactions, effect.source)))
        elif isinstance(effect, Serve):
            blocks = self.store.blocks[effect.first - 1 : effect.last][:SERVED_BLOCKS]
            served = tuple(SealedBlock(b.sealed, tuple(tx.raw for tx in b.transactions)) for b in blocks)
            self._network.send(self.name, (effect.peer,), SealedBlocks(served, ()))
        elif isinstance(effect, Charge):
            self.charges.append(effect)
        elif isinstance(effect, Halt):
            raise InvariantError(f"{self.name} halted: {effect.error}")

    def _execute(self, effect: Execute) -> None:
        block = effect.block
        self._checker.committed(self.name, block)
        self._state = self._application.execute(self._state, block)
        digest = root(self._state)
        timeline = self._application.timeline(self._state)
        outcome = Outcome(block.header.height, block.hash, digest, digest, timeline, self._state)
        self._checker.executed(self.name, outcome, lambda: self._application.audit(self._state))
        self._later(self.execution_ms, lambda: self.handle(Executed(outcome)))

    def _put(self, effect: StoreSealed) -> None:
        header = effect.block.header
        state = effect.outcome.work
        if not isinstance(state, dict):
            raise InvariantError(f"{self.name}: the outcome's work was not handed back untouched")
        self._checker.stored(self.name, header.height, effect.block.hash)
        self.store.put(StoredBlock(effect.sealed, effect.block.transactions, header.time_ms, state), effect.head)
        self.handle(Stored(header.height))

    def _later(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Something that takes this node a while, in order, and that a crash undoes."""
        life = self._life

        def run() -> None:
            if self._life == life:
                action()

        self._scheduler.after(delay_ms, run)
