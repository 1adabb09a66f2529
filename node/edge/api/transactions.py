"""Submitting transactions, and looking them up with their proofs."""

import asyncio
import base64
import binascii
from typing import Any

import msgspec
from aiohttp import web

from contracts import executor
from contracts.abi import abi_at
from ledger.codec import decode_trusted, encode
from ledger.errors import ClientError
from ledger.readable import readable
from ledger.transaction import TRANSACTION_BYTES_MAX, Body, Signed, decode_transaction
from node.edge import chain_views
from node.edge.api import parameters, shapes
from node.edge.api.problems import problem
from node.edge.api.services import Services
from node.edge.session_events import parse_cursor

BODY_BYTES_MAX = 1024 * 1024
"""Of any request."""
BODY_READ_MAX_S = 10.0
"""A body comes within this time or not at all (slow-body attacks hold a connection open for minutes)."""
OCTETS = "application/octet-stream"
JSON = "application/json"


class TransactionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transaction in JSON."""

    transaction: str
    """Its canonical bytes in hex or base64."""


async def submit(services: Services, request: web.Request, wanted: parameters.SubmitParameters) -> Any:
    """Take a signed transaction. Sending the same one again is safe: with `wait=sealed` it gives the same receipt."""
    transaction = decode_transaction(await _read_body(request))
    wait = wanted.wait == "sealed"
    if wait and (place := services.waits.locate(transaction.id)):
        return sealed_transaction(services, *place)
    [(code, message)] = await services.link.submit([transaction.raw])
    # One that is in the pool already is being waited for like a new one: a client that lost our answer asks again.
    if code and not (wait and code == "transaction-seen"):
        return problem(code, message, transaction_id=transaction.id.hex())
    if wait and (place := await services.waits.wait(transaction.id, wanted.timeout_ms / 1000)):
        return sealed_transaction(services, *place)
    accepted = shapes.Accepted(transaction.id.hex())
    headers = {"Location": f"/v1/transactions/{accepted.id}"}
    return web.Response(body=msgspec.json.encode(accepted), status=202, content_type=JSON, headers=headers)


async def simulate(services: Services, request: web.Request, wanted: parameters.NoParameters) -> shapes.Simulation:
    """Run a transaction on the newest sealed state and keep nothing: to see its code, gas and events before it is
    signed. The signature may be zeros.
    """
    transaction = decode_transaction(await _read_body(request))
    with services.ledger.snapshot() as snapshot:
        height, now_ms = snapshot.height, snapshot.head.tip.time_ms + 1
        done = executor.simulate(snapshot, services.genesis.hash(), height + 1, now_ms, transaction)
        abi = abi_at(snapshot, height + 1)
    receipt = done.receipt
    return shapes.Simulation(
        height=height,
        code=receipt.code,
        code_name=abi.describe_code(receipt.code)[0],
        gas_used=receipt.gas_used,
        changed_keys=done.changed_keys,
        events=[chain_views.event(abi, event) for event in receipt.events],
    )


async def transaction(
    services: Services, request: web.Request, wanted: parameters.TransactionParameters
) -> shapes.SealedTransaction:
    """A sealed transaction with its receipt and the proof of both."""
    place = services.waits.locate(bytes.fromhex(wanted.id))
    if place is None:
        raise ClientError(
            "transaction-unknown", "no sealed transaction has this id; it may still be waiting, or expired"
        )
    return sealed_transaction(services, *place)


async def transactions(
    services: Services, request: web.Request, wanted: parameters.TransactionsParameters
) -> shapes.TransactionPage:
    """Transactions that one key sent, newest first."""
    before = parse_cursor(wanted.before) if wanted.before else None
    rows = await services.read_model.transactions(bytes.fromhex(wanted.sender), before, wanted.limit)
    with services.ledger.snapshot() as snapshot:
        page = [
            shapes.TransactionRow(
                row.id.hex(),
                f"{row.height}-{row.index}",
                row.time_ms,
                (abi := abi_at(snapshot, row.height)).contract_name(row.contract),
                row.method,
                row.code,
                abi.describe_code(row.code)[0],
            )
            for row in rows
        ]
    return shapes.TransactionPage(page, page[-1].cursor if len(page) == wanted.limit else None)


def sealed_transaction(services: Services, height: int, index: int) -> shapes.SealedTransaction:
    """Everything about the transaction at this place of the chain."""
    block = services.blocks.get(height)
    raw, receipt = block.raws[index], block.receipts[index]
    body = decode_trusted(Body, decode_trusted(Signed, raw).body)
    proof = shapes.Proof(
        encode(block.top.sealed).hex(),
        encode(block.transaction_proof(index)).hex(),
        encode(block.receipt_proof(index)).hex(),
    )
    return shapes.SealedTransaction(
        id=receipt.call_id.hex(),
        status="sealed",
        height=height,
        index=index,
        time_ms=block.header.time_ms,
        code=receipt.code,
        code_name=block.abi.describe_code(receipt.code)[0],
        raw=raw.hex(),
        transaction=readable(body) | {"arguments": chain_views.arguments(block.abi, body)},
        receipt_raw=block.receipts_raw[index].hex(),
        receipt=readable(receipt),
        events=[chain_views.event(block.abi, event) for event in receipt.events],
        proof=proof,
    )


async def _read_body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_READ_MAX_S):
            content = await request.read()
    except TimeoutError as error:
        raise ClientError("body-too-slow", f"the body did not come within {BODY_READ_MAX_S:.0f} s") from error
    if request.content_type == OCTETS:
        return content
    if request.content_type != JSON:
        raise ClientError("media-type", f"send the transaction as {OCTETS}, or as {JSON} with a field `transaction`")
    try:
        text = msgspec.json.decode(content, type=TransactionBody).transaction
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # the last two escape msgspec unwrapped
        raise ClientError("request-invalid", str(error)) from error
    if len(text) > 2 * TRANSACTION_BYTES_MAX:
        raise ClientError("transaction-too-large", f"a transaction has at most {TRANSACTION_BYTES_MAX} bytes")
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ClientError("request-invalid", "`transaction` is neither hex nor base64") from error
