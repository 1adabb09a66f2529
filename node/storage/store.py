"""The ledger store: sealed blocks and the state after them, in LMDB, written by the core process alone.

A sealed block goes in with one transaction: block, receipts, changes, state, tiles, history, index, set and tip. So a
reader sees all of a block or nothing of it, and after a crash the store is at one height. Sizes: no WRITEMAP (on a full
disk it would be SIGBUS), a fixed map, no readahead (the state is read at random places; readahead would push the page
cache out).
"""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import lmdb
from msgspec import Struct

from consensus.head import Head, genesis_head
from ledger.block import history_leaf, result_digest
from ledger.codec import decode, decode_trusted, encode
from ledger.errors import ClientError, OurError, PeerError, require
from ledger.genesis import Genesis
from ledger.state_tree import StateTree
from ledger.units import U32
from node.effects import StoreSealed
from node.storage import files
from node.storage.reader import (
    DAMAGE_ERRORS,
    DATA_FILE,
    MAP_BYTES,
    READERS_MAX,
    STORE_FORMAT,
    LedgerReader,
    Snapshot,
    StaleReader,
    damage,
    height_key,
    node_key,
    stale_readers,
    tile_key,
)

FREE_BYTES_MIN = 64 * 1024 * 1024
"""Less room than this counts as a full disk: it still takes the log of the committed tail (K blocks of 2 MiB, twice)
and its state.
"""


class BlockWork(Struct, frozen=True):
    """`Outcome.work`: what execution hands to the store."""

    changes: tuple[tuple[bytes, bytes | None], ...]
    """Sorted by key."""
    tiles: Mapping[bytes, bytes | None]
    receipts: tuple[bytes, ...]


class StoreFullError(Exception):
    """The disk or the map has no room. Nothing was written; the same call may be made again when there is room."""


