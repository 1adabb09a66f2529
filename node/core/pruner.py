"""Drops old blocks, a few at a time between two writes of the store, down to the horizon that the settings allow."""

import asyncio
from collections.abc import Callable
from typing import Any

from ledger.block import Header
from ledger.codec import decode_trusted
from ledger.genesis import Parameters
from node.storage.reader import Snapshot
from node.storage.store import Store, StoreFullError
from node.storage.writer import StoreWriter

BLOCKS_MAX = 8
"""In one commit: as many as the writer stores in one."""
PAUSE_S = 0.1
"""Between two commits while there is more to drop: a new block waits for one of them at most."""
LOOK_S = 1.0


class Pruner:
    """Keeps the store at its horizon."""

    def __init__(
        self,
        store: Store,
        writer: StoreWriter,
        keep_blocks: int,
        needed: Callable[[], int],
        parameters: Parameters,
        log: Any,
    ) -> None:
        """`needed()` is the first height that something else than the settings holds on to."""
        self._store = store
        self._writer = writer
        self._keep_blocks = keep_blocks
        self._needed = needed
        # A device's record may be sealed again for so long: whoever asks must find its first place and true receipt.
        self._age_min_ms = max(parameters.expiry_max_ms, parameters.device_expiry_max_ms)
        self._log = log

    async def run(self) -> None:
        """Prune for ever, if the settings say so."""
        while self._keep_blocks:
            pruned = 0
            if await asyncio.to_thread(self._is_due):
                try:
                    pruned = await self._writer.between(self._prune)
                except StoreFullError as error:
                    self._log.warning("not_pruned", reason=str(error))
            await asyncio.sleep(PAUSE_S if pruned == BLOCKS_MAX else LOOK_S)

    def _is_due(self) -> bool:
        with self._store.snapshot() as snapshot:
            return self.horizon(snapshot) > snapshot.first_block

    def _prune(self) -> int:
        with self._store.snapshot() as snapshot:
            horizon = self.horizon(snapshot)
        return self._store.prune(horizon, BLOCKS_MAX)

    def horizon(self, snapshot: Snapshot) -> int:
        """Blocks below may go. At most `BLOCKS_MAX` above the first that is here: older ones go first."""
        first = snapshot.first_block
        wanted = min(snapshot.height + 1 - self._keep_blocks, self._needed(), first + BLOCKS_MAX)
        oldest_ms = snapshot.head.tip.time_ms - self._age_min_ms
        for height in range(first, wanted):
            sealed = snapshot.sealed(height)
            if sealed is None or decode_trusted(Header, sealed.header).time_ms >= oldest_ms:
                return height
        return max(first, wanted)
