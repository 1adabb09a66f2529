"""Blocks: header with branch table, results of execution, seals, receipts.

A header fixes what is executed and in which order; it holds no state root, so agreement on the next block overlaps the
execution of this one. The result of execution is signed afterwards by every validator (CHECKPOINT); a quorum of those
signatures is the block's seal. Header, result and seal together are all that a light client needs.
"""

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from typing import Annotated

from msgspec import Meta, Struct

from ledger.codec import Wire, decode, encode
from ledger.errors import PeerError
from ledger.hashing import Tag, sm3
from ledger.keys import verify
from ledger.merkle import MerkleProof, merkle_proof, merkle_root, proven_root, verify_merkle
from ledger.transaction import Branch, Transaction
from ledger.units import U32, U63, Hash, Name, Signature
from ledger.validators import VALIDATORS_MAX, ValidatorSet


class BranchEntry(Wire):
    """One row of the branch table: the transactions of one branch in this block."""

    branch: Branch
    number: U63
    """Counts the blocks of this branch, from 1."""
    previous_height: U63
    """Height of this branch's previous block; 0 if this is its first."""
    root: Hash
    """Merkle root over the leaves of this branch's transactions."""
    count: Annotated[int, Meta(ge=1)]


class Header(Wire):
    """What PBFT agrees on."""

    chain_id: Hash
    height: U63
    """From 1; the genesis document is height 0."""
    view: U32
    """View of the block's first proposal. A re-proposal in a later view keeps these bytes unchanged (trap 11)."""
    time_ms: U63
    """Later than the parent's."""
    parent: Hash
    """Hash of the parent's header; of the genesis document at height 1."""
    tx_root: Hash
    """Merkle root over the branch rows."""
    tx_count: U32
    set_hash: Hash
    """The validator set that votes on this block."""
    proposer: Name
    """The bookkeeper: the company that first proposed this block, and is rewarded for it."""
    branches: Annotated[tuple[BranchEntry, ...], Meta(max_length=len(Branch))]
    """Sorted by branch; only branches with transactions in this block."""


class BranchHead(Wire):
    """Where a branch stands: number and height of its newest block."""

    number: U63
    height: U63


class Result(Wire):
    """What a CHECKPOINT signs: the outcome of executing one block."""

    chain_id: Hash
    height: U63
    header_hash: Hash
    time_ms: U63
    set_hash: Hash
    next_set_hash: Hash
    """The set that votes on the next block; differs from `set_hash` only at a hand-over."""
    state_root: Hash
    receipts_root: Hash
    history_root: Hash
    """Merkle mountain range over all earlier (header hash, result digest) pairs."""


class Vote(Wire):
    """One signature of a seal or certificate."""

    voter: U32
    """Position in the validator set."""
    signature: Signature


class SealedHeader(Wire):
    """Header, result and a quorum's signatures."""

    header: Annotated[bytes, Meta(max_length=4096)]
    result: Annotated[bytes, Meta(max_length=1024)]
    seal: Annotated[tuple[Vote, ...], Meta(max_length=VALIDATORS_MAX)]
    """Sorted by voter, each once."""


class Event(Wire):
    """Something that a contract tells the world; proven through the receipt that holds it."""

    contract: U32
    name: Name
    data: bytes
    """Canonical encoding of the event's struct."""


class Receipt(Wire):
    """Outcome of one transaction or scheduled call."""

    call_id: Hash
    """Transaction id, or the id of the scheduled call."""
    code: U32
    """0: done. Otherwise the reason for which nothing changed (docs/codes.md)."""
    gas_used: U63
    result: bytes
    events: tuple[Event, ...]


class Block(Struct, frozen=True):
    """A header with its transactions in order, decoded once."""

    header_raw: bytes
    header: Header
    hash: bytes
    transactions: tuple[Transaction, ...]


def header_hash(header_raw: bytes) -> bytes:
    """Hash of a header: the digest that PREPARE and COMMIT vote on."""
    return sm3(Tag.HEADER, header_raw)


def result_digest(result_raw: bytes) -> bytes:
    """The digest that a CHECKPOINT signs."""
    return sm3(Tag.RESULT, result_raw)


def history_leaf(header_digest: bytes, result: bytes) -> bytes:
    """Leaf of the mountain range for one sealed block: its header hash and result digest."""
    return sm3(Tag.MMR_LEAF, header_digest, result)


def receipt_leaf(receipt_raw: bytes) -> bytes:
    """Leaf of the receipt tree. Transactions' receipts come first, in block order, then those of scheduled calls."""
    return sm3(Tag.RECEIPT_LEAF, receipt_raw)


def receipts_root(leaves: Sequence[bytes]) -> bytes:
    """Root over a block's receipt leaves, bound to their count: a header counts transactions, not scheduled calls."""
    return _counted_root(merkle_root(leaves), len(leaves))


