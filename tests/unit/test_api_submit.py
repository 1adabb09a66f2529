"""Submitting over the API: waiting for the sealed receipt, idempotence, every kind of bad input with its own code."""
# ruff: noqa: ASYNC110 (tests ask until it is so)

import asyncio
import base64
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.block import (
    Header,
    Result,
    SealedHeader,
    TransactionProof,
    check_sealed,
    verify_receipt,
    verify_transaction,
)
from ledger.codec import decode, encode
from ledger.merkle import MerkleProof
from ledger.transaction import Signed, decode_transaction
from tests.edge_kit import Edge, running_edge

OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture
async def edge(tmp_path):
    async with running_edge(tmp_path) as running:
        yield running


async def post(edge: Edge, body: bytes, query: str = "", kind: str = "application/octet-stream"):
    async with edge.client.post(f"/v1/transactions{query}", data=body, headers={"Content-Type": kind}) as answer:
        return answer.status, await answer.json(content_type=None), answer


async def test_F50_submit_without_waiting_is_accepted_with_its_id(edge):
    tx = edge.chain.transaction()
    status, body, answer = await post(edge, tx.raw)
    assert (status, body) == (202, {"id": tx.id.hex(), "status": "pending"})
    assert answer.headers["Location"] == f"/v1/transactions/{tx.id.hex()}"
    assert edge.core.submitted == [tx.raw]


async def test_F20_a_simulated_transaction_says_what_it_would_do_and_reaches_nobody(edge):
    raw = Signed(decode(Signed, edge.chain.transaction().raw).body, bytes(64))  # nobody need have signed it
    async with edge.client.post("/v1/simulate", data=encode(raw), headers=OCTETS) as answer:
        body = await answer.json()
    assert (answer.status, body["height"], body["changed_keys"]) == (200, 0, 0)
    assert body["code_name"] != "done"
    assert body["gas_used"] > 0
    assert edge.core.submitted == []
    async with edge.client.post("/v1/simulate", data=b"nonsense", headers=OCTETS) as answer:
        assert (answer.status, (await answer.json())["code"]) == (400, "encoding-malformed")


@pytest.mark.parametrize("form", [bytes.hex, lambda raw: base64.b64encode(raw).decode()], ids=["hex", "base64"])
async def test_F50_submit_as_json(edge, form):
    tx = edge.chain.transaction()
    status, _, _ = await post(edge, json.dumps({"transaction": form(tx.raw)}).encode(), kind="application/json")
    assert status == 202
    assert edge.core.submitted == [tx.raw]


async def test_F50_wait_sealed_gives_the_receipt_with_a_proof_that_holds(edge):
    tx, other = edge.chain.transaction(salt=1), edge.chain.transaction("other", salt=2)
    asking = asyncio.create_task(post(edge, tx.raw, "?wait=sealed"))
    while not edge.core.submitted:
        await asyncio.sleep(0.001)
    edge.chain.seal(other, tx, codes={tx.id: 2003})
    status, body, _ = await asking
    assert status == 200
    assert (body["status"], body["height"], body["code"], body["code_name"]) == ("sealed", 1, 2003, "overspent")

    sealed = decode(SealedHeader, bytes.fromhex(body["proof"]["sealed_header"]))
    header, result = check_sealed(sealed, edge.chain.set, edge.chain.chain_id)
    assert isinstance(header, Header)
    assert isinstance(result, Result)
    proof = decode(TransactionProof, bytes.fromhex(body["proof"]["transaction_proof"]))
    assert verify_transaction(header, decode_transaction(bytes.fromhex(body["raw"])).leaf, proof)
    path = decode(MerkleProof, bytes.fromhex(body["proof"]["receipt_proof"]))
    assert verify_receipt(result, bytes.fromhex(body["receipt_raw"]), path)


async def test_F50_submitting_a_sealed_transaction_again_gives_the_same_receipt(edge):
    tx = edge.chain.transaction()
    edge.core.seals_at_once = True
    first = await post(edge, tx.raw, "?wait=sealed")
    again = await post(edge, tx.raw, "?wait=sealed")
    assert first[:2] == again[:2]
    assert edge.core.submitted == [tx.raw], "core is not bothered with it again"


async def test_F50_a_transaction_in_the_pool_is_waited_for(edge):
    tx = edge.chain.transaction()
    edge.core.answer = ("transaction-seen", "it is in the pool")
    asking = asyncio.create_task(post(edge, tx.raw, "?wait=sealed"))
    while not edge.core.submitted:
        await asyncio.sleep(0.001)
    edge.chain.seal(tx)
    assert (await asking)[0] == 200


