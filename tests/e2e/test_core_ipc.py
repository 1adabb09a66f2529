"""The unix socket of core: answers, heights, credits, and clients that stop reading or talk nonsense."""

import asyncio
import stat
from typing import Any

import pytest

from ledger.codec import encode
from ledger.errors import PeerError
from node.ipc.socket import CoreClient, IpcServer
from node.ipc.wire import CREDITS_MAX, Submit
from node.network.framing import FRAME_BYTES_MAX, frame


class Server:
    """A core that accepts what begins with g, when it is told to go on."""

    def __init__(self, folder):
        self.path = folder / "core.sock"
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.ipc = IpcServer(self.submit, lambda: {"height": 7, "stale_readers": []})

    async def submit(self, raws):
        await self.go_on.wait()
        return [("", "") if raw.startswith(b"g") else ("bad", "not good") for raw in raws]


@pytest.fixture
async def server(tmp_path):
    """A running server."""
    running = Server(tmp_path)
    await running.ipc.start(running.path)
    yield running
    await running.ipc.stop()


async def test_F55_answers_come_in_order_and_the_socket_is_private(server):
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
    client = await CoreClient.connect(server.path)
    assert await client.submit([b"good", b"no", b"good"]) == [("", ""), ("bad", "not good"), ("", "")]
    assert await client.status() == {"height": 7, "stale_readers": []}
    await client.close()


async def test_F55_credits_bound_what_a_client_has_under_way(server):
    client = await CoreClient.connect(server.path)
    server.go_on.clear()
    first = asyncio.ensure_future(client.submit([b"g"] * CREDITS_MAX))
    await asyncio.sleep(0)
    assert {code for code, _ in await asyncio.wait_for(client.submit([b"g"]), 2)} == {"busy"}
    server.go_on.set()
    assert await first == [("", "")] * CREDITS_MAX
    assert await client.submit([b"g"]) == [("", "")]
    await client.close()


async def test_F55_a_subscriber_hears_the_present_height_and_the_next_ones(server):
    server.ipc.sealed(3)
    client = await CoreClient.connect(server.path)
    heights = client.sealed()
    assert await anext(heights) == 3
    server.ipc.sealed(4)
    assert await anext(heights) == 4
    assert await anext(client.sealed()) == 4  # a second listener on the same connection
    await server.ipc.stop()
    with pytest.raises(ConnectionError):
        await anext(heights)
    with pytest.raises(ConnectionError):
        await client.submit([b"g"])


async def test_F55_a_client_that_does_not_read_costs_nothing(server):
    client = await CoreClient.connect(server.path)
    heights = client.sealed()
    await anext(heights)
    transport: Any = client._transport
    transport.pause_reading()
    for height in range(1, 100_000):
        server.ipc.sealed(height)
    (session,) = server.ipc.sessions
    assert session._paused
    assert session._transport.get_write_buffer_size() < 100_000
    transport.resume_reading()
    async with asyncio.timeout(5):
        while await anext(heights) < 99_999:
            pass
    await client.close()


async def test_F55_nonsense_ends_the_connection_and_nothing_else(server):
    client = await CoreClient.connect(server.path)
    for nonsense in (b"GET / HTTP/1.1\r\n\r\n", frame(b"\xc1"), bytes(4)):
        reader, writer = await asyncio.open_unix_connection(str(server.path))
        writer.write(nonsense)
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()
    assert await client.submit([b"g"]) == [("", "")]
    await client.close()


async def test_F55_a_submission_beyond_the_credits_ends_the_connection_and_nothing_else(server):
    """60,000 empty transactions would ask for an answer longer than any frame."""
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    for count in (CREDITS_MAX + 1, 60_000):
        message = [1, 1, [b""] * count]
        reader, writer = await asyncio.open_unix_connection(str(server.path))
        writer.write(frame(encode(message)))
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()
    assert errors == []
    client = await CoreClient.connect(server.path)
    assert await client.submit([b""] * CREDITS_MAX) == [("bad", "not good")] * CREDITS_MAX
    assert len(encode(Submit(1, (b"",) * CREDITS_MAX))) < FRAME_BYTES_MAX
    await client.close()


async def test_F55_an_error_in_a_submission_costs_its_connection(server):
    """Named with its connection, so that core logs it and goes on."""
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))

    async def broken(raws):
        raise PeerError("frame-too-large", "an answer that nobody thought of")

    server.ipc.submit = broken
    client = await CoreClient.connect(server.path)
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(client.submit([b"g"]), 2)
    assert [set(context) for context in errors] == [{"message", "exception", "protocol"}]
