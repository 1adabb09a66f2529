"""Re-checking a chain: a device's record that was sealed again is found at its first place, and is no fraud."""

import os
import shutil
import tempfile
from types import SimpleNamespace

import pytest

from contracts.codes import Code
from ledger.block import Receipt
from ledger.codec import decode
from ledger.errors import ClientError
from ledger.transaction import ExpiryClass, decode_transaction
from node.cli import verify, verify_part
from node.cli.verify import verify_chain
from node.cli.verify_part import PartVerified
from node.storage.layout import height_key
from node.storage.scratch import clear_scratch, scratch_folder
from node.storage.store import FREE_BYTES_MIN
from tests.device_chain import DeviceChain
from tests.pile_bench import PileBench

MINUTE = 60_000


def device_record(chain: DeviceChain):
    """The newest device's record of a chain, with its place."""
    for height in range(chain.height, 0, -1):
        with chain.store.snapshot() as snapshot:
            for raw in snapshot.transactions(height):
                tx = decode_transaction(raw)
                if tx.body.expiry_class is ExpiryClass.DEVICE:
                    return tx, snapshot.locate(tx.id)
    raise LookupError


@pytest.fixture
def chain(tmp_path):
    """A chain on which a pile began a session."""
    bench = PileBench(tmp_path)
    bench.chain.seal()
    bench.tick(MINUTE)
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.tick(MINUTE, 7_000)
    yield bench.chain
    bench.chain.close()


def test_F07_a_device_record_that_is_sealed_again_keeps_its_first_place_and_receipt(chain):
    """Anybody may replay its public bytes once the replay window has forgotten it."""
    tx, first = device_record(chain)
    [receipt, *_] = chain.seal(tx, at_ms=chain.now_ms + 11 * MINUTE)
    assert receipt.code == Code.COUNTER_STALE
    with chain.store.snapshot() as snapshot:
        place = snapshot.locate(tx.id)
        assert place == first
        assert decode(Receipt, snapshot.receipts(place.height)[place.position]).code == 0
    height = chain.height
    chain.close()
    assert verify_chain(chain.path, chain.genesis, lambda *_: None).height == height


def test_F04_any_other_transaction_that_ran_before_is_a_fraud(chain):
    payment = chain.open("d1", "Pile-1")
    chain.seal(payment)
    chain.seal(payment)
    chain.close()
    with pytest.raises(ClientError, match="ran before"):
        verify_chain(chain.path, chain.genesis, lambda *_: None)


@pytest.fixture
def long_chain(tmp_path, monkeypatch):
    """A chain of twenty blocks, of which verify tells each."""
    monkeypatch.setattr(verify, "PROGRESS_BLOCKS", 1)
    monkeypatch.setattr(verify_part, "PROGRESS_BLOCKS", 1)
    made = DeviceChain(tmp_path / "node", n=4)
    for _ in range(20):
        to = made.genesis.validators.validators[0].company_key
        made.seal(made.call("d0", "money", "pay", to=to, amount_fen=1, memo=0))
    yield made
    made.close()


@pytest.mark.parametrize("begins_at", [1, 4])
def test_F13_verify_says_what_it_could_check_though_the_pruner_passes_it(long_chain, monkeypatch, begins_at):
    """On a node that runs."""
    store = long_chain.store
    monkeypatch.setattr(verify, "LedgerReader", lambda *_: store)
    store.prune(begins_at, 20)

    def progress(height, newest):
        if height == 6:
            store.prune(13, 20)

    found = verify_chain(long_chain.path, long_chain.genesis, progress)
    assert isinstance(found, PartVerified)
    assert (found.height, found.first_linked, found.seals) == (20, 1, 20)
    assert (found.first_transactions, found.first_receipts) == (13, 13)


@pytest.mark.parametrize("database", ["bodies", "receipts"])
@pytest.mark.parametrize("begins_at", [1, 4])
def test_F13_a_block_that_is_lost_behind_the_first_one_is_not_called_pruned(long_chain, database, begins_at):
    store = long_chain.store
    store.prune(begins_at, 20)
    with store._env.begin(write=True) as txn:
        txn.delete(height_key(9), db=store._databases.named[database])
    long_chain.close()
    with pytest.raises(ClientError, match=r"chain-invalid: .*9"):
        verify_chain(long_chain.path, long_chain.genesis, lambda *_: None)


def test_F13_the_scratch_has_the_map_of_the_settings(long_chain):
    """With the default, a ledger that is larger could not be verified on any disk."""
    long_chain.close()
    with pytest.raises(ClientError, match="map-full"):
        verify_chain(long_chain.path, long_chain.genesis, lambda *_: None, 128 * 1024)


def test_F13_the_scratch_is_beside_the_ledger_and_gone_at_the_end(chain, monkeypatch):
    """A container's temporary folder is memory."""
    chain.close()
    data, seen = chain.path.parent, set()
    before = set(data.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    verify_chain(chain.path, chain.genesis, lambda *_: seen.update(data.glob("scratch-*/data.mdb")))
    assert len(seen) == 1
    assert set(data.iterdir()) == before


def test_F13_what_a_crash_left_of_a_scratch_is_removed_and_what_is_in_use_is_not(tmp_path):
    left = tmp_path / "scratch-left"
    left.mkdir()
    (left / "data.mdb").touch()
    with scratch_folder(tmp_path) as first, scratch_folder(tmp_path) as second:
        clear_scratch(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([first, second])
    assert not list(tmp_path.iterdir())


def test_F13_the_scratch_is_a_temporary_folder_where_the_ledger_cannot_be_written_beside(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with scratch_folder(tmp_path) as folder:
        assert folder.parent == type(tmp_path)(tempfile.gettempdir())


def test_F13_verifying_leaves_the_room_that_votes_need(chain, monkeypatch):
    chain.close()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * FREE_BYTES_MIN - 1))
    with pytest.raises(ClientError, match="disk-full"):
        verify_chain(chain.path, chain.genesis, lambda *_: None)
    assert not list(chain.path.parent.glob("scratch-*"))