async def test_F50_a_wait_that_is_over_says_pending(edge):
    status, body, _ = await post(edge, edge.chain.transaction().raw, "?wait=sealed&timeout_ms=20")
    assert (status, body["status"]) == (202, "pending")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("transaction-seen", 409),
        ("transaction-expired", 422),
        ("chain-wrong", 422),
        ("signature-invalid", 422),
        ("sender-quota", 429),
        ("pool-full", 503),
        ("busy", 503),
    ],
)
async def test_F50_refusals_of_core_are_passed_on(edge, code, status):
    tx = edge.chain.transaction()
    edge.core.answer = (code, "the reason")
    got, body, answer = await post(edge, tx.raw)
    assert (got, body["code"], body["detail"], body["id"]) == (status, code, "the reason", tx.id.hex())
    assert answer.content_type == "application/problem+json"
    assert ("Retry-After" in answer.headers) == (status in (429, 503))


def not_canonical(raw: bytes) -> bytes:
    """The same transaction with its array header in the longer form."""
    assert raw[0] == 0x92
    return b"\xdc\x00\x02" + raw[1:]


@pytest.mark.parametrize(
    ("change", "kind", "status", "code"),
    [
        (lambda raw: b"", "application/octet-stream", 400, "encoding-malformed"),
        (lambda raw: raw[:-1], "application/octet-stream", 400, "encoding-malformed"),
        (lambda raw: raw + b"\0", "application/octet-stream", 400, "encoding-malformed"),
        (not_canonical, "application/octet-stream", 400, "encoding-not-canonical"),
        (lambda raw: encode(Signed(b"x", bytes(64))), "application/octet-stream", 400, "encoding-malformed"),
        (lambda raw: bytes(64 * 1024 + 1), "application/octet-stream", 413, "transaction-too-large"),
        (lambda raw: bytes(1024 * 1024 + 1), "application/octet-stream", 413, "body-too-large"),
        (lambda raw: raw, "text/plain", 415, "media-type"),
        (lambda raw: b"{", "application/json", 400, "request-invalid"),
        (lambda raw: b'{"transaction": "*"}', "application/json", 400, "request-invalid"),
        (lambda raw: b'{"transaction": "00", "fee": 1}', "application/json", 400, "request-invalid"),
    ],
)
async def test_F50_bad_bodies_have_their_codes_and_never_reach_core(edge, change, kind, status, code):
    got, body, _ = await post(edge, change(edge.chain.transaction().raw), kind=kind)
    assert (got, body["code"], body["status"]) == (status, code, status)
    assert body["detail"]
    assert edge.core.submitted == []


async def test_F50_while_core_is_away_reads_go_on_and_submissions_say_so(edge):
    edge.chain.seal(edge.chain.transaction())
    edge.core.drop()
    while edge.link.connected:
        await asyncio.sleep(0.001)
    status, body, _ = await post(edge, edge.chain.transaction(salt=9).raw)
    assert (status, body["code"]) == (503, "core-unreachable")
    assert (await edge.get("/v1/blocks"))["blocks"][0]["height"] == 1
    while not edge.link.connected:
        await asyncio.sleep(0.01)
    assert edge.connections == 2


async def test_F50_a_flood_from_one_address_is_refused(tmp_path):
    async with running_edge(tmp_path, requests_per_second_max=5) as edge:
        codes = [(await edge.client.get("/v1/blocks")).status for _ in range(30)]
    assert codes[:10] == [200] * 10
    assert 429 in codes[10:]


async def test_F50_any_bytes_are_answered_with_a_problem(edge):
    """Fuzz: whatever is sent, the answer is a problem of the client, and core never sees it."""
    valid = edge.chain.transaction().raw
    loop = asyncio.get_running_loop()

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.one_of(
            st.binary(max_size=200),
            st.tuples(st.integers(0, len(valid) - 1), st.integers(1, 255)).map(
                lambda at: valid[: at[0]] + bytes([valid[at[0]] ^ at[1]]) + valid[at[0] + 1 :]
            ),
        ),
        st.sampled_from(["application/octet-stream", "application/json"]),
    )
    def fuzz(body, kind):
        status, answer, _ = asyncio.run_coroutine_threadsafe(post(edge, body, kind=kind), loop).result(10)
        assert status in (202, 400, 413), answer
        if status != 202:
            assert answer["code"] in ("encoding-malformed", "encoding-not-canonical", "request-invalid")

    await asyncio.to_thread(fuzz)
    for raw in edge.core.submitted:
        decode_transaction(raw)  # what did reach core is well-formed; its signature is for core to check
