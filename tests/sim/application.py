"""A small key-value application: enough to see an order, a loss or a repetition of transactions in the state root."""

import hashlib

from ledger.transaction import Transaction


def execute(state: dict[bytes, bytes], transactions: tuple[Transaction, ...]) -> dict[bytes, bytes]:
    """State after a block: each transaction chains its id onto its key's value, so any other order shows."""
    after = dict(state)
    for transaction in transactions:
        key = transaction.body.args
        after[key] = hashlib.blake2b(after.get(key, b"") + transaction.id, digest_size=16).digest()
    return after


def root(state: dict[bytes, bytes]) -> bytes:
    """Digest of a state."""
    running = hashlib.blake2b(digest_size=32)
    for key, value in sorted(state.items()):
        running.update(key + value)
    return running.digest()
