"""A disk whose power can be cut in every I/O, as POSIX allows it: what was not synced is lost, kept, or there in parts.

`PowerDisk` stands in for the module `os` in the code that writes. It does everything on real files, and keeps beside
them what a power cut would leave: of each file the bytes that were synced and the writes since, of the folders the
names that were synced and those since. Sectors are written whole or not at all, in any order; a file may keep the
length that a write gave it, and zeros in the place of the bytes (ext4 journals lengths, and writes data later).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

SECTOR_BYTES = 512
PAGE_BYTES = 4096
HOW = ("lost", "kept", "chance", "zeros")
"""What a power cut does to what was not synced: all of it is lost, or kept, each sector and name by chance, or names
and lengths are kept and the bytes are zero.
"""
META_BYTES = 2 * PAGE_BYTES
"""LMDB's two meta pages: the one that is written last says which tree is in force."""


class PowerCutError(BaseException):
    """The power is cut here; nothing of the program runs on."""


class Inode:
    """A file's bytes."""

    def __init__(self, durable: bytes = b"", lmdb_file: Path | None = None) -> None:
        self.durable = durable
        self.lmdb_file = lmdb_file
        """Where the bytes are, if LMDB writes them itself."""
        self.pending: list[tuple[int, bytes] | int] = []
        """Writes (offset, bytes) and cuts (size) that were not synced."""

    def survives(self, how: str, random: Random) -> bytes:
        """The bytes after a power cut."""

        def is_kept() -> bool:
            return how == "kept" or (how == "chance" and random.random() < 0.5)

        if self.lmdb_file and self.lmdb_file.exists():
            return self.lmdb_file.read_bytes()
        data = bytearray(self.durable)
        for change in self.pending:
            if isinstance(change, int):
                if how == "zeros" or is_kept():
                    del data[change:]
                continue
            offset, written = change
            if how == "zeros":
                data.extend(bytes(max(0, offset + len(written) - len(data))))
            for at, piece in _sectors(offset, written):
                if is_kept():
                    data.extend(bytes(max(0, at - len(data))))
                    data[at : at + len(piece)] = piece
        return bytes(data)


