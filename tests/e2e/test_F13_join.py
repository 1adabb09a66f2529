"""A member whose disk is lost joins again by snapshot from several members, liars among them, and follows the chain."""
# ruff: noqa: ASYNC110 (tests ask until it is so)

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.genesis import Consortium as Document
from ledger.codec import decode, encode
from ledger.snapshot import Manifest, pack_chunk
from node.home import genesis_json
from node.storage.reader import LedgerReader
from node.storage.snapshots import Snapshots
from node.testnet.make import Testnet, TestnetPlan, example_drivers, make_testnet
from tests.e2e.test_core_testnet import NODES, Cores

DRIVERS = 12_000
"""Wallets of some megabytes, so that a snapshot has several chunks."""
EVERY = 8
VALID_MS = 5_000
"""Of payments."""


class Consortium(Cores):
    """Four cores with many wallets."""

    def __init__(self, folder: Path, drivers: int = DRIVERS, prepare: Callable[[Testnet], None] | None = None) -> None:
        plan = TestnetPlan(nodes=4, base_port=0, drivers=example_drivers(drivers), log_format="json")
        self.net = make_testnet(folder, plan)
        if prepare:
            prepare(self.net)
        self.genesis = self.net.home(NODES[0]).genesis()
        self.folder = folder
        self.processes = {}

    def snapshots(self, name: str) -> Snapshots:
        """Of a member."""
        return Snapshots(self.net.home(name).snapshots)

    def height(self, name: str) -> int:
        """Of a member's store."""
        with self.reading(name) as snapshot:
            return snapshot.height

    def first_block(self, name: str) -> int:
        """First block of a member's store."""
        with self.reading(name) as snapshot:
            return snapshot.first_block

    def reading(self, name: str) -> Any:
        """A snapshot of a member's store."""
        return Reading(self.net.home(name).ledger)

    def lines(self, name: str, event: str) -> list[dict[str, Any]]:
        """A member's log lines of one kind."""
        lines = (json.loads(line) for line in self.log(name).splitlines() if line.startswith("{"))
        return [line for line in lines if line["event"] == event]

    async def seal(self, blocks: int, first: int = 0) -> None:
        """Blocks of a payment each."""
        client = await self.client("SGCC", 40)
        heights = client.sealed()
        height = await anext(heights)
        for number in range(blocks):
            assert await client.submit([self.payment(first + number, valid_until_ms=now_ms() + VALID_MS)]) == [("", "")]
            async with asyncio.timeout(20):
                while height >= (height := await anext(heights)):
                    pass
        await client.close()


def now_ms() -> int:
    """Wall clock."""
    return time.time_ns() // 1_000_000


class Reading:
    """A store opened for one look."""

    def __init__(self, path: Path) -> None:
        self.reader = LedgerReader(path, 4 << 30)
        self.snapshot = self.reader.snapshot()

    def __enter__(self) -> Any:
        return self.snapshot.__enter__()

    def __exit__(self, *error: object) -> None:
        self.snapshot.__exit__(None, None, None)
        self.reader.close()


@pytest.fixture
def consortium(tmp_path, monkeypatch):
    """Four running cores; snapshots are made on demand."""
    monkeypatch.setenv("PILECHAIN_STORE__SNAPSHOT_EVERY", "0")
    with Consortium(tmp_path / "net").running() as running:
        yield running


