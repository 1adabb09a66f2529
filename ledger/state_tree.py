"""The authenticated state: a map whose root, defined in `ledger.state_proof`, commits to every key and value.

The tree is kept in tiles (`ledger.state_tile`) wherever a TileSource finds them; it holds nothing in memory itself, so
its size is the store's affair, and any process that can read the tiles can prove. Values are kept elsewhere: the tree
knows their hashes.

A tree is a value. `update` computes the tiles of the next version and alters nothing; a TileOverlay reads that version
before it is written, and overlays stack: the blocks that are executed but not sealed yet.
"""

from bisect import bisect_left
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

from ledger.hashing import HASH_BYTES, ZERO_HASH
from ledger.state_proof import LEAF_BYTES, StateProof, hash_key, hash_value
from ledger.state_tile import (
    SLOT_LEAVES_MAX,
    SLOTS,
    Tile,
    TileSource,
    half_of,
    load_tile,
    split_leaves,
    subtree_root,
)

SLICE_STEPS = 256
"""Steps between two yields of an update, so that no slice holds an event loop for 5 ms. A step is a hash, or handling a
changed key in one tile: 2 to 5 µs."""
CLOSE_STEPS = 8
"""Steps that hashing and sealing a tile counts for."""
SHORT_VALUE_BYTES = 256
"""A value takes a step for each of these."""

_NIBBLE = tuple(bytes([slot]) for slot in range(SLOTS))


@dataclass(frozen=True, slots=True)
class TreeChange:
    """The step from one version of the tree to the next."""

    root: bytes
    """Root of the next version."""
    tiles: dict[bytes, bytes | None]
    """Path -> the tile there from now on, or None where there is none any more. All others stay."""


class TileOverlay:
    """The tiles of a version that is not written yet: a change's over those of the version before it."""

    def __init__(self, source: TileSource, tiles: Mapping[bytes, bytes | None]) -> None:
        self._source = source
        self._tiles = tiles

    def tile(self, path: bytes) -> bytes | None:
        """Return the tile under a path."""
        if path in self._tiles:
            return self._tiles[path]
        return self._source.tile(path)


class StateTree:
    """One version of the state: its root and where its tiles are."""

    def __init__(self, source: TileSource, root: bytes = ZERO_HASH) -> None:
        """`root` is that of the version which `source` holds; without it, the empty state."""
        self._source = source
        self.root = root

    def update(self, changes: Mapping[bytes, bytes | None]) -> Generator[None, None, TreeChange]:
        """Compute the version in which the given keys hold the given values, or nothing where the value is None.

        A generator: it yields every SLICE_STEPS or so, and returns the TreeChange. The source must stay at this version
        until then. Raises OurError `store-damaged`.
        """
        records = []
        steps = 0
        for key, value in changes.items():
            if value is None:
                records.append(hash_key(key))
            else:
                records.append(hash_key(key) + hash_value(value))
                steps += 1 + len(value) // SHORT_VALUE_BYTES
            steps += 1
            if steps >= SLICE_STEPS:
                steps = 0
                yield
        records.sort()
        tiles: dict[bytes, bytes | None] = {}
        root = self.root
        # Depth first, each tile twice: filled on the way down, hashed and sealed on the way up.
        stack = [_Visit(b"", load_tile(self._source, b"", root), records)]
        while stack:
            visit = stack[-1]
            if visit.records:
                steps += len(visit.records)
                stack += visit.fill(self._source)
            else:
                stack.pop()
                root = visit.close(tiles)
                steps += CLOSE_STEPS
            if steps >= SLICE_STEPS:
                steps = 0
                yield
        return TreeChange(root, tiles)

    def apply(self, changes: Mapping[bytes, bytes | None]) -> TreeChange:
        """Do the same in one go."""
        steps = self.update(changes)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                change: TreeChange = done.value
                return change

    def prove(self, key: bytes) -> StateProof:
        """Return the proof of what this version holds under a key, its value or nothing.

        Raises OurError `store-damaged`.
        """
        place = hash_key(key)
        turns = "".join(f"{byte:08b}" for byte in place)
        siblings: list[bytes] = []
        leaves: list[bytes] = []
        path, root = b"", self.root
        # Down through the tiles, then through the leaves that the last one keeps in one slot.
        while root != ZERO_HASH:
            tile = load_tile(self._source, path, root)
            node = 1
            while node < SLOTS and tile.is_inner(node):
                node = 2 * node + (turns[len(siblings)] == "1")
                siblings.append(tile.node(node ^ 1))
            root = ZERO_HASH
            if node >= SLOTS and tile.children >> (node - SLOTS) & 1:
                path, root = path + _NIBBLE[node - SLOTS], tile.node(node)
            else:
                leaves = split_leaves(tile.leaves_under(node))
        while len(leaves) > 1:
            depth = len(siblings)
            half = half_of(leaves, depth)
            leaves, beside = leaves[:half], leaves[half:]
            if turns[depth] == "1":
                leaves, beside = beside, leaves
            siblings.append(subtree_root(beside, depth + 1))
        other = leaves[0] if leaves and leaves[0][:HASH_BYTES] != place else b""
        return _pack(siblings[::-1], other)


