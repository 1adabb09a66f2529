"""Limits that keep a flood of strangers from costing more than the refusal: requests per address, connections, body
size.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web

CONNECTIONS_MAX = 2_000
"""Open connections of one process: descriptors and some 50 kB each; enough for `STREAMS_MAX` subscribers and as many
others.
"""
ADDRESSES_MAX = 10_000
"""Addresses remembered. Forgetting the one that was quiet longest gives it a full bucket again, which it has by then
anyway.
"""
BURST_S = 2
"""A quiet client may send this many seconds' worth of requests at once."""


class RateLimit:
    """A token bucket per address."""

    def __init__(self, requests_per_second_max: int) -> None:
        """Allow so many requests a second from each address, on the long run."""
        self._rate = requests_per_second_max
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address -> tokens, at what time

    def allow(self, address: str, now_s: float) -> bool:
        """Take a token, if there is one."""
        full = float(self._rate * BURST_S)
        tokens, then_s = self._buckets.pop(address, (full, now_s))
        tokens = min(full, tokens + (now_s - then_s) * self._rate)
        allowed = tokens >= 1
        self._buckets[address] = (tokens - allowed, now_s)
        if len(self._buckets) > ADDRESSES_MAX:
            self._buckets.popitem(last=False)
        return allowed


class _Refuse(asyncio.Protocol):
    """Answers a connection that is one too many by closing it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        with suppress(OSError):
            transport.close()


async def listen(runner: web.AppRunner, host: str, port: int) -> asyncio.Server:
    """Serve a set-up runner on an address, with a bound on open connections. Raises OSError if the address is taken."""
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    accept: Callable[[], asyncio.BaseProtocol] = lambda: (  # noqa: E731 (a factory, not a function with a story)
        server() if len(server.connections) < CONNECTIONS_MAX else _Refuse()
    )
    return await asyncio.get_running_loop().create_server(accept, host, port, backlog=512, reuse_address=True)
