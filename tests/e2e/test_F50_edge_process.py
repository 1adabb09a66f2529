"""The edge as a process of its own: real sockets, a real store, and a core that comes and goes."""

# ruff: noqa: ASYNC110 (tests ask until it is so)
import asyncio
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from ledger.errors import ClientError
from node.config import to_toml
from node.edge import process as edge
from node.home import Home
from node.ipc.socket import IpcServer
from tests.edge_kit import CoreOfTests, GrowingChain, contract_state

ROOT = Path(__file__).resolve().parents[2]
WAIT_MAX_S = 30


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Node:
    """A home folder, an edge process, and core's socket served by the test."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.log = folder / "edge.log"
        self.api, self.ops = free_port(), free_port()
        self.home.config_file.parent.mkdir(parents=True)
        sections = {
            "node": {"company": "SGCC"},
            "api": {"listen": f"127.0.0.1:{self.api}"},
            "ops": {"listen": f"127.0.0.1:{self.ops}"},
        }
        self.home.config_file.write_text(to_toml(sections))

    def make_chain(self) -> None:
        """What core does on its first start."""
        self.chain = GrowingChain(self.home.root / "data", contract_state())
        self.core = CoreOfTests(self.chain)

    async def serve_core(self) -> IpcServer:
        """Core's socket."""
        server = IpcServer(self.core.submit, lambda: {"peers": {}, "connected": ["Teld", "MetroLab"], "view": 0})
        await server.start(self.home.socket)
        server.sealed(self.chain.height)
        return server

    async def get(self, port: int, path: str, status: int = 200):
        """JSON answer, as soon as it has the status."""
        async with asyncio.timeout(WAIT_MAX_S), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                        if answer.status == status:
                            return await answer.json(content_type=None)
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.05)


@asynccontextmanager
async def edge_process(node: Node, *flags: str):
    """The daemon; what it says goes to a file, which does not fill up as a pipe that nobody reads."""
    arguments = [sys.executable, "-m", "node.edge", "--home", str(node.home.root), *flags]
    with node.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(*arguments, cwd=ROOT, stderr=log)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_F50_the_edge_waits_for_its_first_core_survives_its_restart_and_stops_at_once(tmp_path):
    node = Node(tmp_path / "n")
    async with edge_process(node) as process:
        await asyncio.sleep(0.5)  # the edge is up before core has made the store
        node.make_chain()
        server = await node.serve_core()
        assert (await node.get(node.api, "/v1/status"))["height"] == 0
        assert (await node.get(node.ops, "/readyz"))["ready"]

        server.sealed(node.chain.seal(node.chain.transaction()))
        while (await node.get(node.api, "/v1/status"))["indexed_height"] < 1:
            await asyncio.sleep(0.02)

        await server.stop()  # core dies: reads go on
        assert not (await node.get(node.ops, "/readyz", 503))["ready"]
        assert (await node.get(node.api, "/v1/blocks/1"))["summary"]["height"] == 1
        node.chain.seal(node.chain.transaction(salt=1))
        server = await node.serve_core()  # and comes back further on
        while (await node.get(node.api, "/v1/status"))["height"] < 2:
            await asyncio.sleep(0.02)
        assert (await node.get(node.ops, "/readyz"))["ready"]

        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        await server.stop()


async def test_F50_an_indexer_of_its_own_and_no_api(tmp_path):
    node = Node(tmp_path / "n")
    node.make_chain()
    node.chain.seal(node.chain.transaction())
    server = await node.serve_core()
    async with edge_process(node, "--only", "indexer"):
        assert (await node.get(node.ops, "/readyz"))["ready"]
        with pytest.raises(aiohttp.ClientConnectionError):
            async with aiohttp.ClientSession() as session:
                await session.get(f"http://127.0.0.1:{node.api}/v1/status")
    await server.stop()


async def test_F50_a_bad_setting_ends_the_process_with_its_name(tmp_path):
    node = Node(tmp_path / "n")
    node.home.config_file.write_text('[api]\nlisten = "nowhere"\n')
    async with edge_process(node) as process:
        assert await asyncio.wait_for(process.wait(), WAIT_MAX_S) == 2
    assert "api.listen" in node.log.read_text()


async def test_F50_a_taken_port_ends_the_process_loudly(tmp_path):
    node = Node(tmp_path / "n")
    node.make_chain()
    server = await node.serve_core()
    with socket.create_server(("127.0.0.1", node.api)):
        async with edge_process(node) as process:
            assert await asyncio.wait_for(process.wait(), WAIT_MAX_S) == 2
    assert "address-taken" in node.log.read_text()
    await server.stop()


@pytest.mark.parametrize("small_disk", ["24m"], indirect=True)
async def test_F13_an_edge_that_starts_on_a_full_disk_waits_for_room(small_disk, tmp_path):
    node = Node(small_disk.path / "n")
    node.log = tmp_path / "edge.log"
    node.make_chain()
    server = await node.serve_core()
    small_disk.fill()
    async with edge_process(node) as process:
        async with asyncio.timeout(WAIT_MAX_S):
            while "disk_full" not in node.log.read_text():
                assert process.returncode is None, node.log.read_text()
                await asyncio.sleep(0.05)
        small_disk.make_room()
        assert (await node.get(node.api, "/v1/status"))["height"] == 0
    await server.stop()


async def test_F13_the_edge_reads_the_ledger_with_the_map_of_the_settings(tmp_path, monkeypatch):
    """With a smaller one it could not read a file that has outgrown it."""
    node = Node(tmp_path / "n")
    maps = []

    def opened(path, map_bytes):
        maps.append(map_bytes)
        if len(maps) == 1:
            raise ClientError("store-missing", "core has made none yet")
        raise ZeroDivisionError

    node.make_chain()
    server = await node.serve_core()
    monkeypatch.setattr(edge, "LedgerReader", opened)
    with pytest.raises(ZeroDivisionError):
        await edge._serve(node.home, node.home.config({"store.map_bytes": 1 << 40}), frozenset())
    assert maps == [1 << 40] * 2
    await server.stop()
