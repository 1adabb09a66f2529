"""The engine: replica, mempool and gossip joined. An event in, ordered effects out; no clock, socket or file inside."""

from collections.abc import Sequence

from msgspec import Struct

from consensus.head import Head
from consensus.messages import Transactions
from consensus.replay import ReplayWindow
from consensus.replica import Replica
from consensus.state import State, Timing, Verifier
from ledger import keys
from ledger.errors import ClientError, OurError
from ledger.genesis import Genesis
from ledger.keys import Signer
from ledger.transaction import Transaction, transaction_leaf
from ledger.validators import ValidatorSet
from node.effects import (
    Admitted,
    Effect,
    Event,
    Executed,
    PeerDown,
    PeerUp,
    Received,
    Stored,
    Tick,
    Verify,
)
from node.mempool import Mempool, MempoolLimits

GOSSIP_BYTES_MAX = 128 * 1024
"""Transactions in one gossip message: small enough that votes behind it on the line do not wait long."""
HOUSEKEEPING_MS = 1_000
"""How often expired transactions are dropped, and waiting ones told again while the chain stands still."""
TOLD_AGAIN_MAX = 256
"""Waiting transactions that are told again at once."""


class EngineSetup(Struct, frozen=True, kw_only=True):
    """What an engine starts from."""

    genesis: Genesis
    me: str | None = None
    """Our company; None for an observer."""
    signers: Sequence[Signer] = ()
    """The vote key in force and the next epoch's; without the former the node only observes."""
    head: Head
    """`consensus.head.genesis_head(genesis)`, or as the store holds it with the last sealed block."""
    recent: Sequence[tuple[int, Sequence[bytes]]] = ()
    """(time, transaction ids) of the blocks up to head that are at most `expiry_max_ms` older than it, oldest first."""
    records: Sequence[bytes] = ()
    """The write-ahead log."""
    verify: Verifier = keys.verify
    timing: Timing = Timing()
    limits: MempoolLimits = MempoolLimits()


class EngineStatus(Struct, frozen=True):
    """Where a node stands, for people and probes."""

    sealed: int
    committed: int
    executed: int
    view: int
    phase: str
    primary: str
    voting: bool
    """Whether this node votes at the open height."""
    halted: bool
    transactions: int
    """In the pool."""
    transaction_bytes: int
    gossip_dropped: int
    """Transactions of peers that did not fit into the pool."""
    peers: dict[str, int]
    """Connected peers and their committed heights; -1 until they say."""


