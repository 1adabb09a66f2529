"""Joins by snapshot: connections, files and clock around the plan. Runs in the core process, before its engine is."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from consensus.messages import decode_message
from ledger.codec import encode
from ledger.errors import ClientError, OurError, PeerError
from ledger.genesis import Genesis
from node.clock import steady_ms
from node.config import Config, split_address
from node.core.complaints import Complaints
from node.core.inbox import Inbox, RawMessage
from node.effects import PeerDown, PeerUp
from node.home import Home
from node.join.actions import (
    Action,
    Ask,
    Begin,
    Drop,
    Finish,
    GiveUp,
    Keep,
    Learn,
    Replay,
    block_piece,
    chunk_piece,
)
from node.join.plan import JoinPlan
from node.join.trust import Offer, Pin
from node.network.transport import PeerNetwork
from node.storage.rebuild import build_store, ledger_height
from node.storage.snapshots import MANIFEST, write_durably
from node.storage.store import StoreFullError, demand_room
from node.storage.wal import is_full

TICK_S = 0.05
WAITING_LOG_S = 30.0
"""How often a node that gets no further says so."""

log = structlog.get_logger()


class Joining:
    """One attempt to join."""

    def __init__(self, home: Home, config: Config, genesis: Genesis, contexts: tuple[Any, Any]) -> None:
        """`contexts` are the TLS contexts of `node.network.tls`. Call it in the event loop. Raises OurError
        `store-damaged` for a ledger that cannot be read.
        """
        self._home = home
        self._config = config
        self._genesis = genesis
        self._members = {member.node_key: member.name for member in genesis.validators.validators}
        self._inbox = Inbox()
        complaints = Complaints(log)
        self._complaints = complaints
        company = config.node.company
        # Members that came later, or have another node key now, are not in the genesis document, and the settings name
        # perhaps only such. Whatever they say is proven before it counts.
        self._network = PeerNetwork(
            company, genesis.hash(), self._members.get, contexts, self._inbox, complaints, believes_names=True
        )
        self._addresses = {name: split_address(at) for name, at in config.p2p.peers.items() if name != company}
        store = config.store
        pin = Pin(store.trust_height, bytes.fromhex(store.trust_hash)) if store.trust_height else None
        self._floor = ledger_height(home.ledger, store.map_bytes)
        self._plan = JoinPlan(genesis, pin, frozenset(self._addresses), self._begun(), self._floor)
        self._do: dict[type[Any], Callable[[Any], None]] = {
            Ask: lambda action: self._network.send((action.peer,), encode(action.message), droppable=False),
            Drop: self._drop,
            Keep: self._keep,
            Learn: self._learn,
        }
        self._received_bytes = 0
        self._busy_ms = 0
        """How long the plan has stood still; on its clock nobody is late because we were busy."""
        self._bug: BaseException | None = None
        self._is_stopping = False

    async def run(self) -> bool:
        """Join; False if the chain is to be executed from its beginning, because the peers have no snapshot. May be
        cancelled; what is here already stays for the next attempt.

        Raises ClientError `join-failed`, `trust-later`, `disk-full`, `map-full`, `p2p-listen`, and our own bug as it
        is.
        """
        asyncio.get_running_loop().set_exception_handler(self._on_loop_error)
        self._network.start(split_address(self._config.p2p.listen))
        self._network.dial(self._addresses)
        log.info("join_started", peers=len(self._addresses), wanted=self._begun() or "newest")
        try:
            end = await self._fetch()
        except OSError as error:
            if not is_full(error):
                raise
            raise ClientError("disk-full", f"{self._home.joining}: {error}; make room") from error
        finally:
            await self._network.stop()
        if isinstance(end, GiveUp):
            raise ClientError(end.code, end.reason)
        if isinstance(end, Replay):
            log.info("join_by_replay", reason="the peers have no snapshot")
            return False
        await self._in_thread(self._build, end.offer)
        return True

    async def _fetch(self) -> Finish | Replay | GiveUp:
        """Take turns until the plan has come to an end."""
        said_s = asyncio.get_running_loop().time()
        missing = -1
        while True:
            for action in self._turn():
                if isinstance(action, Finish | Replay | GiveUp):
                    return action
                if isinstance(action, Begin):
                    await self._begin(action)
                else:
                    self._do[type(action)](action)
            if self._bug:
                raise self._bug
            now_s = asyncio.get_running_loop().time()
            if missing != self._plan.missing:
                missing, said_s = self._plan.missing, now_s
            elif now_s >= said_s + WAITING_LOG_S:
                said_s = now_s
                log.warning(
                    "join_waits", connected=self._network.connected, dropped=self._plan.dropped, missing=missing
                )
            try:
                async with asyncio.timeout(TICK_S):
                    await self._inbox.wait()
            except TimeoutError:
                self._inbox.ring()

    def _turn(self) -> list[Action]:
        event = self._inbox.take()
        plan, now_ms = self._plan, steady_ms() - self._busy_ms
        if isinstance(event, RawMessage):
            peer = event.peer
            if self._inbox.is_drained(peer):
                self._network.handled(peer)
            self._received_bytes += len(event.payload)
            try:
                return plan.hear(peer, decode_message(event.payload), now_ms)
            except PeerError as error:
                plan.drop(peer, error.code, error.message)
        elif isinstance(event, PeerUp):
            return plan.peer_up(event.peer, now_ms)
        elif isinstance(event, PeerDown):
            return plan.peer_down(event.peer, now_ms)
        return plan.tick(now_ms)

    # ── actions ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _drop(self, action: Drop) -> None:
        self._complaints.about(action.peer, action.code, action.reason)
        log.warning("donor_dropped", donor=action.peer, code=action.code, reason=action.reason)
        self._inbox.drop(action.peer)
        self._network.cut(action.peer)

    async def _begin(self, action: Begin) -> None:
        offer, folder = action.offer, self._home.joining
        kept = sorted(folder.iterdir()) if self._begun() == offer.height else []
        if kept:
            # In a thread: proving some hundred chunks takes ten seconds, and peers cut off who is silent for so long.
            began_ms = steady_ms()
            await self._in_thread(self._plan.have, ((path.name, self._read(path)) for path in kept))
            self._busy_ms += steady_ms() - began_ms
        else:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_durably(folder / f"{MANIFEST}-{offer.height}", encode(offer.manifest))
        log.info(
            "join_begun", height=offer.height, chunks=len(offer.places), missing=self._plan.missing, kept=len(kept)
        )

    def _keep(self, action: Keep) -> None:
        # Not durable: whatever a crash leaves proves itself, or is fetched again.
        (self._home.joining / action.piece).write_bytes(action.data)

    def _learn(self, action: Learn) -> None:
        for validators in self._plan.trust.sets:
            self._members.update({member.node_key: member.name for member in validators.validators})

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _begun(self) -> int:
        """Height of the snapshot of which pieces are here; 0 if there are none."""
        found = list(self._home.joining.glob(f"{MANIFEST}-*"))
        return int(found[0].name.rpartition("-")[2]) if len(found) == 1 else 0

    def _build(self, offer: Offer) -> None:
        folder = self._home.joining
        # The store is larger than its pieces, which are compressed: there is no use in beginning again and again.
        demand_room(folder, sum(path.stat().st_size for path in folder.iterdir()))

        def piece(name: str) -> bytes:
            return self._read(folder / name)

        changes = [change for change in self._plan.trust.changes if change.next_set.epoch <= offer.epoch]
        try:
            build_store(
                self._home.ledger,
                self._genesis,
                self._config.store.map_bytes,
                self._floor,
                offer.manifest,
                changes,
                lambda index: piece(chunk_piece(index)),
                lambda height: piece(block_piece(height)),
            )
        except StoreFullError as error:
            raise error.for_operator(self._home.ledger) from error
        shutil.rmtree(folder)
        log.info("joined", height=offer.height, bytes=self._received_bytes)

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _in_thread(self, work: Callable[..., None], *arguments: object) -> None:
        """Do what takes long. When this is cancelled, the work ends at its next piece, and is waited for: it must not
        go on behind the back of whoever starts next.
        """
        task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self._is_stopping = True
            await asyncio.gather(task, return_exceptions=True)
            raise

    def _read(self, path: Path) -> bytes:
        if self._is_stopping:
            raise _StoppedError
        return path.read_bytes()

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody caught: a connection's costs that connection, any other is our own bug."""
        error = context.get("exception")
        if "transport" in context or "protocol" in context:
            log.info("connection_failed", what=context["message"])
        else:
            self._bug = error or OurError("loop-error", str(context["message"]))
            self._inbox.ring()


class _StoppedError(Exception):
    """The node is told to stop; ends the work of a thread."""
