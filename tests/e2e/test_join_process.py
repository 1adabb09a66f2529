"""How a join ends: told to stop, by our own bug, or without anything to join by; and whom it takes for a donor."""
# ruff: noqa: ASYNC110 (tests ask until it is so)

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.messages import FetchBlocks, FetchManifest, Message, SealedBlock, SealedBlocks, SnapshotManifest
from consensus.messages import decode_message as decoded
from ledger.codec import decode, encode
from ledger.errors import ClientError
from ledger.genesis import Genesis
from node.core import start
from node.core.complaints import Complaints
from node.core.donor import Donor
from node.core.process import tls_contexts
from node.join import plan
from node.join.process import Joining, log
from node.network.tls import client_context, make_node_certificate, server_context
from node.network.transport import PeerNetwork
from node.storage import store
from node.storage.layout import DATA_FILE
from node.storage.reader import LedgerReader
from node.testnet.make import AUTHORITY, Testnet, TestnetPlan, free_ports, make_testnet
from tests.device_chain import DeviceChain
from tests.e2e.test_core_testnet import Cores
from tests.unit.test_rebuild import MINUTE_MS, Pieces
from tests.unit.test_snapshot import make_small

Answer = Callable[[Any], Message | None]


class Peer:
    """SGCC with a node key that the genesis document does not name, and whatever answers a test gives it."""

    def __init__(self, net: Testnet, genesis: Genesis, answer: Answer) -> None:
        folder, authority = net.root / "renewed", net.root / AUTHORITY
        folder.mkdir(exist_ok=True)
        ca, ca_key = (authority / "ca.pem").read_bytes(), (authority / "ca_key.pem").read_bytes()
        certificate, key = make_node_certificate("SGCC", ca, ca_key, b"secret")
        (folder / "node.pem").write_bytes(certificate)
        (folder / "key.pem").write_bytes(key)
        (folder / "key.pem").chmod(0o600)
        files = authority / "ca.pem", folder / "node.pem", folder / "key.pem", b"secret"
        contexts = server_context(*files), client_context(*files)
        self.answer = answer
        self.delay_s = 0.0
        self.asked: list[Any] = []
        self.network = PeerNetwork("SGCC", genesis.hash(), lambda key: "Teld", contexts, self, Complaints(log))
        self.port = free_ports(1)[0]

    def peer_up(self, peer: str) -> None: ...

    def peer_down(self, peer: str) -> None: ...

    def message(self, peer: str, payload: bytes) -> None:
        self.network.handled(peer)
        self.asked.append(decoded(payload))
        answer = self.answer(self.asked[-1])
        if answer is not None:
            send = partial(self.network.send, (peer,), encode(answer), droppable=False)
            asyncio.get_running_loop().call_later(self.delay_s, send)


class World:
    """A home of Teld that is to join from that peer alone."""

    def __init__(self, folder: Path, answer: Answer, genesis: Genesis | None = None) -> None:
        self.net = make_testnet(folder / "net", TestnetPlan(nodes=4, base_port=0))
        self.home = self.net.home("Teld")
        self.genesis = genesis or self.home.genesis()
        self.peer = Peer(self.net, self.genesis, answer)
        self.config = self.home.config({"p2p.peers": {"SGCC": f"127.0.0.1:{self.peer.port}"}, "store.join": "snapshot"})

    def joining(self) -> Joining:
        contexts = tls_contexts(self.home, self.config, self.home.passphrase(self.config))
        return Joining(self.home, self.config, self.genesis, contexts)

    async def __aenter__(self) -> "World":
        self.peer.network.start(("127.0.0.1", self.peer.port))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.peer.network.stop()


def nothing(asked: Any) -> Message | None:
    """A peer without a snapshot."""
    return SnapshotManifest(None) if isinstance(asked, FetchManifest) else None


async def test_F13_a_peer_whose_key_is_not_in_genesis_is_a_donor(tmp_path):
    async with World(tmp_path, nothing) as world, asyncio.timeout(20):
        assert not await world.joining().run()
        assert world.peer.asked


async def test_F13_a_node_that_is_to_rejoin_is_not_started_again_and_again_where_nobody_has_a_snapshot(tmp_path):
    async with World(tmp_path, nothing) as world, asyncio.timeout(20):
        await start._join(world.home, world.config)  # a young chain: it begins with the first block
        world.home.ledger.mkdir()
        world.home.rejoin.touch()  # its peers have told it that they have pruned that
        with pytest.raises(ClientError, match=r"store\.snapshot_every") as caught:
            await start._join(world.home, world.config)
        assert caught.value.code == "history-pruned"
        assert world.home.rejoin.exists(), "the next start tries again"


async def test_F13_our_own_bug_ends_a_join_loudly(tmp_path):
    async with World(tmp_path, lambda asked: None) as world, asyncio.timeout(20):
        join = asyncio.ensure_future(world.joining().run())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            await join


def test_F13_a_node_that_is_told_to_stop_while_it_joins_ends_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("PILECHAIN_STORE__JOIN", "snapshot")
    cores = Cores(tmp_path / "net")
    cores.start("Teld")
    try:
        end = time.monotonic() + 20
        while "join_started" not in cores.log("Teld"):
            assert time.monotonic() < end, cores.log("Teld")
            time.sleep(0.02)
        assert cores.stop() == [0]
        assert "join_stopped" in cores.log("Teld")
    finally:
        cores.kill("Teld")


