"""Snapshots: the state of one height in chunks that prove themselves against the sealed state root.

A cut of the state tree is a list of subtrees that cover it, from left to right. A chunk is what the state holds under
one of them; whoever receives it computes the subtree's root from it and compares. A subtree of more than
CHUNK_BYTES_TARGET is cut further, so the cut follows from the content alone, and nobody can stuff one chunk with keys
whose hashes begin alike.

The manifest holds the cut beside the sealed header, and what a node needs of the blocks before it: the mountain range
up to the replay window, and (header hash, result digest) of each block in it. Appended to the range they give the
history root that the sealed result names, so one equation proves them all, and each block that is fetched is checked
by itself.
"""

import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated

from msgspec import Meta, Struct

from ledger.block import Header, Result, SealedHeader, header_hash, history_leaf, result_digest
from ledger.codec import Wire, decode, decode_trusted, encode
from ledger.errors import PeerError
from ledger.hashing import HASH_BYTES, ZERO_HASH
from ledger.merkle import merkle_root
from ledger.mmr import Mmr
from ledger.state_proof import KEY_BITS, hash_inner, hash_key, hash_value
from ledger.state_tile import subtree_root
from ledger.transaction import transaction_leaf

CHUNK_BYTES_TARGET = 1024 * 1024
"""A subtree with more than this is cut in two: a tenth of a second of a 100 Mbit/s line, and some 6,000 keys to hash
between two looks at the clock."""
CHUNK_BYTES_MAX = 4 * 1024 * 1024 - 1024
"""Longest chunk, unpacked too: what a message holds. Only a single huge value makes a chunk longer than the target."""
CHUNKS_MAX = 65_536
"""Chunks of a snapshot: 64 GiB of state."""
CUT_DEPTH_MAX = 127
"""Deepest subtree of a cut: nobody finds two keys whose hashes begin with so many equal bits."""
WINDOW_MAX = 16_384
"""Blocks of the replay window in a manifest: ten minutes with 27 blocks a second."""
ENTRY_COST_BYTES = 8
"""What an entry counts for beside its key and value."""
_LEAF_BYTES = 2 * HASH_BYTES
_MANY = 0x80

Entry = tuple[bytes, bytes]
"""Key and value."""


