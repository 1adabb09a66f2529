"""The ledger store: a sealed block is there whole or not at all, readers see one height, proofs hold against the
seal.
"""

import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import lmdb
import pytest

from consensus.effects import StoreSealed
from consensus.head import Head, genesis_head
from ledger.block import (
    Receipt,
    check_sealed,
    history_leaf,
    receipt_leaf,
    receipts_root,
    result_digest,
    verify_receipt,
    verify_transaction,
)
from ledger.codec import encode
from ledger.errors import ClientError, OurError
from ledger.mmr import verify_mmr
from ledger.state_proof import verify_state
from ledger.state_tree import StateTree
from ledger.transaction import decode_transaction
from node.effects import Outcome
from node.storage.layout import STORE_FORMAT
from node.storage.reader import LedgerReader
from node.storage.store import BlockWork, MapFullError, Store
from tests import chain

GENESIS = chain.genesis()
STATE = {b"\0\0\0\2balance": b"100", b"\0\0\0\2other": b"1"}
SIGNERS = chain.vote_signers(4)
ROOT = Path(__file__).resolve().parents[2]


def sealed_block(store: Store, transactions=(), changes=None, head: Head | None = None) -> StoreSealed:
    """The next block on top of a store, as the engine would hand it over."""
    with store.snapshot() as snapshot:
        parent = head or snapshot.head
        change = StateTree(snapshot, snapshot.state_root).apply(changes or {})
    height = parent.tip.height + 1
    block = chain.block(GENESIS, height, transactions, parent.tip.header_hash, parent.tip.branch_heads)
    receipts = tuple(encode(Receipt(tx.id, 0, 5, b"", ())) for tx in block.transactions)
    result = chain.result(GENESIS, block, change.root, receipts, parent.history.root)
    sealed = chain.seal(block, result, SIGNERS, range(3))
    work = BlockWork(tuple(sorted((changes or {}).items())), change.tiles, receipts)
    root = receipts_root([receipt_leaf(raw) for raw in receipts])
    outcome = Outcome(height, block.hash, change.root, root, parent.timeline, work)
    tip = parent.tip.after(block.header_raw, block.header, GENESIS.validators)
    return StoreSealed(block, sealed, outcome, parent.after(tip, result_digest(sealed.result), parent.timeline))


def grow(store: Store, blocks: int) -> None:
    """Store some blocks of two transactions."""
    for _ in range(blocks):
        with store.snapshot() as snapshot:
            height = snapshot.height + 1
        changes = {b"\0\0\0\2balance": str(height).encode(), b"\0\0\0\5session %d" % height: b"open"}
        store.write([sealed_block(store, [chain.transaction(f"{height} {n}") for n in range(2)], changes)])


@pytest.fixture
def store(tmp_path):
    """A new store."""
    made = Store(tmp_path / "ledger", GENESIS, STATE, map_bytes=1 << 28)
    yield made
    made.close()


def test_F04_a_new_store_holds_the_genesis_state(store):
    with store.snapshot() as snapshot:
        assert snapshot.height == 0
        assert snapshot.genesis == GENESIS
        assert snapshot.head == genesis_head(GENESIS)
        assert snapshot.validator_set(GENESIS.validators.hash()) == GENESIS.validators
        assert dict(snapshot.scan(b"")) == STATE
        proof = snapshot.prove_state(b"\0\0\0\2balance")
        assert verify_state(snapshot.state_root, b"\0\0\0\2balance", b"100", proof)


def test_F04_block_state_proof_and_seal_of_a_snapshot_agree(store):
    grow(store, 12)
    with store.snapshot() as snapshot:
        grow(store, 1)  # behind the snapshot's back
        assert snapshot.height == 12
        header, result = check_sealed(snapshot.sealed(12), GENESIS.validators, GENESIS.hash())
        raws, receipts = snapshot.transactions(12), snapshot.receipts(12)
        key = b"\0\0\0\2balance"
        assert snapshot.get(key) == b"12"
        assert verify_state(result.state_root, key, b"12", snapshot.prove_state(key))
        assert verify_state(result.state_root, b"none", None, snapshot.prove_state(b"none"))
        for index, raw in enumerate(raws):
            tx = decode_transaction(raw)
            assert snapshot.locate(tx.id) == (12, index)
            assert verify_transaction(header, tx.leaf, snapshot.prove_transaction(12, index))
            assert verify_receipt(result, receipts[index], snapshot.prove_receipt(12, index))
        for old in range(1, 12):
            old_header, old_result = check_sealed(snapshot.sealed(old), GENESIS.validators, GENESIS.hash())
            leaf = history_leaf(result_of(snapshot, old).header_hash, result_digest(snapshot.sealed(old).result))
            assert (old_header.height, old_result.height) == (old, old)
            assert verify_mmr(result.history_root, 11, old - 1, leaf, snapshot.prove_history(old))
        assert snapshot.locate(bytes(32)) is None
        assert snapshot.sealed(13) is None
        for unknown in (
            lambda: snapshot.transactions(13),
            lambda: snapshot.prove_receipt(12, 2),
            lambda: snapshot.prove_history(12),
        ):
            with pytest.raises(ClientError, match="unknown"):
                unknown()


def result_of(snapshot, height):
    """Result of a block."""
    return snapshot.result(height)


