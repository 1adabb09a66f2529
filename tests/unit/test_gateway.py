"""What a gateway makes of the broker's word, and what its proofs cost."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from devices.mqtt import MqttSettings
from devices.wire import Archived, Head, Refused, decode_down
from ledger.block import Header, SealedHeader
from ledger.codec import decode, encode
from ledger.transaction import transaction_leaf
from node.clock import ChainClock
from node.edge import blocks
from node.gateway import proofs as gateway_proofs
from node.gateway.archive import Archive
from node.gateway.gateway import Gateway
from node.gateway.serve import Storing
from tests.consortium import signer
from tests.device_chain import Core, DeviceChain
from tests.unit.test_readings import batch
from tests.unit.test_readings import chain as readings_chain


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[DeviceChain]:
    """Three blocks."""
    made = DeviceChain(tmp_path, tuple(f"Pile-{at}" for at in range(20)), drivers=20)
    for _ in range(3):
        made.seal()
    yield made
    made.close()


def gateway_of(chain: DeviceChain, folder: Path) -> Gateway:
    """A gateway that is not connected."""
    archive, mqtt = Archive(folder / "readings.sqlite"), MqttSettings("127.0.0.1", 1, "gateway")
    core = Core(chain)
    return Gateway("SGCC", chain.store, core, archive, signer("archive SGCC"), ChainClock(), mqtt)  # type: ignore[arg-type]


def sealed_at(chain: DeviceChain, height: int) -> SealedHeader:
    """A sealed header of the chain."""
    with chain.store.snapshot() as snapshot:
        found = snapshot.sealed(height)
    assert found is not None
    return found


def test_F40_no_forged_head_at_the_broker_silences_a_gateway(chain: DeviceChain, tmp_path: Path):
    gateway = gateway_of(chain, tmp_path)
    true = sealed_at(chain, 2)
    header = decode(Header, true.header)
    future = structs.replace(header, time_ms=2**62)
    beyond = structs.replace(future, height=99)
    lies = [
        SealedHeader(encode(future), true.result, ()),
        SealedHeader(encode(future), true.result, true.seal),
        SealedHeader(encode(beyond), true.result, true.seal),
        SealedHeader(encode(structs.replace(header, height=0)), true.result, true.seal),
        SealedHeader(true.header, true.result, ()),
        SealedHeader(b"", true.result, true.seal),
    ]
    for lie in lies:
        gateway._see_head(encode(Head(lie)))
        assert gateway._head_ms == 0
    gateway._see_head(encode(Head(true)))
    assert gateway._head_ms == header.time_ms
    gateway._see_head(encode(Head(sealed_at(chain, 1))))
    assert gateway._head_ms == header.time_ms, "an older one changes nothing"


def test_F40_the_proofs_of_a_block_build_its_trees_once(chain: DeviceChain, monkeypatch: pytest.MonkeyPatch):
    opens = [chain.open(f"d{at}", f"Pile-{at}") for at in range(20)]
    chain.seal(*opens)
    hashed = []

    def counted(raw: bytes) -> bytes:
        hashed.append(raw)
        return leaf(raw)

    leaf = transaction_leaf
    monkeypatch.setattr(blocks, "transaction_leaf", counted)
    with chain.store.snapshot() as snapshot:
        for tx in opens:
            assert gateway_proofs.prove_receipt(snapshot, chain.blocks, tx.id)
    assert len(hashed) == 20


def test_F40_a_flooding_device_is_told_once(chain: DeviceChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gateway = gateway_of(chain, tmp_path)
    told: list[bytes] = []
    monkeypatch.setattr(gateway._link, "publish", lambda topic, data, retain=False: told.append(data))
    with chain.store.snapshot() as snapshot:
        for _ in range(1_000):
            gateway._serve_one(snapshot, "Pile-1", b"nonsense")
    codes = [getattr(decode_down(data), "code", "") for data in told]
    assert codes.count("device-too-fast") == 1


async def test_F13_an_archive_without_room_ends_no_gateway_and_its_piles_are_told(
    chain: DeviceChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    gateway = gateway_of(chain, tmp_path)
    told: asyncio.Queue[bytes] = asyncio.Queue()
    monkeypatch.setattr(gateway._link, "publish", lambda topic, data, retain=False: told.put_nowait(data))
    gateway._archive._db.execute("PRAGMA max_page_count = 1")  # never below what there is
    storing = asyncio.create_task(gateway._store())
    long = batch(readings_chain(500))
    for message_id in (7, 8):
        gateway._storings.put_nowait(Storing("Pile-1", message_id, long))
        refused = decode_down(await asyncio.wait_for(told.get(), 10))
        assert isinstance(refused, Refused)
        assert (refused.message_id, refused.code) == (message_id, "archive-full")
    gateway._archive._db.execute("PRAGMA max_page_count = 100000")
    gateway._storings.put_nowait(Storing("Pile-1", 9, long))
    assert isinstance(decode_down(await asyncio.wait_for(told.get(), 10)), Archived)
    storing.cancel()
