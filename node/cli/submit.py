"""What `pilechain tx` does with a call: signs it, submits it to this node's core and waits for its sealed receipt."""

import asyncio
import os
from pathlib import Path
from typing import Any

from contracts.abi import GAS_LIMIT, EncodedCall
from ledger.errors import ClientError
from ledger.keys import Signer, SoftSigner
from ledger.transaction import Body, decode_transaction, sign_transaction
from node.cli.query import transaction_of
from node.clock import ChainClock
from node.home import Home
from node.ipc.socket import CoreClient
from node.keystore import load_key, passphrase_from_env_or_file
from node.storage.reader import LedgerReader

VALID_MS = 300_000
"""Real time that a submitted call may wait for a block: half of what a chain allows."""


def load_signer(home: Home, key: Path | None) -> SoftSigner:
    """The sender's key: a file, opened by PILECHAIN_PASSPHRASE[_FILE] or a file `passphrase` beside it; else this
    home's company key.
    """
    settings = home.config().keys
    beside = key.parent / "passphrase" if key else home.path(settings.passphrase_file or "config/passphrase")
    environ = {"PILECHAIN_PASSPHRASE_FILE": str(beside)} if beside.exists() else {}
    return load_key(key or home.path(settings.company), passphrase_from_env_or_file(environ | dict(os.environ)))


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
        gas_limit=GAS_LIMIT,
        valid_until_ms=clock.now_ms() + VALID_MS * clock.speed,
        salt=os.urandom(8),
    )
    return sign_transaction(body, signer)


async def submit_call(home: Home, call: EncodedCall, signer: Signer, wait_s: float) -> dict[str, Any]:
    """The sealed outcome of a call as `transaction_of` shows it.

    Raises ClientError: core's code where it was not admitted, `core-unreachable`, `transaction-pending` when the time
    is over.
    """
    clock = home.config().clock
    raw = signed_call(call, signer, home.genesis().hash(), clock)
    tx_id = decode_transaction(raw).id
    try:
        client = await CoreClient.connect(home.socket)
        try:
            [(code, message)] = await client.submit([raw])
            if code:
                raise ClientError(code, message)
            async with asyncio.timeout(wait_s):
                return await _sealed(home, client, tx_id)
        finally:
            await client.close()
    except TimeoutError as error:
        hint = f"submitted, not sealed after {wait_s:g} s; look again: pilechain query tx {tx_id.hex()}"
        raise ClientError("transaction-pending", hint) from error
    except (OSError, EOFError) as error:
        raise ClientError("core-unreachable", f"no core answers at {home.socket}: {error}") from error


async def _sealed(home: Home, client: CoreClient, tx_id: bytes) -> dict[str, Any]:
    reader = LedgerReader(home.ledger)
    try:
        async for _ in client.sealed():
            with reader.snapshot() as snapshot:
                if snapshot.locate(tx_id):
                    return transaction_of(snapshot, tx_id)
    finally:
        reader.close()
    raise ConnectionResetError("core ended the connection")
