"""Calls of contracts as signed transactions, for whoever acts for a company: the command line, and core itself."""

import os

from contracts.abi import EncodedCall
from ledger.keys import Signer
from ledger.transaction import Body, sign_transaction
from node.clock import ChainClock

VALID_MS = 300_000
"""Real time that a submitted call may wait for a block: half of what a chain allows."""


def signed_call(call: EncodedCall, signer: Signer, chain_id: bytes, clock: ChainClock) -> bytes:
    """The transaction of a call, signed, valid for `VALID_MS` from now. Its salt sets it apart from one like it."""
    body = Body(
        chain_id=chain_id,
        sender=signer.public_key,
        branch=call.branch,
        expiry_class=call.expiry_class,
        contract=call.contract,
        method=call.method,
        args=call.args,
        gas_limit=call.gas_limit,
        valid_until_ms=clock.now_ms() + VALID_MS * clock.speed,
        salt=os.urandom(8),
    )
    return sign_transaction(body, signer)
