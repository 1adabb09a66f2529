"""Proofs of what the state holds under a key, and everything a forger might try."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.codec import decode, encode
from ledger.errors import PeerError
from ledger.hashing import ZERO_HASH, Tag, sm3
from ledger.state_proof import StateProof, verify_state
from tests.unit.state_model import crowding, keys, place_of, states, stored, values


@pytest.fixture(autouse=True, scope="module")
def crowded():
    """Let the tests choose where keys lie."""
    for patched in crowding:
        patched.start()
    yield
    for patched in crowding:
        patched.stop()


def leaf_of(key, value):
    """Return a leaf's key hash and value hash."""
    return place_of(key) + sm3(Tag.STATE_VALUE, value)


def given_siblings(proof):
    """Return the siblings of a proof one by one."""
    return [proof.siblings[at : at + 32] for at in range(0, len(proof.siblings), 32)]


@given(states, keys, values)
def test_presence_and_absence_are_proven_and_nothing_else(state, key, value):
    tree, _ = stored(state)
    for asked in [key, *list(state)[:8]]:
        proof = tree.prove(asked)
        assert decode(StateProof, encode(proof)) == proof
        held = state.get(asked)
        assert verify_state(tree.root, asked, held, proof)
        for claim in (None, value, b"another"):
            assert verify_state(tree.root, asked, claim, proof) == (claim == held)
        assert not verify_state(sm3(Tag.STATE_INNER, tree.root), asked, held, proof)
        if held is not None:
            for other in (other for other in [key, *state] if other != asked):
                assert not verify_state(tree.root, other, held, proof)


@given(states.filter(bool), keys, st.data())
def test_changed_proofs_do_not_verify(state, absent, data):
    tree, _ = stored(state)
    key = data.draw(st.sampled_from([absent, *state]))
    proof = tree.prove(key)
    siblings = given_siblings(proof)
    present = int.from_bytes(proof.present, "big")
    forged = [
        StateProof(proof.depth, proof.present, proof.siblings + ZERO_HASH, proof.other),
        StateProof(proof.depth, proof.present + b"\0", proof.siblings, proof.other),
        StateProof(proof.depth, proof.present, proof.siblings, proof.other + b"\0"),
        StateProof(proof.depth, proof.present, proof.siblings, leaf_of(key, b"")),
        StateProof(proof.depth, proof.present, proof.siblings, place_of(key) + bytes(32)),
        # The same leaf at another depth, the siblings kept, moved or padded.
        StateProof(0, b"", b"", proof.other) if proof.depth else None,
    ]
    for depth in range(max(proof.depth - 9, 0), min(proof.depth + 9, 256)):
        if depth != proof.depth:
            width = (depth + 7) // 8
            shown = [bits for bits in (present, present << 1, present >> 1) if bits.bit_length() <= 8 * width]
            forged += [StateProof(depth, bits.to_bytes(width, "big"), proof.siblings, proof.other) for bits in shown]
    if siblings:
        at = data.draw(st.integers(0, len(siblings) - 1))
        for other in (ZERO_HASH, bytes([siblings[at][0] ^ 1]) + siblings[at][1:]):
            changed = b"".join([*siblings[:at], other, *siblings[at + 1 :]])
            forged.append(StateProof(proof.depth, proof.present, changed, proof.other))
        forged.append(StateProof(proof.depth, proof.present, proof.siblings[:-32], proof.other))
        forged.append(StateProof(proof.depth, proof.present, proof.siblings[:-1], proof.other))
        fewer = (present & present - 1).to_bytes(len(proof.present), "big")
        forged.append(StateProof(proof.depth, fewer, proof.siblings[32:], proof.other))
    if len(set(siblings)) > 1:
        forged.append(StateProof(proof.depth, proof.present, b"".join(reversed(siblings)), proof.other))
    for fake in forged:
        if fake is not None:
            for claim in {None, state.get(key), b"", b"\0"}:
                assert not verify_state(tree.root, key, claim, fake), (proof, fake, claim)


