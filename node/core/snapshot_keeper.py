"""Makes a snapshot at each multiple of `store.snapshot_every`, in a thread that works a tenth of the time.

The walk over the state begins some blocks before the height, so that the state is there when the height comes, and only
what changed meanwhile is left to do. If the chain was faster, the next walk begins earlier.
"""

import threading
from collections.abc import Callable
from typing import Any

from ledger.codec import decode_trusted
from ledger.errors import ClientError
from ledger.snapshot import Manifest
from node.storage.reader import LedgerReader
from node.storage.snapshot_maker import Made, make_snapshot
from node.storage.snapshots import Snapshots
from node.storage.wal import is_full

KEPT = 2
"""Snapshots: whoever began to fetch the older one has a whole interval to finish."""
REST_FACTOR = 9
"""Rest for each unit of work: votes and blocks come first, and the next snapshot is far away."""
LEAD_PART = 8
LEAD_BLOCKS_MIN = 16
"""The walk begins this part of the interval before the height, but at least so many blocks."""


class _StoppedError(Exception):
    """Ends the maker's work."""


class SnapshotKeeper:
    """One node's snapshots: made, and all but the newest removed."""

    def __init__(
        self, reader: LedgerReader, snapshots: Snapshots, every: int, fail: Callable[[BaseException], None], log: Any
    ) -> None:
        """`fail(error)` is called in the keeper's thread on our own bug, or damage."""
        self._reader = reader
        self._snapshots = snapshots
        self._every = every
        self._fail = fail
        self._log = log
        self._changed = threading.Condition()
        self._height = 0
        self._needed = 0
        """First height whose block the newest snapshots' windows, or the one that is being made, still need."""
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="snapshot", daemon=True)

    def start(self, height: int) -> None:
        """Begin at the store's height."""
        self._height = height
        if self._every:
            self._thread.start()

    def stored(self, height: int) -> None:
        """The store holds a height now."""
        with self._changed:
            self._height = height
            self._changed.notify()

    @property
    def needed(self) -> int:
        """First height whose block must not be pruned: donors hand out the replay window with a snapshot."""
        return self._needed if self._every else self._height

    def close(self) -> None:
        """Stop; a snapshot that is being made is given up."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    # ── for the maker: node.storage.snapshot_maker.Pace ───────────────────────────────────────────────────────────────

    def rest(self, worked_s: float) -> None:
        """Let the node's other threads work."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped, worked_s * REST_FACTOR)
            self._check()

    def reach(self, height: int) -> None:
        """Wait for a height."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._height >= height)
            self._check()

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _check(self) -> None:
        if self._is_stopped:
            raise _StoppedError

    def _run(self) -> None:
        try:
            self._snapshots.clear_drafts()
            self._needed = self._oldest()
            self._keep()
        except _StoppedError:
            pass
        except Exception as error:  # noqa: BLE001  # a thread's errors reach nobody by themselves
            self._fail(error)

    def _keep(self) -> None:
        lead = shortest = min(self._every, max(self._every // LEAD_PART, LEAD_BLOCKS_MIN))
        while True:
            target = (self._height // self._every + 1) * self._every
            self.reach(target - lead)
            self._needed = min(self._oldest(), self._height)  # the walk is followed by the changes since it began
            made = self._make(target)
            self._needed = self._oldest()
            lead = shortest if made else min(2 * lead, self._every)
            self.reach(target)

    def _oldest(self) -> int:
        firsts = [self._height]
        try:
            for height in self._snapshots.heights():
                is_read = False
                with self._snapshots.expendable(height):
                    raw = self._snapshots.manifest(height)
                    firsts += [] if raw is None else [decode_trusted(Manifest, raw).first]
                    is_read = True
                if not is_read and height in self._snapshots.heights():
                    firsts.append(self._needed)  # it is kept, though it cannot be read just now: prune no further
        except OSError as error:  # no descriptor is free, say
            self._log.error("snapshots_not_listed", reason=str(error))
            return self._needed
        return min(firsts)

    def _make(self, target: int) -> Made | None:
        try:
            made = make_snapshot(self._reader, self._snapshots, self, target)
        except ClientError as error:
            self._log.warning("snapshot_not_made", height=target, code=error.code, reason=error.message)
            return None
        except OSError as error:
            if not is_full(error):
                raise
            self._log.warning("snapshot_not_made", height=target, code="disk-full", reason=str(error))
            return None
        if made:
            self._log.info("snapshot_made", height=target, chunks=made.chunks, bytes=made.size_bytes)
            self._snapshots.keep(KEPT)
        return made
