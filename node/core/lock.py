"""One core process per home: two would sign contradicting votes with one key."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ledger.errors import ClientError
from node.home import Home
from node.storage import files

LOCK = "lock"
"""File in the home's `data/`."""


@contextmanager
def home_locked(home: Home) -> Iterator[None]:
    """Hold a home, for core or for a tool that changes its data. Raises ClientError `home-in-use`."""
    file = lock(home)
    try:
        yield
    finally:
        os.close(file)


def lock(home: Home) -> int:
    """The same until the descriptor is closed, or the process ends."""
    folder = home.ledger.parent
    files.make_folder(folder)  # durably: the log will lie in it
    file = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise ClientError("home-in-use", f"another core process runs with {home.root}; stop it first") from error
    return file
