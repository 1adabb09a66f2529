"""What `pilechain tx` does with a call: signs it, submits it to this node's core and waits for its sealed receipt."""

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec

from contracts.abi import Abi, EncodedCall, abi_at
from contracts.executor import simulate
from contracts.genesis import genesis_abi
from ledger.codec import encode
from ledger.errors import ClientError
from ledger.keys import Signer, SoftSigner
from ledger.transaction import Signed, decode_transaction
from node.calls import signed_call
from node.cli.query import shown_event, transaction_of
from node.home import Home
from node.ipc.socket import CoreClient
from node.keystore import load_key, passphrase_from_env_or_file, public_key_of
from node.library import library_abi
from node.storage.reader import LedgerReader


def load_signer(home: Home, key: Path | None) -> SoftSigner:
    """The sender's key: a file, opened by PILECHAIN_PASSPHRASE[_FILE] or a file `passphrase` beside it; else this
    home's company key.
    """
    if key is None:
        return load_key(home.path(home.config().keys.company), home_passphrase(home))
    return load_key(key, _passphrase(key.parent / "passphrase"))


def home_passphrase(home: Home) -> bytes:
    """The passphrase of a home's key files: PILECHAIN_PASSPHRASE[_FILE], or the file that the settings name."""
    return _passphrase(home.path(home.config().keys.passphrase_file or "config/passphrase"))


def _passphrase(file: Path) -> bytes:
    environ = {"PILECHAIN_PASSPHRASE_FILE": str(file)} if file.exists() else {}
    return passphrase_from_env_or_file(environ | dict(os.environ))


def home_abi(home: Home) -> Abi:
    """How to talk to the contracts of this home's chain, as they rule now; while the home has no ledger yet those of
    its genesis document, and without that those of this release.
    """
    if not home.ledger.exists():
        return genesis_abi(home.genesis()) if home.genesis_file.exists() else library_abi()
    reader = LedgerReader(home.ledger, home.config().store.map_bytes)
    try:
        with reader.snapshot() as snapshot:
            return abi_at(snapshot, snapshot.height + 1)
    finally:
        reader.close()


def sender_of(home: Home, key: Path | None) -> bytes:
    """The sender's public key, for which no passphrase is needed."""
    return public_key_of(key or home.path(home.config().keys.company))


def simulate_call(home: Home, call: EncodedCall, sender: bytes) -> dict[str, Any]:
    """What a call would do on this home's ledger as it stands; nothing is submitted."""
    reader = LedgerReader(home.ledger, home.config().store.map_bytes)
    try:
        with reader.snapshot() as snapshot:
            now_ms = snapshot.head.tip.time_ms + 1
            body = call.body(home.genesis().hash(), sender, now_ms, bytes(8))
            raw = encode(Signed(encode(body), bytes(64)))
            done = simulate(snapshot, body.chain_id, snapshot.height + 1, now_ms, decode_transaction(raw))
            abi = abi_at(snapshot, snapshot.height + 1)
            name, sentence = abi.describe_code(done.receipt.code)
            return {
                "dry_run": True,
                "height": snapshot.height,
                "code": done.receipt.code,
                "code_name": name,
                "meaning": sentence,
                "gas_used": done.receipt.gas_used,
                "changed_keys": done.changed_keys,
                "events": [shown_event(abi, event) for event in done.receipt.events],
            }
    finally:
        reader.close()


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


async def submit_by_api(home: Home, call: EncodedCall, signer: Signer, wait_s: float, address: str) -> dict[str, Any]:
    """The sealed outcome of a call that another node is given. Raises ClientError as the API does, `node-unreachable`,
    `transaction-pending`.
    """
    import aiohttp

    from node.demo.api_client import ApiClient

    raw = signed_call(call, signer, home.genesis().hash(), home.config().clock)
    try:
        async with asyncio.timeout(wait_s), aiohttp.ClientSession() as session:
            return msgspec.structs.asdict(await ApiClient(session, [address]).submit(raw, address))
    except TimeoutError as error:
        tx_id = decode_transaction(raw).id.hex()
        message = f"no answer of {address} after {wait_s:g} s; look again: pilechain query tx {tx_id}"
        raise ClientError("transaction-pending", message) from error


async def _sealed(home: Home, client: CoreClient, tx_id: bytes) -> dict[str, Any]:
    reader = LedgerReader(home.ledger, home.config().store.map_bytes)
    try:
        async for _ in client.sealed():
            with reader.snapshot() as snapshot:
                if snapshot.locate(tx_id):
                    return transaction_of(snapshot, tx_id)
    finally:
        reader.close()
    raise ConnectionResetError("core ended the connection")
