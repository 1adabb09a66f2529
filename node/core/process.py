"""The core of one node: consensus, execution and the ledger store, built and run.

Builds the parts, starts them in the order in which they need each other, and stops them in the opposite one.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterator
from typing import Any

import structlog
from msgspec.structs import asdict

import node
from contracts import views
from contracts.genesis import genesis_state
from ledger.codec import decode_trusted
from ledger.errors import ClientError, OurError, PeerError
from ledger.genesis import Genesis
from ledger.terms import Timeline
from ledger.transaction import ExpiryClass, Signed, Transaction, transaction_id
from node.config import Config, split_address
from node.core.admission import Admission
from node.core.complaints import Complaints
from node.core.disk_watch import DiskWatch
from node.core.donor import Donor
from node.core.duties import Duties, load_company_signer
from node.core.execution import Execution
from node.core.inbox import Inbox
from node.core.lock import lock
from node.core.performer import Performer
from node.core.pruner import Pruner
from node.core.snapshot_keeper import SnapshotKeeper
from node.core.stages import Stages
from node.core.vote_keys import VoteKeys
from node.effects import TICK_MS, Executed, Outcome, Stored
from node.engine import Engine, EngineSetup
from node.home import Home
from node.ipc.socket import IpcServer
from node.network.tls import client_context, node_key, server_context
from node.network.transport import PeerNetwork
from node.storage.layout import DATA_FILE
from node.storage.reader import Snapshot
from node.storage.snapshots import Snapshots
from node.storage.store import Store, StoreFullError
from node.storage.wal import WriteAheadLog, is_full, newest_segment
from node.storage.writer import StoreWriter

WATCH_S = 1.0
"""How often dead readers are cleared away and the disk's room is looked at."""
LAG_TICKS = 200
"""Ticks (10 s) over which the loop's worst delay is told."""

log = structlog.get_logger()


class RejoinError(Exception):
    """The process must begin again, by joining."""


