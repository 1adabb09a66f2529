"""Pruning: old bodies go in small commits, what light clients need stays, and the file grows by headers alone."""

from typing import Any

import pytest
from msgspec.structs import replace

from consensus.messages import HistoryBegins, SealedBlocks, decode_message
from ledger.block import check_sealed, header_hash, history_leaf, result_digest
from ledger.errors import ClientError
from ledger.mmr import verify_mmr
from ledger.state_proof import verify_state
from ledger.transaction import decode_transaction
from node.core.performer import Performer
from node.core.pruner import BLOCKS_MAX, Pruner
from node.storage.store import Store
from tests.unit.test_store import GENESIS, STATE, grow, sealed_block

SHORT = replace(GENESIS.parameters, expiry_max_ms=5_000, device_expiry_max_ms=10_000)
"""Blocks of these chains are a second apart."""


@pytest.fixture
def store(tmp_path):
    """A store of forty blocks of two transactions."""
    made = Store(tmp_path / "ledger", GENESIS, STATE, map_bytes=1 << 28)
    grow(made, 40)
    yield made
    made.close()


def horizon(store: Store, keep: int, needed: int = 1_000, parameters: Any = SHORT) -> int:
    """Where a pruner would stop for now."""
    nobody: Any = None
    with store.snapshot() as snapshot:
        return Pruner(store, nobody, keep, lambda: needed, parameters, None).horizon(snapshot)


def prune(store: Store, keep: int) -> int:
    """Prune as far as it goes; in how many commits."""
    commits = 0
    while store.prune(horizon(store, keep), BLOCKS_MAX):
        commits += 1
    return commits


def test_F13_pruning_drops_bodies_and_keeps_what_light_clients_need(store):
    with store.snapshot() as snapshot:
        ids = {height: decode_transaction(snapshot.transactions(height)[0]).id for height in (5, 25)}
    assert prune(store, keep=15) == 4, "small commits"
    with store.snapshot() as snapshot:
        assert (snapshot.first_block, snapshot.first_whole) == (26, 26)
        for absent in (snapshot.transactions, snapshot.receipts, snapshot.changes):
            with pytest.raises(ClientError, match=r"height-pruned.*from 26 on"):
                absent(25)
            assert absent(26)
        assert [snapshot.locate(id_) for id_ in ids.values()] == [None, None]
        root = snapshot.result(40).history_root
        for height in range(1, 40):
            sealed = snapshot.sealed(height)
            assert sealed is not None
            check_sealed(sealed, GENESIS.validators, GENESIS.hash())
            leaf = history_leaf(header_hash(sealed.header), result_digest(sealed.result))
            assert verify_mmr(root, 39, height - 1, leaf, snapshot.prove_history(height))
        assert verify_state(snapshot.state_root, b"\0\0\0\2balance", b"40", snapshot.prove_state(b"\0\0\0\2balance"))
    grow(store, 1)
    assert prune(store, keep=15) == 1


def test_F13_the_horizon_spares_the_young_and_what_snapshots_need(store):
    assert horizon(store, keep=39) == 2
    assert horizon(store, keep=15) == 1 + BLOCKS_MAX, "no more than the next commit takes"
    assert horizon(store, keep=15, needed=4) == 4
    assert horizon(store, keep=15, parameters=GENESIS.parameters) == 1, "a record of a day ago may come again"
    prune(store, keep=1)
    with store.snapshot() as snapshot:
        assert snapshot.first_block == 30, "blocks of the last ten seconds stay, whatever the setting"


def test_F13_a_first_place_in_another_block_is_not_forgotten(store):
    """A record that was sealed twice is known by its first place as long as that block is here."""
    with store.snapshot() as snapshot:
        again = decode_transaction(snapshot.transactions(30)[0])
        place = snapshot.locate(again.id)
    store.write([sealed_block(store, [again])])
    with store.snapshot() as snapshot:
        assert snapshot.locate(again.id) == place
    prune(store, keep=12)
    with store.snapshot() as snapshot:
        assert snapshot.first_block == 30
        assert snapshot.locate(again.id) == place


def test_F13_a_peer_that_asks_for_pruned_blocks_is_told_where_history_begins(store):
    prune(store, keep=15)
    performer: Any = object.__new__(Performer)
    performer._reader = store
    assert decode_message(performer._read_blocks(3, 9)) == HistoryBegins(26)
    assert isinstance(decode_message(performer._read_blocks(26, 30)), SealedBlocks)


def test_F13_a_pruned_stores_file_grows_by_headers_alone(tmp_path):
    """LMDB gives no page back to the system, but uses those again that pruning frees."""
    sizes = []
    store = Store(tmp_path / "ledger", GENESIS, STATE, map_bytes=1 << 28)
    for _ in range(6):
        for _ in range(40):
            with store.snapshot() as snapshot:
                height = snapshot.height + 1
            store.write([sealed_block(store, [], {b"\0\0\0\5key %d" % (height % 20): bytes(20_000)})])
            prune(store, keep=20)
        sizes.append((tmp_path / "ledger" / "data.mdb").stat().st_size)
    store.close()
    per_block = (sizes[-1] - sizes[1]) / 160
    assert per_block < 1_500, "header, result and seal stay; the 20 kB of a block's changes do not add up"
