"""The published test vectors are current, and they hold when read as another implementation would read them."""

import hashlib
import json

import msgpack

from ledger.block import SealedHeader, check_sealed
from ledger.codec import decode
from ledger.genesis import Genesis
from ledger.keys import verify
from ledger.state_proof import StateProof, verify_state
from tests.vectors import VECTORS, text

KEPT = json.loads(VECTORS.read_text())


def plain_sm3(label: str, *parts: bytes) -> bytes:
    """SM3 over the tag and the parts, by hashlib and the documentation alone."""
    return hashlib.new("sm3", f"pile/{label}".encode().ljust(16, b"\0") + b"".join(parts)).digest()


def test_the_file_is_current() -> None:
    # A difference here is a change of a signed or hashed format: `python -m tests.vectors` writes it, a reviewer
    # decides.
    assert VECTORS.read_text() == text()


def test_a_transaction_read_with_the_msgpack_library_alone() -> None:
    vector = KEPT["transaction"]
    raw = bytes.fromhex(vector["raw"])
    body, signature = msgpack.unpackb(raw)
    assert plain_sm3("tx", body).hex() == vector["id"]
    assert plain_sm3("tx-leaf", raw).hex() == vector["leaf"]
    fields = msgpack.unpackb(body)
    assert msgpack.packb(fields) == body
    assert verify(fields[1], bytes.fromhex(vector["id"]), signature)


def test_a_block_read_with_the_msgpack_library_alone() -> None:
    vector = KEPT["block"]
    header_raw, result_raw, seal = msgpack.unpackb(bytes.fromhex(vector["sealed_header"]))
    header, result = msgpack.unpackb(header_raw), msgpack.unpackb(result_raw)
    leaves = [plain_sm3("tx-leaf", bytes.fromhex(raw)) for raw in vector["transactions"]]
    charging, service = header[9]
    assert charging[3] == leaves[0]
    assert service[3] == plain_sm3("merkle", leaves[1], leaves[2])
    rows = [plain_sm3("branch-leaf", msgpack.packb(row)) for row in header[9]]
    assert header[5] == plain_sm3("merkle", *rows)
    assert result[2] == plain_sm3("header", header_raw) == bytes.fromhex(vector["header_hash"])
    receipts = [plain_sm3("receipt", bytes.fromhex(raw)) for raw in vector["receipts"]]
    root = plain_sm3("merkle", plain_sm3("merkle", receipts[0], receipts[1]), receipts[2])
    assert result[7] == plain_sm3("receipts", (3).to_bytes(8, "big"), root)
    members = msgpack.unpackb(bytes.fromhex(vector["genesis"]))[5][1]
    digest = plain_sm3("checkpoint", result_raw)
    assert all(verify(members[voter][2], digest, signature) for voter, signature in seal)


def test_the_sealed_header_passes_our_own_check() -> None:
    vector = KEPT["block"]
    document = decode(Genesis, bytes.fromhex(vector["genesis"]))
    sealed = decode(SealedHeader, bytes.fromhex(vector["sealed_header"]))
    header, _ = check_sealed(sealed, document.validators, document.hash())
    assert header.tx_count == 3


def test_state_proofs_hold() -> None:
    (vector,) = KEPT["state"]
    root = bytes.fromhex(vector["steps"][-1]["root"])
    values = {step["key"]: step["value"] for step in vector["steps"]}
    for row in vector["proofs"]:
        value = values.get(row["key"])
        raw = None if value is None else bytes.fromhex(value)
        assert verify_state(root, bytes.fromhex(row["key"]), raw, decode(StateProof, bytes.fromhex(row["proof"])))


def test_each_tag_is_the_documented_prefix() -> None:
    for row in KEPT["sm3_tagged"]:
        assert plain_sm3(row["tag"], b"abc").hex() == row["hash"]
