"""Test vectors for other implementations: `python -m tests.vectors` writes docs/vectors/ledger.json anew.

Everything in it follows from fixed seeds, so a change of the file is a change of a format.
"""

import json
from pathlib import Path
from typing import Any

from ledger.block import (
    Event,
    Receipt,
    history_leaf,
    prove_transaction,
    receipt_leaf,
    receipts_root,
    result_digest,
)
from ledger.charging import Reading, ReadingReason, reading_digest, readings_root
from ledger.codec import encode
from ledger.hashing import ZERO_HASH, Tag, sm3
from ledger.keys import Scheme
from ledger.merkle import merkle_proof, merkle_root
from ledger.mmr import Mmr
from ledger.state_tree import StateTree, TileOverlay
from ledger.transaction import Branch
from tests import chain

VECTORS = Path(__file__).parent.parent / "docs" / "vectors" / "ledger.json"


class _Empty:
    """Source of an empty tree."""

    def tile(self, path: bytes) -> bytes | None:
        """No tile anywhere."""
        return None


def build() -> dict[str, Any]:
    """All vectors as JSON values; bytes are hex."""
    return {
        "sm3_tagged": [
            {"tag": tag.value, "prefix": tag.prefix.hex(), "content": "616263", "hash": sm3(tag, b"abc").hex()}
            for tag in Tag
        ],
        "keys": [_key(scheme) for scheme in Scheme],
        "transaction": _transaction(),
        "merkle": [_merkle(count) for count in (0, 1, 2, 3, 5, 8, 13)],
        "history": _history(),
        "state": _state(),
        "block": _block(),
        "readings": _readings(),
    }


def text() -> str:
    """The file as it is kept."""
    return json.dumps(build(), indent=1) + "\n"


def _key(scheme: Scheme) -> dict[str, Any]:
    key = chain.signer("vector", scheme)
    found = {"scheme": scheme.name, "secret": key.secret.hex(), "public_key": key.public_key.hex()}
    if scheme is Scheme.ED25519:  # SM2 signatures are random
        digest = sm3(Tag.TX, b"abc")
        found |= {"digest": digest.hex(), "signature": key.sign(digest).hex()}
    return found


def _transaction() -> dict[str, Any]:
    tx = chain.transaction("vector", branch=Branch.CHARGING)
    return {"raw": tx.raw.hex(), "body": encode(tx.body).hex(), "id": tx.id.hex(), "leaf": tx.leaf.hex()}


def _merkle(count: int) -> dict[str, Any]:
    leaves = [sm3(Tag.TX_LEAF, bytes([i])) for i in range(count)]
    proofs = [[node.hex() for node in merkle_proof(leaves, i).path] for i in range(count)]
    return {"leaves": [leaf.hex() for leaf in leaves], "root": merkle_root(leaves).hex(), "paths": proofs}


def _history() -> list[dict[str, Any]]:
    mountains, steps = Mmr(), []
    for i in range(8):
        leaf = history_leaf(sm3(Tag.HEADER, bytes([i])), sm3(Tag.RESULT, bytes([i])))
        mountains = mountains.append(leaf)
        steps.append({"leaf": leaf.hex(), "count": mountains.count, "root": mountains.root.hex()})
    return steps


def _state() -> list[dict[str, Any]]:
    source: Any = _Empty()
    root, steps = ZERO_HASH, []
    changes = [(b"k%d" % i, b"value %d" % i) for i in range(20)] + [(b"k3", None), (b"k4", b"changed")]
    for key, value in changes:
        change = StateTree(source, root).apply({key: value})
        root, source = change.root, TileOverlay(source, change.tiles)
        steps.append({"key": key.hex(), "value": None if value is None else value.hex(), "root": root.hex()})
    tree = StateTree(source, root)
    proofs = [{"key": key.hex(), "proof": encode(tree.prove(key)).hex()} for key in (b"k0", b"k3", b"k4", b"absent")]
    return [{"steps": steps, "proofs": proofs}]


def _block() -> dict[str, Any]:
    document = chain.genesis()
    branches = (Branch.SERVICE, Branch.CHARGING, Branch.SERVICE)
    of = chain.block(document, 1, [chain.transaction(f"tx {i}", branch=branch) for i, branch in enumerate(branches)])
    receipts = [encode(Receipt(tx.id, 0, 21, b"", (Event(2, "paid", b"\x01"),))) for tx in of.transactions]
    outcome = chain.result(document, of, receipts=receipts)
    sealed = chain.seal(of, outcome, chain.vote_signers(4), (0, 1, 3))
    leaves = [tx.leaf for tx in of.transactions]
    return {
        "genesis": encode(document).hex(),
        "chain_id": document.hash().hex(),
        "set_hash": document.validators.hash().hex(),
        "transactions": [tx.raw.hex() for tx in of.transactions],
        "header": of.header_raw.hex(),
        "header_hash": of.hash.hex(),
        "proofs": [encode(prove_transaction(of.header, leaves, i)).hex() for i in range(3)],
        "receipts": [raw.hex() for raw in receipts],
        "receipts_root": receipts_root([receipt_leaf(raw) for raw in receipts]).hex(),
        "result": sealed.result.hex(),
        "result_digest": result_digest(sealed.result).hex(),
        "sealed_header": encode(sealed).hex(),
    }


def _readings() -> dict[str, Any]:
    session, previous, rows, digests = sm3(Tag.TX, b"session"), ZERO_HASH, [], []
    reasons = (ReadingReason.BEGIN, ReadingReason.PERIODIC, ReadingReason.TARIFF_BORDER, ReadingReason.END)
    for number, reason in enumerate(reasons):
        raw = encode(Reading(session, number, chain.START_MS + number * 60_000, 1000 + 115 * number, reason, previous))
        previous = reading_digest(raw)
        digests.append(previous)
        rows.append({"reading": raw.hex(), "digest": previous.hex()})
    return {"readings": rows, "root": readings_root(digests).hex()}


if __name__ == "__main__":
    VECTORS.parent.mkdir(parents=True, exist_ok=True)
    VECTORS.write_text(text())
