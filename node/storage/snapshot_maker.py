"""Makes a snapshot beside a running chain without holding it still.

No read transaction lasts: the state is walked in slices, each in the transaction of a later height, into buckets by
key hash. What the blocks since the first slice changed is then written behind, in their order, so that the last word on
every key is that of the snapshot's height. The root that comes out must be the one that is sealed there.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from ledger.block import Header, SealedHeader, header_hash, result_digest
from ledger.codec import decode_trusted, encode
from ledger.errors import ClientError, OurError
from ledger.snapshot import (
    CHUNK_BYTES_TARGET,
    CHUNKS_MAX,
    WINDOW_MAX,
    Entry,
    Manifest,
    combine,
    cut_entries,
    describe_chunk,
    entry_bytes,
    pack_chunk,
)
from ledger.state_proof import hash_key
from node.storage.reader import LedgerReader, Snapshot
from node.storage.snapshots import MANIFEST, Snapshots, chunk_name, write_durably
from node.storage.store import demand_room

SLICE_ENTRIES = 500
"""Entries walked, or blocks read, in one read transaction: a few milliseconds."""
BUCKET_ENTRIES = 4_096
"""Aimed at: about one chunk."""
BUCKET_BITS_MAX = 12
BUFFER_BYTES_MAX = 8 * 1024 * 1024
"""Of all buckets, before they are written behind their files."""


class Pace(Protocol):
    """When the maker may go on. Either method may raise to end its work."""

    def rest(self, worked_s: float) -> None:
        """Let others work after so much work."""

    def reach(self, height: int) -> None:
        """Wait until the store holds a height."""


class Unhurried:
    """The pace of a process that has nothing else to do, for a snapshot of the newest height."""

    def rest(self, worked_s: float) -> None:
        """Go on at once."""

    def reach(self, height: int) -> None:
        """It is there."""


class _Roomy:
    """A pace that ends the work before the node has no room to vote."""

    def __init__(self, pace: Pace, folder: Path) -> None:
        self._pace = pace
        self._folder = folder
        self.reach = pace.reach

    def rest(self, worked_s: float) -> None:
        """As the pace says. Raises ClientError `disk-full`."""
        demand_room(self._folder)
        self._pace.rest(worked_s)


class Made(Struct, frozen=True):
    """A snapshot that was made."""

    height: int
    chunks: int
    entries: int
    size_bytes: int
    """On disk."""


def make_snapshot(reader: LedgerReader, snapshots: Snapshots, pace: Pace, height: int | None = None) -> Made | None:
    """Make the snapshot of a height, or of the newest there is when the state has been walked.

    Returns None if the walk took longer than the chain to that height. Raises ClientError `snapshot-none` at height 0,
    `snapshot-window`, `height-pruned`, `disk-full`; OSError; OurError `snapshot-root`.
    """
    draft = snapshots.draft(height)
    try:
        return _make(reader, snapshots, draft, _Roomy(pace, draft), height)
    except (ClientError, OSError):
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _make(reader: LedgerReader, snapshots: Snapshots, draft: Path, pace: Pace, height: int | None) -> Made | None:
    with reader.snapshot() as snapshot:
        state_bytes = snapshot.bytes_used()["state"]
    # The spool holds the state, and each of its buckets makes room for chunks.
    demand_room(draft, state_bytes)
    spool = _Spool(draft, reader)
    first, last = spool.walk(reader, pace)
    target = last if height is None else height
    if target == 0:
        raise ClientError("snapshot-none", "the genesis document is the snapshot of height 0")
    if last > target:
        shutil.rmtree(draft)
        return None
    pace.reach(target)
    spool.follow(reader, pace, first, target)
    chunks = _Chunks(draft, spool.bits)
    for bucket in range(1 << spool.bits):
        began = time.monotonic()
        chunks.add(bucket, spool.take(bucket))
        pace.rest(time.monotonic() - began)
    manifest = _manifest(reader, target, chunks)
    encoded = encode(manifest)
    write_durably(draft / MANIFEST, encoded)
    snapshots.publish(draft, target)
    return Made(target, len(chunks.shape), chunks.entries, chunks.size_bytes + len(encoded))


class _Spool:
    """The walked entries by key hash, in files. A later record on a key overrides an earlier one."""

    def __init__(self, draft: Path, reader: LedgerReader) -> None:
        with reader.snapshot() as snapshot:
            buckets = snapshot.entries // BUCKET_ENTRIES
        self.bits = min(buckets.bit_length(), BUCKET_BITS_MAX)
        self._draft = draft
        self._buffers: dict[int, bytearray] = {}
        self._size_bytes = 0

    def walk(self, reader: LedgerReader, pace: Pace) -> tuple[int, int]:
        """Take in the whole state; the store's heights at the first and at the last slice."""
        after, first, more = b"", -1, True
        while more:
            began = time.monotonic()
            with reader.snapshot() as snapshot:
                height, count = snapshot.height, 0
                first = height if first < 0 else first
                for key, value in snapshot.scan(b"", after):
                    self._add(key, value)
                    after, count = key, count + 1
                    if count == SLICE_ENTRIES:
                        break
                more = count == SLICE_ENTRIES
            pace.rest(time.monotonic() - began)
        return first, height

    def follow(self, reader: LedgerReader, pace: Pace, first: int, last: int) -> None:
        """Take in what the blocks behind `first`, up to `last`, changed."""
        for height in range(first + 1, last + 1):
            began = time.monotonic()
            with reader.snapshot() as snapshot:
                for key, value in snapshot.changes(height):
                    self._add(key, value)
            pace.rest(time.monotonic() - began)

    def take(self, bucket: int) -> list[tuple[bytes, Entry]]:
        """(key hash, entry) of a bucket, sorted; its file is removed."""
        path = self._path(bucket)
        data = bytes(self._buffers.pop(bucket, b""))
        if path.exists():
            data = path.read_bytes() + data
            path.unlink()
        found: dict[bytes, bytes | None] = dict(_records(data))
        return sorted((hash_key(key), (key, value)) for key, value in found.items() if value is not None)

    def _add(self, key: bytes, value: bytes | None) -> None:
        bucket = int.from_bytes(hash_key(key)[:2], "big") >> (16 - self.bits)
        buffer = self._buffers.setdefault(bucket, bytearray())
        buffer += len(key).to_bytes(2, "big") + (0 if value is None else len(value) + 1).to_bytes(4, "big")
        buffer += key + (value or b"")
        self._size_bytes += 6 + len(key) + len(value or b"")
        if self._size_bytes > BUFFER_BYTES_MAX:
            for number, content in self._buffers.items():
                with self._path(number).open("ab") as file:
                    file.write(content)
            self._buffers.clear()
            self._size_bytes = 0

    def _path(self, bucket: int) -> Path:
        return self._draft / f"bucket-{bucket:04}"


