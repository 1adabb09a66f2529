"""Proofs that were changed in any way never hold: Merkle, history, state, transaction, receipt.

A claim is a struct of everything that a liar may choose; what the verifier trusts (a root, a header, a count) is fixed.
Whatever is accepted must be the truth, and shown by the one true proof.
"""

from ledger.block import TransactionProof, prove_transaction, receipt_leaf, verify_receipt, verify_transaction
from ledger.codec import Wire, decode, encode
from ledger.hashing import Tag, sm3
from ledger.merkle import MerkleProof, merkle_proof, merkle_root, verify_merkle
from ledger.mmr import Mmr, MmrProof, mmr_proof, verify_mmr
from ledger.state_proof import StateProof, verify_state
from ledger.transaction import Branch
from tests import chain
from tests.fuzz.engine import Target, fuzz
from tests.unit.state_model import stored

LEAVES = [sm3(Tag.TX_LEAF, bytes([n])) for n in range(11)]
CLAIMS = 8_000
"""Of each kind: forty thousand in seconds."""


class Leaf(Wire):
    """ "This is leaf number `proof.index`." """

    leaf: bytes
    proof: MerkleProof


def test_F40_merkle_proofs():
    root = merkle_root(LEAVES)
    true = [Leaf(leaf, merkle_proof(LEAVES, at)) for at, leaf in enumerate(LEAVES)]

    def target(data: bytes) -> None:
        claim = decode(Leaf, data)
        if claim.proof.count == len(LEAVES) and verify_merkle(root, claim.leaf, claim.proof):
            assert claim in true

    fuzz(Target(target, [encode(claim) for claim in true], iterations=CLAIMS))


class Old(Wire):
    """ "This is the leaf of that height in a history of so many blocks." """

    count: int
    index: int
    leaf: bytes
    proof: MmrProof


def test_F40_history_proofs():
    mountains = Mmr()
    nodes: dict[tuple[int, int], bytes] = {}
    for leaf in LEAVES:
        nodes.update(mountains.append_nodes(leaf))
        mountains = mountains.append(leaf)
    count = len(LEAVES)
    true = [
        Old(count, at, leaf, mmr_proof(count, at, lambda level, index: nodes[level, index]))
        for at, leaf in enumerate(LEAVES)
    ]

    def target(data: bytes) -> None:
        claim = decode(Old, data)
        # The count is a height of the header that holds the root: 63 bits, as its type says.
        if 0 <= claim.count < 2**63 and verify_mmr(mountains.root, claim.count, claim.index, claim.leaf, claim.proof):
            assert claim in true

    fuzz(Target(target, [encode(claim) for claim in true], iterations=CLAIMS))


class Entry(Wire):
    """ "The state holds this value under that key", or nothing."""

    key: bytes
    value: bytes | None
    proof: StateProof


def test_F40_state_proofs():
    state = {b"key %d" % n: b"value %d" % n for n in range(40)}
    tree, _ = stored(state)
    true = [Entry(key, state.get(key), tree.prove(key)) for key in (b"key 1", b"key 17", b"absent", b"not there")]

    def target(data: bytes) -> None:
        claim = decode(Entry, data)
        if verify_state(tree.root, claim.key, claim.value, claim.proof):
            assert state.get(claim.key) == claim.value
            assert claim.proof == tree.prove(claim.key)

    fuzz(Target(target, [encode(claim) for claim in true], iterations=CLAIMS))


DOCUMENT = chain.genesis()
TRANSACTIONS = [chain.transaction(f"tx {n}", branch=branch) for n, branch in enumerate([*Branch, *Branch, *Branch])]
BLOCK = chain.block(DOCUMENT, 1, TRANSACTIONS)


class Member(Wire):
    """ "This transaction is in the block." """

    leaf: bytes
    proof: TransactionProof


def test_F40_transaction_proofs():
    leaves = [tx.leaf for tx in BLOCK.transactions]
    true = [Member(leaf, prove_transaction(BLOCK.header, leaves, at)) for at, leaf in enumerate(leaves)]

    def target(data: bytes) -> None:
        claim = decode(Member, data)
        if verify_transaction(BLOCK.header, claim.leaf, claim.proof):
            assert claim in true

    fuzz(Target(target, [encode(claim) for claim in true], iterations=CLAIMS))


class Outcome(Wire):
    """ "This receipt is in the block." """

    receipt: bytes
    proof: MerkleProof


def test_F40_receipt_proofs():
    receipts = [b"receipt %d" % n for n in range(7)]
    result = chain.result(DOCUMENT, BLOCK, receipts=receipts)
    leaves = [receipt_leaf(raw) for raw in receipts]
    true = [Outcome(raw, merkle_proof(leaves, at)) for at, raw in enumerate(receipts)]

    def target(data: bytes) -> None:
        claim = decode(Outcome, data)
        if verify_receipt(result, claim.receipt, claim.proof):
            assert claim in true

    fuzz(Target(target, [encode(claim) for claim in true], iterations=CLAIMS))
