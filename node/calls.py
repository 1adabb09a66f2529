"""Calls of contracts as signed transactions, for whoever acts for a company: the command line, and core itself."""

import os

from contracts.abi import EncodedCall
from ledger.keys import Signer
from ledger.transaction import sign_transaction
from node.clock import ChainClock

VALID_MS = 300_000
"""Real time that a submitted call may wait for a block: half of what a chain allows."""


def signed_call(call: EncodedCall, signer: Signer, chain_id: bytes, clock: ChainClock) -> bytes:
    """The transaction of a call, signed, valid for `VALID_MS` from now."""
    valid_until_ms = clock.now_ms() + VALID_MS * clock.speed
    return sign_transaction(call.body(chain_id, signer.public_key, valid_until_ms, os.urandom(8)), signer)
