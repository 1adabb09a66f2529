"""A core whose disk runs full stops voting, answers, and goes on when there is room; the others do not wait for it."""

import asyncio
import errno
import os
import subprocess
import sys

import pytest

from consensus.messages import FetchBlocks, Own, SealedBlocks, Status, decode_message
from contracts.genesis import genesis_state
from ledger.codec import encode
from ledger.errors import OurError
from node import supervisor as supervisor_module
from node.core import disk_watch
from node.core import process as core_module
from node.core.process import Core
from node.core.vote_keys import next_vote_key
from node.ipc.socket import CoreClient
from node.storage.store import Store, StoreFullError
from node.supervisor import Supervisor, parts_of
from node.testnet.make import TestnetPlan, example_drivers, make_testnet
from tests.e2e.test_core_testnet import NODES, Cores


class CoresInside(Cores):
    """Four cores in this process, so that a test can take the disk away from one of them."""

    def __init__(self, folder, disks=()):
        """Those that `disks` names keep their log on another disk."""
        self.net = make_testnet(folder, TestnetPlan(nodes=4, base_port=0, drivers=example_drivers(20)))
        self.genesis = self.net.home(NODES[0]).genesis()
        for name in disks:
            self.net.home(name).wal.parent.mkdir(exist_ok=True)
            self.net.home(name).wal.symlink_to(disks[name], target_is_directory=True)
        self.cores = {name: Core(self.net.home(name), self.net.home(name).config()) for name in NODES}
        self.runs = {name: asyncio.ensure_future(core.run()) for name, core in self.cores.items()}

    async def stop(self):
        for core in self.cores.values():
            core.stop()
        await asyncio.gather(*self.runs.values())

    def height(self, name):
        return self.cores[name].status()["sealed"]

    async def seal(self, client, number):
        """Submit one payment and wait until this client's node has sealed one more block than before."""
        heights = client.sealed()
        before = await anext(heights)
        assert await client.submit([self.payment(number)]) == [("", "")]
        async with asyncio.timeout(15):
            while await anext(heights) <= before:
                pass


@pytest.fixture
async def cores(tmp_path, monkeypatch):
    """Running cores that look at their disk often."""
    monkeypatch.setattr(core_module, "WATCH_S", 0.05)
    made = CoresInside(tmp_path / "net")
    yield made
    await made.stop()


async def until(condition):
    """Wait for something that another core does."""
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - its store has no event for tests
            await asyncio.sleep(0.02)


