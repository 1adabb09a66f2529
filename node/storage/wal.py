"""The write-ahead log: what a node must still know after a crash, before it tells anybody.

A folder of segment files `00000001.wal`, `00000002.wal`, … A segment begins with an 8-byte random mark and its CRC-32.
What one call appends is a batch: the mark, its highest height in 8 bytes, a length in 4 (both big-endian), the CRC-32
of all that and the payload, and the payload, a list of records. When it is durable, and before anybody is told, the
inverted mark is written behind it: acknowledged. Four rules, each learnt from other people's losses:
- a batch is good as a whole or not at all: its pages reach the disk in any order, and nothing of it was told to anybody
  before all of them had;
- a torn tail (the last batch before a power cut) is cut at the last good batch *before* anything is appended behind it;
- a bad batch that was acknowledged, or has good ones behind it, is damage and no torn tail: the node halts, for it may
  have forgotten a vote that it sent;
- a failed fsync is final: the kernel marks the pages clean, and a second fsync would report success over lost data.

Acknowledgements are not synced: those of the seconds before a power cut may be missing, and say nothing then. A segment
is synced once more before the next one begins, so only the newest can end in half of something. Calls block; the core
makes them from a thread of their own.

An empty file `00000003.oldest` names the segment from which on all must be there. It is renamed before older ones are
dropped, so one that somebody else deleted (to make room, say) is missed.
"""

import errno
import os
import zlib
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from ledger.codec import decode_trusted, encode
from ledger.errors import OurError
from node.storage import files

RECORD_BYTES_MAX = 8 * 1024 * 1024
"""Longest record: a committed block with its transactions and certificate, twice over."""
SEGMENT_BYTES = 16 * 1024 * 1024
"""A segment that has grown past this is closed: it bounds what is read again at a start."""
_MARK_BYTES = 8
"""Found again behind damage by a plain search. Random, so that nobody can hide a false record in a transaction."""
_OPENING_BYTES = _MARK_BYTES + 4
_CRC_AT = _MARK_BYTES + 8 + 4
_HEAD_BYTES = _CRC_AT + 4


class _Closed(NamedTuple):
    """A segment that takes no more records."""

    path: Path
    height: int
    """Highest height of its records."""


