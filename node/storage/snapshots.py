"""Snapshots on disk: a folder for each height, with the manifest and the chunks as they go over the wire.

A folder gets its name when everything in it is durable, so what can be seen is whole.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from ledger.errors import PeerError
from node.storage import files

MANIFEST = "manifest"
DRAFT = "new-"

DAMAGE = (errno.EIO, errno.EUCLEAN, errno.EBADMSG)
"""What reading from a disk that lost something gives; the last two are checksums of file systems."""

log = structlog.get_logger()


class Snapshots:
    """The snapshots of one node. One process makes and removes them, any may read."""

    def __init__(self, path: Path) -> None:
        """`path` need not exist yet."""
        self.path = path

    def heights(self) -> list[int]:
        """Heights of the snapshots that are there, the newest first."""
        names = [entry.name for entry in self.path.iterdir()] if self.path.is_dir() else []
        return sorted((int(name) for name in names if name.isdigit()), reverse=True)

    def manifest(self, height: int) -> bytes | None:
        """The encoded manifest of a snapshot, or None if it is not there (any more)."""
        return _read(self.path / str(height) / MANIFEST)

    def chunk(self, height: int, index: int) -> bytes | None:
        """A chunk of a snapshot, likewise."""
        return _read(self.path / str(height) / chunk_name(index))

    @contextmanager
    def expendable(self, height: int) -> Iterator[None]:
        """For a block in which the node reads a snapshot: damage ends the block and costs the snapshot, which nobody
        needs here. What else keeps it from being read (no descriptor is free, say) ends the block. A peer's question
        about it must not halt a validator.
        """
        path = str(self.path / str(height))
        try:
            yield
        except (OSError, PeerError) as error:
            if isinstance(error, OSError) and error.errno not in DAMAGE:
                log.error("snapshot_not_read", snapshot=path, reason=str(error), hint="it is kept")
                return
            log.error("snapshot_damaged", snapshot=path, reason=str(error), hint="it is removed; check the disk")
            with suppress(OSError):
                self._remove(height)

    def draft(self, height: int | None) -> Path:
        """A new empty folder to make a snapshot in."""
        path = self.path / f"{DRAFT}{height or 'newest'}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def publish(self, draft: Path, height: int) -> None:
        """Give a finished draft its name. Its files are durable already."""
        self._remove(height)
        files.sync_folder(draft)
        files.rename(draft, self.path / str(height))

    def clear_drafts(self) -> None:
        """Remove what a crash, a stop or a full disk left unfinished."""
        for path in self.path.glob(DRAFT + "*"):
            shutil.rmtree(path, ignore_errors=True)

    def keep(self, count: int) -> None:
        """Remove all but the newest snapshots, oldest first."""
        for height in reversed(self.heights()[count:]):
            self._remove(height)

    def _remove(self, height: int) -> None:
        """Take the name away first: half of a snapshot must not be seen."""
        gone = self.path / f"{DRAFT}gone-{height}"
        shutil.rmtree(gone, ignore_errors=True)
        with suppress(FileNotFoundError):
            files.rename(self.path / str(height), gone)
        shutil.rmtree(gone, ignore_errors=True)


def chunk_name(index: int) -> str:
    """File name of a chunk."""
    return f"chunk-{index:05}"


def write_durably(path: Path, data: bytes) -> None:
    """Write a file of which a crash leaves all or, in a draft, nothing that counts."""
    file = files.create(path)
    try:
        files.write(file, data, 0)
        files.sync(file, path)
    finally:
        os.close(file)


def _read(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None
