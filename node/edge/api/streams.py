"""Server-sent events without loss: each carries a cursor, and a subscriber who comes back with it goes on right behind.

A stream reads the sealed blocks of the store, never a queue in memory, so a subscriber may be away for a day. One that
does not read what
it is sent is cut off; its last cursor is in its hands. Nobody waits for it.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import structlog
from aiohttp import web
from prometheus_client import Counter, Gauge

from ledger.errors import ClientError
from ledger.readable import readable
from node.edge.api import parameters, shapes
from node.edge.api.chain import block_summary
from node.edge.api.services import Services
from node.edge.blocks import read_top
from node.edge.session_events import parse_cursor, session_steps

HEARTBEAT_S = 15.0
"""A comment this often keeps proxies from closing an idle stream, and finds subscribers that are gone."""
SLOW_MAX_S = 10.0
"""How long a subscriber's full socket is waited for."""
STREAMS_MAX = 1_000
"""Open streams of one process: a task and two socket buffers each."""
STREAMS_PER_ADDRESS_MAX = 200
"""Of them to one address, our own machine's too: a hundred pages, which open two each."""

_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}

subscribers = Gauge("pilechain_api_stream_subscribers", "Open event streams")
cut_off = Counter("pilechain_api_stream_cut_off", "Streams closed because the subscriber did not read")
log = structlog.get_logger()

Events = Callable[[int], Iterator[tuple[str, str, Any]]]
"""(cursor, event name, data) of each event in the block of a height."""


async def stream_blocks(
    services: Services, request: web.Request, wanted: parameters.BlockStreamParameters
) -> web.StreamResponse:
    """Blocks as they are sealed. Cursor: height."""
    resume = _resume_from(request, r"[0-9]{1,18}")
    after = int(resume) if resume else wanted.after
    height = services.link.height if after is None else after

    def events(at: int) -> Iterator[tuple[str, str, Any]]:
        with services.ledger.snapshot() as snapshot:
            top = read_top(snapshot, at)
        yield str(at), "block", block_summary(services, top)

    return await _stream(services, request, height, events)


async def stream_sessions(
    services: Services, request: web.Request, wanted: parameters.SessionStreamParameters
) -> web.StreamResponse:
    """Steps of sessions as they are sealed: opened, started, settled. Cursor: height-index."""
    cursor = _resume_from(request, r"[0-9]{1,18}-[0-9]{1,9}") or wanted.after
    after = parse_cursor(cursor) if cursor else (services.link.height + 1, -1)

    def events(at: int) -> Iterator[tuple[str, str, Any]]:
        for step in session_steps(services.blocks.get(at)):
            if (step.height, step.index) > after:
                data = shapes.SessionEvent(step.cursor, step.event, step.time_ms, readable(step.data))
                yield step.cursor, step.event, data

    return await _stream(services, request, max(0, after[0] - 1), events)


async def _stream(services: Services, request: web.Request, height: int, events: Events) -> web.StreamResponse:
    """Send the events of every block above `height`, for as long as the subscriber reads."""
    if height > services.link.height:
        raise ClientError(
            "request-invalid", f"the cursor is ahead of the chain, whose height is {services.link.height}"
        )
    if len(services.streams) >= STREAMS_MAX:
        raise ClientError("streams-full", "too many event streams are open on this node")
    address = request.remote or ""
    if list(services.streams.values()).count(address) >= STREAMS_PER_ADDRESS_MAX:
        raise ClientError("streams-full", f"{address} has too many event streams open on this node")
    response = web.StreamResponse(headers=_HEADERS)
    task = asyncio.current_task()
    services.streams[task] = address
    subscribers.inc()
    try:
        await response.prepare(request)
        await _write(response, b": resume with Last-Event-ID\n\n")
        while True:
            height = await _send_up_to(services, response, height, events)
    except TimeoutError:
        cut_off.inc()
        log.info("api.stream.cut_off", peer=request.remote, height=height)
        if request.transport is not None:
            request.transport.abort()  # a graceful close would wait for the very reader who does not read
    except ConnectionError:
        pass  # the subscriber left
    finally:
        services.streams.pop(task, None)
        subscribers.dec()
    return response


async def _send_up_to(services: Services, response: web.StreamResponse, height: int, events: Events) -> int:
    """Send what is sealed above `height`, or a heartbeat if nothing comes; the height reached."""
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            newest = await services.link.wait_above(height)
    except TimeoutError:
        await _write(response, b": heartbeat\n\n")
        return height
    for at in range(height + 1, newest + 1):
        if frames := b"".join(_frame(cursor, name, data) for cursor, name, data in events(at)):
            await _write(response, frames)
        await asyncio.sleep(0)  # whoever has a long way to catch up must not hold the loop
    return newest


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(SLOW_MAX_S):
        await response.write(data)


def _frame(cursor: str, name: str, data: Any) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), name.encode(), msgspec.json.encode(data))


def _resume_from(request: web.Request, form: str) -> str | None:
    """Cursor that a browser sends when it reconnects. Raises ClientError `request-invalid`."""
    cursor = request.headers.get("Last-Event-ID")
    if cursor and not re.fullmatch(form, cursor):
        raise ClientError("request-invalid", f"Last-Event-ID {cursor[:40]!r} is no cursor of this stream")
    return cursor or None
