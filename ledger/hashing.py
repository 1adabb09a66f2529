"""SM3 (GB/T 32905) with a domain tag per kind of object.

Every hash of the protocol is SM3(tag ‖ content). The tag is 16 ASCII bytes, `pile/` and the kind's name, padded with
zeros, so the hash of one kind of object is never the hash of another: a transaction cannot pass as a tree node, nor a
vote as a header. 16 bytes keep a tagged pair of hashes (80 bytes) within the two SM3 blocks that the bare pair needs.
"""

import hashlib
from collections.abc import Callable
from enum import Enum

from ledger.errors import OurError

HASH_BYTES = 32
TAG_BYTES = 16
ZERO_HASH = bytes(HASH_BYTES)
"""Stands for "no object": the parent of the first block, an empty tree. No known input hashes to it."""


def plain_sm3(prefix: bytes = b"") -> "hashlib._Hash":
    """Return a running SM3 without a domain tag, for formats that fix their own input (SM2's ZA, test vectors).

    Raises OurError `sm3-missing` where Python's OpenSSL was built without SM3.
    """
    try:
        return hashlib.new("sm3", prefix)
    except ValueError as error:
        message = "this Python's OpenSSL has no SM3; use a Python linked to OpenSSL 3 built without no-sm3"
        raise OurError("sm3-missing", message) from error


class Tag(Enum):
    """The kinds of objects that are hashed. A value, once used on a chain, never changes its meaning."""

    TX = "tx"
    """A transaction's signed body: its id."""
    TX_LEAF = "tx-leaf"
    """A transaction's full bytes, signature included: its leaf, and what proposals and caches of bad bytes name."""
    HEADER = "header"
    MERKLE_INNER = "merkle"
    BRANCH_LEAF = "branch-leaf"
    RECEIPT_LEAF = "receipt"
    RECEIPTS_ROOT = "receipts"
    MMR_LEAF = "mmr-leaf"
    MMR_INNER = "mmr-inner"
    MMR_ROOT = "mmr-root"
    STATE_KEY = "state-key"
    STATE_VALUE = "state-value"
    STATE_LEAF = "state-leaf"
    STATE_INNER = "state-inner"
    VALIDATOR_SET = "validators"
    RESULT = "checkpoint"
    """A block's result: what a CHECKPOINT vote signs."""
    PRE_PREPARE = "pre-prepare"
    PREPARE = "prepare"
    COMMIT = "commit"
    VIEW_CHANGE = "view-change"
    NEW_VIEW = "new-view"
    GENESIS = "genesis"
    CONSORTIUM = "consortium"
    """The part of the genesis document that the contracts begin with."""
    CODE = "code"
    """A contract's code."""
    CONTRACT_DATA = "contract"
    """What a contract hashes for itself."""
    SCHEDULED_CALL = "scheduled"
    """A call that the chain itself makes: its id."""
    METER_READING = "reading"
    METER_CHAIN = "meter-chain"
    DEVICE_MESSAGE = "device-msg"
    ARCHIVED = "archived"
    """What a readings archive confirms to a pile."""
    API_CHALLENGE = "challenge"
    ALLOWANCE = "allowance"
    PEER_HELLO = "peer-hello"
    NODE_KEY = "node-key"
    """That a company holds the TLS key of the node that it names."""
    VOTE_KEY = "vote-key"
    """That a company holds a vote key which it registers."""
    OWN_KEY = "own-key"
    """That the holder of a key agrees that a company registers it."""
    KEY_SEED = "key-seed"
    """Derivation of a secret key from a seed."""

    prefix: bytes
    """The 16 bytes that go before the content."""
    context: "hashlib._Hash"
    """A running hash that has taken in the prefix. Only ever copied: a fifth cheaper than a new one (256 bytes)."""

    def __init__(self, label: str) -> None:
        self.prefix = f"pile/{label}".encode().ljust(TAG_BYTES, b"\0")
        self.context = plain_sm3(self.prefix)


def sm3(tag: Tag, *parts: bytes) -> bytes:
    """Return the 32 bytes SM3(tag ‖ parts). Parts are joined as they are: at most one may have a variable length."""
    running = tag.context.copy()
    for part in parts:
        running.update(part)
    return running.digest()


def hasher(tag: Tag) -> Callable[[bytes], bytes]:
    """Return SM3 of one tag as a function of the content alone, for tight loops (trees)."""
    copy = tag.context.copy

    def hash_content(content: bytes) -> bytes:
        running = copy()
        running.update(content)
        return running.digest()

    return hash_content
