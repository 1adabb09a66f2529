"""A small disk that a test may fill."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PIECE_BYTES = 1 << 20
PAGE_BYTES = 4096


class SmallDisk:
    """A mounted tmpfs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, left_bytes: int = 0) -> None:
        """Take all room but so much, as a log that grows does: piece by piece, if need be until not a page fits."""
        piece = PIECE_BYTES
        with self._filler.open("wb", buffering=0) as file:
            while True:
                room = os.statvfs(file.fileno())
                wanted = min(piece, room.f_bavail * room.f_frsize - left_bytes) if left_bytes else piece
                if wanted <= 0:
                    return
                try:
                    file.write(bytes(wanted))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    if piece == PAGE_BYTES:
                        return
                    piece = PAGE_BYTES

    def make_room(self) -> None:
        """Give it back."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk_at(folder: Path, size: str) -> Iterator[SmallDisk]:
    """A memory disk of a size ("2m") mounted at a folder, gone afterwards. Raises PermissionError where this user may
    not mount one.
    """
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "pilechain-test", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise PermissionError(f"a disk can be mounted by root only: {made.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
