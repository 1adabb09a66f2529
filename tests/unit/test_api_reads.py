"""Reading over the API: blocks, headers, state with proof, accounts, companies, piles, sessions, and the OpenAPI
document.
"""

import asyncio

import msgspec
import pytest

from contracts.compiler.compiler import compile_verified
from contracts.records.money import BOOKS, Book
from ledger.block import SealedHeader, check_sealed
from ledger.codec import decode, encode
from ledger.state_proof import StateProof, verify_state
from node.edge.api.table import ROUTES
from node.edge.blocks import Blocks
from node.library import NUMBERS, text_of
from tests import chain
from tests.edge_kit import NAMES, START_MS, opened, running_edge, settled, started

DRIVER = chain.signer("driver").public_key.hex()


@pytest.fixture
async def edge(tmp_path):
    async with running_edge(tmp_path) as running:
        yield running


async def a_day(edge):
    """Three sessions: one settled at P-1, one charging at P-2, one opened at P-1."""
    a, b, c = (edge.chain.transaction(salt=number) for number in range(3))
    edge.chain.seal(a, b, events={a.id: (opened(a.id),), b.id: (opened(b.id, "P-2"),)})
    x, y = (edge.chain.transaction("P-1", salt=number, method="start") for number in (10, 11))
    edge.chain.seal(x, y, events={x.id: (started(a.id),), y.id: (started(b.id, "P-2"),)})
    z = edge.chain.transaction("P-1", salt=12, method="stop")
    edge.chain.seal(z, c, events={z.id: (settled(a.id),), c.id: (opened(c.id),)})
    await edge.indexed()
    return a.id.hex(), b.id.hex(), c.id.hex()


async def test_F50_status_and_network(edge):
    edge.chain.seal(edge.chain.transaction())
    edge.core.peers = {"MetroLab": 1, "Teld": -1}
    await edge.indexed()
    status = await edge.get("/v1/status")
    assert (status["company"], status["height"], status["chain_id"]) == ("SGCC", 1, edge.chain.chain_id.hex())
    assert status["consensus"]["view"] == 0
    network = await edge.get("/v1/network")
    assert network["state_root"] == status["state_root"]
    by_name = {node["name"]: node for node in network["nodes"]}
    assert [by_name[name]["height"] for name in NAMES] == [None, 1, 1, None]
    assert [by_name[name]["connected"] for name in NAMES] == [False, True, True, True]
    # The kit's seals hold the votes of the first three: the fourth has not shown yet that its state is ours.
    assert [by_name[name]["agreed_height"] for name in NAMES] == [1, 1, 1, None]
    assert by_name["MetroLab"]["books"] == 1
    assert by_name["CityGrid"]["roles"] == ["grid"]


async def test_F50_blocks_are_paged_newest_first(edge):
    for salt in range(5):
        edge.chain.seal(edge.chain.transaction(salt=salt))
    await edge.link.wait_above(4)
    first = await edge.get("/v1/blocks?limit=2")
    assert [block["height"] for block in first["blocks"]] == [5, 4]
    rest = await edge.get(f"/v1/blocks?limit=9&before={first['next_before']}")
    assert [block["height"] for block in rest["blocks"]] == [3, 2, 1]
    assert rest["next_before"] is None
    assert first["blocks"][0]["voters"] == list(NAMES[:3])


async def test_F50_a_block_names_its_transactions(edge):
    tx = edge.chain.transaction()
    edge.chain.seal(tx, codes={tx.id: 5004})
    block = await edge.get("/v1/blocks/1")
    [row] = block["transactions"]
    assert (row["id"], row["contract"], row["method"], row["code_name"]) == (
        tx.id.hex(),
        "session",
        "open",
        "time-implausible",
    )
    assert block["failed"] == 1


async def test_F50_sealed_headers_for_light_clients(edge):
    edge.chain.seal()
    raw = (await edge.get("/v1/headers/1"))["raw"]
    header, _ = check_sealed(decode(SealedHeader, bytes.fromhex(raw)), edge.chain.set, edge.chain.chain_id)
    assert header.height == 1


