"""Folders for work that nobody needs after it, on the disk of the data: a temporary folder may be memory.

Whoever works in one holds it locked, so what a crash left behind is told from what is in use, and removed by the next.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "scratch-"


@contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """A new folder in the folder `beside`, or with the temporary files where that cannot be written. It is removed at
    the end. Raises OSError.
    """
    clear_scratch(beside)
    place = beside if os.access(beside, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as name, _locked(Path(name)):
        yield Path(name)


def clear_scratch(beside: Path) -> None:
    """Remove what crashes left in the folder `beside`. What cannot be removed, because it is another user's, stays."""
    for path in beside.glob(f"{PREFIX}*"):
        with suppress(OSError), _locked(path):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises BlockingIOError if somebody works in the folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