class Store(LedgerReader):
    """The one writer, which reads as well. Calls block; the core makes writes from a thread of their own."""

    def __init__(
        self,
        path: Path,
        genesis: Genesis,
        state: Mapping[bytes, bytes],
        map_bytes: int = MAP_BYTES,
        *,
        durable: bool = True,
    ) -> None:
        """Open the store, or make it from the genesis document and its state. One that is `durable=False` does not
        outlive a power cut: for scratch.

        Raises ClientError `store-other-chain`, `store-format` if it was made by another genesis or program;
        StoreFullError; OurError `store-damaged`, `store-write`.
        """
        files.make_folder(path)
        self._path = path
        self._map_bytes = map_bytes
        self._durable = durable
        if not (path / DATA_FILE).exists():
            self._make(genesis, state)
        with _errors_are_said(path):
            self._attach(self._open(path), create=False)
        self._check_chain(genesis)
        with self.snapshot() as snapshot:
            snapshot.check_tip()

    def write(self, sealed: Sequence[StoreSealed]) -> None:
        """Store sealed blocks, the next heights in order, durably, in one transaction. Raises StoreFullError,
        OurError.
        """
        with _errors_are_said(self._path), self._env.begin(write=True) as txn:
            head = Snapshot(txn, self._databases).head
            for block in sealed:
                self._put_block(txn, head, block)
                head = block.head
            self._put_meta(txn, head, sealed[-1].outcome.state_root)

    def has_room(self) -> bool:
        """Whether disk and map have room for more blocks."""
        info, stat = self._env.info(), self._env.stat()
        map_left: int = info["map_size"] - (info["last_pgno"] + 1) * stat["psize"]
        return min(map_left, shutil.disk_usage(self._path).free) >= FREE_BYTES_MIN

    def reader_check(self) -> int:
        """Free the slots of readers that died; returns how many. To be called each second."""
        freed: int = self._env.reader_check()
        return freed

    def stale_readers(self) -> list[StaleReader]:
        """Processes that hold the store back and should be killed by whoever supervises them."""
        return stale_readers(self._env)

    def _open(self, path: Path) -> lmdb.Environment:
        return lmdb.open(
            str(path),
            map_size=self._map_bytes,
            max_dbs=16,
            max_readers=READERS_MAX,
            readahead=False,
            writemap=False,
            sync=self._durable,
            mode=0o640,
        )

    def _make(self, genesis: Genesis, state: Mapping[bytes, bytes]) -> None:
        """Make the file elsewhere and give it its name at the end: a power cut leaves a whole store or none."""
        draft = self._path / "new"
        shutil.rmtree(draft, ignore_errors=True)
        files.make_folder(draft)
        with _errors_are_said(draft), closing(self._open(draft)) as env:
            self._attach(env, create=True)
            self._begin(genesis, state)
        files.rename(draft / DATA_FILE, self._path / DATA_FILE)
        shutil.rmtree(draft)

    def _begin(self, genesis: Genesis, state: Mapping[bytes, bytes]) -> None:
        tree = StateTree(_NoTiles()).apply(state)
        set_hash = genesis.validators.hash()
        with self._env.begin(write=True) as txn:
            self._put_state(txn, sorted(state.items()), tree.tiles)
            txn.put(set_hash, encode(genesis.validators), db=self._databases.sets)
            txn.put(b"format", encode(STORE_FORMAT), db=self._databases.meta)
            txn.put(b"genesis", encode(genesis), db=self._databases.meta)
            self._put_meta(txn, genesis_head(genesis), tree.root)

    def _check_chain(self, genesis: Genesis) -> None:
        with self._env.begin(db=self._databases.meta) as txn:
            found_format, found = txn.get(b"format"), txn.get(b"genesis")
        try:
            number = decode(U32, found_format or b"")
        except PeerError:
            number = -1
        if number != STORE_FORMAT:
            raise ClientError("store-format", f"{self._path} has format {number}, this program reads {STORE_FORMAT}")
        if found != encode(genesis):
            other = decode_trusted(Genesis, found).hash().hex() if found else "none"
            raise ClientError(
                "store-other-chain",
                f"{self._path} holds the chain {other}, the genesis document is that of {genesis.hash().hex()}; "
                "give this node another home, or the genesis document of its chain",
            )

    def _put_block(self, txn: lmdb.Transaction, parent: Head, stored: StoreSealed) -> None:
        db, block = self._databases, stored.block
        height = block.header.height
        require(height == parent.tip.height + 1, "store-order", f"height {height} on top of {parent.tip.height}")
        work = stored.outcome.work
        if not isinstance(work, BlockWork):
            raise OurError("store-work", f"height {height} came without its changes")
        at = height_key(height)
        txn.put(at, encode(stored.sealed), db=db.headers, append=True)
        txn.put(at, encode([tx.raw for tx in block.transactions]), db=db.bodies, append=True)
        txn.put(at, encode(work.receipts), db=db.receipts, append=True)
        txn.put(at, encode(work.changes), db=db.changes, append=True)
        self._put_state(txn, work.changes, work.tiles)
        # Sorted keys touch each B-tree page once.
        places = sorted((tx.id, at + index.to_bytes(4, "big")) for index, tx in enumerate(block.transactions))
        with txn.cursor(db.transactions) as cursor:
            # The first place stays: a device's record may come again when the replay window has forgotten it. That copy
            # fails, and whoever asks for the record must find its first, true receipt.
            cursor.putmulti(places, overwrite=False)
        leaf = history_leaf(block.hash, result_digest(stored.sealed.result))
        for (level, index), node in parent.history.append_nodes(leaf):
            txn.put(node_key(level, index), node, db=db.history)
        if stored.head.validators != parent.validators:
            txn.put(stored.head.validators.hash(), encode(stored.head.validators), db=db.sets)

    def _put_meta(self, txn: lmdb.Transaction, head: Head, state_root: bytes) -> None:
        values = {b"height": height_key(head.tip.height), b"head": encode(head), b"state_root": state_root}
        for key, value in values.items():
            txn.put(key, value, db=self._databases.meta)

    def _put_state(
        self, txn: lmdb.Transaction, changes: Iterable[tuple[bytes, bytes | None]], tiles: Mapping[bytes, bytes | None]
    ) -> None:
        tile_changes = sorted((tile_key(path), tile) for path, tile in tiles.items())
        for database, items in ((self._databases.state, changes), (self._databases.tiles, tile_changes)):
            puts = []
            for key, value in items:
                if value is None:
                    txn.delete(key, db=database)
                else:
                    puts.append((key, value))
            with txn.cursor(database) as cursor:
                cursor.putmulti(puts)


@contextmanager
def _errors_are_said(path: Path) -> Iterator[None]:
    """Turn LMDB's errors into ours: no room, damage, or a disk that fails."""
    try:
        yield
    except (lmdb.MapFullError, lmdb.DiskError) as error:
        raise StoreFullError(str(error)) from error
    except DAMAGE_ERRORS as error:
        raise damage(path / DATA_FILE, str(error)) from error
    except lmdb.Error as error:
        # A write for which half the room is left is EIO to LMDB.
        if os.strerror(errno.EDQUOT) in str(error) or shutil.disk_usage(path).free < FREE_BYTES_MIN:
            raise StoreFullError(str(error)) from error
        raise OurError("store-write", f"{path / DATA_FILE}: {error}; check the disk, then start again") from error


class _NoTiles:
    """Tiles of the empty state."""

    def tile(self, path: bytes) -> bytes | None:
        """There are none."""
        return None