class Core:
    """One node's core, built and ready to run."""

    def __init__(self, home: Home, config: Config) -> None:
        """Open everything, in a home that this process has locked. Must be called inside the event loop. Raises
        ClientError for what somebody must mend, OurError for damage.
        """
        self._home = home
        self._config = config
        self._genesis = genesis = home.genesis()
        self._lock = lock(home)
        self._company = config.node.company
        self._stages = stages = Stages()
        self._inbox = inbox = Inbox()
        self._lag_ms: deque[int] = deque([0], LAG_TICKS)
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._met: Timeline | None = None
        """The sealed timeline whose members we have met."""
        self._pruned: dict[str, int] = {}
        """Peers that no longer have the blocks that we asked them for -> the first that they have."""
        complaints = Complaints(log)

        passphrase = home.passphrase(config)
        self._store = store = _open_store(home, genesis, config.store.map_bytes)
        keys = None if config.node.observer else _vote_keys(home, config, passphrase)
        self._wal = wal = _open_wal(home, keys)
        with store.snapshot() as snapshot:
            self._timeline = snapshot.head.timeline
            self._members = _node_keys(self._timeline)
            setup = EngineSetup(
                genesis=genesis,
                me=self._company,
                signers=keys.signers if keys else (),
                head=snapshot.head,
                recent=tuple(_recent(snapshot, genesis)),
                records=tuple(wal.recovered),
            )
        wal.recovered.clear()
        self._engine = Engine(setup)

        self._disk = DiskWatch(store, home.wal, inbox.put, log)
        self._writer = StoreWriter(store, self._stored, self._disk.found_full, stages)
        self._execution = Execution(store, genesis, self._executed, stages)
        self._admission = Admission(self._precheck, self._engine.holds, inbox.put, complaints.about, stages)
        contexts = tls_contexts(home, config, passphrase)
        self._warn_of_wrong_keys()
        self._network = PeerNetwork(self._company, genesis.hash(), self._members.get, contexts, inbox, complaints)
        self._ipc = IpcServer(self._admission.submit, self.status)
        company_signer = load_company_signer(home.path(config.keys.company), passphrase)
        self._duties = Duties(
            self._company,
            genesis.hash(),
            config.clock,
            keys,
            company_signer,
            store,
            self._engine,
            self._admission,
            log,
        )
        snapshots = Snapshots(home.snapshots)
        self._donor = Donor(store, snapshots, self._network, self._history_begins, self.fail)
        self._keeper = SnapshotKeeper(store, snapshots, config.store.snapshot_every, self._fail_from_thread, log)
        keep = config.store.keep_blocks
        self._pruner = Pruner(store, self._writer, keep, lambda: self._keeper.needed, genesis.parameters, log)
        self._performer = Performer(
            self._engine,
            inbox,
            config.clock,
            wal,
            self._writer,
            self._execution,
            self._admission,
            self._network,
            store,
            self._donor,
            complaints,
            stages,
            self._duties.accuse,
            self.fail,
            log,
        )

    async def run(self) -> None:
        """Run until `stop` or `fail`. Raises the error that `fail` was given."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        try:
            for work in (self._performer.run(), self._writer.run(), self._pruner.run(), self._tick(), self._watch()):
                self._spawn(work)
            self._inbox.ring()  # the engine learns the time before anybody asks it anything
            self._network.start(split_address(self._config.p2p.listen))
            self._meet_members()
            self._ipc.height = self._engine.status().sealed
            self._keeper.start(self._ipc.height)
            await self._ipc.start(self._home.socket)
            log.info("core_started", height=self._ipc.height, listen=self._config.p2p.listen)
            await self._end
        finally:
            await self._stop()

    def stop(self) -> None:
        """End in order."""
        if not self._end.done():
            self._end.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End because of our own bug, or of damage."""
        if not self._end.done():
            self._end.set_exception(error)

    def status(self) -> dict[str, Any]:
        """How this core is: what the unix socket tells."""
        return {
            **asdict(self._engine.status()),
            "company": self._company,
            "version": node.__version__,
            "connected": self._network.connected,
            "admission_waiting": self._admission.waiting,
            "disk_full": self._disk.is_full,
            "stale_readers": [reader.pid for reader in self._store.stale_readers()],
            "loop_lag_ms": max(self._lag_ms),
            "stages_us": self._stages.cpu_us(),
        }

    def _precheck(self, transaction: Transaction) -> None:
        """The engine's checks, and one that needs the store: a device's record is valid for longer than the engine
        remembers ids, so that anybody could have it sealed again.

        Raises ClientError as `Engine.precheck` does.
        """
        self._engine.precheck(transaction)
        if transaction.body.expiry_class is ExpiryClass.DEVICE:
            with self._store.snapshot() as snapshot:
                if snapshot.locate(transaction.id) is not None:
                    raise ClientError("transaction-seen", "it is sealed")

    # ── reports of the parts ─────────────────────────────────────────────────────────────────────────────────────────

    def _history_begins(self, peer: str, height: int) -> None:
        """A peer has pruned the blocks that we need next. One alone may lie; among f + 1 validators is an honest one.

        Observers do not count, of whom any number may lie, nor what nobody asked for: two of them could else stop
        every member of the consortium with a message each.
        """
        if not self._engine.asks(peer):
            return
        sealed, voters = self._engine.status().sealed, self._engine.voters
        self._pruned[peer] = height
        names = [
            name for name, first in self._pruned.items() if first > sealed + 1 and voters.index_of(name) is not None
        ]
        if len(names) >= voters.weak_quorum:
            first = min(self._pruned[name] for name in names)
            log.warning("history_pruned", sealed=sealed, peers_begin_at=first, peers=sorted(names))
            if self._config.store.join == "snapshot":
                self._home.rejoin.touch()
                self.fail(RejoinError())
            else:
                self.fail(
                    ClientError(
                        "history-pruned",
                        f"this node stands at height {sealed}, its peers keep blocks from {first} on; set store.join = "
                        '"snapshot" to join again by snapshot (its own older blocks are given up), or restore a backup',
                    )
                )

    def _fail_from_thread(self, error: BaseException) -> None:
        self._loop.call_soon_threadsafe(self.fail, error)

    def _stored(self, height: int) -> None:
        self._keeper.stored(height)
        self._inbox.put(Stored(height))
        self._ipc.sealed(height)

    def _executed(self, outcome: Outcome) -> None:
        # Whoever is to join may connect as soon as it is decided, before it votes.
        if outcome.timeline != self._timeline:
            self._timeline = outcome.timeline
            self._members.update(_node_keys(outcome.timeline))
        self._inbox.put(Executed(outcome))

    # ── work that goes on all the time ───────────────────────────────────────────────────────────────────────────────

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + TICK_MS / 1000, loop.time())
            await asyncio.sleep(due - loop.time())
            self._lag_ms.append(round((loop.time() - due) * 1000))
            self._inbox.ring()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            self._store.reader_check()
            for reader in self._store.stale_readers():
                log.warning(
                    "stale_reader", pid=reader.pid, lag=reader.lag, hint="it keeps the store from reusing pages"
                )
            self._disk.look(self._writer.room)
            self._meet_members()
            if not self._disk.is_full:
                await self._duties.tick()

    def _meet_members(self) -> None:
        """As the sealed chain says who belongs: let go of those that left, and dial every member whose address the
        settings name, or else the chain (`governance.set_node`). What a member wrote there costs a connection that
        goes nowhere, if it is wrong.

        Nobody is let go before the last block that it votes on is sealed: its CHECKPOINT may be one of the quorum's.
        """
        addresses = {company: split_address(address) for company, address in self._config.p2p.peers.items()}
        with self._store.snapshot() as snapshot:
            timeline = snapshot.head.timeline
            if self._met == timeline:
                return
            self._met = timeline
            keys = _node_keys(timeline) | _node_keys(self._timeline)
            self._members.clear()
            self._members.update(keys)
            for company in sorted(set(keys.values()) - addresses.keys()):
                seat = views.seat(snapshot, company)
                host, _, port = seat.address.rpartition(":") if seat else ("", "", "")
                if host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536:
                    addresses[company] = host, int(port)
        self._network.cut_strangers()
        self._network.dial(addresses)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        def done(task: asyncio.Task[None]) -> None:
            error = None if task.cancelled() else task.exception()
            if error:
                self.fail(error)

        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(done)
        self._tasks.append(task)

    async def _stop(self) -> None:
        await self._ipc.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._network.stop()
        self._keeper.close()
        self._donor.close()
        self._admission.close()
        self._execution.close()
        self._writer.close()
        self._performer.close()
        self._store.close()
        log.info("core_stopped")

    def _warn_of_wrong_keys(self) -> None:
        """Say early what would otherwise show as peers that refuse us, or as a node that never votes."""
        ours = node_key(self._home.path(self._config.p2p.certificate).read_bytes())
        if self._members.get(ours) != self._company:
            log.warning("certificate_of_no_member", company=self._company, hint="peers refuse it")
        if not self._config.node.observer and self._timeline[-1].validators.index_of(self._company) is None:
            log.warning("no_member", company=self._company, hint="this node follows the chain and does not vote")

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody caught: a connection's costs that connection, any other is our own bug."""
        error = context.get("exception")
        if "transport" in context or "protocol" in context:
            log.error("connection_failed", what=context["message"], exc_info=error)
        else:
            self.fail(error or OurError("loop-error", str(context["message"])))