class PowerDisk:
    """The functions of `os` that make and change files; everything else is `os`'s own."""

    def __init__(self, root: Path, crash: Callable[[str, Callable[[], None] | None], None]) -> None:
        """`crash(name, tear)` is called before, in and after each I/O, and may raise PowerCutError; before that in the
        middle of a write it calls `tear`.
        """
        self.root = root
        self.crash = crash
        self.ios = 0
        self.ledger: bytes | None = None
        """The bytes of LMDB's file while a commit is under way; else they are those of the file."""
        self._files: dict[Path, Inode] = {
            path: _as_found(path) for path in root.rglob("*") if path.is_file() and path.name != "lock.mdb"
        }
        self._durable = dict(self._files)
        self._folders = {path for path in root.rglob("*") if path.is_dir()}
        self._durable_folders = set(self._folders)
        self._open: dict[int, Path] = {}
        self._moved: tuple[Path, Path] | None = None
        """A rename (from, to) that no folder was synced after: it is done as a whole or not at all."""
        self._unmoved: dict[Path, Inode] = {}
        """The files before it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    # ── what stands in ──────────────────────────────────────────────────────────────────────────────────────────────

    def mkdir(self, path: Path) -> None:
        """As `os.mkdir`."""

        def make() -> None:
            os.mkdir(path)
            self._folders.add(path)

        self._io(f"mkdir {path.name}", make)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        """As `os.open`."""
        opened: list[int] = []

        def make() -> None:
            opened.append(os.open(path, flags, mode))
            if flags & os.O_CREAT:
                inode = self._files.setdefault(path, Inode())
                if inode.durable or inode.pending:
                    inode.pending.append(0)

        if flags & os.O_CREAT:
            self._io(f"create {path.name}", make)
        else:
            make()
        self._open[opened[0]] = path
        return opened[0]

    def close(self, file: int) -> None:
        """As `os.close`."""
        self._open.pop(file, None)
        os.close(file)

    def pwrite(self, file: int, data: Any, offset: int) -> int:
        """As `os.pwrite`."""
        path, written = self._open[file], bytes(data)

        def write(size: int = len(written)) -> None:
            os.pwrite(file, written[:size], offset)
            self._files[path].pending.append((offset, written[:size]))

        self._io(f"write {path.name}", write, lambda: write(len(written) // 2))
        return len(written)

    def ftruncate(self, file: int, size: int) -> None:
        """As `os.ftruncate`."""

        def cut() -> None:
            os.ftruncate(file, size)
            self._files[self._open[file]].pending.append(size)

        self._io(f"truncate {self._open[file].name}", cut)

    def fdatasync(self, file: int) -> None:
        """As `os.fdatasync`."""

        def sync() -> None:
            inode = self._files[self._open[file]]
            inode.durable, inode.pending = inode.survives("kept", Random(0)), []

        self._io(f"sync {self._open[file].name}", sync)

    def fsync(self, file: int) -> None:
        """As `os.fsync`, of a folder."""
        folder = self._open[file]

        def sync() -> None:
            if self._moved and self._moved[1].parent == folder:
                self._durable, self._moved = _renamed(self._durable, *self._moved), None
            for path in {*self._files, *self._durable}:
                if path.parent == folder:
                    _copy(path, self._files, self._durable)
            self._durable_folders |= {path for path in self._folders if path.parent == folder}

        self._io(f"sync folder {folder.name}", sync)

    def unlink(self, path: Path) -> None:
        """As `os.unlink`."""

        def remove() -> None:
            os.unlink(path)
            del self._files[path]

        self._io(f"unlink {path.name}", remove)

    def replace(self, path: Path, new: Path) -> None:
        """As `os.replace`."""

        def move() -> None:
            if path.is_file():
                # LMDB writes its file itself, and has synced it when it gets its name.
                self._files.setdefault(path, _as_found(path))
            os.replace(path, new)
            self._unmoved = self._files
            self._files = _renamed(self._files, path, new)
            for at, inode in self._files.items():
                inode.lmdb_file = at if inode.lmdb_file else None
            self._moved = path, new

        assert self._moved is None, "a rename is synced before the next"
        self._io(f"rename {path.name}", move)

    # ── what is left ────────────────────────────────────────────────────────────────────────────────────────────────

    def survivors(self, how: str, random: Random) -> dict[str, bytes]:
        """Relative path → bytes of the files after a power cut now, as one of `HOW`."""
        left: dict[str, bytes] = {}
        lost = {folder for folder in self._folders - self._durable_folders if how in ("lost", "chance")}
        files, durables = self._files, self._durable
        if self._moved:
            old, new = self._moved
            if how == "lost" or (how == "chance" and random.random() < 0.5):
                files = self._unmoved
            else:
                durables = _renamed(durables, old, new)
        for path in sorted({*files, *durables}):
            if lost & set(path.parents):
                continue
            now, durable = files.get(path), durables.get(path)
            inode = {"lost": durable, "chance": random.choice((now, durable))}.get(how, now)
            if inode is None:
                continue
            is_in_commit = inode.lmdb_file and self.ledger is not None
            data = self.ledger if is_in_commit else inode.survives(how, random)
            left[str(path.relative_to(self.root))] = data or b""
        return left

    def learn(self, path: Path) -> None:
        """Take note of a file that was made durable otherwise."""
        self._files[path] = self._durable[path] = _as_found(path)

    def _io(self, name: str, do: Callable[[], None], tear: Callable[[], None] | None = None) -> None:
        self.ios += 1
        # Whole folders are removed without this; such a removal is durable when it pleases.
        self._files = {path: inode for path, inode in self._files.items() if path.exists()}
        self.crash(f"before {name}", None)
        if tear:
            self.crash(f"in {name}", tear)
        do()
        self.crash(f"after {name}", None)


def lmdb_images(before: bytes, after: bytes, random: Random) -> Iterator[tuple[str, bytes]]:
    """What a power cut in a commit of LMDB may leave of its file: it writes new pages beside the tree in force, syncs,
    and then writes one meta page (a part of one sector), which puts the new tree in force.
    """
    yield "before pages", before
    torn = bytearray(before.ljust(len(after), b"\0"))
    for offset, piece in _sectors(META_BYTES, after[META_BYTES:]):
        if random.random() < 0.5:
            torn[offset : offset + len(piece)] = piece
    yield "in pages", bytes(torn[: random.randrange(len(before), len(after) + 1)])
    yield "after pages", before[:META_BYTES] + after[META_BYTES:]
    yield "after meta", after


def _sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """The parts of a write that reach the disk whole or not at all."""
    end = offset + len(data)
    start = offset
    while start < end:
        stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        yield start, data[start - offset : stop - offset]
        start = stop


def _as_found(path: Path) -> Inode:
    return Inode(path.read_bytes(), path if path.suffix == ".mdb" else None)


def _renamed(files: dict[Path, Inode], old: Path, new: Path) -> dict[Path, Inode]:
    """The files, after a rename of one of them or of a folder, which takes the place of what had the name."""
    moved = {new / path.relative_to(old): inode for path, inode in files.items() if path.is_relative_to(old)}
    return {path: inode for path, inode in files.items() if not path.is_relative_to(old)} | moved


def _copy(path: Path, source: dict[Path, Inode], target: dict[Path, Inode]) -> None:
    if path in source:
        target[path] = source[path]
    else:
        target.pop(path, None)
