"""Whether there is room to write. It is looked at each second, and whoever finds none says so.

What a look says is not all: a quota shows nowhere, and LMDB may find no run of pages though many are free. So a write
that found no room is tried again once a second, and only one that succeeds ends what it began.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node.effects import DiskFull
from node.storage.store import FREE_BYTES_MIN, Store

HINT = "make room (if the map is full: raise store.map_bytes, start again); this node does not vote until then"


class DiskWatch:
    """One node's. Lives on the event loop."""

    def __init__(self, store: Store, wal: Path, tell: Callable[[DiskFull], None], log: Any) -> None:
        """`wal` is the log's folder, perhaps on another disk; `tell` hears when room is gone, and when it is back."""
        self._store = store
        self._wal = wal
        self._tell = tell
        self._log = log
        self.is_full = False

    def found_full(self, reason: str) -> None:
        """There is no room, or soon will be none."""
        if not self.is_full:
            self.is_full = True
            self._log.error("disk_full", reason=reason, hint=HINT)
            self._tell(DiskFull(True))

    def look(self, room: asyncio.Event) -> None:
        """Look for room. `room` is cleared by who found none, and waits for it to be set to try again."""
        reason = self._store.shortage() or self._log_shortage()
        if reason:
            self.found_full(reason)
        elif not room.is_set():
            room.set()  # if it is still set at the next look, the try was good
        elif self.is_full:
            self.is_full = False
            self._log.info("disk_has_room_again")
            self._tell(DiskFull(False))

    def _log_shortage(self) -> str:
        free = shutil.disk_usage(self._wal).free
        return "" if free >= FREE_BYTES_MIN else f"{self._wal}: {free} bytes are free, {FREE_BYTES_MIN} are needed"
