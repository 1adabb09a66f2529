"""Where a device keeps its state through a power cut."""

import os
from pathlib import Path
from typing import Protocol


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