def verify_receipt(result: Result, receipt_raw: bytes, proof: MerkleProof) -> bool:
    """Whether the receipt is among those of the block that `result` seals."""
    root = proven_root(receipt_leaf(receipt_raw), proof)
    return root is not None and result.receipts_root == _counted_root(root, proof.count)


def _counted_root(root: bytes, count: int) -> bytes:
    return sm3(Tag.RECEIPTS_ROOT, count.to_bytes(8, "big"), root)


def sort_by_branch(transactions: Sequence[Transaction]) -> tuple[Transaction, ...]:
    """Block order: by branch, then as the proposer placed them."""
    return tuple(sorted(transactions, key=lambda tx: tx.body.branch))


def branch_table(
    leaves: Sequence[tuple[Branch, bytes]], heads: dict[Branch, BranchHead]
) -> tuple[tuple[BranchEntry, ...], bytes]:
    """Branch rows and transaction root for (branch, leaf) pairs in block order, given where each branch stood before.

    Raises PeerError `block-order` if the pairs are not sorted by branch.
    """
    if any(first[0] > second[0] for first, second in pairwise(leaves)):
        raise PeerError("block-order", "transactions are not sorted by branch")
    rows = []
    for branch, group in groupby(leaves, key=lambda pair: pair[0]):
        hashes = [leaf for _, leaf in group]
        head = heads.get(branch, BranchHead(0, 0))
        rows.append(BranchEntry(branch, head.number + 1, head.height, merkle_root(hashes), len(hashes)))
    return tuple(rows), merkle_root([_branch_leaf(row) for row in rows])


def next_heads(header: Header, heads: dict[Branch, BranchHead]) -> dict[Branch, BranchHead]:
    """Where each branch stands after this block."""
    return heads | {row.branch: BranchHead(row.number, header.height) for row in header.branches}


def _branch_leaf(row: BranchEntry) -> bytes:
    return sm3(Tag.BRANCH_LEAF, encode(row))


class TransactionProof(Wire):
    """Place of a transaction in its branch; the branch row itself is in the header."""

    branch: Branch
    path: MerkleProof


def prove_transaction(header: Header, leaves: Sequence[bytes], index: int) -> TransactionProof:
    """Proof for the transaction at `index` of the block whose leaves, in block order, are given. Raises IndexError
    outside of it.
    """
    first = 0
    for row in header.branches:
        if index < first + row.count:
            return TransactionProof(row.branch, merkle_proof(leaves[first : first + row.count], index - first))
        first += row.count
    raise IndexError(index)


def verify_transaction(header: Header, leaf: bytes, proof: TransactionProof) -> bool:
    """Whether `leaf` is in the block. The leaf count comes from the header, never from the proof (CVE-2012-2459,
    CVE-2017-12842).
    """
    row = next((row for row in header.branches if row.branch == proof.branch), None)
    return row is not None and proof.path.count == row.count and verify_merkle(row.root, leaf, proof.path)


def check_sealed(
    sealed: SealedHeader,
    validators: ValidatorSet,
    chain_id: bytes,
    verify: Callable[[bytes, bytes, bytes], bool] = verify,
) -> tuple[Header, Result]:
    """Header and result of a sealed header, after every check that needs only the validator set in force.

    Raises PeerError: `seal-mismatch` (header, result and set do not belong together), `seal-short` (fewer than a quorum
    of distinct voters), `seal-forged` (a signature that does not verify).
    """
    header = decode(Header, sealed.header)
    result = decode(Result, sealed.result)
    set_hash = validators.hash()
    same_block = (
        result.header_hash == header_hash(sealed.header)
        and (result.height, result.time_ms) == (header.height, header.time_ms)
        and header.chain_id == result.chain_id == chain_id
        and header.set_hash == result.set_hash == set_hash
    )
    if not same_block:
        raise PeerError(
            "seal-mismatch", f"header, result and validator set of height {header.height} do not belong together"
        )
    voters = [vote.voter for vote in sealed.seal]
    # Positions are counted once each and never past the set, so nobody votes twice or as a phantom (trap 2).
    if (
        voters != sorted(set(voters))
        or any(voter >= validators.size for voter in voters)
        or len(voters) < validators.quorum
    ):
        raise PeerError(
            "seal-short", f"height {header.height}: {len(voters)} voters, {validators.quorum} distinct members needed"
        )
    digest = result_digest(sealed.result)
    for vote in sealed.seal:
        if not verify(validators.validators[vote.voter].vote_key, digest, vote.signature):
            raise PeerError("seal-forged", f"height {header.height}: signature of voter {vote.voter} does not verify")
    return header, result
