"""Drivers of the fleet hear how their sessions end, whichever node tells it."""

import asyncio
from collections.abc import Callable

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from node.demo.traffic import INDEX_MAX, SessionFeed

SETTLED = b'id: 8-0\nevent: settled\ndata: {"event": "settled", "data": {"session": "5e", "energy_wh": 70}}\n\n'


class Node:
    """A node's API, as far as a feed asks: streams that say what they are told to, and the cursors they were asked."""

    def __init__(self, *connections: bytes) -> None:
        self.connections = list(connections)
        self.cursors: list[str] = []

    async def status(self, _: web.Request) -> web.Response:
        """Its height."""
        return web.json_response({"height": 7})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """What it says on this connection; after the last one it is silent, and stays connected."""
        self.cursors.append(request.headers["Last-Event-ID"])
        response = web.StreamResponse()
        await response.prepare(request)
        if self.connections:
            await response.write(self.connections.pop(0))
        else:
            await asyncio.Event().wait()
        return response

    async def start(self) -> TestServer:
        """Serve."""
        app = web.Application()
        app.router.add_get("/v1/status", self.status)
        app.router.add_get("/v1/stream/sessions", self.stream)
        server = TestServer(app)
        await server.start_server()
        return server


async def heard(nodes: list[Node], done: Callable[[asyncio.Future], bool]) -> asyncio.Future:
    """The end of session 5e from a feed of these nodes, as far as it is known when it is `done`."""
    servers = [await node.start() for node in nodes]
    async with aiohttp.ClientSession() as session, asyncio.timeout(5):
        feed = SessionFeed(session, [f"127.0.0.1:{server.port}" for server in servers])
        task = asyncio.create_task(feed.run())
        with feed.end_of("5e") as ending:
            while not done(ending):  # noqa: ASYNC110 - the nodes tell nobody what they were asked
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    for server in servers:
        await server.close()
    return ending


async def test_F61_a_node_that_is_up_and_cut_off_keeps_no_driver_waiting():
    """Its stream is open and silent; another node's tells the end."""
    ending = await heard([Node(), Node(SETTLED)], asyncio.Future.done)
    assert (ending.result().event, ending.result().data.energy_wh) == ("settled", 70)


async def test_F61_a_stream_goes_on_where_it_was_lost():
    """The cursor of the last event; before the first, the node's height."""
    node = Node(b"id: 7-3\nevent: opened\n" + b'data: {"event": "opened", "data": {"session": "5e"}}\n\n')
    ending = await heard([node], lambda _: len(node.cursors) == 2)
    assert node.cursors == [f"7-{INDEX_MAX}", "7-3"]
    assert not ending.done(), "opened is no end"


async def test_F61_what_is_no_event_costs_the_connection_alone():
    """The next one goes on."""
    ending = await heard([Node(b"data: {nonsense\n\n", SETTLED)], asyncio.Future.done)
    assert ending.result().event == "settled"