class Engine:
    """One node's decisions."""

    def __init__(self, setup: EngineSetup) -> None:
        """Raises OurError if the log contradicts itself."""
        parameters = setup.genesis.parameters
        self._chain_id = setup.genesis.hash()
        self._pool = Mempool(parameters, setup.limits)
        self._state = State(
            chain_id=self._chain_id,
            me=setup.me,
            signers={signer.public_key: signer for signer in setup.signers},
            verify=setup.verify,
            timing=setup.timing,
            head=setup.head,
            window=ReplayWindow(parameters.expiry_max_ms, setup.head.tip.time_ms, setup.recent),
            pool=self._pool,
        )
        self._replica = Replica(self._state, list(setup.records))
        self._gossip_dropped = 0
        self._housekeeping_ms = 0

    def handle(self, event: Event) -> list[Effect]:
        """Effects of one event, to be performed in their order. After a `Halt` there are no more."""
        replica = self._replica
        if replica.halted:
            return []
        try:
            if isinstance(event, Tick):
                replica.tick(event.now_ms, event.steady_ms)
                self._keep_house()
            elif isinstance(event, Received):
                if isinstance(event.message, Transactions):
                    self._hear(event.peer, event.message)
                else:
                    replica.receive(event.peer, event.message)
            elif isinstance(event, Admitted):
                self._admit(event)
            elif isinstance(event, Executed):
                replica.executed(event.outcome)
            elif isinstance(event, Stored):
                replica.stored(event.height)
            elif isinstance(event, PeerUp):
                replica.peer_up(event.peer)
            elif isinstance(event, PeerDown):
                replica.peer_down(event.peer)
            else:
                replica.set_disk_full(event.full)
        except OurError as error:
            replica.halt(error)
        return replica.settle()

    def precheck(self, transaction: Transaction) -> None:
        """What can be said of a client's transaction before its signature is verified: the cheap checks, cheapest
        first.

        Raises ClientError `transaction-chain`, `transaction-seen`, or as `Mempool.check` does.
        """
        if transaction.body.chain_id != self._chain_id:
            raise ClientError("transaction-chain", "it is for another chain")
        if transaction.id in self._state.window:
            raise ClientError("transaction-seen", "a block of the last minutes holds it")
        self._pool.check(transaction, self._state.now_ms, self._state.tip.time_ms)

    def use_key(self, signer: Signer) -> None:
        """Vote with a further key from the epoch on whose set has it."""
        self._state.signers[signer.public_key] = signer

    def drop_key(self, public_key: bytes) -> None:
        """Vote no more with the key of an epoch that is over."""
        self._state.signers.pop(public_key, None)

    def holds(self, leaf: bytes) -> bool:
        """Whether the transaction with this leaf waits for a block."""
        return self._pool.get(leaf) is not None

    def status(self) -> EngineStatus:
        """Where we stand."""
        state, round_ = self._state, self._state.round
        return EngineStatus(
            sealed=state.sealed,
            committed=state.tip.height,
            executed=state.executed,
            view=round_.view,
            phase=round_.phase.value,
            primary=round_.primary_name(round_.view),
            voting=state.position(round_.height) is not None,
            halted=self._replica.halted,
            transactions=len(self._pool),
            transaction_bytes=self._pool.size_bytes,
            gossip_dropped=self._gossip_dropped,
            peers={name: -1 if status is None else status.committed for name, status in sorted(state.peers.items())},
        )

    @property
    def voters(self) -> ValidatorSet:
        """Who votes on the block behind the last sealed one."""
        return self._state.head.validators

    def asks(self, peer: str) -> bool:
        """Whether this peer owes us an answer to a request for the blocks behind the last sealed one."""
        return self._state.fetch.peer == peer

    # ── transactions ────────────────────────────────────────────────────────────────────────────────────────────────

    def _admit(self, event: Admitted) -> None:
        """Take verified transactions in; those of our clients are told to everybody ahead of any proposal."""
        state, pool = self._state, self._pool
        now_ms, parent_time_ms, window, chain_id = state.now_ms, state.tip.time_ms, state.window, self._chain_id
        self._replica.offer(event.transactions)
        pool.arrived(event.transactions)
        admitted: list[Transaction] = []
        for transaction in event.transactions:
            if transaction.id in window or transaction.body.chain_id != chain_id:
                continue
            try:
                pool.admit(transaction, now_ms, parent_time_ms)
            except ClientError:
                continue  # a client was told by `precheck`; a peer's transaction may well be here already
            admitted.append(transaction)
        if event.source is None:
            self._tell(admitted)

    def _tell(self, transactions: Sequence[Transaction]) -> None:
        batch: list[bytes] = []
        size = 0
        for transaction in transactions:
            if batch and size + len(transaction.raw) > GOSSIP_BYTES_MAX:
                self._state.send(Transactions(tuple(batch)))
                batch, size = [], 0
            batch.append(transaction.raw)
            size += len(transaction.raw)
        if batch:
            self._state.send(Transactions(tuple(batch)))

    def _hear(self, peer: str, message: Transactions) -> None:
        """Have the unknown ones of a peer's transactions verified, as far as the pool has room for them."""
        if self._pool.is_full:
            self._gossip_dropped += len(message.raws)
            return
        expect, steady_ms = self._pool.expect, self._state.steady_ms
        unknown = tuple(raw for raw in message.raws if expect(transaction_leaf(raw), steady_ms))
        if unknown:
            self._state.out.append(Verify(unknown, peer))

    def _keep_house(self) -> None:
        """Drop what expired; and while transactions wait and the height stands still, tell the oldest again: gossip is
        best effort.
        """
        state = self._state
        if state.steady_ms < self._housekeeping_ms + HOUSEKEEPING_MS:
            return
        self._housekeeping_ms = state.steady_ms
        if not len(self._pool):
            return
        self._pool.expire(max(state.now_ms, state.tip.time_ms))
        if state.steady_ms >= state.round.opened_ms + HOUSEKEEPING_MS:
            self._tell(self._pool.oldest(TOLD_AGAIN_MAX))