def test_zero_siblings_have_one_form():
    # Two keys that part at bit 9: the siblings above it are empty subtrees, and are not sent.
    one, two = b"crowded\x00\x00", b"crowded\x00\x40"
    tree, _ = stored({one: b"1", two: b"2"})
    proof = tree.prove(one)
    assert (proof.depth, proof.present, len(proof.siblings)) == (10, b"\0\1", 32)
    assert verify_state(tree.root, one, b"1", proof)
    spelled_out = StateProof(10, b"\0\3", proof.siblings + ZERO_HASH, b"")
    above_the_root = StateProof(10, b"\4\1", proof.siblings + proof.siblings, b"")
    for other_form in (spelled_out, above_the_root):
        assert not verify_state(tree.root, one, b"1", other_form)


def test_absence_by_another_leaf_on_the_path_only():
    state = {b"crowded\x00": b"1", b"crowded\x80": b"2"}
    tree, _ = stored(state)
    proof = tree.prove(b"crowded\x01")
    assert proof.other == leaf_of(b"crowded\x00", b"1")
    assert verify_state(tree.root, b"crowded\x01", None, proof)
    # The same leaf says nothing about a key on the other side, nor about its own.
    assert not verify_state(tree.root, b"crowded\x81", None, proof)
    assert not verify_state(tree.root, b"crowded\x00", None, proof)


def test_leaf_beside_its_path_proves_nothing():
    # Even under a root that a bug, or more than f liars, made: a leaf whose place is on the right put on the left.
    astray, beside = leaf_of(b"crowded\x80", b"1"), sm3(Tag.STATE_LEAF, leaf_of(b"crowded\xff", b"2"))
    root = sm3(Tag.STATE_INNER, sm3(Tag.STATE_LEAF, astray), beside)
    assert not verify_state(root, b"crowded\x00", None, StateProof(1, b"\1", beside, astray))


def test_absence_in_the_empty_state():
    tree, _ = stored({})
    assert tree.prove(b"key") == StateProof(0, b"", b"", b"")
    assert verify_state(ZERO_HASH, b"key", None, tree.prove(b"key"))
    assert not verify_state(ZERO_HASH, b"key", b"", tree.prove(b"key"))


def test_keys_alike_to_the_last_bit_are_told_apart():
    state = {b"crowded" + bytes(31) + bytes([last]): bytes([last]) for last in range(6)}
    tree, _ = stored(state)
    for key, value in state.items():
        proof = tree.prove(key)
        assert proof.depth in {255, 256}
        assert verify_state(tree.root, key, value, proof)
    assert verify_state(tree.root, b"crowded" + bytes(31) + b"\7", None, tree.prove(b"crowded" + bytes(31) + b"\7"))


def test_proofs_are_small():
    state = {number.to_bytes(4, "big"): b"" for number in range(20_000)}
    tree, _ = stored(state)
    # Twenty times the keys add log2(50) = 5.6 siblings of 32 bytes: at most 1 KiB at a million keys.
    assert max(len(encode(tree.prove(number.to_bytes(4, "big")))) for number in range(0, 21_000, 7)) <= 1024 - 6 * 32


def test_malformed_proofs_are_refused_on_decoding():
    for fields in ([257, b"", b"", b""], [-1, b"", b"", b""], [0, bytes(33), b"", b""], [0, b"", b"", bytes(65)]):
        with pytest.raises(PeerError, match="encoding-malformed"):
            decode(StateProof, encode(fields))


def test_the_root_is_pinned():
    # A root, once on a chain, never changes its meaning.
    tree, _ = stored({b"wallet/a": b"1", b"wallet/b": b"2", b"wallet/c": b""})
    assert tree.root.hex() == "2b8abdf1324f34e55cbe3630a3ef993cbb90a944acd5f8a4fdd34f3ca82a3904"
