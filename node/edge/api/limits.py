"""Limits that keep a flood of strangers from costing more than the refusal: requests per address, connections, body
size.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable

from aiohttp import web

CONNECTIONS_MAX = 2_000
"""Open connections of one process: descriptors and some 50 kB each; enough for `STREAMS_MAX` subscribers and as many
others.
"""
CONNECTIONS_PER_ADDRESS_MAX = 1_000
"""Of them from one address, our own machine's too: much for a busy proxy, and whoever takes them leaves others half."""
HEADER_MAX_S = 10.0
"""How long a connection may wait before the header of a request is complete, from its beginning or from the answer
before: a client that says nothing, or dribbles a header (slow loris, CVE-2007-6750), holds a descriptor no longer.
"""
SHUTDOWN_MAX_S = 2.0
"""How long open requests may take to end when the process is told to stop."""
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


class _Connection(asyncio.Protocol):
    """A connection on its way to aiohttp, if neither the process nor its address has too many; counted while open."""

    def __init__(self, server: web.Server, addresses: Counter[str]) -> None:
        self._server = server
        self._addresses = addresses
        self._inner: asyncio.Protocol | None = None
        self._address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._address = (transport.get_extra_info("peername") or [""])[0]
        full = self._addresses.total() >= CONNECTIONS_MAX
        if full or self._addresses[self._address] >= CONNECTIONS_PER_ADDRESS_MAX:
            transport.close()
            return
        self._addresses[self._address] += 1
        self._inner = self._server()
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._inner is not None:
            self._addresses[self._address] -= 1
            if not self._addresses[self._address]:
                del self._addresses[self._address]
            self._inner.connection_lost(exc)


def make_runner(app: web.Application) -> web.AppRunner:
    """A runner of an application. It closes connections that hold their request back, at first or after an answer."""
    return web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_MAX_S,
        keepalive_timeout=HEADER_MAX_S,
    )


async def listen(runner: web.AppRunner, host: str, port: int) -> asyncio.Server:
    """Serve a set-up runner on an address, with bounds on open connections. Raises OSError if the address is taken."""
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    addresses: Counter[str] = Counter()
    accept: Callable[[], asyncio.BaseProtocol] = lambda: _Connection(server, addresses)  # noqa: E731 (a factory, no story)
    return await asyncio.get_running_loop().create_server(accept, host, port, backlog=512, reuse_address=True)