@pytest.fixture
def pieces(tmp_path, monkeypatch) -> Iterator[Pieces]:
    """A snapshot of six chunks and twelve blocks."""
    make_small(monkeypatch)
    chain = DeviceChain(tmp_path / "donor", n=5)
    for _ in range(12):
        tx = chain.call(
            "d0", "money", "pay", to=chain.genesis.validators.validators[0].company_key, amount_fen=1, memo=0
        )
        chain.seal(tx, at_ms=chain.now_ms + MINUTE_MS)
    yield Pieces(chain, tmp_path)
    chain.close()


def donor_of(pieces: Pieces, pieces_max: int) -> Answer:
    """Answers with so many pieces at most, and is mute then."""
    nobody: Any = None
    donor = Donor(pieces.chain.store, pieces.snapshots, nobody, nobody, nobody)
    left = [pieces_max]

    def answer(asked: Any) -> Message | None:
        if isinstance(asked, FetchManifest):
            return decoded(donor.answer(asked))
        left[0] -= 1
        if left[0] < 0:
            return None
        if isinstance(asked, FetchBlocks):
            blocks = [decode(SealedBlock, pieces.block(height)) for height in range(asked.first, asked.last + 1)]
            return SealedBlocks(tuple(blocks), ())
        return decoded(donor.answer(asked))

    return answer


def slow_down(joining: Joining, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let it take a tenth of a second to read a piece; the pieces that are read."""
    read, reads = joining._read, list[Path]()

    def slowly(path: Path) -> bytes:
        reads.append(path)
        time.sleep(0.1)
        return read(path)

    monkeypatch.setattr(joining, "_read", slowly)
    return reads


async def test_F13_a_stopped_join_goes_on_and_proves_what_is_here_beside_the_loop(tmp_path, pieces, monkeypatch):
    genesis = pieces.chain.genesis
    async with World(tmp_path, donor_of(pieces, 4), genesis) as world, asyncio.timeout(60):
        join = asyncio.ensure_future(world.joining().run())
        while len(world.peer.asked) < 6:
            await asyncio.sleep(0.02)
        join.cancel()
        with suppress(asyncio.CancelledError):
            await join
        assert join.cancelled()
        here = {path.name for path in world.home.joining.iterdir()}
        assert len(here) > 8
        world.peer.answer = donor_of(pieces, 1_000)
        monkeypatch.setattr(plan, "ANSWER_MS", 1_000)  # shorter than the proving: nobody is late because we were busy
        monkeypatch.setattr(plan, "STRIKES_MAX", 1)
        world.peer.delay_s = 0.2

        slow = world.joining()
        slow_down(slow, monkeypatch)
        join = asyncio.ensure_future(slow.run())
        latest, longest_s, asked = time.monotonic(), 0.0, len(world.peer.asked)
        while not join.done():
            await asyncio.sleep(0.005)
            now = time.monotonic()
            latest, longest_s = now, max(longest_s, now - latest)
        assert await join
        assert longest_s < 1, "a dozen reads of a tenth of a second would stop the loop for longer"
        assert len(world.peer.asked) - asked > 2
        reader = LedgerReader(world.home.ledger, 64 << 30)
        with reader.snapshot() as snapshot:
            assert snapshot.height == pieces.height
        reader.close()
        assert not world.home.joining.exists()


async def test_F13_a_node_never_joins_by_what_it_has_already(tmp_path, pieces, monkeypatch):
    async with World(tmp_path, donor_of(pieces, 1_000), pieces.chain.genesis) as world, asyncio.timeout(60):
        assert await world.joining().run()
        world.home.rejoin.touch()
        monkeypatch.setattr(plan, "WAIT_MS", 1)
        inode = (world.home.ledger / DATA_FILE).stat().st_ino
        with pytest.raises(ClientError, match=f"above height {pieces.height}"):
            await world.joining().run()
        assert (world.home.ledger / DATA_FILE).stat().st_ino == inode


async def test_F13_a_join_whose_map_is_too_small_is_not_tried_for_ever(tmp_path, pieces):
    async with World(tmp_path, donor_of(pieces, 1_000), pieces.chain.genesis) as world, asyncio.timeout(60):
        world.config = replace(world.config, store=replace(world.config.store, map_bytes=64 * 1024))
        joining = world.joining()
        with pytest.raises(ClientError, match=r"map-full: .*raise store\.map_bytes"):
            await joining.run()


async def test_F13_a_join_builds_no_store_that_its_disk_has_no_room_for(tmp_path, pieces, monkeypatch):
    async with World(tmp_path, donor_of(pieces, 1_000), pieces.chain.genesis) as world, asyncio.timeout(60):
        joining = world.joining()
        reads = slow_down(joining, monkeypatch)
        monkeypatch.setattr(store, "FREE_BYTES_MIN", 1 << 60)
        with pytest.raises(ClientError, match="disk-full"):
            await joining.run()
        assert reads == []
        assert not world.home.ledger.with_name("ledger.new").exists()
        monkeypatch.undo()
        assert await world.joining().run(), "what was fetched is here when there is room"


async def test_F13_a_stop_while_the_store_is_built_waits_for_the_thread_and_leaves_no_half_store(
    tmp_path, pieces, monkeypatch
):
    async with World(tmp_path, donor_of(pieces, 1_000), pieces.chain.genesis) as world, asyncio.timeout(60):
        joining = world.joining()
        reads = slow_down(joining, monkeypatch)
        join = asyncio.ensure_future(joining.run())
        while not reads:
            await asyncio.sleep(0.01)
        join.cancel()
        with suppress(asyncio.CancelledError):
            await join
        assert join.cancelled()
        at = len(reads)
        await asyncio.sleep(0.3)
        assert len(reads) == at <= 3, "the thread has ended before the join"
        assert not world.home.ledger.exists()
        assert await world.joining().run(), "and what was fetched is here"
