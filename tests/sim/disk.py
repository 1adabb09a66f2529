"""What survives a crash: the log as far as it was synced, perhaps a little more, and the store of sealed blocks."""

from random import Random

from msgspec import Struct

from consensus.head import Head
from ledger.block import SealedHeader
from ledger.codec import decode, encode
from ledger.transaction import Transaction


class Log:
    """A write-ahead log whose tail is in doubt until it is synced."""

    def __init__(self) -> None:
        self._records: list[tuple[int, bytes]] = []
        self._synced = 0

    def append(self, height: int, record: bytes) -> None:
        """Write, not yet durably."""
        self._records.append((height, record))

    def sync(self) -> None:
        """What was written is durable."""
        self._synced = len(self._records)

    def truncate(self, height: int) -> None:
        """Drop what the store holds."""
        self._records = [(at, record) for at, record in self._records if at > height]
        self._synced = len(self._records)

    def crash(self, random: Random) -> None:
        """Lose a random part of what was not synced: the kernel may have written some of it."""
        kept = random.randint(self._synced, len(self._records))
        del self._records[kept:]
        self._synced = kept

    def read(self) -> list[bytes]:
        """The records, as after a restart."""
        return [record for _, record in self._records]


class StoredBlock(Struct):
    """One sealed block with the state after it."""

    sealed: SealedHeader
    transactions: tuple[Transaction, ...]
    time_ms: int
    state: dict[bytes, bytes]


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