@pytest.mark.parametrize("present", [True, False])
async def test_F50_state_comes_with_a_proof_of_presence_or_absence(edge, present):
    edge.chain.seal(changes={BOOKS.key(b"CityGrid"): encode(Book())})
    own_key = BOOKS.key(b"CityGrid" if present else b"Nobody")[4:]
    entry = await edge.get(f"/v1/state/2/{own_key.hex()}")
    value = bytes.fromhex(entry["value"]) if present else None
    assert (entry["value"] is None) is not present
    sealed = decode(SealedHeader, bytes.fromhex(entry["sealed_header"]))
    _, result = check_sealed(sealed, edge.chain.set, edge.chain.chain_id)
    proof = decode(StateProof, bytes.fromhex(entry["proof"]))
    assert verify_state(result.state_root, b"\0\0\0\2" + own_key, value, proof)


async def test_F50_companies_balance_to_zero(edge):
    await a_day(edge)
    companies = await edge.get("/v1/companies")
    assert companies["balances_sum_fen"] == 0
    by_name = {company["name"]: company for company in companies["companies"]}
    assert by_name["SGCC"]["headroom_fen"] == 50_000
    assert [by_name["SGCC"][field] for field in ("sessions", "energy_wh", "revenue_fen")] == [1, 12_000, 1_110]
    assert companies["claims"] == [{"debtor": "Teld", "creditor": "SGCC", "amount_fen": 70}]


async def test_F20_everybody_can_read_the_text_of_a_contract_and_compile_it_again(edge):
    listed = (await edge.get("/v1/contracts"))["contracts"]
    assert [(row["number"], row["name"]) for row in listed] == [(number, name) for name, number in NUMBERS.items()]
    pay = next(method for method in listed[1]["methods"] if method["name"] == "pay")
    assert listed[1]["summary"].startswith("Contract 2, money: wallets")
    assert pay["business"] == "payment"
    assert (pay["arguments"], pay["roles"]) == (["to", "amount_fen", "memo"], ["driver", "owner"])
    money = await edge.get("/v1/contracts/2")
    assert (money["name"], money["text"]) == ("money", text_of("money"))
    assert compile_verified(money["text"]).hash.hex() == money["code_hash"]
    assert money["versions"] == [{"from_height": 0, "code_hash": money["code_hash"]}]
    assert (await edge.get("/v1/contracts/7", 404))["code"] == "contract-unknown"


async def test_F50_a_wallet(edge):
    assert (await edge.get(f"/v1/accounts/{DRIVER}"))["wallet_fen"] == 9_000
    stranger = chain.signer("stranger").public_key.hex()
    assert (await edge.get(f"/v1/accounts/{stranger}", 404))["code"] == "account-unknown"


async def test_F50_piles_show_what_they_do(edge):
    await a_day(edge)
    page = await edge.get("/v1/piles")
    assert [(pile["name"], pile["state"], pile["sessions"]) for pile in page["piles"]] == [
        ("P-1", "opened", 1),
        ("P-2", "charging", 0),
    ]
    first = await edge.get("/v1/piles?limit=1")
    second = await edge.get(f"/v1/piles?limit=1&after={first['next_after']}")
    assert [pile["name"] for pile in second["piles"]] == ["P-2"]


async def test_F50_sessions_with_filters_paging_and_bill(edge):
    a, b, c = await a_day(edge)
    page = await edge.get("/v1/sessions")
    assert [session["id"] for session in page["sessions"]] == [c, b, a]
    newest = await edge.get("/v1/sessions?limit=1")
    older = await edge.get(f"/v1/sessions?before={newest['next_before']}")
    assert [session["id"] for session in older["sessions"]] == [b, a]
    for query, expected in (
        ("state=settled", [a]),
        ("pile=P-2", [b]),
        ("operator=Teld", []),
        (f"driver={DRIVER}", [c, b, a]),
    ):
        found = await edge.get(f"/v1/sessions?{query}")
        assert [session["id"] for session in found["sessions"]] == expected, query
    detail = await edge.get(f"/v1/sessions/{a}")
    assert detail["session"]["state"] == "settled"
    assert detail["session"]["started_ms"] == START_MS + 2_000
    assert sum(line["energy_wh"] for line in detail["lines"]) == detail["session"]["energy_wh"] == 12_000