class _Visit:
    """A tile on its way through an update."""

    __slots__ = ("_above", "_path", "_root", "_slot", "_tile", "records")

    records: list[bytes]
    """What changes under the path, sorted: a whole leaf is put, a bare key hash is taken out. Empty once filled in."""

    def __init__(self, path: bytes, tile: Tile, records: list[bytes], above: Tile | None = None, slot: int = 0) -> None:
        """`above` is the tile above, `slot` the one there that this tile covers."""
        self._path = path
        self._tile = tile
        self._root = tile.node(1)
        self._above = above
        self._slot = slot
        self.records = records

    def fill(self, source: TileSource) -> list["_Visit"]:
        """Put the changed leaves that the tile keeps into it; return visits to the tiles of the others."""
        tile, path = self._tile, self._path
        depth = len(path)
        visits = []
        for slot, records in _by_slot(self.records, depth):
            if tile.children >> slot & 1:
                below = path + _NIBBLE[slot]
                visits.append(_Visit(below, load_tile(source, below, tile.node(SLOTS + slot)), records, tile, slot))
                continue
            leaves = _merge(tile.leaves_under(SLOTS + slot), records)
            if len(leaves) <= SLOT_LEAVES_MAX:
                tile.fill(slot, subtree_root(leaves, 4 * depth + 4), leaves)
            else:
                visits.append(_Visit(path + _NIBBLE[slot], Tile(), leaves, tile, slot))
        self.records = []
        return visits

    def close(self, tiles: dict[bytes, bytes | None]) -> bytes:
        """Hash the filled tile, note it in `tiles` and in the tile above if it is another one now; return its root."""
        tile = self._tile
        tile.rehash()
        root = tile.node(1)
        if root == self._root:
            return root
        leaves = None
        # Too few leaves for a tile of their own go up; only at the top a tile has as few as one.
        if tile.children or tile.ends[SLOTS] > (SLOT_LEAVES_MAX if self._above else 0):
            tiles[self._path] = tile.seal()
        else:
            tiles[self._path] = None
            leaves = split_leaves(tile.leaves_under(1))
        if self._above:
            self._above.fill(self._slot, root, leaves)
        return root


def _by_slot(records: list[bytes], depth: int) -> Iterator[tuple[int, list[bytes]]]:
    """Cut sorted records into those of each slot of a tile `depth` nibbles down."""
    byte, shift = depth >> 1, 0 if depth & 1 else 4
    first, count = 0, len(records)
    while first < count:
        slot = records[first][byte] >> shift & 15
        after = first + 1
        while after < count and records[after][byte] >> shift & 15 == slot:
            after += 1
        yield slot, records[first:after]
        first = after


def _merge(leaves: bytes, records: list[bytes]) -> list[bytes]:
    """Return the sorted leaves that records make out of joined leaves, of which there are few."""
    merged = split_leaves(leaves)
    if not merged:
        return [record for record in records if len(record) == LEAF_BYTES]
    for record in records:
        key = record[:HASH_BYTES]
        at = bisect_left(merged, key)  # a leaf begins with its key hash, so it stands right behind it
        after = at + (at < len(merged) and merged[at].startswith(key))
        merged[at:after] = [record] if len(record) == LEAF_BYTES else []
    return merged


def _pack(siblings: list[bytes], other: bytes) -> StateProof:
    """Return the proof with these siblings, given from the deepest upwards."""
    present = sum(1 << level for level, sibling in enumerate(siblings) if sibling != ZERO_HASH)
    given = b"".join(sibling for sibling in siblings if sibling != ZERO_HASH)
    depth = len(siblings)
    return StateProof(depth, present.to_bytes((depth + 7) // 8, "big"), given, other)
