"""The copy of a ledger while its node writes and prunes: the store at its height, entry by entry."""

from random import Random

import pytest

from node.storage import copy as copy_module
from node.storage.copy import copy_ledger
from node.storage.reader import LedgerReader
from node.storage.scan import check_store
from node.storage.store import Store
from tests.device_chain import DeviceChain, validator_set
from tests.unit.test_store import GENESIS, STATE, grow

MAP_BYTES = 1 << 28


def rows(reader: LedgerReader) -> dict[str, list]:
    """All that a store holds."""
    names = list(reader._databases.named)
    with reader.snapshot() as snapshot:
        return {name: list(snapshot.rows(name)) for name in names}


@pytest.mark.parametrize("chunk_bytes", [1, 300, 1 << 20])
def test_F13_a_copy_that_is_made_while_blocks_are_stored_is_the_store_at_its_height(tmp_path, monkeypatch, chunk_bytes):
    """Entry by entry, in all databases, whenever the blocks came in between."""
    monkeypatch.setattr(copy_module, "CHUNK_BYTES", chunk_bytes)
    store = Store(tmp_path / "ledger", GENESIS, STATE, MAP_BYTES)
    grow(store, 8)
    left = 40

    def pace(size):
        nonlocal left
        if left and size:
            left -= 1
            grow(store, 1)

    head = copy_ledger(store, tmp_path / "copy", MAP_BYTES, pace)
    assert head.tip.height > 8, "blocks came while it was made"
    copy = LedgerReader(tmp_path / "copy", MAP_BYTES)
    reference = Store(tmp_path / "reference", GENESIS, STATE, MAP_BYTES)
    grow(reference, head.tip.height)
    assert rows(copy) == rows(reference)
    check_store(copy)
    for each in (store, copy, reference):
        each.close()


@pytest.mark.parametrize("chunk_bytes", [1, 700, 1 << 20])
@pytest.mark.parametrize("seed", range(2))
def test_F13_a_copy_that_is_made_while_the_pruner_works_has_no_hole(tmp_path, monkeypatch, chunk_bytes, seed):
    """It is the store at its end, entry by entry, however often and whenever blocks came and went in between."""
    monkeypatch.setattr(copy_module, "CHUNK_BYTES", chunk_bytes)
    random = Random(seed)
    store = Store(tmp_path / "ledger", GENESIS, STATE, MAP_BYTES)
    grow(store, 40)
    grown = 0

    def pace(size):
        nonlocal grown
        if not size or grown == 12 or random.random() < 0.6:
            return
        with store.snapshot() as snapshot:
            horizon = min(snapshot.first_block + 5, snapshot.height - 10)
        store.prune(horizon, 8)
        grow(store, 1)
        grown += 1

    copy_ledger(store, tmp_path / "copy", MAP_BYTES, pace)
    copy = Store(tmp_path / "copy", GENESIS, {}, MAP_BYTES)
    with copy.snapshot() as snapshot:
        height, first = snapshot.height, snapshot.first_block
        assert first > 1
        for at in range(first, height + 1):
            assert snapshot.transactions(at)
            assert snapshot.receipts(at)
            assert snapshot.changes(at)
    check_store(copy)
    with store.snapshot() as snapshot:
        grow(copy, snapshot.height - height)  # what came behind the copy's end
    for each in (store, copy):
        while each.prune(height - 3, 8):
            pass
    assert rows(copy) == rows(store), "the index of transactions too"
    for each in (store, copy):
        each.close()


def test_F13_a_copy_holds_the_hand_overs(tmp_path):
    """A restored node hands them to whoever joins by a snapshot of it."""
    chain = DeviceChain(tmp_path, n=5)
    chain.seal(next_set=validator_set(chain.names[:4], 1))
    chain.seal(next_set=validator_set(chain.names, 2))
    copy_ledger(chain.store, tmp_path / "copy", 1 << 30, lambda size: None)
    copy = LedgerReader(tmp_path / "copy", 1 << 30)
    assert rows(copy) == rows(chain.store)
    with copy.snapshot() as snapshot:
        assert list(snapshot.hand_overs()) == [(1, 1), (2, 2)]
    copy.close()
    chain.close()