async def test_F04_a_core_with_a_full_disk_stops_voting_and_catches_up_when_there_is_room(cores, monkeypatch):
    client, full = await cores.client("SGCC"), cores.cores["Teld"]
    await cores.seal(client, 0)
    await until(lambda: cores.height("Teld") == cores.height("SGCC"))

    def no_room(records):
        raise OSError(errno.ENOSPC, "no space left on device")

    def no_store(sealed):
        raise StoreFullError("no space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(full._wal, "append", no_room)
        disk.setattr(full._store, "write", no_store)
        disk.setattr(full._store, "shortage", lambda: "no room")
        await until(lambda: full.status()["disk_full"])
        height = cores.height("Teld")
        for number in range(1, 6):
            await cores.seal(client, number)
        assert cores.height("Teld") == height
        other = await CoreClient.connect(cores.net.home("Teld").socket)
        assert (await other.status())["disk_full"]
    await until(lambda: cores.height("Teld") == cores.height("SGCC"))
    assert not full.status()["disk_full"]
    await cores.seal(other, 9)
    await client.close()
    await other.close()


async def test_F13_a_core_whose_log_finds_its_disk_really_full_serves_its_peers_and_catches_up(
    small_disk, tmp_path, monkeypatch
):
    """The log waits for room in the middle of a turn; the node answers all that needs no vote. As with a quota, nobody
    sees the want of room before a write meets it, nor while it lasts.
    """
    monkeypatch.setattr(disk_watch, "FREE_BYTES_MIN", 0)
    monkeypatch.setattr(core_module, "WATCH_S", 0.05)
    cores = CoresInside(tmp_path / "net", {"Teld": small_disk.path})
    client, full, peer = await cores.client("SGCC"), cores.cores["Teld"], cores.cores["SGCC"]
    await cores.seal(client, 0)
    await until(lambda: cores.height("Teld") == cores.height("SGCC"))

    small_disk.fill()
    for number in range(1, 20):
        await cores.seal(client, number)
    assert full._performer._held, "a vote waits for room"
    height = cores.height("Teld")
    assert height < cores.height("SGCC")
    with monkeypatch.context() as ears:
        heard = []
        ears.setattr(peer._inbox, "message", lambda name, payload: heard.append((name, decode_message(payload))))
        peer._network.send(("Teld",), encode(FetchBlocks(1, height)), droppable=False)
        for kind in (SealedBlocks, Status):
            await until(lambda kind=kind: any(name == "Teld" and isinstance(said, kind) for name, said in heard))
        assert not any(name == "Teld" and isinstance(said, Own) for name, said in heard)

    small_disk.make_room()
    await until(lambda: cores.height("Teld") == cores.height("SGCC"))
    other = await cores.client("Teld")
    await cores.seal(other, 99)
    assert not full.status()["disk_full"]
    await client.close()
    await other.close()
    await cores.stop()


async def test_F13_a_core_that_finds_no_room_at_its_start_is_started_again_until_it_does(
    small_disk, tmp_path, monkeypatch
):
    """A power cut while the disk is full: whoever makes room later need not know of this node."""
    monkeypatch.setattr(supervisor_module, "BACK_OFF_S", (0.05,))
    net = make_testnet(tmp_path / "net", TestnetPlan(nodes=4, base_port=0))
    home = net.home("Teld")
    home.wal.parent.mkdir(exist_ok=True)
    home.wal.symlink_to(small_disk.path, target_is_directory=True)
    small_disk.fill()
    await comes_up_when_there_is_room(home, small_disk, tmp_path)


@pytest.mark.parametrize("small_disk", ["24m"], indirect=True)
async def test_F13_a_core_whose_next_vote_key_waits_is_started_again_as_well_until_there_is_room(
    small_disk, tmp_path, monkeypatch
):
    """As that of every member that votes: its mark is written before the log is opened."""
    monkeypatch.setattr(supervisor_module, "BACK_OFF_S", (0.05,))
    home = make_testnet(small_disk.path / "net", TestnetPlan(nodes=4, base_port=0)).home("Teld")
    config, genesis = home.config(), home.genesis()
    Store(home.ledger, genesis, genesis_state(genesis), config.store.map_bytes).close()
    next_vote_key(home.path(config.keys.vote), home.passphrase(config))
    small_disk.fill()
    await comes_up_when_there_is_room(home, small_disk, tmp_path)


async def comes_up_when_there_is_room(home, small_disk, tmp_path):
    """A core that finds its disk full is started more often than one that dies of something else."""
    supervisor = Supervisor(home, parts_of(home, "core"), tmp_path)
    running = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(60):
        while supervisor.restarts <= supervisor_module.QUICK_DEATHS_MAX:  # noqa: ASYNC110 - processes tell nobody
            await asyncio.sleep(0.05)
    assert not home.socket.exists()
    small_disk.make_room()
    await until(home.socket.exists)
    supervisor.stop()
    await asyncio.wait_for(running, 15)
    (log,) = tmp_path.glob("*-core.log")
    assert "disk-full" in log.read_text()


def test_F13_a_core_whose_map_is_too_small_for_its_first_state_is_not_started_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PILECHAIN_STORE__MAP_BYTES", str(1 << 20))
    plan = TestnetPlan(nodes=4, base_port=0, drivers=example_drivers(4_000))
    home = make_testnet(tmp_path / "net", plan).home("Teld")
    arguments = [sys.executable, "-m", "node.core", "--home", str(home.root)]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ended.returncode == supervisor_module.EXIT_SETTINGS
    assert "map-full" in ended.stderr


async def test_F04_a_core_whose_fsync_fails_halts_and_the_others_go_on(cores, monkeypatch):
    client = await cores.client("SGCC")
    await cores.seal(client, 0)
    broken = cores.cores["Teld"]._wal._file
    real = os.fdatasync

    def fdatasync(file):
        if file == broken:
            raise OSError(errno.EIO, "input/output error")
        real(file)

    monkeypatch.setattr("node.storage.wal.os.fdatasync", fdatasync)
    for number in range(1, 4):
        await cores.seal(client, number)
    with pytest.raises(OurError, match="fsync-failed"):
        await asyncio.wait_for(cores.runs.pop("Teld"), 5)
    await cores.seal(client, 9)
    await client.close()
