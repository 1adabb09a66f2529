"""A small disk that a test may fill."""

import os
from pathlib import Path


class SmallDisk:
    """A mounted tmpfs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, left_bytes: int = 0) -> None:
        """Take all room but so much."""
        room = os.statvfs(self.path)
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(room.f_bavail * room.f_frsize - left_bytes, 4096))

    def make_room(self) -> None:
        """Give it back."""
        self._filler.unlink()