class WriteAheadLog:
    """The log of one node. One process writes it; a failed fsync or damage raises OurError, and the process must
    stop.
    """

    def __init__(
        self, folder: Path, opened: Callable[[int], None] = lambda number: None, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Open the log, cut a torn tail, and read what it holds into `recovered`. `opened(number)` is told of each new
        segment before anything is written to it.

        Raises OurError `wal-damaged`, naming file and offset.
        """
        files.make_folder(folder)
        self._folder = folder
        self._opened = opened
        self._segment_bytes = segment_bytes
        self.recovered: list[bytes] = []
        paths = _segments(folder)
        found = [self._recover(path, is_last=path == paths[-1]) for path in paths]
        self._closed = [_Closed(path, each.height) for path, each in zip(paths, found, strict=True)]
        self._number = int(paths[-1].stem) if paths else 0
        if found and not found[-1].size:
            # Not even its opening is there: a start that found the disk full. It is begun anew, under the same number,
            # or each further start would leave one more.
            self._closed.pop()
            self._number -= 1
        if not paths or not _oldest_names(folder):
            _name_oldest(folder, 1)
        self._path, self._file, self._mark, self._size, self._height = folder, -1, b"", 0, 0
        self._open_next()

    def append(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Write (height, record) pairs and make them durable with one fsync.

        Raises OSError ENOSPC with nothing of them written (the caller may wait for room and call again), OurError
        `fsync-failed`.
        """
        if self._size > self._segment_bytes:
            self._open_next()
        highest = max(height for height, _ in records)
        data = _frame(self._mark, highest, [record for _, record in records])
        try:
            files.write(self._file, data, self._size)
        except OSError:
            files.truncate(self._file, self._size)  # half a batch in the middle would read as damage
            raise
        files.sync(self._file, self._path)
        self._size += len(data)
        self._height = max(self._height, highest)
        self._acknowledge()

    def truncate(self, sealed_height: int) -> None:
        """Drop the oldest segments that hold nothing above `sealed_height`, as whole files: nothing is ever rewritten.

        An empty one (of a start that wrote nothing) stays behind one that is needed: a gap in the numbers is damage.
        """
        dropped = list(takewhile(lambda segment: segment.height <= sealed_height, self._closed))
        try:
            if dropped:
                _name_oldest(self._folder, int(dropped[-1].path.stem) + 1)
        except OSError as error:
            if is_full(error):
                return  # a copy-on-write disk has no room for a new name either: the next call drops them
            raise
        for segment in dropped:
            files.remove(segment.path)  # one after the other: names may reach the disk in any order
            self._closed.pop(0)

    def close(self) -> None:
        """Close the file. Everything appended is durable already."""
        os.close(self._file)

    def _open_next(self) -> None:
        if self._file >= 0:
            files.sync(self._file, self._path)  # a power cut could leave half its last acknowledgement, which is damage
        path = self._folder / f"{self._number + 1:08}.wal"
        mark = os.urandom(_MARK_BYTES)
        opening = mark + zlib.crc32(mark).to_bytes(4, "big")
        file = files.create(path)
        try:
            files.write(file, opening, 0)
            files.sync(file, path)  # without it a power cut could leave batches behind an opening of zeros: damage
            files.sync_folder(self._folder)  # without it a power cut could lose the file with its records
            self._opened(self._number + 1)
        except OSError:
            os.close(file)  # the segment stays, for a mark may name it already; the next try begins it anew
            raise
        if self._file >= 0:
            os.close(self._file)
            self._closed.append(_Closed(self._path, self._height))
        self._path, self._file, self._mark, self._size, self._height = path, file, mark, len(opening), 0
        self._number += 1

    def _acknowledge(self) -> None:
        """Say that the last batch was durable. If there is no room for that, the next batch takes its place."""
        acknowledged = _inverted(self._mark)
        try:
            files.write(self._file, acknowledged, self._size)
        except OSError as error:
            if not is_full(error):
                raise
            files.truncate(self._file, self._size)  # half of it at a segment's end would read as damage
        else:
            self._size += len(acknowledged)

    def _recover(self, path: Path, *, is_last: bool) -> "_Found":
        """Read a segment into `recovered`, cutting a torn tail."""
        found = _read(path, is_last=is_last)
        self.recovered += found.records
        if is_last:
            file = os.open(path, os.O_WRONLY)
            try:
                if found.is_torn:
                    files.truncate(file, found.size)
                # Also what a killed process left unsynced: from the next segment on, a torn tail here is damage.
                files.sync(file, path)
            finally:
                os.close(file)
        return found


class _Found(NamedTuple):
    """What a segment holds."""

    records: list[bytes]
    height: int
    """The highest of them."""
    size: int
    """Up to the end of the last good batch."""
    is_torn: bool
    """Whether the file goes on behind that."""


def check_log(folder: Path) -> None:
    """Read a log and change nothing. Raises OurError `wal-damaged`, naming file and offset."""
    paths = _segments(folder)
    for path in paths:
        _read(path, is_last=path == paths[-1])


def _segments(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.wal"))
    numbers = [int(path.stem) for path in paths if path.stem.isdigit()]
    if len(numbers) != len(paths) or (numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers)))):
        raise _damaged(folder, 0, "a segment is missing between the first and the last")
    if numbers and numbers[0] > _oldest(folder):
        raise _damaged(folder, 0, f"the oldest segment, {_oldest(folder):08}.wal, is missing")
    return paths


