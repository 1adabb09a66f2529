"""Blocks: branch table, transaction proofs, receipts, seals."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.block import (
    BranchHead,
    Receipt,
    SealedHeader,
    Vote,
    branch_table,
    check_sealed,
    next_heads,
    prove_transaction,
    receipt_leaf,
    receipts_root,
    sort_by_branch,
    verify_receipt,
    verify_transaction,
)
from ledger.codec import encode
from ledger.errors import PeerError
from ledger.genesis import Profile
from ledger.hashing import ZERO_HASH
from ledger.keys import Scheme
from ledger.merkle import merkle_proof, merkle_root
from ledger.transaction import Branch, Transaction
from tests import chain

DOCUMENT = chain.genesis()
SIGNERS = chain.vote_signers(4)


def mixed_transactions(count: int) -> list[Transaction]:
    branches = list(Branch)
    return [chain.transaction(f"tx {i}", branch=branches[i * 7 % 5]) for i in range(count)]


def sealed_block(voters: tuple[int, ...] = (0, 1, 2)) -> SealedHeader:
    block = chain.block(DOCUMENT, 1, mixed_transactions(3))
    return chain.seal(block, chain.result(DOCUMENT, block), SIGNERS, voters)


def check(sealed: SealedHeader) -> None:
    check_sealed(sealed, DOCUMENT.validators, DOCUMENT.hash())


def test_F08_branches_are_numbered_and_linked_apart() -> None:
    heads: dict[Branch, BranchHead] = {}
    first = chain.block(DOCUMENT, 1, [chain.transaction("a", branch=Branch.CHARGING)], heads=heads)
    heads = next_heads(first.header, heads)
    second = chain.block(DOCUMENT, 2, [chain.transaction("b", branch=Branch.SERVICE)], heads=heads)
    heads = next_heads(second.header, heads)
    third = chain.block(DOCUMENT, 3, [chain.transaction(x, branch=Branch.CHARGING) for x in "cd"], heads=heads)
    (row,) = third.header.branches
    assert (row.branch, row.number, row.previous_height, row.count) == (Branch.CHARGING, 2, 1, 2)
    assert heads == {Branch.CHARGING: BranchHead(1, 1), Branch.SERVICE: BranchHead(1, 2)}


def test_block_order_is_by_branch_then_as_placed() -> None:
    placed = mixed_transactions(12)
    ordered = sort_by_branch(placed)
    assert [tx.body.branch for tx in ordered] == sorted(tx.body.branch for tx in placed)
    for branch in Branch:
        assert [tx for tx in ordered if tx.body.branch is branch] == [tx for tx in placed if tx.body.branch is branch]


def test_unsorted_transactions_have_no_branch_table() -> None:
    pairs = [(Branch.SERVICE, ZERO_HASH), (Branch.CHARGING, ZERO_HASH)]
    with pytest.raises(PeerError) as caught:
        branch_table(pairs, {})
    assert caught.value.code == "block-order"


def test_an_empty_block_has_no_rows() -> None:
    assert branch_table([], {}) == ((), ZERO_HASH)


@given(st.integers(1, 40), st.data())
def test_F11_each_transaction_is_proven_and_no_other(count: int, data: st.DataObject) -> None:
    block = chain.block(DOCUMENT, 1, mixed_transactions(count))
    leaves = [tx.leaf for tx in block.transactions]
    index = data.draw(st.integers(0, count - 1))
    proof = prove_transaction(block.header, leaves, index)
    assert verify_transaction(block.header, leaves[index], proof)
    other = data.draw(st.integers(0, count))
    if other != index:
        assert not verify_transaction(block.header, [*leaves, ZERO_HASH][other], proof)
    for change in (
        msgspec.structs.replace(proof.path, count=proof.path.count + 1),
        msgspec.structs.replace(proof.path, path=(*proof.path.path, ZERO_HASH)),
        msgspec.structs.replace(proof.path, path=proof.path.path[1:]) if proof.path.path else None,
    ):
        if change is not None:
            assert not verify_transaction(block.header, leaves[index], msgspec.structs.replace(proof, path=change))


def test_no_proof_outside_of_the_block_or_of_a_branch_it_has_not() -> None:
    block = chain.block(DOCUMENT, 1, [chain.transaction("a", branch=Branch.CHARGING)])
    leaves = [tx.leaf for tx in block.transactions]
    with pytest.raises(IndexError):
        prove_transaction(block.header, leaves, 1)
    proof = prove_transaction(block.header, leaves, 0)
    assert not verify_transaction(block.header, leaves[0], msgspec.structs.replace(proof, branch=Branch.SERVICE))


def test_F11_receipts_are_proven_against_the_result_with_their_count() -> None:
    receipts = [encode(Receipt(bytes([i]) * 32, i, 10, b"", ())) for i in range(5)]
    block = chain.block(DOCUMENT, 1)
    outcome = chain.result(DOCUMENT, block, receipts=receipts)
    leaves = [receipt_leaf(raw) for raw in receipts]
    for index, raw in enumerate(receipts):
        proof = merkle_proof(leaves, index)
        assert verify_receipt(outcome, raw, proof)
        assert not verify_receipt(outcome, receipts[index - 1], proof)
        assert not verify_receipt(outcome, raw, msgspec.structs.replace(proof, count=6))
        assert not verify_receipt(outcome, raw, msgspec.structs.replace(proof, path=()))
    assert receipts_root(leaves) != merkle_root(leaves)


@pytest.mark.parametrize("voters", [(0, 1, 2), (1, 2, 3), (0, 1, 2, 3)])
def test_a_quorum_seals(voters: tuple[int, ...]) -> None:
    check(chain.reread(sealed_block(voters)))


@pytest.mark.parametrize("profile", [Profile.GM, Profile.MIXED])
def test_F05_a_seal_of_sm2_votes(profile: Profile) -> None:
    document = chain.genesis(profile=profile, scheme=Scheme.SM2)
    block = chain.block(document, 1)
    sealed = chain.seal(block, chain.result(document, block), chain.vote_signers(4, Scheme.SM2), (0, 1, 3))
    check_sealed(sealed, document.validators, document.hash())


def test_too_few_doubled_unsorted_and_phantom_voters_do_not_seal() -> None:
    good = sealed_block((0, 1, 2, 3)).seal
    for votes in (
        good[:2],
        (good[0], good[0], good[1]),
        (good[0], good[2], good[1]),
        (*good[:2], Vote(4, good[2].signature)),
        (),
    ):
        with pytest.raises(PeerError) as caught:
            check(msgspec.structs.replace(sealed_block(), seal=votes))
        assert caught.value.code == "seal-short"


def test_one_signature_does_not_count_for_another_member() -> None:
    good = sealed_block().seal
    votes = (Vote(0, good[0].signature), Vote(1, good[0].signature), Vote(2, good[2].signature))
    with pytest.raises(PeerError) as caught:
        check(msgspec.structs.replace(sealed_block(), seal=votes))
    assert caught.value.code == "seal-forged"


def test_parts_of_two_blocks_do_not_make_one() -> None:
    block, other = chain.block(DOCUMENT, 1), chain.block(DOCUMENT, 2)
    swapped = chain.seal(other, chain.result(DOCUMENT, block), SIGNERS, (0, 1, 2))
    with pytest.raises(PeerError) as caught:
        check(swapped)
    assert caught.value.code == "seal-mismatch"
    with pytest.raises(PeerError):
        check_sealed(sealed_block(), DOCUMENT.validators, ZERO_HASH)
    with pytest.raises(PeerError):
        check_sealed(sealed_block(), chain.validator_set(5), DOCUMENT.hash())