async def test_F50_transactions_of_a_sender(edge):
    a, b, c = await a_day(edge)
    page = await edge.get(f"/v1/transactions?sender={DRIVER}&limit=2")
    rest = await edge.get(f"/v1/transactions?sender={DRIVER}&before={page['next_before']}")
    assert [row["id"] for row in page["transactions"] + rest["transactions"]] == [c, b, a]
    found = await edge.get(f"/v1/transactions/{a}")
    assert found["events"][0]["data"]["pile"] == "P-1"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/blocks/99", 404, "height-unknown"),
        ("/v1/blocks/0", 404, "height-unknown"),
        ("/v1/blocks/x", 400, "request-invalid"),
        ("/v1/blocks?limit=0", 400, "request-invalid"),
        ("/v1/blocks?limit=1&limit=2", 400, "request-invalid"),
        ("/v1/blocks?limits=3", 400, "request-invalid"),
        ("/v1/headers/-1", 400, "request-invalid"),
        ("/v1/transactions/00", 400, "request-invalid"),
        (f"/v1/transactions/{'0' * 64}", 404, "transaction-unknown"),
        (f"/v1/sessions/{'0' * 64}", 404, "session-unknown"),
        ("/v1/sessions?before=x", 400, "request-invalid"),
        ("/v1/sessions?state=gone", 400, "request-invalid"),
        ("/v1/state/2/zz", 400, "request-invalid"),
        ("/v1/state/4294967296/00", 400, "request-invalid"),
        ("/v1/accounts/00", 400, "request-invalid"),
        ("/v1/nothing", 404, "route-unknown"),
        ("/static/../edge.py", 404, "route-unknown"),
    ],
)
async def test_F50_bad_questions_have_their_codes(edge, path, status, code):
    body = await edge.get(path, status)
    assert (body["code"], body["status"], body["type"]) == (code, status, f"urn:pilechain:problem:{code}")


async def test_F50_a_wrong_method_names_the_right_one(edge):
    async with edge.client.put("/v1/transactions") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST")


async def test_F50_the_openapi_document_lists_every_route_and_resolves(edge):
    document = await edge.get("/openapi.json")
    assert document["openapi"].startswith("3.1")
    listed = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert listed == {(route.method, route.path) for route in ROUTES}
    served = {(route.method, route.resource.canonical) for route in edge.app.router.routes() if route.resource}
    assert listed <= served
    schemas = document["components"]["schemas"]
    text = msgspec.json.encode(document).decode()
    for name in {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in schemas
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert in_path == {part[1:-1] for part in path.split("/") if part.startswith("{")}
            assert "200" in operation["responses"]
            assert "default" in operation["responses"]


async def test_F50_pages_run_no_inline_code(edge):
    for path in ("/", "/docs"):
        async with edge.client.get(path) as answer:
            text = await answer.text()
            policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "<script>" not in text
        assert "://" not in text, "nothing is loaded from elsewhere"


async def test_F50_cached_proof_trees_give_the_ledgers_own_proofs(edge):
    for count in (1, 2, 3, 7, 8):
        height = edge.chain.seal(*(edge.chain.transaction(salt=100 * count + at) for at in range(count)))
        block = Blocks(edge.chain.store).get(height)
        with edge.chain.store.snapshot() as snapshot:
            for at in range(count):
                assert block.transaction_proof(at) == snapshot.prove_transaction(height, at)
                assert block.receipt_proof(at) == snapshot.prove_receipt(height, at)


async def test_F50_stopping_ends_open_streams(tmp_path):
    async with running_edge(tmp_path) as edge:
        answer = await edge.client.get("/v1/stream/blocks")
        assert answer.status == 200
        await asyncio.sleep(0.01)
        assert len(edge.services.streams) == 1
    assert not edge.services.streams