async def until(condition: Any, timeout_s: float = 30) -> None:
    """Wait for something that another process does."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.05)


def forge_chunks(snapshots: Snapshots, height: int) -> None:
    """Give everybody in every chunk another value."""
    for path in (snapshots.path / str(height)).glob("chunk-*"):
        entries = decode(tuple[tuple[bytes, bytes], ...], zlib.decompress(path.read_bytes()))
        path.write_bytes(pack_chunk([(key, value[::-1]) for key, value in entries]))


def forge_manifest(snapshots: Snapshots, height: int) -> None:
    """Promise another state."""
    path = snapshots.path / str(height) / "manifest"
    manifest = decode(Manifest, path.read_bytes())
    path.write_bytes(encode(replace(manifest, roots=manifest.roots[32:] + manifest.roots[:32])))


async def test_F13_a_member_joins_by_snapshot_from_liars_and_one_honest_donor_and_follows_on(consortium, monkeypatch):
    await consortium.seal(EVERY)
    donors = [name for name in NODES if name != "Teld"]
    heights: list[int] = []
    for _ in range(5):  # a company's own duties may make a block between two
        heights = [json.loads(command(consortium, name, 0, "snapshot", "create"))["height"] for name in donors]
        if len(set(heights)) == 1:
            break
    height = heights[0]
    assert set(heights) == {height}
    consortium.kill("Teld")
    shutil.rmtree(consortium.net.home("Teld").root / "data")
    forge_chunks(consortium.snapshots("SGCC"), height)
    forge_manifest(consortium.snapshots("StarCharge"), height)

    monkeypatch.setenv("PILECHAIN_STORE__JOIN", "snapshot")
    honest = consortium.processes["Potevio"]
    honest.send_signal(
        signal.SIGSTOP
    )  # else a liar that answers late is never asked, and has nothing to be dropped for
    consortium.start("Teld")
    await until(lambda: len(consortium.lines("Teld", "donor_dropped")) == 2)
    honest.send_signal(signal.SIGCONT)
    await consortium.seal(4, first=100)
    await until(lambda: consortium.lines("Teld", "joined"))
    await consortium.seal(2, first=200)
    target = consortium.height("Potevio")
    await until(lambda: consortium.height("Teld") >= target)

    [joined] = consortium.lines("Teld", "joined")
    assert joined["height"] == height
    dropped = {line["donor"]: line["code"] for line in consortium.lines("Teld", "donor_dropped")}
    assert dropped == {"SGCC": "chunk-forged", "StarCharge": "snapshot-root"}
    with consortium.reading("Teld") as ours, consortium.reading("Potevio") as theirs:
        for above in range(height + 1, target + 1):
            assert ours.result(above) == theirs.result(above)
        assert ours.transactions(1) == theirs.transactions(1), "the replay window's blocks are here"
    assert consortium.lines("Teld", "votes_forgotten"), "it may have voted before, so it observes"
    assert consortium.stop() == [0, 0, 0, 0]
    verified = json.loads(command(consortium, "Teld", 0, "verify"))
    assert verified["first_linked"] == verified["first_transactions"] == 1, "the window reaches back to the beginning"
    assert (verified["height"], verified["first_receipts"]) == (consortium.height("Teld"), height + 1)
    assert command(consortium, "Potevio", 0, "snapshot", "verify", str(height))
    assert "chunk-forged" in command(consortium, "SGCC", 4, "snapshot", "verify", str(height))
    made = json.loads(command(consortium, "Teld", 0, "snapshot", "create"))
    assert made["height"] == consortium.height("Teld")
    [newest, *_] = json.loads(command(consortium, "Teld", 0, "snapshot", "list"))
    assert newest["height"] == made["height"]


def command(consortium: Consortium, name: str, status: int, *arguments: str) -> str:
    """What a command prints: to standard output if it succeeds."""
    words = [sys.executable, "-m", "node", *arguments, "--home", str(consortium.net.home(name).root), "-o", "json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


def shorten(net: Testnet) -> None:
    """A genesis document whose records are valid for seconds, so that blocks may be pruned while a test waits."""
    home = net.home(NODES[0])
    genesis = home.genesis()
    times = {"expiry_max_ms": VALID_MS + 4_000, "device_expiry_max_ms": VALID_MS + 4_000, "idle_interval_ms": 1_000}
    parameters = replace(genesis.parameters, **times)
    short = replace(genesis, parameters=parameters)
    document = genesis_json(short, decode(Document, genesis.consortium))
    for name in NODES:
        net.home(name).genesis_file.write_text(document, encoding="utf-8")


@pytest.mark.long
async def test_F13_a_member_behind_the_horizon_of_all_others_joins_again_by_snapshot(tmp_path, monkeypatch):
    monkeypatch.setenv("PILECHAIN_STORE__SNAPSHOT_EVERY", str(EVERY))
    monkeypatch.setenv("PILECHAIN_STORE__KEEP_BLOCKS", "6")
    with Consortium(tmp_path / "net", drivers=20, prepare=shorten).running() as made:
        await (await made.client("Teld", 40)).close()  # it has made its store
        await until(lambda: made.height("Teld") >= 2)  # of empty blocks, one a second
        made.kill("Teld")
        donors = [name for name in NODES if name != "Teld"]
        await until(lambda: all(made.first_block(name) > 5 for name in donors), 90)
        made.start("Teld")
        assert await asyncio.to_thread(made.processes["Teld"].wait, 30) == 2
        assert "history-pruned" in made.log("Teld"), "an archive is not given up unasked"
        monkeypatch.setenv("PILECHAIN_STORE__JOIN", "snapshot")
        made.start("Teld")
        assert await asyncio.to_thread(made.processes["Teld"].wait, 30) == 75, "to be started again"
        made.start("Teld")
        await until(lambda: made.lines("Teld", "joined"))
        await made.seal(2, first=900)
        target = made.height("SGCC")
        await until(lambda: made.height("Teld") >= target)
        with made.reading("Teld") as ours, made.reading("SGCC") as theirs:
            assert ours.result(target) == theirs.result(target)
            assert theirs.first_block > 5
            assert theirs.sealed(1) is not None, "headers stay"
        assert made.stop() == [0, 0, 0, 0]