def test_F04_scan_goes_in_key_order_from_anywhere(store):
    grow(store, 3)
    with store.snapshot() as snapshot:
        keys = [key for key, _ in snapshot.scan(b"\0\0\0\5")]
        assert keys == [b"\0\0\0\5session 1", b"\0\0\0\5session 2", b"\0\0\0\5session 3"]
        assert [key for key, _ in snapshot.scan(b"\0\0\0\5", after=keys[0])] == keys[1:]
        assert list(snapshot.scan(b"\0\0\0\7")) == []


def test_F04_queued_blocks_share_a_transaction_and_order_is_checked(store):
    first = sealed_block(store, changes={b"a": b"1"})
    second = sealed_block(store, changes={b"a": b"1"}, head=first.head)
    with pytest.raises(OurError, match="store-order"):
        store.write([second])
    store.write([first, second])
    with store.snapshot() as snapshot:
        assert snapshot.height == 2
        assert snapshot.head == second.head


def test_F04_a_full_map_writes_nothing_and_the_block_can_be_stored_later(tmp_path):
    small = Store(tmp_path / "ledger", GENESIS, STATE, map_bytes=200 * 1024)
    assert "raise store.map_bytes" in small.shortage()
    block = sealed_block(small, changes={b"%d" % n: bytes(2000) for n in range(300)})
    with pytest.raises(MapFullError) as full:
        small.write([block])
    assert str(full.value.for_operator(tmp_path)).startswith(f"map-full: {tmp_path}: ")
    assert "raise store.map_bytes" in str(full.value.for_operator(tmp_path))
    with small.snapshot() as snapshot:
        assert (snapshot.height, snapshot.get(b"1")) == (0, None)
    small.close()
    large = Store(tmp_path / "ledger", GENESIS, STATE, map_bytes=1 << 28)
    assert large.shortage() == ""
    large.write([block])
    with large.snapshot() as snapshot:
        assert (snapshot.height, snapshot.get(b"1")) == (1, bytes(2000))
    large.close()


def test_F04_a_store_of_another_chain_or_format_is_refused(tmp_path):
    Store(tmp_path, GENESIS, STATE, map_bytes=1 << 28).close()
    with pytest.raises(ClientError, match="store-other-chain"):
        Store(tmp_path, chain.genesis(5), STATE, map_bytes=1 << 28)
    for other in (1, STORE_FORMAT + 1):
        with lmdb.open(str(tmp_path), max_dbs=16, map_size=1 << 28) as env, env.begin(write=True) as txn:
            txn.put(b"format", encode(other), db=env.open_db(b"meta", txn))
            if other == 1:
                txn.drop(env.open_db(b"hand-overs", txn))  # format 1 had none
        for opened in (lambda: Store(tmp_path, GENESIS, STATE, 1 << 28), lambda: LedgerReader(tmp_path, 1 << 28)):
            with pytest.raises(ClientError, match=rf"store-format: .*format {other}, .*pilechain repair.*vote key"):
                opened()


def test_F04_a_reader_without_a_store_says_so(tmp_path):
    with pytest.raises(ClientError, match="store-missing"):
        LedgerReader(tmp_path)


def running(program: str, *arguments: object) -> Any:
    """A Python process with pipes."""
    # Run in the repository's root, where the packages and the tests are found.
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True)


READER = """
    import sys, time
    from pathlib import Path
    from node.storage.layout import STORE_FORMAT
    from node.storage.reader import LedgerReader
    reader = LedgerReader(Path(sys.argv[1]), 1 << 28)
    with reader.snapshot() as snapshot:
        print(snapshot.height, flush=True)
        sys.stdin.read()
        print(snapshot.height, snapshot.get(b"\\0\\0\\0\\2balance").decode(), flush=True)
    with reader.snapshot() as snapshot:
        print(snapshot.height, flush=True)
"""


def test_F04_another_process_reads_while_core_writes_and_a_stale_one_is_named(store, tmp_path):
    grow(store, 1)
    with running(READER, tmp_path / "ledger") as process:
        assert process.stdout.readline() == "1\n"
        grow(store, 30)
        assert store.stale_readers() == []
        grow(store, 40)
        assert [(reader.pid, reader.lag) for reader in store.stale_readers()] == [(process.pid, 70)]
        process.stdin.close()
        assert process.stdout.read() == "1 1\n71\n"
    assert store.stale_readers() == []


def test_F04_a_killed_reader_is_cleared_away(store, tmp_path):
    with running(READER, tmp_path / "ledger") as process:
        assert process.stdout.readline() == "0\n"
        process.kill()
        process.wait()
    assert store.reader_check() == 1


def test_F04_the_store_survives_kill_at_any_moment(tmp_path):
    program = """
        import sys
        from pathlib import Path
        from tests.unit import test_store as t
        store = t.Store(Path(sys.argv[1]), t.GENESIS, t.STATE, 1 << 28)
        while True:
            t.grow(store, 1)
            print("stored", flush=True)
    """
    said = 0
    for delay_s in (0.0, 0.01, 0.03):
        with running(program, tmp_path) as process:
            process.stdout.readline()
            time.sleep(delay_s)
            process.kill()
            said += 1 + process.stdout.read().count("stored")
        store = Store(tmp_path, GENESIS, STATE, 1 << 28)
        with store.snapshot() as snapshot:
            assert snapshot.height >= said, "a block that was reported as stored is gone"
            assert snapshot.head.tip.height == snapshot.height
            assert snapshot.get(b"\0\0\0\2balance") == str(snapshot.height).encode()
            sealed: Any = snapshot.sealed(snapshot.height)
            check_sealed(sealed, GENESIS.validators, GENESIS.hash())
            said = snapshot.height
        store.close()
