"""Tiles: the state tree cut into pieces of four levels, the unit in which it is stored, read and rewritten.

A tile covers the subtree under a path of nibbles, and splits it into 16 slots by the next nibble. A slot of up to
SLOT_LEAVES_MAX leaves keeps them in the tile; a fuller one has a tile of its own, whose root the slot holds. So the
tiling, like the root, follows from the content alone.

Bytes of a tile: which slots are tiles of their own, a bit each (2); number of leaves kept before each slot, and in all
(17); zeros (13); the nodes 1 to 31 (32 each); the kept leaves, sorted (64 each); CRC-32 of all that, its low byte first
(4). Node 1 is the tile's root, node i has the children 2i and 2i + 1, and the nodes 16 to 31 are the slots.
"""

from functools import lru_cache
from struct import Struct
from typing import Protocol
from zlib import crc32

from ledger.errors import OurError
from ledger.hashing import HASH_BYTES, ZERO_HASH, Tag
from ledger.state_proof import LEAF_BYTES, hash_inner, hash_leaf

SLOTS = 16
SLOT_LEAVES_MAX = 6
"""Measured: fewer make more tiles to read and write, more make more leaves to hash again around a changed one."""

_HEADER = Struct(">H17s13x")
_NODES = Struct("32s" * 2 * SLOTS)  # the header is in the place of node 0
_CRC_BYTES = 4
_CRC_HOLDS = 0x2144DF1C
"""CRC-32 of any bytes that end in their own CRC-32 (its residue, as for frames of Ethernet)."""


def _reach(node: int) -> tuple[int, int]:
    """Return the first slot under a node, and the one after its last."""
    first, after = node, node + 1
    while first < SLOTS:
        first, after = 2 * first, 2 * after
    return first - SLOTS, after - SLOTS


_FIRST, _AFTER = zip((0, 0), *(_reach(node) for node in range(1, 2 * SLOTS)), strict=True)
_COVER = tuple((1 << after) - (1 << first) for first, after in zip(_FIRST, _AFTER, strict=True))


class TileSource(Protocol):
    """Where the tiles of one version of the tree are kept."""

    def tile(self, path: bytes) -> bytes | None:
        """Return the tile under a path of nibbles, one byte each; b"" is the tree's top."""


class Tile:
    """A tile that is being read or rewritten."""

    __slots__ = ("_leaves", "_nodes", "_stale", "children", "ends")

    children: int
    """Bit s is set if slot s is a tile of its own."""
    ends: bytes
    """Slot s keeps the leaves number ends[s] up to, not including, ends[s + 1]."""

    def __init__(self, stored: bytes | None = None) -> None:
        """Decode bytes that `load_tile` has checked; without any, make a tile of no leaves."""
        self._stale = 0
        if stored is None:
            self._nodes = [ZERO_HASH] * 2 * SLOTS
            self.children, self.ends, self._leaves = 0, bytes(SLOTS + 1), b""
        else:
            self._nodes = list(_NODES.unpack_from(stored))
            self.children, self.ends = stored[0] << 8 | stored[1], stored[2 : SLOTS + 3]
            self._leaves = stored[_NODES.size : -_CRC_BYTES]

    def seal(self) -> bytes:
        """Return the bytes to store."""
        self._nodes[0] = _HEADER.pack(self.children, self.ends)
        content = b"".join(self._nodes) + self._leaves
        return content + crc32(content).to_bytes(_CRC_BYTES, "little")

    def node(self, node: int) -> bytes:
        """Return the hash of a node; node 1 is the root of the subtree that the tile covers."""
        return self._nodes[node]

    def leaves_under(self, node: int) -> bytes:
        """Return the kept leaves under a node, joined."""
        return self._leaves[LEAF_BYTES * self.ends[_FIRST[node]] : LEAF_BYTES * self.ends[_AFTER[node]]]

    def is_inner(self, node: int) -> bool:
        """Whether there are two leaves or more under a node: its hash is not a leaf's, nor that of nothing."""
        return bool(self.children & _COVER[node]) or self.ends[_AFTER[node]] - self.ends[_FIRST[node]] > 1

    def fill(self, slot: int, root: bytes, leaves: list[bytes] | None) -> None:
        """Let a slot keep these leaves, or with None be a tile of its own. The nodes above wait for `rehash`."""
        self._nodes[SLOTS + slot] = root
        self._stale |= 1 << slot
        if leaves is not None:
            self.children &= ~(1 << slot)
        elif self.children >> slot & 1:
            return
        else:
            self.children |= 1 << slot
            leaves = []
        first, after = self.ends[slot], self.ends[slot + 1]
        before, behind = self._leaves[: LEAF_BYTES * first], self._leaves[LEAF_BYTES * after :]
        self._leaves = b"".join((before, *leaves, behind))
        more = len(leaves) - (after - first)
        if more:
            self.ends = self.ends[: slot + 1] + bytes(end + more for end in self.ends[slot + 1 :])

    def rehash(self) -> None:
        """Compute the nodes above the filled slots anew."""
        nodes = self._nodes
        context = Tag.STATE_INNER.context.copy
        for node in _above(self._stale):
            left, right = nodes[2 * node], nodes[2 * node + 1]
            if (left == ZERO_HASH or right == ZERO_HASH) and not self.is_inner(node):
                nodes[node] = right if left == ZERO_HASH else left
            else:
                running = context()  # `hash_inner`, written out: one call less in the innermost loop
                running.update(left + right)
                nodes[node] = running.digest()
        self._stale = 0


@lru_cache(maxsize=4096)  # all sets of one or two slots, and the full one
def _above(slots: int) -> tuple[int, ...]:
    """Return the nodes above the slots of a bit set, the lowest in the tree first."""
    nodes = {SLOTS + slot >> up for slot in range(SLOTS) if slots >> slot & 1 for up in range(1, 5)}
    return tuple(sorted(nodes, reverse=True))


def load_tile(source: TileSource, path: bytes, root: bytes) -> Tile:
    """Return the tile that is stored under a path and has this root; for ZERO_HASH, one of no leaves.

    Raises OurError `store-damaged` if none is there, its bytes are not those written, or it is another version's.
    """
    if root == ZERO_HASH:
        return Tile()
    stored = source.tile(path)
    if (
        stored is None
        or len(stored) < _NODES.size + _CRC_BYTES
        or stored[HASH_BYTES : 2 * HASH_BYTES] != root
        or crc32(stored) != _CRC_HOLDS
    ):
        place = path.hex() or "at the top"
        raise OurError("store-damaged", f"state tile {place} is missing, damaged, or of another version")
    return Tile(stored)


def split_leaves(leaves: bytes) -> list[bytes]:
    """Return joined leaves one by one."""
    return [leaves[at : at + LEAF_BYTES] for at in range(0, len(leaves), LEAF_BYTES)]


def half_of(leaves: list[bytes], depth: int) -> int:
    """Return how many of the sorted leaves, alike in the first `depth` bits, go left at the next one."""
    byte, shift = depth >> 3, 7 - (depth & 7)
    half, count = 0, len(leaves)
    while half < count and not leaves[half][byte] >> shift & 1:
        half += 1
    return half


def subtree_root(leaves: list[bytes], depth: int) -> bytes:
    """Return the root of the subtree `depth` levels down that holds these sorted leaves."""
    if len(leaves) == 1:
        return hash_leaf(leaves[0])
    if not leaves:
        return ZERO_HASH
    half = half_of(leaves, depth)
    return hash_inner(subtree_root(leaves[:half], depth + 1) + subtree_root(leaves[half:], depth + 1))
