"""Connections to the API: silent ones are closed, and one address never takes all there are."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from node.edge.api import limits, streams
from tests.edge_kit import running_edge

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@asynccontextmanager
async def listening():
    """A small application behind the limits; its port."""

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = limits.make_runner(app)
    await runner.setup()
    server = await limits.listen(runner, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await runner.cleanup()


async def dial(port: int, host: str = "127.0.0.1"):
    """A connection that comes from an address of this machine."""
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))


async def answered(connection) -> bool:
    """Whether a request on a connection is answered; False if it is closed instead."""
    reader, writer = connection
    try:
        writer.write(REQUEST)
        async with asyncio.timeout(5):
            return (await reader.read(1)) == b"H"
    except ConnectionError:
        return False


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n", REQUEST, REQUEST + REQUEST[:-4]])
async def test_F50_a_connection_that_holds_its_header_back_is_closed(monkeypatch, sent):
    monkeypatch.setattr(limits, "HEADER_MAX_S", 0.3)
    async with listening() as port:
        reader, writer = await dial(port)
        writer.write(sent)
        began = time.monotonic()
        async with asyncio.timeout(5):
            with_answer = await reader.read()
        assert 0.2 < time.monotonic() - began < 3
        assert (b"hello" in with_answer) == sent.startswith(REQUEST)
        writer.close()


async def test_F50_a_header_that_dribbles_in_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(limits, "HEADER_MAX_S", 0.3)
    async with listening() as port:
        reader, writer = await dial(port)

        async def dribble():
            for number in range(1_000):
                writer.write(b"GET / HTTP/1.1\r\n" if number == 0 else b"A: b\r\n")
                await asyncio.sleep(0.05)

        task = asyncio.create_task(dribble())
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        task.cancel()
        writer.close()


async def test_F50_one_address_leaves_connections_to_others(monkeypatch):
    monkeypatch.setattr(limits, "CONNECTIONS_PER_ADDRESS_MAX", 3)
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 5)
    async with listening() as port:
        greedy = [await dial(port) for _ in range(3)]
        assert [await answered(each) for each in greedy] == [True] * 3
        assert not await answered(await dial(port))
        others = [await dial(port, "127.0.0.2") for _ in range(2)]
        assert [await answered(each) for each in others] == [True] * 2
        assert not await answered(await dial(port, "127.0.0.3")), "the process has no more"
        for _, writer in greedy:
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(0.1)
        assert await answered(await dial(port)), "what was closed is free again"


async def test_F50_one_address_leaves_streams_to_others(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "STREAMS_PER_ADDRESS_MAX", 2)
    async with running_edge(tmp_path) as edge:
        open_streams = [await edge.client.get("/v1/stream/blocks") for _ in range(2)]
        assert [answer.status for answer in open_streams] == [200, 200]
        assert (await edge.get("/v1/stream/blocks", 503))["code"] == "streams-full"
        edge.services.streams[asyncio.create_task(asyncio.sleep(0))] = "192.0.2.1"  # somebody else's is not counted
        for answer in open_streams:
            answer.close()
        async with asyncio.timeout(5):
            while "127.0.0.1" in edge.services.streams.values():  # noqa: ASYNC110 (until it is so)
                await asyncio.sleep(0.01)
        again = await edge.client.get("/v1/stream/blocks")
        assert again.status == 200
        again.close()