def _node_keys(timeline: Timeline) -> dict[bytes, str]:
    """TLS key -> company of all who may connect: under the terms in force, and under those that are decided."""
    return {key: company for terms in timeline for key, company in terms.node_keys.items()}


def _open_store(home: Home, genesis: Genesis, map_bytes: int) -> Store:
    is_made = (home.ledger / DATA_FILE).exists()
    try:
        return Store(home.ledger, genesis, {} if is_made else _first_state(home, genesis), map_bytes)
    except StoreFullError as error:
        raise error.for_operator(home.ledger) from error


def _first_state(home: Home, genesis: Genesis) -> dict[bytes, bytes]:
    try:
        return genesis_state(genesis)
    except PeerError as error:  # a consortium of another format, a code that the verifier refuses
        raise ClientError("genesis-invalid", f"{home.genesis_file}: {error.message}; ask a member for it") from error


def _vote_keys(home: Home, config: Config, passphrase: bytes) -> VoteKeys:
    """The vote keys. One that has voted on what the write-ahead log does not remember never votes again."""
    key_file = home.path(config.keys.vote)
    keys = VoteKeys(key_file, passphrase, newest_segment(home.wal))
    if not keys.may_vote:
        hint = "this node only observes, for it might vote twice; run `pilechain keys renew` while it runs"
        log.error("votes_forgotten", vote_key=str(key_file), wal=str(home.wal), hint=hint)
    return keys


def _open_wal(home: Home, keys: VoteKeys | None) -> WriteAheadLog:
    try:
        return WriteAheadLog(home.wal, keys.raise_marks) if keys else WriteAheadLog(home.wal)
    except OSError as error:
        if not is_full(error):
            raise
        raise ClientError("disk-full", f"{home.wal}: {error}; make room") from error


def tls_contexts(home: Home, config: Config, passphrase: bytes) -> tuple[Any, Any]:
    """TLS contexts for accepted and for dialled connections."""
    p2p = config.p2p
    files = home.path(p2p.ca), home.path(p2p.certificate), home.path(p2p.key), passphrase
    return server_context(*files), client_context(*files)


def _recent(snapshot: Snapshot, genesis: Genesis) -> Iterator[tuple[int, tuple[bytes, ...]]]:
    """(time, transaction ids) of the blocks of the replay window, oldest first."""
    oldest_ms = snapshot.head.tip.time_ms - genesis.parameters.expiry_max_ms
    first = snapshot.height
    while first > 1 and snapshot.result(first - 1).time_ms >= oldest_ms:
        first -= 1
    for height in range(max(first, 1), snapshot.height + 1):
        ids = tuple(transaction_id(decode_trusted(Signed, raw).body) for raw in snapshot.transactions(height))
        yield snapshot.result(height).time_ms, ids
