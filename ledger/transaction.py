"""Transactions: what a participant signs, how it is identified, and the checks that need no chain at all.

On the wire a transaction is `[body bytes, signature]`; its bytes are decoded, hashed and verified once per node and
stored as received.
"""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta, Struct

from ledger.codec import Wire, decode, encode
from ledger.errors import PeerError
from ledger.hashing import Tag, sm3
from ledger.keys import Signer
from ledger.units import U32, U63, Hash, Name, PublicKey, Signature

TRANSACTION_BYTES_MAX = 64 * 1024
"""Longest signed transaction: sixteen MQTT packets of a 4G modem, and small beside a block."""
EXPIRY_MS_MAX = 10 * 60 * 1000
"""Furthest `valid_until_ms` of an ordinary transaction after the parent's time: bounds the ids that a node must
remember.
"""
DEVICE_EXPIRY_MS_MAX = 24 * 60 * 60 * 1000
"""The same for records of devices, which may be out of reach for hours and are told apart by their own counter in
state.
"""


class Branch(IntEnum):
    """The kinds of record that a block numbers and links apart, so that one kind can be walked without reading the
    others (P4).
    """

    CHARGING = 1
    EVALUATION = 2
    IDENTITY = 3
    SERVICE = 4
    GOVERNANCE = 5


class ExpiryClass(IntEnum):
    """How a transaction is kept from running twice."""

    ORDINARY = 0
    """By its id, remembered for ten minutes of blocks."""
    DEVICE = 1
    """By the device's own counter in state; may be a day old."""


class Body(Wire):
    """What the sender signs."""

    chain_id: Hash
    """Hash of the genesis document: a transaction of one chain means nothing on another."""
    sender: PublicKey
    branch: Branch
    """Section of the block that holds it. Checked at execution against the method's own branch."""
    expiry_class: ExpiryClass
    contract: U32
    """Stable number of the contract; the hash of its code is in the state."""
    method: Name
    args: Annotated[bytes, Meta(max_length=TRANSACTION_BYTES_MAX)]
    """Canonical encoding of the method's argument struct."""
    gas_limit: U63
    valid_until_ms: U63
    """Chain time after which no block may hold it."""
    salt: Annotated[bytes, Meta(min_length=8, max_length=8)]
    """Makes two otherwise equal wishes two transactions."""


class Signed(Wire):
    """The wire form."""

    body: Annotated[bytes, Meta(max_length=TRANSACTION_BYTES_MAX)]
    signature: Signature


class Transaction(Struct, frozen=True, gc=False):
    """A decoded transaction with its bytes as received and both of its hashes."""

    raw: bytes
    body: Body
    signature: bytes
    id: bytes
    """SM3 of the signed body without the signature: SM2 signatures are random, so a retry signed again has the same id.
    """
    leaf: bytes
    """SM3 of everything: the leaf of the transaction tree, and the key of the cache of known-bad bytes."""


def transaction_id(body: bytes) -> bytes:
    """Id of a transaction from its encoded body: also the digest that its sender signs."""
    return sm3(Tag.TX, body)


def transaction_leaf(raw: bytes) -> bytes:
    """Hash of a transaction's full bytes: its leaf in the transaction tree."""
    return sm3(Tag.TX_LEAF, raw)


def decode_transaction(raw: bytes, leaf: bytes | None = None) -> Transaction:
    """Transaction from its bytes; whoever has hashed them already gives the leaf, which is a third of the work.

    Raises PeerError `transaction-too-large`, `encoding-malformed` or `encoding-not-canonical`.
    """
    if len(raw) > TRANSACTION_BYTES_MAX:
        raise PeerError("transaction-too-large", f"{len(raw)} bytes, at most {TRANSACTION_BYTES_MAX}")
    signed = decode(Signed, raw)
    body = decode(Body, signed.body)
    return Transaction(raw, body, signed.signature, transaction_id(signed.body), leaf or transaction_leaf(raw))


def sign_transaction(body: Body, signer: Signer) -> bytes:
    """Wire bytes of `body` signed by its sender's key."""
    encoded = encode(body)
    return encode(Signed(encoded, signer.sign(transaction_id(encoded))))
