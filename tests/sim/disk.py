"""What survives a crash: the log as far as it was synced, perhaps a little more, and the store of sealed blocks."""

import tempfile
import zlib
from pathlib import Path
from random import Random

from msgspec import Struct

from consensus.head import Head
from ledger.block import SealedHeader
from ledger.codec import decode, encode
from ledger.transaction import Transaction
from ledger.validators import ValidatorSet
from node.storage import wal

Batch = list[tuple[int, bytes]]
"""(height, record) pairs that one fsync makes durable."""
PAGE_BYTES = 512
"""What a disk writes at once, at least: a batch is torn between such pieces."""
MARK = b"\x01segment"


class Log:
    """A write-ahead log. A torn tail is recovered by the real one, from a real file."""

    def __init__(self, segment_batches: int) -> None:
        self._segment_batches = segment_batches
        self._segments: list[list[Batch]] = [[]]
        self._torn = b""

    def append(self, batch: Batch) -> None:
        """Write durably."""
        if len(self._segments[-1]) >= self._segment_batches:
            self._segments.append([])
        self._segments[-1].append(batch)

    def tear(self, batch: Batch, random: Random) -> None:
        """Crash in the middle of writing: pages reach the disk in any order, or all of them, or none."""
        data = bytearray(wal._frame(MARK, max(height for height, _ in batch), [record for _, record in batch]))
        kind = random.randrange(4)
        if kind == 0:
            del data[random.randrange(len(data) + 1) :]
        elif kind == 1:
            for start in range(0, len(data), PAGE_BYTES):
                if random.random() < 0.5:
                    data[start : start + PAGE_BYTES] = bytes(len(data[start : start + PAGE_BYTES]))
        elif kind == 2:
            data[-1] ^= 1 << random.randrange(8)
        self._torn = bytes(data)
        self._unsure = batch

    def truncate(self, height: int) -> None:
        """Drop the oldest closed segments that hold nothing above `height`."""
        while len(self._segments) > 1 and all(at <= height for batch in self._segments[0] for at, _ in batch):
            del self._segments[0]

    def read(self) -> list[bytes]:
        """The records, as after a restart, which begins a new segment."""
        if self._torn:
            self._recover()
        self._segments = [segment for segment in self._segments if segment] + [[]]
        return [record for segment in self._segments for batch in segment for _, record in batch]

    def _recover(self) -> None:
        """What the real log makes of the last segment."""
        last = self._segments[-1]
        frames = [wal._frame(MARK, max(at for at, _ in batch), [data for _, data in batch]) for batch in last]
        with tempfile.TemporaryDirectory() as folder:
            opening = MARK + zlib.crc32(MARK).to_bytes(4, "big")
            Path(folder, "00000001.wal").write_bytes(opening + b"".join(frames) + self._torn)
            log = wal.WriteAheadLog(Path(folder))
            log.close()
        held = [record for batch in last for _, record in batch]
        whole = held + [record for _, record in self._unsure]
        assert log.recovered in (held, whole), "the log recovered half a batch, or lost a whole one"
        if log.recovered == whole:
            last.append(self._unsure)
        self._torn = b""


class StoredBlock(Struct):
    """One sealed block with the state after it."""

    sealed: SealedHeader
    transactions: tuple[Transaction, ...]
    time_ms: int
    state: dict[bytes, bytes]
    validators: ValidatorSet | None = None
    """Who voted on it."""


class Store:
    """Sealed blocks; each arrives whole or not at all."""

    def __init__(self, head: Head, first_state: dict[bytes, bytes]) -> None:
        self._head = encode(head)
        self._first_state = first_state
        self.blocks: list[StoredBlock] = []

    @property
    def height(self) -> int:
        """Of the last block."""
        return len(self.blocks)

    @property
    def head(self) -> Head:
        """As the engine gave it, through its encoding."""
        return decode(Head, self._head)

    @property
    def state(self) -> dict[bytes, bytes]:
        """After the last block."""
        return self.blocks[-1].state if self.blocks else self._first_state

    def put(self, block: StoredBlock, head: Head) -> None:
        """Commit a block."""
        self.blocks.append(block)
        self._head = encode(head)

    def recent(self, span_ms: int) -> list[tuple[int, list[bytes]]]:
        """Ids of the blocks of the last `span_ms`, oldest first."""
        if not self.blocks:
            return []
        oldest_ms = self.blocks[-1].time_ms - span_ms
        return [(b.time_ms, [tx.id for tx in b.transactions]) for b in self.blocks if b.time_ms >= oldest_ms]
