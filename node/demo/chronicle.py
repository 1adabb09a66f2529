"""Follows the chain as a member of the public could: sealed blocks, read from the store of whichever node is up."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from ledger.block import Event
from ledger.charging import SESSION_CONTRACT, SessionExpired, SessionSettled
from ledger.codec import decode_trusted
from node.edge.blocks import Blocks
from node.home import Home
from node.ipc.socket import CoreClient
from node.storage.reader import LedgerReader

RETRY_S = 0.2
BREATH_BLOCKS = 16
"""Blocks read in one go, a few milliseconds; one at a time would lag behind in a loop that hundreds of piles share."""


class Chronicle:
    """What has been sealed so far."""

    def __init__(self, homes: Mapping[str, Home]) -> None:
        """Read the stores of these nodes, the first that answers at a time."""
        self._homes = homes
        self._readers: dict[str, LedgerReader] = {}
        self._waiting: dict[bytes, asyncio.Future[SessionSettled | None]] = {}
        self.height = 0
        self.time_ms = 0
        """Of the newest sealed block."""
        self.transactions = 0
        self.opened = 0
        self.started = 0
        self.settled: dict[bytes, SessionSettled] = {}
        self.expired: set[bytes] = set()
        self.failures: Counter[str] = Counter()
        """Receipts of calls that changed nothing, by name of their code."""
        self.bookkeepers: Counter[str] = Counter()
        """Non-empty blocks per company."""

    async def run(self) -> None:
        """Follow for ever. A node that goes away is left for the next."""
        while True:
            for company, home in self._homes.items():
                with suppress(OSError, EOFError):
                    await self._follow(company, await CoreClient.connect(home.socket))
                await asyncio.sleep(RETRY_S)

    async def end(self, session: bytes) -> SessionSettled | None:
        """How a session ended, once that is sealed: its bill, or nothing if it never started."""
        if session in self.settled or session in self.expired:
            return self.settled.get(session)
        future = self._waiting.setdefault(session, asyncio.get_running_loop().create_future())
        return await asyncio.shield(future)

    def reader(self, company: str) -> LedgerReader:
        """The store of a node; a process may open it once only."""
        if company not in self._readers:
            self._readers[company] = LedgerReader(self._homes[company].ledger)
        return self._readers[company]

    def heights(self) -> dict[str, int]:
        """Sealed height in the store of each node, whether it is up or not."""
        found = {}
        for company in self._homes:
            with self.reader(company).snapshot() as snapshot:
                found[company] = snapshot.height
        return found

    def close(self) -> None:
        """Close the stores."""
        for reader in self._readers.values():
            reader.close()

    async def _follow(self, company: str, client: CoreClient) -> None:
        try:
            blocks = Blocks(self.reader(company))
            async for newest in client.sealed():
                for height in range(self.height + 1, newest + 1):
                    self._take(blocks, height)
                    if height % BREATH_BLOCKS == 0:
                        await asyncio.sleep(0)  # a long catch-up must not hold the drivers
        finally:
            await client.close()

    def _take(self, blocks: Blocks, height: int) -> None:
        block = blocks.get(height)
        self.height, self.time_ms = height, block.header.time_ms
        self.transactions += block.header.tx_count
        if block.header.tx_count:
            self.bookkeepers[block.header.proposer] += 1
        for receipt in block.receipts:
            if receipt.code:
                self.failures[block.abi.describe_code(receipt.code)[0]] += 1
            for event in receipt.events:
                if event.contract == SESSION_CONTRACT:
                    self._note(event)

    def _note(self, event: Event) -> None:
        match event.name:
            case "session.opened":
                self.opened += 1
            case "session.started":
                self.started += 1
            case "session.settled":
                bill = decode_trusted(SessionSettled, event.data)
                self.settled[bill.session] = bill
                self._tell(bill.session, bill)
            case "session.expired":
                session = decode_trusted(SessionExpired, event.data).session
                self.expired.add(session)
                self._tell(session, None)

    def _tell(self, session: bytes, bill: SessionSettled | None) -> None:
        if future := self._waiting.pop(session, None):
            future.set_result(bill)
