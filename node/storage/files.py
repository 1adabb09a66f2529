"""The calls that make bytes durable. Whoever must survive a power cut writes through these, and tests cut the power in
each of them.

A file's name is in its folder, so it is durable only when the folder is synced; and names reach the disk in any order.
A failed fsync is final: the kernel marks the pages clean, and a second one would report success over lost data.
"""

import os
from pathlib import Path

from ledger.errors import OurError


def make_folder(path: Path) -> None:
    """Make a folder with all above it, durably."""
    if path.is_dir():
        return
    make_folder(path.parent)
    os.mkdir(path)
    sync_folder(path.parent)


def create(path: Path) -> int:
    """A new, empty file for writing, of mode 0600; returns its descriptor. Its name is durable after `sync_folder`."""
    return os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)


def write(file: int, data: bytes, offset: int) -> None:
    """Write all of `data` at an offset; durable after `sync`. Raises OSError, perhaps with a part written."""
    written = 0
    while written < len(data):
        written += os.pwrite(file, memoryview(data)[written:], offset + written)


def truncate(file: int, size: int) -> None:
    """Cut a file; durable after `sync`."""
    os.ftruncate(file, size)


def sync(file: int, path: Path) -> None:
    """Make a file's bytes durable. Raises OurError `fsync-failed`."""
    try:
        os.fdatasync(file)
    except OSError as error:
        raise _lost(path, error) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OurError `fsync-failed`."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        raise _lost(folder, error) from error
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a file, durably."""
    os.unlink(path)
    sync_folder(path.parent)


def rename(path: Path, new: Path) -> None:
    """Give a file or folder another name, durably; a file of that name is replaced as a whole."""
    os.replace(path, new)
    sync_folder(new.parent)
    if new.parent != path.parent:
        sync_folder(path.parent)


def replace(path: Path, data: bytes) -> None:
    """Write a small file, durably: after a power cut it is the old one or the new one. It is its folder's owner's, also
    if an administrator writes it: else it would be closed to the node. Raises OSError.
    """
    draft = path.with_name(path.name + ".new")
    file = create(draft)
    try:
        if os.geteuid() == 0:
            owner = os.stat(path.parent)
            os.fchown(file, owner.st_uid, owner.st_gid)
        write(file, data, 0)
        sync(file, draft)
    finally:
        os.close(file)
    rename(draft, path)


def _lost(path: Path, error: OSError) -> OurError:
    return OurError("fsync-failed", f"{path}: {error}; what was written may be lost, so this process must stop")
