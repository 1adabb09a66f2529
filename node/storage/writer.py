"""Storing sealed blocks beside the event loop: one thread writes, blocks that queue up share a transaction, a full disk
is waited out.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from node.core.stages import Stages
from node.effects import StoreSealed
from node.storage.store import Store, StoreFullError

BLOCKS_MAX = 8
"""Blocks in one transaction: a node that catches up saves fsyncs, and no reader waits long for news. At most 2 K
wait anyway.
"""


T = TypeVar("T")


class StoreWriter:
    """The queue in front of the store."""

    def __init__(
        self, store: Store, stored: Callable[[int], None], disk_full: Callable[[str], None], stages: Stages
    ) -> None:
        """`stored(height)` is called when a block is durable, `disk_full(reason)` when there is no room for it."""
        self._store = store
        self._stored = stored
        self._disk_full = disk_full
        self._stages = stages
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._queue: deque[StoreSealed] = deque()
        self._work = asyncio.Event()
        self.room = asyncio.Event()
        """Set unless a write found no room; whoever watches the disk sets it."""
        self.room.set()

    def put(self, sealed: StoreSealed) -> None:
        """Queue a block. Bounded by the engine: no block is committed more than 2 K above the last stored one."""
        self._queue.append(sealed)
        self._work.set()

    def report_full(self, reason: str) -> None:
        """There is no room: `room` is set again when it is worth another try."""
        self.room.clear()
        self._disk_full(reason)

    async def run(self) -> None:
        """Write for ever. Raises OurError when the store is damaged; nothing queued is ever dropped."""
        loop = asyncio.get_running_loop()
        while True:
            await self._work.wait()
            await self.room.wait()
            batch = list(islice(self._queue, BLOCKS_MAX))
            try:
                await loop.run_in_executor(self._thread, self._write, batch)
            except StoreFullError as error:
                self.report_full(f"the ledger: {error}")
                continue
            for block in batch:
                self._queue.popleft()
                self._stored(block.block.header.height)
            if not self._queue:
                self._work.clear()

    async def between(self, work: Callable[[], T]) -> T:
        """Do other work of the store's one writer between two writes."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """Let the write under way finish, and stop the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _write(self, batch: list[StoreSealed]) -> None:
        with self._stages.measure("store"):
            self._store.write(batch)