def _records(data: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    at, end = 0, len(data)
    while at < end:
        behind_key = at + 6 + int.from_bytes(data[at : at + 2], "big")
        length = int.from_bytes(data[at + 2 : at + 6], "big")
        behind = behind_key + max(length - 1, 0)
        yield data[at + 6 : behind_key], data[behind_key:behind] if length else None
        at = behind


class _Part(Struct):
    """A subtree that is complete: with its entries while it may still be joined to its neighbour, without when they
    are written.
    """

    depth: int
    prefix: int
    hashes: list[bytes]
    entries: list[Entry]
    size_bytes: int
    is_written: bool = False


class _Chunks:
    """Cuts the tree from left to right, as `ledger.snapshot.cut_entries` would cut the whole of it."""

    def __init__(self, draft: Path, bits: int) -> None:
        self._draft = draft
        self._bits = bits
        self._parts: list[_Part] = []
        self.shape = bytearray()
        self.roots = bytearray()
        self.entries = 0
        self.size_bytes = 0

    def add(self, bucket: int, found: list[tuple[bytes, Entry]]) -> None:
        """The next bucket's entries, sorted by key hash."""
        hashes, entries = [place for place, _ in found], [entry for _, entry in found]
        part = _Part(self._bits, bucket, hashes, entries, sum(entry_bytes(*entry) for entry in entries))
        cuts = list(cut_entries(entries, hashes, self._bits))
        if len(cuts) > 1:
            self._write_parts()
            at = 0
            for depth, piece in cuts:
                self._write(depth, hashes[at : at + len(piece)], list(piece))
                at += len(piece)
            part = _Part(self._bits, bucket, [], [], 0, is_written=True)
        while self._parts and part.prefix & 1 and self._parts[-1].depth == part.depth:
            part = self._join(self._parts.pop(), part)
        self._parts.append(part)
        if bucket + 1 == 1 << self._bits:
            self._write_parts()

    def _join(self, left: _Part, right: _Part) -> _Part:
        depth, prefix = left.depth - 1, left.prefix >> 1
        size_bytes = left.size_bytes + right.size_bytes
        is_small = size_bytes <= CHUNK_BYTES_TARGET or len(left.entries) + len(right.entries) < 2
        if is_small and not (left.is_written or right.is_written):
            return _Part(depth, prefix, left.hashes + right.hashes, left.entries + right.entries, size_bytes)
        # What lies further left and waits can no more be joined either: it would be joined to this.
        self._parts += (left, right)
        self._write_parts()
        del self._parts[-2:]
        return _Part(depth, prefix, [], [], 0, is_written=True)

    def _write_parts(self) -> None:
        for at, part in enumerate(self._parts):
            if not part.is_written:
                self._write(part.depth, part.hashes, part.entries)
                self._parts[at] = _Part(part.depth, part.prefix, [], [], 0, is_written=True)

    def _write(self, depth: int, hashes: list[bytes], entries: list[Entry]) -> None:
        shape, root = describe_chunk(depth, entries, hashes)
        if len(self.shape) == CHUNKS_MAX:
            raise OurError("snapshot-large", f"a state of more than {CHUNKS_MAX} chunks")
        if entries:
            data = pack_chunk(entries)
            write_durably(self._draft / chunk_name(len(self.shape)), data)
            self.size_bytes += len(data)
        self.entries += len(entries)
        self.shape.append(shape)
        self.roots += root


def _manifest(reader: LedgerReader, height: int, chunks: _Chunks) -> Manifest:
    with reader.snapshot() as snapshot:
        sealed = _sealed(snapshot, height)
        expiry_max_ms = snapshot.genesis.parameters.expiry_max_ms
    first, window, oldest = _window(reader, height, sealed, expiry_max_ms)
    with reader.snapshot() as snapshot:
        history = snapshot.history(first - 1)
    manifest = Manifest(sealed, history, window, oldest, bytes(chunks.shape), bytes(chunks.roots))
    if combine(manifest.places()) != manifest.result.state_root:
        raise OurError("snapshot-root", f"the snapshot of height {height} has another root than the sealed state")
    return manifest


def _window(reader: LedgerReader, height: int, sealed: SealedHeader, expiry_max_ms: int) -> tuple[int, bytes, bytes]:
    """(first height, digests, header of the first) of the replay window below a height, and one block more, which shows
    that the window is whole."""
    oldest_ms = decode_trusted(Header, sealed.header).time_ms - expiry_max_ms
    digests: list[bytes] = []
    oldest = b""
    first = height
    while first > 1 and (not oldest or decode_trusted(Header, oldest).time_ms >= oldest_ms):
        with reader.snapshot() as snapshot:
            found = _sealed(snapshot, first - 1)
        first, oldest = first - 1, found.header
        digests.append(header_hash(found.header) + result_digest(found.result))
        if len(digests) > WINDOW_MAX:
            raise ClientError("snapshot-window", f"more than {WINDOW_MAX} blocks in {expiry_max_ms} ms")
    return first, b"".join(reversed(digests)), oldest


def _sealed(snapshot: Snapshot, height: int) -> SealedHeader:
    sealed = snapshot.sealed(height)
    if sealed is None:
        raise ClientError("height-pruned", f"there is no header of height {height} here")
    return sealed
