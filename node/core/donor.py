"""Helps peers that join: hands out snapshots and hand-overs, one answer to each at a time and at its pace.

Beside the engine: nothing of this is agreed on, and everything proves itself to whoever receives it.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from consensus.messages import (
    HAND_OVERS_MAX,
    Ancestor,
    FetchAncestor,
    FetchChunk,
    FetchHandOvers,
    FetchManifest,
    HandOver,
    HandOvers,
    HistoryBegins,
    Joining,
    SnapshotChunk,
    SnapshotManifest,
)
from consensus.pace import ANSWER_MS_MIN, BYTES_PER_MS
from ledger.codec import decode_trusted, encode
from ledger.errors import ClientError, OurError
from ledger.mmr import MmrProof
from ledger.snapshot import Manifest
from node.storage.reader import LedgerReader
from node.storage.snapshots import Snapshots

_Request = FetchManifest | FetchChunk | FetchHandOvers | FetchAncestor


class Peers(Protocol):
    """The network, as far as a donor needs it."""

    def send(self, peers: tuple[str, ...], payload: bytes, *, droppable: bool) -> None:
        """Send to these members."""


class Donor:
    """One node's help for others. Lives on the event loop; reading is done in a thread."""

    def __init__(
        self,
        reader: LedgerReader,
        snapshots: Snapshots,
        network: Peers,
        history_begins: Callable[[str, int], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        """`history_begins(peer, height)` is told of peers that have pruned what we asked them for; `fail(error)` stops
        the process.
        """
        self._reader = reader
        self._snapshots = snapshots
        self._network = network
        self._history_begins = history_begins
        self._fail = fail
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="donor")
        self._waiting: dict[str, Joining | None] = {}
        """Peer that is being answered, or whose line is still busy with its last answer -> what it asked for since:
        the last request only, for whoever joins asks for one thing at a time.
        """

    def hear(self, peer: str, message: Joining) -> None:
        """Answer a peer's request. Answers that nobody here asked for are dropped."""
        if isinstance(message, HistoryBegins):
            self._history_begins(peer, message.height)
        elif not isinstance(message, _Request):
            return
        elif peer in self._waiting:
            self._waiting[peer] = message
        else:
            self._waiting[peer] = None
            work = asyncio.get_running_loop().run_in_executor(self._thread, self.answer, message)
            work.add_done_callback(lambda done: self._send(peer, done))

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def answer(self, message: _Request) -> bytes:
        """The encoded answer to a request. Blocks for a read or two."""
        if isinstance(message, FetchChunk):
            data = None
            with self._snapshots.expendable(message.height):
                # Of U63 and U32, so a file name is made of digits alone.
                data = self._snapshots.chunk(message.height, message.index)
            return encode(SnapshotChunk(message.height, message.index, data or b""))
        if isinstance(message, FetchManifest):
            return encode(SnapshotManifest(self._manifest(message.height)))
        if isinstance(message, FetchHandOvers):
            return encode(HandOvers(message.epoch, self._hand_overs(message.epoch)))
        return encode(self._ancestor(message))

    def _manifest(self, asked_height: int) -> Manifest | None:
        heights: list[int] = []
        with suppress(OSError):  # no descriptor is free, say
            heights = self._snapshots.heights()
        for height in [asked_height] if asked_height in heights else heights:
            with self._snapshots.expendable(height):
                raw = self._snapshots.manifest(height)
                if raw is not None:
                    return decode_trusted(Manifest, raw)
        return None

    def _ancestor(self, asked: FetchAncestor) -> Ancestor:
        with self._reader.snapshot() as snapshot:
            sealed = snapshot.sealed(asked.height)
            if sealed is not None and asked.of <= snapshot.height:
                with suppress(ClientError):
                    proof = snapshot.prove_history(asked.height, asked.of)
                    return Ancestor(asked.of, sealed.header, sealed.result, proof)
        return Ancestor(asked.of, b"", b"", MmrProof(()))

    def _hand_overs(self, epoch: int) -> tuple[HandOver, ...]:
        changes = []
        with self._reader.snapshot() as snapshot:
            for _, height in snapshot.hand_overs(epoch):
                sealed = snapshot.sealed(height)
                next_set = sealed and snapshot.validator_set(snapshot.result(height).next_set_hash)
                if not sealed or not next_set:
                    raise OurError("store-damaged", f"the hand-over at height {height} is not whole")
                changes.append(HandOver(sealed, next_set))
                if len(changes) == HAND_OVERS_MAX:
                    break
        return tuple(changes)

    def _send(self, peer: str, done: "asyncio.Future[bytes]") -> None:
        if done.cancelled():
            return
        error = done.exception()
        if error:
            self._fail(error)
            return
        answer = done.result()
        self._network.send((peer,), answer, droppable=True)
        # A member that asks again and again gets what a line of 100 Mbit/s carries, and no more.
        pause_ms = max(ANSWER_MS_MIN, len(answer) // BYTES_PER_MS)
        asyncio.get_running_loop().call_later(pause_ms / 1000, self._go_on, peer)

    def _go_on(self, peer: str) -> None:
        waiting = self._waiting.pop(peer, None)
        if waiting:
            self.hear(peer, waiting)
