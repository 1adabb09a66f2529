"""The replay window: which transaction ids the last minutes' blocks hold.

A transaction is refused while its id is in a block younger than the expiry limit; after that its own `valid_until_ms`
refuses it (records of devices, which may be older, by their counter in state). The window follows from the blocks
alone, so all validators refuse the same.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from ledger.snapshot import WINDOW_MAX

BLOCKS_MANY = WINDOW_MAX * 3 // 4
"""Blocks in the window from which on they are made no faster than this many in its span: in ten minutes 20 a second.
Light load would else make a hundred a second, one for each transaction.
"""
PAUSE_MS_MAX = 1_000
"""The paper's t (P3): longest that a bookkeeper may leave transactions unproposed. Enough up to a window of 3 hours."""


class ReplayWindow:
    """Ids of the blocks that are at most `span_ms` older than the newest."""

    def __init__(self, span_ms: int, time_ms: int, blocks: Iterable[tuple[int, Sequence[bytes]]] = ()) -> None:
        """Start after a block of `time_ms`, from the (block time, ids) pairs up to it, oldest first."""
        self._span_ms = span_ms
        self._blocks: deque[tuple[int, Sequence[bytes]]] = deque()
        self._ids: set[bytes] = set()
        for block_ms, ids in blocks:
            self.add(block_ms, ids)
        self.add(time_ms, ())

    def __contains__(self, transaction_id: bytes) -> bool:
        return transaction_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def pause_ms(self) -> int:
        """Time to leave before the next block: none, unless the window holds so many that a snapshot's manifest, which
        lists them, might soon not.
        """
        return min(self._span_ms // BLOCKS_MANY, PAUSE_MS_MAX) if len(self._blocks) >= BLOCKS_MANY else 0

    def add(self, time_ms: int, ids: Sequence[bytes]) -> None:
        """Take in a block's ids, and forget the blocks that it makes too old."""
        if ids:
            self._blocks.append((time_ms, ids))
            self._ids.update(ids)
        while self._blocks and self._blocks[0][0] < time_ms - self._span_ms:
            self._ids.difference_update(self._blocks.popleft()[1])
