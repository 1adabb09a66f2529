"""Merkle trees: the shape of RFC 6962, proofs, and what a forger might hand us."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.codec import decode, encode
from ledger.errors import PeerError
from ledger.hashing import ZERO_HASH, Tag, sm3
from ledger.merkle import MerkleProof, merkle_proof, merkle_root, proven_root, verify_merkle

LEAVES = [sm3(Tag.TX_LEAF, bytes([number])) for number in range(70)]


def naive_root(leaves):
    """Compute the root as RFC 6962 defines it."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else ZERO_HASH
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return sm3(Tag.MERKLE_INNER, naive_root(leaves[:split]), naive_root(leaves[split:]))


@pytest.mark.parametrize("count", range(len(LEAVES) + 1))
def test_root_is_that_of_rfc_6962(count):
    assert merkle_root(LEAVES[:count]) == naive_root(LEAVES[:count])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 11, 33])
def test_every_leaf_is_proven_and_no_other(count):
    leaves = LEAVES[:count]
    root = merkle_root(leaves)
    for index, leaf in enumerate(leaves):
        proof = merkle_proof(leaves, index)
        assert decode(MerkleProof, encode(proof)) == proof
        assert proven_root(leaf, proof) == root
        for other in LEAVES[: count + 1]:
            assert verify_merkle(root, other, proof) == (other == leaf)


def test_leaves_doubled_at_the_end_give_another_root():
    # CVE-2012-2459: where an odd node is paired with itself, these two lists share a root.
    assert merkle_root(LEAVES[:3]) != merkle_root([*LEAVES[:3], LEAVES[2]])


def test_inner_node_is_no_leaf():
    # CVE-2017-12842: the pair of hashes under an inner node, or the node itself, shown as a leaf.
    root = merkle_root(LEAVES[:4])
    left, right = merkle_root(LEAVES[:2]), merkle_root(LEAVES[2:4])
    assert not verify_merkle(root, left, MerkleProof(0, 4, (right,)))
    assert not verify_merkle(root, left + right, MerkleProof(0, 1, ()))
    assert sm3(Tag.TX_LEAF, left, right) != root


def test_leaf_borrows_no_bytes_from_its_sibling():
    root = merkle_root(LEAVES[:2])
    assert not verify_merkle(root, LEAVES[0][:31], MerkleProof(0, 2, (LEAVES[0][31:] + LEAVES[1],)))
    assert not verify_merkle(root, LEAVES[0] + LEAVES[1][:1], MerkleProof(0, 2, (LEAVES[1][1:],)))


@given(st.integers(1, 40), st.data())
def test_changed_proofs_do_not_verify(count, data):
    leaves = LEAVES[:count]
    index = data.draw(st.integers(0, count - 1))
    proof = merkle_proof(leaves, index)
    path = list(proof.path)
    change = data.draw(st.sampled_from(["index", "shorter", "longer", "swapped", "bit", "length", "root"]))
    root = merkle_root(leaves)
    if change == "index":
        proof = MerkleProof(
            data.draw(st.integers(0, count + 2).filter(lambda other: other != index)), count, proof.path
        )
    elif change == "shorter" and path:
        proof = MerkleProof(index, count, tuple(path[:-1]))
    elif change == "swapped" and len(path) > 1:
        proof = MerkleProof(index, count, tuple(reversed(path)))
    elif change == "bit" and path:
        at = data.draw(st.integers(0, len(path) - 1))
        path[at] = bytes([path[at][0] ^ 1]) + path[at][1:]
        proof = MerkleProof(index, count, tuple(path))
    elif change == "length" and path:
        path[0] += b"\0"
        proof = MerkleProof(index, count, tuple(path))
    elif change == "root":
        root = sm3(Tag.TX_LEAF, root)
    else:
        proof = MerkleProof(index, count, (*path, ZERO_HASH))
    assert not verify_merkle(root, leaves[index], proof)


def test_no_proof_outside_of_the_list():
    for index in (-1, 3):
        with pytest.raises(IndexError):
            merkle_proof(LEAVES[:3], index)


def test_overlong_path_is_refused_on_decoding():
    with pytest.raises(PeerError, match="encoding-malformed"):
        decode(MerkleProof, encode(MerkleProof(0, 2, (ZERO_HASH,) * 33)))
