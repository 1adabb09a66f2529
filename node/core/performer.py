"""The core's heart: takes events in turns, asks the engine, performs the effects in their order.

A turn takes what came, asks the engine about each, and then performs all effects. The first `Persist` among them writes
the records of the whole turn with one fsync, before anything behind it; so votes that come together share the price of
one. While the disk works the loop goes on receiving, and what comes then makes the next turn.

When the disk is full, the effects from that `Persist` on wait for room. Turns go on meanwhile: peers are answered, but
nothing leaves that says what a lost log would not remember.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from consensus.messages import (
    MESSAGE_BYTES_MAX,
    Bodies,
    FetchBlocks,
    FetchBodies,
    HistoryBegins,
    Joining,
    SealedBlock,
    SealedBlocks,
    Status,
    Transactions,
    decode_message,
)
from ledger.codec import encode
from ledger.errors import OurError, PeerError
from node.clock import ChainClock, steady_ms
from node.core.admission import Admission
from node.core.complaints import Complaints
from node.core.donor import Donor
from node.core.execution import Execution
from node.core.inbox import Inbox, RawMessage
from node.core.stages import Stages
from node.effects import (
    Accuse,
    Admitted,
    Charge,
    Effect,
    Event,
    Execute,
    Halt,
    Log,
    Persist,
    Received,
    Send,
    Serve,
    StoreSealed,
    Tick,
    Truncate,
    Verify,
)
from node.engine import Engine
from node.network.transport import PeerNetwork
from node.storage.reader import LedgerReader
from node.storage.wal import WriteAheadLog, is_full
from node.storage.writer import StoreWriter

TURN_S = 0.004
"""After so long no further event is taken into a turn: sockets and timers must get theirs as well."""
SERVED_BYTES_MAX = MESSAGE_BYTES_MAX - 64
"""Of encoded blocks in one answer to a node that catches up; beside them the message holds its number and two lengths.
"""

HELD_BYTES_MAX = 64 * 1024 * 1024
"""Of records that wait for room on the disk. The engine commits no more than K blocks of 2 MiB above the last seal,
each in two records; beyond that the node stands still.
"""
_SAYS_NOTHING = (Status, Transactions, FetchBlocks, FetchBodies, Bodies)
"""Messages that hold no signature of ours; all others may, in a certificate or a tail."""


class Performer:
    """Turns of events and effects."""

    def __init__(
        self,
        engine: Engine,
        inbox: Inbox,
        clock: ChainClock,
        wal: WriteAheadLog,
        writer: StoreWriter,
        execution: Execution,
        admission: Admission,
        network: PeerNetwork,
        reader: LedgerReader,
        donor: Donor,
        complaints: Complaints,
        stages: Stages,
        accuse: Callable[[Accuse], None],
        fail: Callable[[BaseException], None],
        log: Any,
    ) -> None:
        """`accuse` brings evidence on chain; `fail(error)` stops the process: our own bug, or damage."""
        self._engine = engine
        self._inbox = inbox
        self._clock = clock
        self._wal = wal
        self._writer = writer
        self._execution = execution
        self._admission = admission
        self._network = network
        self._reader = reader
        self._donor = donor
        self._complaints = complaints
        self._stages = stages
        self._fail = fail
        self._log = log
        self._held: list[Effect] = []
        """What waits for room on the disk, in order."""
        self._held_bytes = 0
        self._wal_thread = ThreadPoolExecutor(1, thread_name_prefix="wal")
        self._serving: set[str] = set()
        self._serve_thread = ThreadPoolExecutor(1, thread_name_prefix="serve")
        self._performers: dict[type[Any], Callable[[Any], None]] = {
            Send: self._send,
            Verify: self._verify,
            Execute: self._execute,
            StoreSealed: writer.put,
            Truncate: self._truncate,
            Serve: self._serve,
            Charge: self._charge,
            Accuse: accuse,
            Log: self._write_log,
            Halt: self._halt,
        }

    async def run(self) -> None:
        """Take turns for ever. Raises OurError when the log fails."""
        while True:
            await self._inbox.wait()
            if self._held_bytes > HELD_BYTES_MAX:
                await self._writer.room.wait()
            with self._stages.measure("order"):
                effects = self._ask()
            if self._held and self._writer.room.is_set():
                held, self._held, self._held_bytes = self._held, [], 0
                await self._perform(held)
            if self._held:  # still: what is asked of us meanwhile must not wait as well
                self._perform_meanwhile(effects)
            else:
                await self._perform(effects)
            await asyncio.sleep(0)  # an inbox that is never empty must not keep sockets and timers waiting

    def close(self) -> None:
        """Finish the write under way and stop the threads."""
        self._serve_thread.shutdown(wait=True, cancel_futures=True)
        self._wal_thread.shutdown(wait=True)
        self._wal.close()

    def _ask(self) -> list[Effect]:
        """The effects of what waits, as much of it as a turn has time for."""
        effects = self._engine.handle(Tick(self._clock.now_ms(), steady_ms()))
        end = time.perf_counter() + TURN_S
        while time.perf_counter() < end:
            event = self._inbox.take()
            if event is None:
                break
            effects += self._hear(event) if isinstance(event, RawMessage) else self._handle(event)
        return effects

    def _handle(self, event: Event) -> list[Effect]:
        effects = self._engine.handle(event)
        if isinstance(event, Admitted):
            self._admission.handled(event)
        return effects

    def _hear(self, event: RawMessage) -> list[Effect]:
        peer = event.peer
        if self._inbox.is_drained(peer):
            self._network.handled(peer)
        try:
            message = decode_message(event.payload)
        except PeerError as error:
            return [self._cut_off(Charge(peer, error.code, error.message, cut=True))]
        if isinstance(message, Joining):
            self._donor.hear(peer, message)
            return []
        return [self._cut_off(effect) for effect in self._engine.handle(Received(peer, message))]

    def _cut_off(self, effect: Effect) -> Effect:
        """The same effect. If it cuts a peer off, nothing more of that peer is heard in this turn; its connection ends
        when the effect is performed.
        """
        if isinstance(effect, Charge) and effect.cut:
            self._inbox.drop(effect.peer)
        return effect

    async def _perform(self, effects: list[Effect]) -> None:
        records = [(effect.height, effect.record) for effect in effects if isinstance(effect, Persist)]
        for at, effect in enumerate(effects):
            if not isinstance(effect, Persist):
                self._performers[type(effect)](effect)
            elif records:
                if not await self._persist(records):
                    return self._hold(effects[at:])
                records = []
        return None

    def _perform_meanwhile(self, effects: list[Effect]) -> None:
        """What may be done while others wait for room: all that tells nobody what is not on the disk. Other messages
        are dropped, for they are sent again to whoever stands still.
        """
        for effect in effects:
            if isinstance(effect, Persist | Execute | StoreSealed | Truncate):
                self._hold([effect])
            elif not isinstance(effect, Send) or isinstance(effect.message, _SAYS_NOTHING):
                self._performers[type(effect)](effect)

    def _hold(self, effects: list[Effect]) -> None:
        self._held += effects
        self._held_bytes += sum(len(effect.record) for effect in effects if isinstance(effect, Persist))

    async def _persist(self, records: list[tuple[int, bytes]]) -> bool:
        """Make records durable; False if the disk has no room for them."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._wal_thread, self._append, records)
        except OSError as error:
            if not is_full(error):
                raise OurError("wal-write", str(error)) from error
            # No vote leaves this node before it is on disk.
            self._writer.report_full(f"the log: {error}")
            return False
        return True

    def _append(self, records: list[tuple[int, bytes]]) -> None:
        with self._stages.measure("log"):
            self._wal.append(records)

    # ── one effect each ──────────────────────────────────────────────────────────────────────────────────────────────

    def _send(self, effect: Send) -> None:
        with self._stages.measure("network"):
            is_gossip = isinstance(effect.message, Transactions)
            self._network.send(effect.peers, encode(effect.message), droppable=is_gossip)

    def _verify(self, effect: Verify) -> None:
        self._admission.verify(effect.raws, effect.source)

    def _execute(self, effect: Execute) -> None:
        self._execution.execute(effect.block, effect.failures, self._fail)

    def _truncate(self, effect: Truncate) -> None:
        work = asyncio.get_running_loop().run_in_executor(self._wal_thread, self._wal.truncate, effect.height)
        work.add_done_callback(self._check)

    def _serve(self, effect: Serve) -> None:
        if effect.peer in self._serving:
            return  # one answer at a time: whoever asks for more than it reads gets no more
        self._serving.add(effect.peer)

        def done(future: asyncio.Future[bytes]) -> None:
            self._serving.discard(effect.peer)
            if self._check(future) and future.result():
                self._network.send((effect.peer,), future.result(), droppable=True)

        work = asyncio.get_running_loop().run_in_executor(
            self._serve_thread, self._read_blocks, effect.first, effect.last
        )
        work.add_done_callback(done)

    def _charge(self, effect: Charge) -> None:
        self._complaints.about(effect.peer, effect.code, effect.reason)
        if effect.cut:
            self._inbox.drop(effect.peer)  # what came since
            self._network.cut(effect.peer)

    def _write_log(self, effect: Log) -> None:
        getattr(self._log, effect.level)(effect.event, **effect.fields)

    def _halt(self, effect: Halt) -> None:
        self._fail(effect.error)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _check(self, future: asyncio.Future[Any]) -> bool:
        """Whether work in a thread ended well; if it failed, so does the process."""
        if future.cancelled():
            return False
        error = future.exception()
        if error:
            self._fail(error)
        return error is None

    def _read_blocks(self, first: int, last: int) -> bytes:
        """A SealedBlocks message with as many blocks from `first` on as fit into it; HistoryBegins if they are pruned;
        empty if there are none. In a thread.
        """
        blocks: list[SealedBlock] = []
        size_bytes = 0
        with self._reader.snapshot() as snapshot:
            if first < snapshot.first_block:
                return encode(HistoryBegins(snapshot.first_block))
            for height in range(first, min(last, snapshot.height) + 1):
                sealed = snapshot.sealed(height)
                if sealed is None:
                    break
                block = SealedBlock(sealed, snapshot.transactions(height))
                # As encoded: 32 blocks of 500 small transactions have 100 kB of headers, seals and lengths beside them.
                size_bytes += len(encode(block))
                if blocks and size_bytes > SERVED_BYTES_MAX:
                    break
                blocks.append(block)
        return encode(SealedBlocks(tuple(blocks), ())) if blocks else b""
