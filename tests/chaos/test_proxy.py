"""The proxy does to connections what it says, and nothing else."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from tests.chaos.proxy import Condition, Proxy

A, B = "a", "b"


class Echo:
    """A member that sends back what it hears, and remembers it."""

    def __init__(self):
        self.heard = b""
        self.ended = 0
        self.address = ("", 0)

    async def serve(self, reader, writer):
        try:
            while data := await reader.read(65536):
                self.heard += data
                writer.write(data)
        except OSError:
            pass
        finally:
            self.ended += 1
            writer.close()


@asynccontextmanager
async def talking():
    """`b` echoes; `a` has a connection to it."""
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.address = server.sockets[0].getsockname()
    async with Proxy({A: ("127.0.0.1", 9), B: echo.address}, seed=1) as proxy:
        host, _, port = proxy.addresses[A][B].partition(":")

        async def dial():
            return await asyncio.open_connection(host, int(port))

        reader, writer = await dial()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        yield proxy, echo, reader, writer, dial
        writer.close()
    server.close()


async def within(seconds, work):
    """Its result in time."""
    return await asyncio.wait_for(work, seconds)


async def test_bytes_pass_in_their_order_and_late_by_the_delay():
    async with talking() as (proxy, _, reader, writer, _):
        proxy.impose(Condition(delay_ms=100, jitter_ms=50), [(A, B)])
        begun = time.monotonic()
        for number in range(20):
            writer.write(bytes([number]))
            await asyncio.sleep(0.005)
        assert await within(5, reader.readexactly(20)) == bytes(range(20))
        assert time.monotonic() - begun >= 0.1


async def test_a_slow_line_takes_its_time():
    async with talking() as (proxy, _, reader, writer, _):
        proxy.impose(Condition(bytes_per_s=100_000), [(B, A)])
        begun = time.monotonic()
        writer.write(bytes(30_000))
        await within(5, reader.readexactly(30_000))
        assert time.monotonic() - begun >= 0.25


async def test_a_held_line_delivers_afterwards_and_one_way_is_one_way():
    async with talking() as (proxy, echo, reader, writer, _):
        condition = Condition(held=True)
        proxy.impose(condition, [(B, A)])
        writer.write(b"heard")
        with pytest.raises(TimeoutError):
            await within(0.2, reader.readexactly(5))
        assert echo.heard == b"helloheard"
        proxy.lift(condition, [(B, A)])
        assert await within(5, reader.readexactly(5)) == b"heard"


async def test_a_cut_resets_what_is_there_and_what_is_dialled():
    async with talking() as (proxy, _, reader, _, dial):
        condition = Condition(refused=True)
        proxy.impose(condition, [(A, B)])
        with pytest.raises(ConnectionResetError):
            await within(5, reader.read(1))
        reader, _ = await dial()
        with pytest.raises(ConnectionResetError):
            await within(5, reader.read(1))
        proxy.lift(condition, [(A, B)])
        reader, writer = await dial()
        writer.write(b"again")
        assert await within(5, reader.readexactly(5)) == b"again"


async def test_a_replaced_connection_delivers_its_last_bytes_after_those_of_the_new_one():
    async with talking() as (proxy, echo, reader, writer, dial):
        condition = Condition(delay_ms=300)
        proxy.impose(condition, [(A, B)])
        writer.write(b"old")
        await asyncio.sleep(0.05)
        proxy.lift(condition, [(A, B)])
        proxy.replace(A, B)
        with pytest.raises(ConnectionResetError):
            await within(5, reader.read(1))
        new_reader, new_writer = await dial()
        new_writer.write(b"new")
        await within(5, new_reader.readexactly(3))
        async with asyncio.timeout(5):
            while len(echo.heard) < 11:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert echo.heard == b"hellonewold"


async def test_a_half_open_connection_ends_for_one_and_lives_for_the_other():
    async with talking() as (proxy, echo, reader, writer, _):
        proxy.leave_half_open(B, A)
        writer.write(b"into the void")
        with pytest.raises(TimeoutError):
            await within(0.3, reader.read(1))
        assert (echo.heard, echo.ended) == (b"hello", 1)
