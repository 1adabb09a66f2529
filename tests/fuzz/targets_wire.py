"""Bytes that come in over sockets: frames, certificates and hellos of peers, the Unix socket, the HTTP API."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote_from_bytes

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ledger.codec import encode
from node.ipc.wire import (
    AskStatus,
    Sealed,
    StatusIs,
    Submit,
    Submitted,
    Subscribe,
    decode_from_client,
    decode_from_core,
)
from node.network.framing import FrameReader, frame
from node.network.peer_link import Hello, PeerLink
from node.network.tls import make_authority, make_node_certificate, peer_key, peer_name
from tests import chain
from tests.edge_kit import Edge, running_edge
from tests.fuzz.engine import Target
from tests.fuzz.targets import target
from tests.fuzz.test_http import GOOD, READS, STREAMS, TEXT, answer

LIMIT = 64
HTTP_MEMORY = 8 << 20
"""aiohttp's client and server keep buffers of their own."""


@target("node.network.framing.FrameReader.feed")
def frames(_: Path) -> Iterator[Target]:
    """A stream of peers or of the Unix socket: whole frames, and never more kept than one."""

    def parse(data: bytes) -> None:
        reader = FrameReader(LIMIT)
        for piece in (data[: len(data) // 3], data[len(data) // 3 :]):
            assert all(0 < len(payload) <= LIMIT for payload in reader.feed(piece))
            assert len(reader._rest) <= LIMIT + 4

    yield Target(parse, [frame(b"hello") + frame(bytes(LIMIT)), frame(b"x") * 20])


@target("node.network.tls.peer_key", "node.network.tls.peer_name")
def peer_certificates(_: Path) -> Iterator[Target]:
    """Certificates that the authority has signed, whatever is in them."""
    authority, key = make_authority("Consortium")
    pem, _key = make_node_certificate("Teld", authority, key, b"passphrase")
    samples = [x509.load_pem_x509_certificate(each).public_bytes(Encoding.DER) for each in (pem, authority)]
    # What else names an algorithm: RSA, a curve by name, a curve nobody knows.
    names = [bytes.fromhex(text) for text in ("2b6570", "2b6571", "2a864886f70d010101", "2a8648ce3d0201", "2b8104000a")]

    def parse(data: bytes) -> None:
        assert isinstance(peer_name(data), str)
        assert len(peer_key(data)) == 32

    yield Target(parse, samples, tokens=names)


class _Link:
    """As much of a link as its hello touches."""

    def __init__(self, ours: Hello) -> None:
        self._owner = SimpleNamespace(hello=ours, ready=lambda _: None)
        self.company, self.instance, self.is_ready = ours.company, b"", False
        self._reader = FrameReader(LIMIT)

    def _stop_timer(self) -> None: ...

    def _finish_acquaintance(self) -> None: ...

    def _check_silence(self) -> None: ...


@target("node.network.peer_link.PeerLink._take_hello")
def peer_hellos(_: Path) -> Iterator[Target]:
    """A peer's first message."""
    ours = Hello(1, bytes(32), "Teld", bytes(8))

    def parse(data: bytes) -> None:
        link = _Link(ours)
        PeerLink._take_hello(cast(PeerLink, link), data)
        assert link.is_ready

    yield Target(parse, [encode(ours)])


@target("node.ipc.wire.decode_from_client")
def socket_clients(_: Path) -> Iterator[Target]:
    """What the edge, or another program of the user, says to core."""
    raws = tuple(chain.transaction(f"tx {n}").raw for n in range(3))
    yield Target(decode_from_client, [encode(Submit(1, raws)), encode(AskStatus(2)), encode(Subscribe())])


@target("node.ipc.wire.decode_from_core")
def socket_core(_: Path) -> Iterator[Target]:
    """What core says to the edge."""
    samples = [encode(Submitted(1, (("a", "b"),))), encode(StatusIs(2, b"{}")), encode(Sealed(7))]
    yield Target(decode_from_core, samples)


@contextmanager
def _api(folder: Path) -> Iterator[tuple[Edge, asyncio.AbstractEventLoop]]:
    """A running API over a chain of one block, and its event loop."""
    loop = asyncio.new_event_loop()
    running = running_edge(folder)
    edge = loop.run_until_complete(running.__aenter__())
    try:
        edge.chain.seal(edge.chain.transaction())
        loop.run_until_complete(edge.indexed())
        yield edge, loop
    finally:
        loop.run_until_complete(running.__aexit__(None, None, None))
        loop.close()


@target("node.edge.api.transactions._read_body", "node.edge.api.routes.read_parameters")
def http_requests(folder: Path) -> Iterator[Target]:
    """Bodies, paths and parameters of requests, to a running API: answered, or refused with a problem."""
    random = Random(1)

    async def ask(edge: Edge, data: bytes) -> None:
        kind = random.choice(("application/octet-stream", "application/json"))
        status = await answer(edge, "POST", "/v1/transactions", data=data, headers={"Content-Type": kind})
        assert status in {202, 400, 413}
        route = random.choice(READS)
        text = quote_from_bytes(data[:300], safe="")
        names = route.parameters.__struct_fields__
        fields: dict[str, Any] = {name: GOOD[name] for name in names}
        fields[random.choice(names) if names else "unknown"] = text
        path = route.path
        for name in names:
            path = path.replace("{" + name + "}", fields.pop(name) if "{" + name + "}" in path else "")
        address = f"{path}?{'&'.join(f'{name}={value}' for name, value in sorted(fields.items()))}"
        with suppress(aiohttp.InvalidURL):
            assert await answer(edge, "GET", address) in {200, 400, 404}

    with _api(folder) as (edge, loop):
        raw = edge.chain.transaction(salt=1).raw
        as_json = json.dumps({"transaction": raw.hex()}).encode()
        samples = [raw, as_json, *(value.encode() for value in GOOD.values())]
        yield Target(
            lambda data: loop.run_until_complete(ask(edge, data)),
            samples,
            TEXT,
            refusals=(),
            iterations=300,
            memory_fixed=HTTP_MEMORY,
        )


@target("node.edge.api.streams._resume_from", "node.edge.session_events.parse_cursor")
def event_streams(folder: Path) -> Iterator[Target]:
    """Cursors of streams, as parameter and as header in whatever bytes: a stream begins, or a problem is told."""
    random = Random(1)

    async def subscribe(edge: Edge, data: bytes) -> None:
        after = quote_from_bytes(data[:300], safe="")
        target_ = random.choice(STREAMS).path + random.choice(("", f"?after={after}"))
        head = f"GET {target_} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: ".encode()
        reader, writer = await asyncio.open_connection(edge.client.host, edge.client.port)
        writer.write(head + random.choice((b"", data)) + b"\r\n\r\n")
        assert int((await reader.readline()).split()[1]) in {200, 400}
        writer.close()
        await writer.wait_closed()
        streams = [task for task in edge.services.streams if task]
        for stream in streams:  # else it would stay open until its next heartbeat
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)

    with _api(folder) as (edge, loop):
        yield Target(
            lambda data: loop.run_until_complete(subscribe(edge, data)),
            [b"0", b"1", b"1-0"],
            (*TEXT, b"\r\n", b"\r\n\r\n", b": ", b"-"),
            refusals=(),
            iterations=300,
            memory_fixed=HTTP_MEMORY,
        )
