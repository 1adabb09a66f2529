"""Whatever is sent to the API, it answers with what was asked for, or with a problem that says whose fault it is; an
error 500 would be our own.
"""

import json
from contextlib import suppress
from random import Random
from urllib.parse import quote_from_bytes

import aiohttp
import pytest
from yarl import URL

from node.edge.api.problems import Problem
from node.edge.api.table import ROUTES
from tests import chain
from tests.edge_kit import Edge, running_edge
from tests.fuzz.engine import inputs, told

TEXT = (
    *(b"\0", b"\n", b"\xff", b"\xed\xa0\x80", "١".encode(), "文".encode(), b"%", b"/", b"..", b"'", b'"', b"\\"),
    *(b"-1", b"0", b"1e9", b"9" * 30, b"9" * 5_000, b"00", b"x" * 2_000, b"true", b"null"),
)
GOOD = {
    "id": "00" * 32,
    "key": chain.signer("driver").public_key.hex(),
    "sender": chain.signer("driver").public_key.hex(),
    "driver": chain.signer("driver").public_key.hex(),
    "height": "1",
    "number": "2",
    "contract": "2",
    "limit": "10",
    "before": "7",
    "after": "P-1",
    "state": "settled",
    "pile": "P-1",
    "operator": "SGCC",
    "wait": "sealed",
    "timeout_ms": "0",
}
"""A value for each parameter's name that some route takes."""
READS = [route for route in ROUTES if route.method == "GET" and not route.stream]
STREAMS = [route for route in ROUTES if route.stream]


@pytest.fixture
async def edge(tmp_path):
    async with running_edge(tmp_path) as running:
        running.chain.seal(running.chain.transaction())
        await running.indexed()
        yield running


async def answer(edge: Edge, method: str, path: str, **arguments) -> int:
    """The status of an answer whose form is checked."""
    async with edge.client.request(method, URL(path, encoded=True), **arguments) as response:
        body = await response.read()
        if response.status >= 400 and response.content_type == "application/problem+json":
            assert (
                {"type", "title", "status", "code", "detail"} <= json.loads(body).keys() <= {*Problem.__struct_fields__}
            )
        else:
            assert response.status < 300 or response.status == 400, body[:300]  # aiohttp itself refuses what is no HTTP
        assert len(body) < 200_000
        return response.status


async def test_submitted_bodies(edge):
    raw = edge.chain.transaction(salt=1).raw
    as_json = json.dumps({"transaction": raw.hex()}).encode()
    seen = set()
    for kind, sample in (("application/octet-stream", raw), ("application/json", as_json)):
        for data in inputs([sample], (*TEXT, b"[" * 5_000, b'{"a":' * 5_000), 500):
            with told(data):
                seen.add(await answer(edge, "POST", "/v1/transactions", data=data, headers={"Content-Type": kind}))
    assert seen <= {202, 400, 413}


@pytest.mark.parametrize("route", READS, ids=lambda route: route.name)
async def test_parameters(edge, route):
    names = route.parameters.__struct_fields__
    random = Random(1)
    seen = set()
    for data in inputs([GOOD[name].encode() for name in names] or [b"x"], TEXT, 150):
        bent = random.choice(names) if names else "unknown"
        text = quote_from_bytes(data, safe="")
        path, query = route.path, []
        for name in {*names, bent}:
            value = text if name == bent else GOOD[name]
            if "{" + name + "}" in path:
                path = path.replace("{" + name + "}", value)
            elif name == bent or random.random() < 0.5:
                query.append(f"{name}={value}")
        address = f"{path}?{'&'.join(sorted(query))}"
        with told(address.encode()), suppress(aiohttp.InvalidURL):
            seen.add(await answer(edge, "GET", address))
    assert seen <= {200, 400, 404}


async def test_paths(edge):
    seen = set()
    for data in inputs([route.path.encode() for route in ROUTES if not route.stream], TEXT, 300):
        path = "/" + quote_from_bytes(data, safe="/?&=%{}").lstrip("/")
        with told(path.encode()), suppress(aiohttp.InvalidURL):
            seen.add(await answer(edge, "GET", path))
    assert seen <= {200, 400, 404, 405}, "405: what is only posted to"
