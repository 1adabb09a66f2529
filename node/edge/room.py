"""SQLite on a full disk: what the edge cannot write waits for room. Whoever fills the disk must not end the edge."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog
from sqlalchemy.exc import OperationalError

from node.storage.store import has_no_room

ROOM_LOOK_S = 1.0
"""Between two attempts to write to a full disk."""

T = TypeVar("T")

log = structlog.get_logger()


def says_full(error: BaseException | None, file: Path) -> bool:
    """Whether what SQLite says of a file is that there is no room. Where it cannot make the file's `-shm`, as at each
    start, it calls that an I/O error, as it does what a broken disk gives.
    """
    if not isinstance(error, sqlite3.OperationalError):
        return False
    kind = error.sqlite_errorcode & 0xFF  # the rest says where it happened
    if kind in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return has_no_room(file.parent)
    return kind == sqlite3.SQLITE_FULL


async def when_room(file: Path, work: Callable[[], T]) -> T:
    """What some work with an SQLite file gives, done in a thread as soon as the disk has room for it."""
    is_full = False
    while True:
        try:
            found = await asyncio.to_thread(work)
        except (OperationalError, sqlite3.OperationalError) as error:
            said = error.orig if isinstance(error, OperationalError) else error
            if not says_full(said, file):
                raise
            if not is_full:
                log.error("disk_full", file=str(file), hint="make room; nothing comes to this file until then")
            is_full = True
            await asyncio.sleep(ROOM_LOOK_S)
        else:
            if is_full:
                log.info("disk_has_room_again", file=str(file))
            return found
