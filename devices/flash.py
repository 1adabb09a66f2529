"""Where a device keeps its state through a power cut."""

import os
import zlib
from pathlib import Path
from typing import Protocol

from ledger.errors import OurError

CHECKSUM_BYTES = 4


def with_checksum(data: bytes) -> bytes:
    """What goes into flash."""
    return zlib.crc32(data).to_bytes(CHECKSUM_BYTES, "big") + data


def without_checksum(saved: bytes, pile: str) -> bytes:
    """What the pile of this name saved. Raises OurError `flash-damaged`: with another meter count or another number of
    its last record a pile would bill falsely, or work for ever.
    """
    data = saved[CHECKSUM_BYTES:]
    # Four zero bytes, which a file system may leave of a file, would be the checksum of no data.
    if not data or with_checksum(data) != saved:
        message = f"{pile}: the pile's state is not as it was saved; its owner has to set it up anew"
        raise OurError("flash-damaged", message)
    return data


class Flash(Protocol):
    """A device's non-volatile memory, written whole."""

    def save(self, data: bytes) -> None:
        """Durable when it returns; a power cut leaves the old state or the new one, never half."""

    def load(self) -> bytes | None:
        """What was saved last, None if nothing was."""


class MemoryFlash:
    """Outlives an emulator object, not the process: for fleets, whose power cuts are emulated too."""

    def __init__(self) -> None:
        """Begin empty."""
        self._data: bytes | None = None

    def save(self, data: bytes) -> None:
        """Keep the state."""
        self._data = data

    def load(self) -> bytes | None:
        """State kept last."""
        return self._data


class FileFlash:
    """One file, replaced atomically."""

    def __init__(self, path: Path) -> None:
        """Keep the state in this file, readable by its owner only."""
        self._path = path

    def save(self, data: bytes) -> None:
        """Write, flush to disk, rename."""
        beside = self._path.with_suffix(".new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(self._path)

    def load(self) -> bytes | None:
        """State of the last complete write."""
        return self._path.read_bytes() if self._path.exists() else None
