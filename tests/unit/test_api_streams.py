"""Event streams: nothing is lost or told twice across reconnects, a slow subscriber is cut off and slows nobody."""
# ruff: noqa: ASYNC110 (tests ask until it is so)

import asyncio
import json
import socket

import pytest

from node.edge.api import streams
from tests.edge_kit import Edge, opened, running_edge, settled, started


@pytest.fixture
async def edge(tmp_path):
    async with running_edge(tmp_path) as running:
        yield running


class Subscriber:
    """Reads events of a stream, and remembers the last cursor as a browser does."""

    def __init__(self, edge: Edge, path: str) -> None:
        self.edge = edge
        self.path = path
        self.cursor: str | None = None

    async def take(self, count: int) -> list[tuple[str, dict]]:
        """The next events, over a connection of its own, which is then closed."""
        headers = {"Last-Event-ID": self.cursor} if self.cursor else {}
        events: list[tuple[str, dict]] = []
        async with asyncio.timeout(10), self.edge.client.get(self.path, headers=headers) as answer:
            assert answer.content_type == "text/event-stream"
            fields: dict[str, str] = {}
            while len(events) < count:
                line = (await answer.content.readline()).decode().rstrip("\n")
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields:
                    self.cursor = fields["id"]
                    events.append((fields["event"], json.loads(fields["data"])))
                    fields = {}
        return events


async def test_F50_blocks_are_streamed_without_loss_across_reconnects(edge):
    subscriber = Subscriber(edge, "/v1/stream/blocks?after=0")
    heights = []
    for round_ in range(6):
        for salt in range(4):
            edge.chain.seal(edge.chain.transaction(salt=10 * round_ + salt))
        heights += [data["height"] for _, data in await subscriber.take(3)]  # leaves some of each round unread
    rest = edge.chain.height - len(heights)
    heights += [data["height"] for _, data in await subscriber.take(rest)]
    assert heights == list(range(1, 25))


async def test_F50_a_stream_without_a_cursor_begins_with_the_next_block(edge):
    edge.chain.seal()
    await edge.link.wait_above(0)
    taking = asyncio.create_task(Subscriber(edge, "/v1/stream/blocks").take(1))
    while not edge.services.streams:
        await asyncio.sleep(0.001)
    edge.chain.seal()
    [(name, data)] = await taking
    assert (name, data["height"]) == ("block", 2)


async def test_F50_sessions_are_streamed_without_loss_in_the_middle_of_a_block(edge):
    a, b = edge.chain.transaction(salt=1), edge.chain.transaction(salt=2)
    edge.chain.seal(a, b, events={a.id: (opened(a.id),), b.id: (opened(b.id, "P-2"), started(b.id, "P-2"))})
    edge.chain.seal()
    c = edge.chain.transaction(salt=3)
    edge.chain.seal(c, events={c.id: (settled(b.id, "P-2"),)})
    await edge.link.wait_above(2)
    subscriber = Subscriber(edge, "/v1/stream/sessions?after=0-0")
    told = [one for _ in range(4) for one in await subscriber.take(1)]  # a new connection for each event
    assert [(name, data["cursor"]) for name, data in told] == [
        ("opened", "1-0"),
        ("opened", "1-1"),
        ("started", "1-2"),
        ("settled", "3-0"),
    ]
    assert told[-1][1]["data"]["energy_wh"] == 12_000


async def test_F50_an_idle_stream_is_kept_alive(edge, monkeypatch):
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.01)
    async with asyncio.timeout(5), edge.client.get("/v1/stream/blocks") as answer:
        lines = [await answer.content.readline() for _ in range(4)]
    assert b": heartbeat\n" in lines


@pytest.mark.parametrize("cursor", ["x", "1-2", "-1"])
async def test_F50_a_false_cursor_is_refused(edge, cursor):
    async with edge.client.get("/v1/stream/blocks", headers={"Last-Event-ID": cursor}) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (400, "request-invalid")


async def test_F50_a_cursor_ahead_of_the_chain_is_refused(edge):
    assert (await edge.get("/v1/stream/blocks?after=5", 400))["code"] == "request-invalid"


async def test_F50_streams_have_a_bound(edge, monkeypatch):
    monkeypatch.setattr(streams, "STREAMS_MAX", 1)
    async with edge.client.get("/v1/stream/blocks") as first:
        assert first.status == 200
        assert (await edge.get("/v1/stream/blocks", 503))["code"] == "streams-full"


async def test_F50_a_subscriber_who_does_not_read_is_cut_off_and_slows_nobody(edge, monkeypatch):
    monkeypatch.setattr(streams, "SLOW_MAX_S", 0.2)
    # A stalled reader must be sent more than the sockets buffer: frames are padded instead of sealing for hours.
    plain = streams._frame
    monkeypatch.setattr(streams, "_frame", lambda *given: plain(*given) + (b":" + bytes(8 * 1024) + b"\n") * 64 + b"\n")
    address = (edge.client.server.host, edge.client.server.port)
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(stalled, address)
    await loop.sock_sendall(stalled, b"GET /v1/stream/blocks?after=0 HTTP/1.1\r\nHost: x\r\n\r\n")
    while not edge.services.streams:
        await asyncio.sleep(0.001)
    cut = streams.cut_off._value.get()
    reader = Subscriber(edge, "/v1/stream/blocks?after=0")
    began = loop.time()
    taking = asyncio.create_task(reader.take(20))
    for _ in range(20):
        edge.chain.seal()
    assert len(await taking) == 20
    assert loop.time() - began < 5
    async with asyncio.timeout(10):
        while edge.services.streams:
            await asyncio.sleep(0.01)
    assert streams.cut_off._value.get() == cut + 1
    async with asyncio.timeout(5):
        while edge.client.server.runner.server.connections:  # closed without waiting for the one who does not read
            await asyncio.sleep(0.01)
    stalled.close()
