"""Merkle mountain range: an append-only tree over all sealed blocks, kept in the memory of its peaks alone.

A mountain is a perfect binary tree; the mountains' sizes are the binary digits of the leaf count, so appending a leaf
is adding one to a number and carrying. Bagging folds the peaks from the smallest to the largest, which makes the whole
the RFC 6962 tree of its leaves: a proof is that tree's path. The root also hashes the count, so a proof cannot be read
under another one.

A node is addressed by (level, index): it covers the leaves index·2^level up to, not including, (index + 1)·2^level.
Nodes never change, so a store keeps them all and appends few.
"""

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from ledger.codec import Wire
from ledger.hashing import ZERO_HASH, Tag, hasher, sm3
from ledger.merkle import fold_path
from ledger.units import U63, Hash

LEVELS_MAX = 63
"""Counts are 63-bit numbers: as many peaks, and hashes in a path, at the most."""

_inner = hasher(Tag.MMR_INNER)


class MmrProof(Wire):
    """The way from one leaf to the root of the range."""

    path: Annotated[tuple[Hash, ...], Meta(max_length=LEVELS_MAX)]
    """Siblings from the leaf upwards."""


class Mmr(Wire):
    """A range: all that is needed to append to it and to know its root. A value; appending gives another one."""

    count: U63 = 0
    """Number of leaves."""
    peaks: Annotated[tuple[Hash, ...], Meta(max_length=LEVELS_MAX)] = ()
    """Roots of the mountains from the largest to the smallest: one for each binary digit 1 of `count`."""

    def __post_init__(self) -> None:
        """Refuse peaks that no range of `count` leaves has.

        Raises ValueError, which `decode` turns into PeerError `encoding-malformed`.
        """
        if len(self.peaks) != self.count.bit_count():
            raise ValueError(f"{self.count} leaves have {self.count.bit_count()} peaks, not {len(self.peaks)}")

    @property
    def root(self) -> bytes:
        """Root over the leaves and their count; of the empty range, ZERO_HASH."""
        if not self.peaks:
            return ZERO_HASH
        *larger, node = self.peaks
        for peak in reversed(larger):
            node = _inner(peak + node)
        return _seal(self.count, node)

    def append_nodes(self, leaf: bytes) -> list[tuple[tuple[int, int], bytes]]:
        """Return the new nodes that appending a leaf hash makes, as ((level, index), hash) from the leaf upwards."""
        level, index, node = 0, self.count, leaf
        nodes = [((level, index), node)]
        peaks = list(self.peaks)
        while index & 1:
            node = _inner(peaks.pop() + node)
            level, index = level + 1, index >> 1
            nodes.append(((level, index), node))
        return nodes

    def append(self, leaf: bytes) -> "Mmr":
        """Return the range with one more leaf hash."""
        nodes = self.append_nodes(leaf)
        merged = len(nodes) - 1
        return Mmr(self.count + 1, (*self.peaks[: len(self.peaks) - merged], nodes[-1][1]))


def mmr_proof(count: int, leaf_index: int, node: Callable[[int, int], bytes]) -> MmrProof:
    """Return the proof of a leaf in the range of the first `count` leaves.

    `node(level, index)` reads a stored node; the range may have grown since. Raises IndexError outside of the range.
    """
    if not 0 <= leaf_index < count:
        raise IndexError(leaf_index)

    def subtree(level: int, index: int) -> bytes:
        """Root of the leaves that a node covers, as far as they are in the range."""
        if (index + 1) << level <= count:
            return node(level, index)
        left, right = 2 * index, 2 * index + 1
        if right << (level - 1) >= count:
            return subtree(level - 1, left)
        return _inner(subtree(level - 1, left) + subtree(level - 1, right))

    path = []
    level, position, last = 0, leaf_index, count - 1
    while last:
        if position & 1 or position < last:
            path.append(subtree(level, position ^ 1))
        level, position, last = level + 1, position >> 1, last >> 1
    return MmrProof(tuple(path))


def verify_mmr(root: bytes, count: int, leaf_index: int, leaf: bytes, proof: MmrProof) -> bool:
    """Whether `leaf` is leaf number `leaf_index` of the range with this root and count."""
    node = fold_path(_inner, leaf, leaf_index, count, proof.path)
    return node is not None and _seal(count, node) == root


def _seal(count: int, node: bytes) -> bytes:
    return sm3(Tag.MMR_ROOT, count.to_bytes(8, "big"), node)
