"""Faults while payments flow, on four real nodes under supervision: the primary dies, an edge process stands still."""

import asyncio
import os
import signal
import time

import pytest

from bench.load import sign_payment
from contracts import views
from ledger.block import Receipt
from ledger.codec import decode
from ledger.errors import ClientError
from ledger.keys import SoftSigner
from ledger.transaction import decode_transaction
from node.ipc.socket import CoreClient
from node.ipc.status import core_status
from node.storage.reader import LedgerReader
from node.testnet.consortium import Driver
from node.testnet.make import Testnet, TestnetPlan, make_testnet
from node.testnet.run import running, until_ready

pytestmark = pytest.mark.asyncio
OPERATORS = ("SGCC", "Teld", "Potevio", "StarCharge")
PAYERS = 8
"""Each pays one by one, waiting for every sealed receipt, and always to the same payee."""
GO_ON_S_MAX = 20.0
"""Two view time-outs on a loaded machine; not a measure of speed."""
LOOK_S = 0.05


class Payer:
    """A client of whichever node answers, who counts a payment only when it has read its sealed receipt."""

    def __init__(self, testnet: Testnet, number: int, chain_id: bytes, payee: bytes) -> None:
        self.homes = [testnet.home(company) for company in OPERATORS]
        self.key: SoftSigner = testnet.signer("driver", f"payer {number}")
        self.number, self.chain_id, self.payee = number, chain_id, payee
        self.acknowledged: list[bytes] = []
        self.seals: list[float] = []

    async def run(self, readers: list[LedgerReader], stop: asyncio.Event) -> None:
        """Pay until told to stop."""
        count = 0
        while not stop.is_set():
            count += 1
            raw = sign_payment(self.key, self.payee, 1, self.chain_id, count)
            await self._until_sealed(raw, readers)
            self.acknowledged.append(decode_transaction(raw).id)
            self.seals.append(time.monotonic())

    async def _until_sealed(self, raw: bytes, readers: list[LedgerReader]) -> None:
        """The same bytes may be submitted again and again: they run once."""
        id_, attempt = decode_transaction(raw).id, self.number
        while True:
            node = attempt % len(self.homes)
            attempt += 1
            try:
                client = await CoreClient.connect(self.homes[node].socket)
                await client.submit([raw])
                async with asyncio.timeout(4):
                    async for _ in client.sealed():
                        with readers[node].snapshot() as snapshot:
                            if place := snapshot.locate(id_):
                                assert decode(Receipt, snapshot.receipts(place.height)[place.position]).code == 0
                                await client.close()
                                return
            except (OSError, TimeoutError):
                await asyncio.sleep(LOOK_S)  # that node is down or behind: ask the next


class Town:
    """The running network with its payers."""

    def __init__(self, testnet: Testnet, supervisors: dict) -> None:
        self.testnet, self.supervisors = testnet, supervisors
        self.readers = [LedgerReader(testnet.home(company).ledger) for company in OPERATORS]
        chain_id = testnet.home("SGCC").genesis().hash()
        self.payee = testnet.signer("driver", "payee").public_key
        self.payers = [Payer(testnet, number, chain_id, self.payee) for number in range(PAYERS)]

    @property
    def sealed(self) -> int:
        """Payments that clients hold receipts of."""
        return sum(len(payer.acknowledged) for payer in self.payers)

    async def until_sealed(self, count: int) -> float:
        """Return the seconds until so many more were acknowledged."""
        begun, goal = time.monotonic(), self.sealed + count
        async with asyncio.timeout(GO_ON_S_MAX):
            while self.sealed < goal:  # noqa: ASYNC110 - payers are many, their progress is what is looked at
                await asyncio.sleep(LOOK_S)
        return time.monotonic() - begun

    async def settle(self) -> None:
        """All nodes at one height or later; every acknowledged payment on each of them, run once; the books agree."""
        goal = max(self._heights())
        async with asyncio.timeout(GO_ON_S_MAX):
            while min(self._heights()) < goal:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
        acknowledged = [id_ for payer in self.payers for id_ in payer.acknowledged]
        roots = set()
        for reader in self.readers:
            with reader.snapshot() as snapshot:
                assert all(snapshot.locate(id_) for id_ in acknowledged)
                roots.add(snapshot.result(goal).state_root)
                wallet = views.wallet(snapshot, self.payee)
                assert wallet is not None
                assert wallet.balance_fen == len(acknowledged)
                assert views.balances_sum_fen(snapshot) == 0
        assert len(roots) == 1

    def _heights(self) -> list[int]:
        heights = []
        for reader in self.readers:
            with reader.snapshot() as snapshot:
                heights.append(snapshot.height)
        return heights

    def close(self) -> None:
        """Close the stores."""
        for reader in self.readers:
            reader.close()


@pytest.fixture
async def town(tmp_path):
    drivers = (*(Driver(f"payer {n}", OPERATORS[n % 4], 1_000_000) for n in range(PAYERS)), Driver("payee", "SGCC", 0))
    testnet = make_testnet(tmp_path / "net", TestnetPlan(base_port=0, drivers=drivers))
    async with running(testnet) as supervisors:
        await until_ready(testnet)
        town = Town(testnet, supervisors)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for payer in town.payers:
                group.create_task(payer.run(town.readers, stop))
            try:
                yield town
            finally:
                stop.set()
        await town.settle()
        town.close()


async def test_F03_killing_the_primary_under_load_loses_nothing(town):
    await town.until_sealed(40)
    victim = (await core_status(town.testnet.home("SGCC")))["primary"]
    before = town.sealed
    os.kill(town.supervisors[victim].pid("core"), signal.SIGKILL)
    gap_s = await town.until_sealed(40)
    # It comes back by itself, catches up, and votes.
    async with asyncio.timeout(GO_ON_S_MAX):
        while True:
            status = await _status_or_none(town.testnet.home(victim))
            if status and status["voting"] and status["sealed"] >= town._heights()[0] - 1:
                break
            await asyncio.sleep(LOOK_S)
    await town.until_sealed(40)
    print(f"{victim} killed after {before} payments; the next 40 were sealed {gap_s:.1f} s later")


async def test_F55_a_stopped_edge_slows_neither_core_nor_grows_its_store(town):
    await town.until_sealed(40)
    usual_s = await town.until_sealed(100)
    edge = town.supervisors["SGCC"].pid("edge")
    store = town.testnet.home("SGCC").ledger
    size = _allocated_bytes(store)
    os.kill(edge, signal.SIGSTOP)
    try:
        stopped_s = await town.until_sealed(100)
        stopped_growth = _allocated_bytes(store) - size
    finally:
        os.kill(edge, signal.SIGCONT)
    size = _allocated_bytes(store)
    await town.until_sealed(100)
    growth = _allocated_bytes(store) - size
    print(
        f"100 payments: {usual_s:.2f} s and {growth} bytes; edge stopped: {stopped_s:.2f} s and {stopped_growth} bytes"
    )
    assert (await core_status(town.testnet.home("SGCC")))["stale_readers"] == []
    # Pages are given back only while nobody reads old ones: a store that a reader holds grows by megabytes here.
    assert stopped_growth < 8 * 1024 * 1024


async def _status_or_none(home):
    try:
        return await core_status(home)
    except ClientError:  # not up yet
        return None


def _allocated_bytes(store) -> int:
    return sum(file.stat().st_blocks * 512 for file in store.iterdir())
