"""Merkle mountain range: growth, stored nodes, proofs against any later root."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.codec import decode, encode
from ledger.errors import PeerError
from ledger.hashing import ZERO_HASH, Tag, sm3
from ledger.mmr import Mmr, MmrProof, mmr_proof, verify_mmr

COUNT = 70
LEAVES = [sm3(Tag.MMR_LEAF, bytes([number])) for number in range(COUNT)]


def grown():
    """Return the range at each count, and all nodes ever made."""
    ranges = [Mmr()]
    nodes: dict[tuple[int, int], bytes] = {}
    for leaf in LEAVES:
        new = dict(ranges[-1].append_nodes(leaf))
        assert not new.keys() & nodes.keys(), "a node never changes"
        nodes |= new
        ranges.append(ranges[-1].append(leaf))
    return ranges, nodes


RANGES, NODES = grown()


def read(level, index):
    """Read a stored node."""
    return NODES[level, index]


def naive_root(leaves):
    """Compute the RFC 6962 root with the range's own tags."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sm3(Tag.MMR_INNER, naive_root(leaves[:split]), naive_root(leaves[split:]))


def test_empty_range():
    assert Mmr().root == ZERO_HASH


@pytest.mark.parametrize("count", range(1, COUNT + 1))
def test_root_is_the_rfc_6962_tree_sealed_with_its_count(count):
    assert RANGES[count].count == count
    assert RANGES[count].root == sm3(Tag.MMR_ROOT, count.to_bytes(8, "big"), naive_root(LEAVES[:count]))


@given(st.integers(1, COUNT), st.data())
def test_every_leaf_is_proven_at_every_later_count(count, data):
    index = data.draw(st.integers(0, count - 1))
    proof = mmr_proof(count, index, read)
    root = RANGES[count].root
    assert decode(MmrProof, encode(proof)) == proof
    assert verify_mmr(root, count, index, LEAVES[index], proof)
    other = data.draw(st.integers(0, COUNT - 1).filter(lambda number: number != index))
    assert not verify_mmr(root, count, index, LEAVES[other], proof)
    assert not verify_mmr(root, count, other, LEAVES[index], proof)
    assert not verify_mmr(root, count, index, LEAVES[index], MmrProof((*proof.path, ZERO_HASH)))
    assert not verify_mmr(root, count, index, LEAVES[index], MmrProof(proof.path[1:])) or not proof.path
    elsewhere = data.draw(st.integers(0, COUNT).filter(lambda number: number != count))
    assert not verify_mmr(root, elsewhere, index, LEAVES[index], proof)
    assert not verify_mmr(RANGES[elsewhere].root, count, index, LEAVES[index], proof)


def test_path_stays_short():
    assert max(len(mmr_proof(COUNT, index, read).path) for index in range(COUNT)) <= 7


def test_count_is_under_the_root():
    # Without it, the last leaf of three would also be the last of two.
    proof = mmr_proof(3, 2, read)
    assert not verify_mmr(RANGES[3].root, 2, 1, LEAVES[2], proof)


def test_no_proof_outside_of_the_range():
    for index in (-1, 5):
        with pytest.raises(IndexError):
            mmr_proof(5, index, read)


def test_range_survives_storage_and_bad_peaks_do_not():
    assert decode(Mmr, encode(RANGES[COUNT])) == RANGES[COUNT]
    with pytest.raises(ValueError, match="peaks"):
        Mmr(3, (ZERO_HASH,))
    with pytest.raises(PeerError, match="encoding-malformed"):
        decode(Mmr, encode([2, [ZERO_HASH, ZERO_HASH]]))
