"""What the state holds under a key, or that it holds nothing, proven against the state root alone.

The state root is the root of a sparse binary Merkle tree over key hashes. A key's place is the 256 bits of its hash,
first bit at the top. With ‖ for joining and every hash tagged by its kind, the root of a subtree is
- of no leaf: ZERO_HASH;
- of exactly one leaf, however high the subtree: SM3(STATE_LEAF ‖ key hash ‖ value hash);
- otherwise: SM3(STATE_INNER ‖ root of the left half ‖ root of the right half).
It follows from the content alone, not from the order in which the content came about.
"""

from typing import Annotated

from msgspec import Meta

from ledger.codec import Wire
from ledger.hashing import HASH_BYTES, ZERO_HASH, Tag, hasher

KEY_BITS = 8 * HASH_BYTES
"""Bits of a key hash: the deepest place in the tree."""
LEAF_BYTES = 2 * HASH_BYTES
"""A leaf is its key hash and its value hash."""

hash_key = hasher(Tag.STATE_KEY)
hash_value = hasher(Tag.STATE_VALUE)
hash_leaf = hasher(Tag.STATE_LEAF)
"""Of key hash ‖ value hash."""
hash_inner = hasher(Tag.STATE_INNER)
"""Of left ‖ right."""


class StateProof(Wire):
    """The way from a key's place up to the root."""

    depth: Annotated[int, Meta(ge=0, le=KEY_BITS)]
    """Levels between the root and the subtree, of one leaf or none, that covers the key's place."""
    present: Annotated[bytes, Meta(max_length=HASH_BYTES)]
    """Which siblings are given, as a big-endian number of ⌈depth/8⌉ bytes, bit 0 for the deepest. The others are
    ZERO_HASH."""
    siblings: Annotated[bytes, Meta(max_length=KEY_BITS * HASH_BYTES)]
    """The given siblings, from the deepest upwards."""
    other: Annotated[bytes, Meta(max_length=LEAF_BYTES)]
    """In a proof of absence: the leaf that has the subtree to itself in the key's stead. Otherwise empty."""


def verify_state(root: bytes, key: bytes, value: bytes | None, proof: StateProof) -> bool:
    """Whether the state with this root holds `value` under `key`; with None, whether it holds nothing there."""
    place = hash_key(key)
    node = _bottom(place, value, proof)
    present = int.from_bytes(proof.present, "big")
    # Exact lengths: one proof has one encoding, and the work is bounded by what was sent.
    if (
        node is None
        or len(proof.present) != (proof.depth + 7) // 8
        or present >> proof.depth
        or len(proof.siblings) != present.bit_count() * HASH_BYTES
    ):
        return False
    turns = int.from_bytes(place, "big") >> (KEY_BITS - proof.depth)
    used = 0
    for level in range(proof.depth):
        sibling = ZERO_HASH
        if present >> level & 1:
            sibling = proof.siblings[used : used + HASH_BYTES]
            used += HASH_BYTES
            if sibling == ZERO_HASH:
                return False
        # A leaf shown at a false depth would have to meet the root through other inner nodes; and a leaf never passes
        # for an inner node, nor the other way round (CVE-2017-12842): their tags differ.
        node = hash_inner(sibling + node if turns >> level & 1 else node + sibling)
    return node == root


def _bottom(place: bytes, value: bytes | None, proof: StateProof) -> bytes | None:
    """Return the root of the subtree that covers the key's place, or None if the proof says nothing about this key."""
    if value is not None:
        return None if proof.other else hash_leaf(place + hash_value(value))
    if not proof.other:
        return ZERO_HASH
    if len(proof.other) != LEAF_BYTES:
        return None
    apart = int.from_bytes(place, "big") ^ int.from_bytes(proof.other[:HASH_BYTES], "big")
    # The other leaf must lie on the key's own path, and not be the key's own leaf.
    on_path = apart.bit_length() <= KEY_BITS - proof.depth
    return hash_leaf(proof.other) if apart and on_path else None
