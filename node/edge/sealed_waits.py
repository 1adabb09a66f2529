"""Clients that wait until their transaction is sealed: one watcher reads each sealed block once, however many wait."""

import asyncio

from ledger.errors import ClientError
from node.edge.blocks import Blocks
from node.ipc.link import CoreLink
from node.storage.reader import LedgerReader

WAITERS_MAX = 10_000
"""Clients that may wait at a time: some hundred bytes each, and more than one node seals in the seconds that they wait.
"""


class SealedWaits:
    """Resolves waits as blocks are sealed."""

    def __init__(self, ledger: LedgerReader, link: CoreLink, blocks: Blocks) -> None:
        """Follow the chain through `link`, reading blocks through `blocks`."""
        self._ledger = ledger
        self._link = link
        self._blocks = blocks
        self._waiting: dict[bytes, set[asyncio.Future[tuple[int, int]]]] = {}
        self._count = 0

    async def run(self) -> None:
        """Watch every sealed block from now on."""
        height = self._link.height
        while True:
            newest = await self._link.wait_above(height)
            for sealed in range(height + 1, newest + 1):
                if self._waiting:
                    self._resolve(sealed)
                    await asyncio.sleep(0)  # a long catch-up must not hold the loop
            height = newest

    async def wait(self, tx_id: bytes, timeout_s: float) -> tuple[int, int] | None:
        """(height, index) once the transaction is sealed; None if the time is over. Raises ClientError `waits-full`."""
        if self._count >= WAITERS_MAX:
            raise ClientError(
                "waits-full", "too many clients wait for their transactions; submit without wait, then look it up"
            )
        future: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tx_id, set()).add(future)
        self._count += 1
        try:
            # After the future is in place: a block sealed in between is seen by one of the two.
            if place := self.locate(tx_id):
                return place
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return None
        finally:
            self._count -= 1
            self._waiting[tx_id].discard(future)
            if not self._waiting[tx_id]:
                del self._waiting[tx_id]

    def locate(self, tx_id: bytes) -> tuple[int, int] | None:
        """(height, index) of a transaction that is sealed already."""
        with self._ledger.snapshot() as snapshot:
            return snapshot.locate(tx_id)

    def _resolve(self, height: int) -> None:
        block = self._blocks.get(height)
        for index, receipt in enumerate(block.receipts[: block.header.tx_count]):
            for future in self._waiting.get(receipt.call_id, ()):
                if not future.done():
                    future.set_result((height, index))