class Manifest(Wire):
    """What a snapshot consists of. Everything in it is proven by the seal of its height (`check_manifest`)."""

    sealed: SealedHeader
    history: Mmr
    """Over the blocks before the window."""
    window: Annotated[bytes, Meta(max_length=WINDOW_MAX * _LEAF_BYTES)]
    """Header hash ‖ result digest of each block from `first` on, up to the one before the snapshot's."""
    oldest: Annotated[bytes, Meta(max_length=4096)]
    """Header of block `first`: shows that the window reaches back far enough. Empty if the window is."""
    shape: Annotated[bytes, Meta(max_length=CHUNKS_MAX)]
    """A byte for each chunk: depth of its subtree, plus 128 if it holds two entries or more."""
    roots: Annotated[bytes, Meta(max_length=CHUNKS_MAX * HASH_BYTES)]
    """The subtrees' roots, joined."""

    @property
    def header(self) -> Header:
        """Header of the snapshot's height."""
        return decode_trusted(Header, self.sealed.header)

    @property
    def result(self) -> Result:
        """Result of the snapshot's height."""
        return decode_trusted(Result, self.sealed.result)

    @property
    def first(self) -> int:
        """First height of the window; the snapshot's own height if the window is empty."""
        return self.history.count + 1

    def places(self) -> list["Place"]:
        """The chunks in order. Raises PeerError `snapshot-cut` unless they cover the tree, each place once."""
        if len(self.roots) != len(self.shape) * HASH_BYTES:
            raise PeerError("snapshot-cut", f"{len(self.shape)} chunks with {len(self.roots)} bytes of roots")
        places = []
        at = 0  # where the next subtree begins, in units of the deepest ones
        for index, byte in enumerate(self.shape):
            depth, unit = byte & ~_MANY, CUT_DEPTH_MAX - (byte & ~_MANY)
            if at >> unit << unit != at or at >> CUT_DEPTH_MAX:
                raise PeerError("snapshot-cut", f"chunk {index} does not begin where the one before ends")
            root = self.roots[index * HASH_BYTES : (index + 1) * HASH_BYTES]
            places.append(Place(index, depth, at >> unit, root, bool(byte & _MANY)))
            at += 1 << unit
        if at != 1 << CUT_DEPTH_MAX:
            raise PeerError("snapshot-cut", "the chunks do not cover the tree")
        return places

    def digests(self, height: int) -> tuple[bytes, bytes]:
        """Header hash and result digest of a block of the window, or of the snapshot's own."""
        at = (height - self.first) * _LEAF_BYTES
        if at == len(self.window):
            return header_hash(self.sealed.header), result_digest(self.sealed.result)
        return self.window[at : at + HASH_BYTES], self.window[at + HASH_BYTES : at + _LEAF_BYTES]

    def ranges(self) -> Iterator[tuple[int, Mmr, bytes]]:
        """(height, range before it, its leaf) of each block of the window, then of the snapshot's own."""
        history = self.history
        for height in range(self.first, self.first + len(self.window) // _LEAF_BYTES + 1):
            leaf = history_leaf(*self.digests(height))
            yield height, history, leaf
            history = history.append(leaf)


class Place(Struct, frozen=True):
    """A subtree of the cut."""

    index: int
    depth: int
    prefix: int
    """The first `depth` bits of its key hashes."""
    root: bytes
    many: bool
    """Whether it holds two entries or more."""

    @property
    def empty(self) -> bool:
        """Whether it holds nothing, so that there is nothing to fetch."""
        return self.root == ZERO_HASH


def check_manifest(manifest: Manifest, expiry_max_ms: int) -> list[Place]:
    """Places of the chunks of a manifest whose seal was checked, after all that follows from the seal.

    Raises PeerError `snapshot-cut`, `snapshot-root` (the roots are not those of the sealed state) or `snapshot-window`
    (not the blocks of the replay window, proven by the sealed history).
    """
    header, result = manifest.header, manifest.result
    places = manifest.places()
    if combine(places) != result.state_root:
        raise PeerError("snapshot-root", f"the chunks' roots do not give the state root of height {header.height}")
    if len(manifest.window) % _LEAF_BYTES or manifest.first + len(manifest.window) // _LEAF_BYTES != header.height:
        raise PeerError("snapshot-window", f"the window does not end below height {header.height}")
    root = manifest.history.root
    for _, before, _ in manifest.ranges():
        root = before.root
    if root != result.history_root:
        raise PeerError("snapshot-window", f"the window is not in the history of height {header.height}")
    if manifest.window:
        if header_hash(manifest.oldest) != manifest.digests(manifest.first)[0]:
            raise PeerError("snapshot-window", f"the oldest header is not that of height {manifest.first}")
        oldest_ms = decode(Header, manifest.oldest).time_ms
    else:
        oldest_ms = header.time_ms
    # A window cut short would let the joiner execute what the others refuse as seen.
    if manifest.first > 1 and oldest_ms >= header.time_ms - expiry_max_ms:
        raise PeerError("snapshot-window", f"the window begins at {manifest.first}, too late for the replay window")
    return places


def combine(places: Sequence[Place]) -> bytes:
    """State root over the subtrees of a cut that covers the tree."""
    stack: list[tuple[int, bytes, bool]] = []
    for place in places:
        depth, root, many = place.depth, place.root, place.many
        while stack and stack[-1][0] == depth and depth and _is_right(place, depth):
            _, left, left_many = stack.pop()
            if (left == ZERO_HASH or root == ZERO_HASH) and not (many or left_many):
                root, many = (root if left == ZERO_HASH else left), False  # one leaf or none keeps its hash
            else:
                root, many = hash_inner(left + root), True
            depth -= 1
        stack.append((depth, root, many))
    return stack[0][1]


def _is_right(place: Place, depth: int) -> bool:
    """Whether the subtree at `depth` above a place is the right one of its parent."""
    return bool(place.prefix >> (place.depth - depth) & 1)


# ── chunks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def pack_chunk(entries: Sequence[Entry]) -> bytes:
    """Bytes of a chunk: its entries, sorted by key hash, compressed."""
    return zlib.compress(encode(entries), 1)


def unpack_chunk(place: Place, data: bytes) -> tuple[Entry, ...]:
    """Entries of a chunk that prove themselves.

    Raises PeerError `chunk-malformed` (not as `pack_chunk` makes it, or too long) or `chunk-forged` (not what the state
    holds there).
    """
    stream = zlib.decompressobj()
    try:
        # Never more than a chunk may hold: a few kilobytes can unpack to gigabytes (zip bomb).
        plain = stream.decompress(data, CHUNK_BYTES_MAX)
    except zlib.error as error:
        raise PeerError("chunk-malformed", f"chunk {place.index}: {error}") from error
    if not stream.eof or stream.unused_data:
        raise PeerError("chunk-malformed", f"chunk {place.index} does not end where its stream does")
    try:
        entries = decode(tuple[Entry, ...], plain)
    except PeerError as error:
        raise PeerError("chunk-malformed", f"chunk {place.index}: {error.message}") from error
    if len(entries) > 1 and sum(entry_bytes(*entry) for entry in entries) > CHUNK_BYTES_TARGET:
        # A million empty values would cost seconds of hashing before they prove wrong.
        raise PeerError("chunk-malformed", f"chunk {place.index} is longer than a subtree that is not cut")
    hashes = [hash_key(key) for key, _ in entries]
    if any(left >= right for left, right in pairwise(hashes)):
        raise PeerError("chunk-malformed", f"chunk {place.index} is not sorted by key hash")
    if any(
        int.from_bytes(end, "big") >> (KEY_BITS - place.depth) != place.prefix for end in (*hashes[:1], *hashes[-1:])
    ):
        raise PeerError("chunk-forged", f"chunk {place.index} holds keys of another")
    if _root(entries, hashes, place.depth) != place.root:
        raise PeerError("chunk-forged", f"chunk {place.index} is not what the sealed state holds there")
    return entries


def describe_chunk(depth: int, entries: Sequence[Entry], hashes: Sequence[bytes]) -> tuple[int, bytes]:
    """Shape byte and root of a chunk, for the manifest."""
    return depth | (_MANY if len(entries) > 1 else 0), _root(entries, hashes, depth)


def _root(entries: Sequence[Entry], hashes: Sequence[bytes], depth: int) -> bytes:
    return subtree_root([place + hash_value(value) for place, (_, value) in zip(hashes, entries, strict=True)], depth)


# ── blocks of the window ──────────────────────────────────────────────────────────────────────────────────────────────


def check_window_block(manifest: Manifest, height: int, sealed: SealedHeader, raws: Sequence[bytes]) -> None:
    """Check that header, result and transactions are those of a block of the window, or of the snapshot's own, as the
    manifest proves it. `height` is one of these.

    Raises PeerError `block-forged`.
    """
    header = decode(Header, sealed.header)
    if header.height != height:
        raise PeerError("block-forged", f"height {header.height} stands for {height}")
    if (header_hash(sealed.header), result_digest(sealed.result)) != manifest.digests(header.height):
        raise PeerError("block-forged", f"height {header.height} is another block than the history's")
    check_transactions(header, raws)


def check_transactions(header: Header, raws: Sequence[bytes]) -> None:
    """Raise PeerError `block-forged` unless these are the transactions of a block whose header is proven."""
    first = 0
    for row in header.branches:  # the header is proven, so are the rows' roots
        leaves = [transaction_leaf(raw) for raw in raws[first : first + row.count]]
        if len(leaves) != row.count or merkle_root(leaves) != row.root:
            raise PeerError("block-forged", f"height {header.height} has other transactions than its header says")
        first += row.count
    if first != len(raws):
        raise PeerError("block-forged", f"height {header.height} has more transactions than its header says")


# ── cutting ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def entry_bytes(key: bytes, value: bytes) -> int:
    """What an entry counts for in the size of a subtree."""
    return len(key) + len(value) + ENTRY_COST_BYTES


def cut_entries(entries: Sequence[Entry], hashes: Sequence[bytes], depth: int) -> Iterator[tuple[int, Sequence[Entry]]]:
    """(depth, entries) of the chunks that a subtree `depth` levels down is cut into, given its entries sorted by their
    key hashes.
    """
    size = sum(entry_bytes(key, value) for key, value in entries)
    if size <= CHUNK_BYTES_TARGET or len(entries) < 2 or depth == CUT_DEPTH_MAX:
        yield depth, entries
        return
    byte, bit = depth >> 3, 0x80 >> (depth & 7)
    half = next((at for at, place in enumerate(hashes) if place[byte] & bit), len(hashes))
    yield from cut_entries(entries[:half], hashes[:half], depth + 1)
    yield from cut_entries(entries[half:], hashes[half:], depth + 1)
