"""Binary Merkle trees over a list of leaf hashes, in the shape of RFC 6962 (section 2.1).

The list is split at the largest power of two below its length. Level by level that is the same as pairing neighbours
and moving an odd last node up as it is. Leaves are tagged hashes of their own kind, inner nodes have theirs. The root
does not tell the number of leaves: it is kept beside the root (a header, a branch row), and whoever verifies takes it
from there.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

from msgspec import Meta

from ledger.codec import Wire
from ledger.hashing import HASH_BYTES, ZERO_HASH, Tag, hasher
from ledger.units import U32, Hash

PATH_HASHES_MAX = 32
"""Longest path: counts are 32-bit numbers."""

_inner = hasher(Tag.MERKLE_INNER)


class MerkleProof(Wire):
    """The way from one leaf to the root."""

    index: U32
    """Position of the leaf, from 0."""
    count: U32
    """Number of leaves. The verifier compares it with the count that stands beside the root it trusts."""
    path: Annotated[tuple[Hash, ...], Meta(max_length=PATH_HASHES_MAX)]
    """Siblings from the leaf upwards; none at the levels where the node has no sibling."""


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes of 32 bytes; of no leaves, ZERO_HASH; of one, the leaf itself."""
    if not leaves:
        return ZERO_HASH
    level = list(leaves)
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def merkle_proof(leaves: Sequence[bytes], index: int) -> MerkleProof:
    """Return the proof for the leaf at `index`. Raises IndexError outside of the list."""
    if not 0 <= index < len(leaves):
        raise IndexError(index)
    path = []
    level = list(leaves)
    position = index
    while len(level) > 1:
        sibling = position ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level = _parents(level)
        position >>= 1
    return MerkleProof(index, len(leaves), tuple(path))


def verify_merkle(root: bytes, leaf: bytes, proof: MerkleProof) -> bool:
    """Whether `leaf` is leaf number `proof.index` of the `proof.count` leaves under `root`.

    The caller has compared `proof.count` with the count that it trusts: a false one can give the leaf another place.
    """
    return proven_root(leaf, proof) == root


def proven_root(leaf: bytes, proof: MerkleProof) -> bytes | None:
    """Return the root that the proof leads `leaf` to; None if it has not the shape that its count and index demand."""
    return fold_path(_inner, leaf, proof.index, proof.count, proof.path)


def fold_path(
    inner: Callable[[bytes], bytes], leaf: bytes, index: int, count: int, path: Sequence[bytes]
) -> bytes | None:
    """Return the root that a path leads to, or None if it has not the one length that leaf `index` of `count` has.

    `inner` hashes a pair of nodes. Work is bounded by the bits of `count`.
    """
    # A leaf of another length could borrow bytes from its sibling, or be an inner node in disguise (CVE-2017-12842).
    if not 0 <= index < count or len(leaf) != HASH_BYTES:
        return None
    node = leaf
    last = count - 1
    used = 0
    while last:
        if index & 1 or index < last:
            if used == len(path):
                return None
            node = inner(path[used] + node if index & 1 else node + path[used])
            used += 1
        index >>= 1
        last >>= 1
    return node if used == len(path) else None


def _parents(level: list[bytes]) -> list[bytes]:
    above = [_inner(left + right) for left, right in zip(level[::2], level[1::2], strict=False)]
    if len(level) & 1:
        # Moved up, never paired with itself: two lists of leaves would share a root (CVE-2012-2459).
        above.append(level[-1])
    return above