def _oldest_names(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.oldest"))


def _oldest(folder: Path) -> int:
    """Number of the segment from which on all must be there."""
    return max((int(path.stem) for path in _oldest_names(folder) if path.stem.isdigit()), default=1)


def _name_oldest(folder: Path, number: int) -> None:
    """Say, durably, from which segment on all must be there. A file is renamed, which most full disks have room for."""
    names, new = _oldest_names(folder), folder / f"{number:08}.oldest"
    if names:
        files.rename(names[-1], new)
    else:
        os.close(files.create(new))
        files.sync_folder(folder)


def _read(path: Path, *, is_last: bool) -> _Found:
    data = path.read_bytes()
    mark, opening = data[:_MARK_BYTES], data[_MARK_BYTES:_OPENING_BYTES]
    is_open = zlib.crc32(mark).to_bytes(4, "big") == opening
    if not is_open and len(data) > _OPENING_BYTES:
        raise _damaged(path, 0, "the segment's opening does not match its checksum")
    good = _OPENING_BYTES if is_open else 0
    records: list[bytes] = []
    highest = 0
    while is_open and good < len(data) and (end := _batch_end(mark, data, good)) is not None:
        records += decode_trusted(tuple[bytes, ...], data[good + _HEAD_BYTES : end])
        highest = max(highest, int.from_bytes(data[good + _MARK_BYTES : good + _MARK_BYTES + 8], "big"))
        good = _behind(mark, data, end)
    is_torn = good < len(data)
    # Only the newest segment may end in a torn batch, and only if what is torn was never told to anybody.
    was_told = is_open and (_inverted(mark) in data[good:] or _a_batch_follows(mark, data, good))
    if is_torn and (not is_last or was_told):
        raise _damaged(path, good, "a batch that was durable does not match its checksum")
    return _Found(records, highest, good, is_torn)


def _frame(mark: bytes, height: int, records: Sequence[bytes]) -> bytes:
    for record in records:
        if len(record) > RECORD_BYTES_MAX:
            raise OurError("wal-record-too-large", f"{len(record)} bytes, at most {RECORD_BYTES_MAX}")
    payload = encode(records)
    head = mark + height.to_bytes(8, "big") + len(payload).to_bytes(4, "big")
    return head + zlib.crc32(payload, zlib.crc32(head)).to_bytes(4, "big") + payload


def newest_segment(folder: Path) -> int:
    """Number of the newest segment in a log's folder; 0 if there is none."""
    return max((int(path.stem) for path in folder.glob("*.wal") if path.stem.isdigit()), default=0)


def _inverted(mark: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in mark)


def _batch_end(mark: bytes, data: bytes, start: int) -> int | None:
    """Where the batch that begins at `start` ends; None if there is no good one there."""
    head = data[start : start + _CRC_AT]
    end = start + _HEAD_BYTES + int.from_bytes(head[-4:], "big")
    if not head.startswith(mark) or end > len(data):
        return None
    crc = zlib.crc32(memoryview(data)[start + _HEAD_BYTES : end], zlib.crc32(head))
    return end if crc == int.from_bytes(data[start + _CRC_AT : start + _HEAD_BYTES], "big") else None


def _behind(mark: bytes, data: bytes, end: int) -> int:
    """Where the next batch may begin, behind one that ends at `end`: after its acknowledgement, which a power cut may
    have lost and yet have kept the batch behind it; or at once, if there was no room for an acknowledgement.
    """
    behind = end + _MARK_BYTES
    if data.startswith(_inverted(mark), end) or _batch_end(mark, data, behind) is not None:
        return behind
    return end


def _a_batch_follows(mark: bytes, data: bytes, bad: int) -> bool:
    """Whether a whole batch begins anywhere behind the start of a bad one, whose own length may be what is damaged."""
    start = data.find(mark, bad + 1)
    while start >= 0:
        if _batch_end(mark, data, start) is not None:
            return True
        start = data.find(mark, start + 1)
    return False


def is_full(error: OSError) -> bool:
    """Whether an error of the operating system says that the disk (or this user's share of it) is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _damaged(path: Path, offset: int, what: str) -> OurError:
    return OurError(
        "wal-damaged",
        f"{path} at offset {offset}: {what}. This node may have forgotten a vote that it sent. Run `pilechain repair`: "
        "it sets the log aside, and the node only observes until a new vote key of its own is active",
    )
