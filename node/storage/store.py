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
from ledger.block import Result, history_leaf, result_digest
from ledger.codec import decode_trusted, encode
from ledger.errors import ClientError, OurError, require
from ledger.genesis import Genesis
from ledger.state_tree import StateTree
from ledger.transaction import Signed, transaction_id
from ledger.validators import ValidatorSet
from node.effects import StoreSealed
from node.storage import files
from node.storage.layout import (
    DATA_FILE,
    STORE_FORMAT,
    Databases,
    damage,
    epoch_key,
    height_key,
    node_key,
    tile_key,
    write_failed,
)
from node.storage.reader import (
    DAMAGE_ERRORS,
    MAP_BYTES,
    READERS_MAX,
    LedgerReader,
    Snapshot,
    StaleReader,
    stale_readers,
)
from node.storage.wal import is_full

FREE_BYTES_MIN = 64 * 1024 * 1024
"""Less room than this counts as a full disk: it still takes the log of the committed tail (K blocks of 2 MiB, twice)
and its state.
"""
PROBE_BYTES = 64 * 1024
"""More than what half a write leaves: the rest of a block or two."""


class BlockWork(Struct, frozen=True):
    """`Outcome.work`: what execution hands to the store."""

    changes: tuple[tuple[bytes, bytes | None], ...]
    """Sorted by key."""
    tiles: Mapping[bytes, bytes | None]
    receipts: tuple[bytes, ...]


class StoreFullError(Exception):
    """The disk or the map has no room. Nothing was written; the same call may be made again when there is room."""

    code = "disk-full"
    remedy = "make room"

    def for_operator(self, path: Path) -> ClientError:
        """What ends a process that cannot go on without room at `path`."""
        return ClientError(self.code, f"{path}: {self}; {self.remedy}")


class MapFullError(StoreFullError):
    """The map has no room. Unlike that of a disk, it does not come back by itself."""

    code = "map-full"
    remedy = "raise store.map_bytes"


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
        with errors_are_said(path):
            self._attach(self._open(path), create=False)
        self._check_chain(genesis)
        with self.snapshot() as snapshot:
            snapshot.check_tip()

    def write(self, sealed: Sequence[StoreSealed]) -> None:
        """Store sealed blocks, the next heights in order, durably, in one transaction. Raises StoreFullError,
        OurError.
        """
        with errors_are_said(self._path), self._env.begin(write=True) as txn:
            head = Snapshot(txn, self._databases).head
            for block in sealed:
                self._put_block(txn, head, block)
                head = block.head
            put_head(txn, self._databases, head, sealed[-1].outcome.state_root)

    def prune(self, horizon: int, blocks_max: int) -> int:
        """Drop transactions, receipts, changes and index entries of the oldest blocks below `horizon`, in one small
        commit; how many blocks that were. Headers, seals, history and sets stay. Raises StoreFullError.
        """
        db = self._databases
        with errors_are_said(self._path), self._env.begin(write=True) as txn:
            first = Snapshot(txn, db).first_block
            heights = range(first, min(horizon, first + blocks_max))
            for height in heights:
                self._drop_places(txn, height)
                for database in (db.bodies, db.receipts, db.changes):
                    txn.delete(height_key(height), db=database)
            return len(heights)

    def _drop_places(self, txn: lmdb.Transaction, height: int) -> None:
        """Forget where the block's transactions are, except those whose first place is another block."""
        raws = Snapshot(txn, self._databases).transactions(height)
        at = height_key(height)
        for id_ in sorted(transaction_id(decode_trusted(Signed, raw).body) for raw in raws):
            place = txn.get(id_, db=self._databases.transactions)
            if place is not None and place[:8] == at:
                txn.delete(id_, db=self._databases.transactions)

    def shortage(self) -> str:
        """What there is too little of for more blocks; empty if disk and map have room. Pages that pruning freed are
        room in the map, however far the file has grown.
        """
        with self.snapshot() as snapshot:
            map_left: int = self._env.info()["map_size"] - sum(snapshot.bytes_used().values())
        if map_left < FREE_BYTES_MIN:
            return f"{self._path}: the map has {map_left} bytes left; raise store.map_bytes, then start again"
        free = shutil.disk_usage(self._path).free
        return "" if free >= FREE_BYTES_MIN else f"{self._path}: {free} bytes are free, {FREE_BYTES_MIN} are needed"

    def reader_check(self) -> int:
        """Free the slots of readers that died; returns how many. To be called each second."""
        freed: int = self._env.reader_check()
        return freed

    def stale_readers(self) -> list[StaleReader]:
        """Processes that hold the store back and should be killed by whoever supervises them."""
        return stale_readers(self._env)

    def _open(self, path: Path) -> lmdb.Environment:
        return open_for_writing(path, self._map_bytes, sync=self._durable)

    def _make(self, genesis: Genesis, state: Mapping[bytes, bytes]) -> None:
        """Make the file elsewhere and give it its name at the end: a power cut leaves a whole store or none."""
        draft = self._path / "new"
        shutil.rmtree(draft, ignore_errors=True)
        files.make_folder(draft)
        with errors_are_said(draft), closing(self._open(draft)) as env:
            self._attach(env, create=True)
            self._begin(genesis, state)
        files.rename(draft / DATA_FILE, self._path / DATA_FILE)
        shutil.rmtree(draft)

    def _begin(self, genesis: Genesis, state: Mapping[bytes, bytes]) -> None:
        tree = StateTree(_NoTiles()).apply(state)
        set_hash = genesis.validators.hash()
        with self._env.begin(write=True) as txn:
            put_state(txn, self._databases, sorted(state.items()), tree.tiles)
            txn.put(set_hash, encode(genesis.validators), db=self._databases.sets)
            put_chain(txn, self._databases, genesis)
            put_head(txn, self._databases, genesis_head(genesis), tree.root)

    def _check_chain(self, genesis: Genesis) -> None:
        with self._env.begin(db=self._databases.meta) as txn:
            found = txn.get(b"genesis")
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
        put_state(txn, db, work.changes, work.tiles)
        put_places(txn, db, height, (tx.id for tx in block.transactions))
        leaf = history_leaf(block.hash, result_digest(stored.sealed.result))
        for (level, index), node in parent.history.append_nodes(leaf):
            txn.put(node_key(level, index), node, db=db.history)
        put_hand_over(txn, db, decode_trusted(Result, stored.sealed.result), stored.head.validators)


def demand_room(folder: Path, needed_bytes: int = 0) -> None:
    """For what the node can do without, beside its log and ledger: it must not take the room in which they grow. Raises
    ClientError `disk-full` if less than twice `FREE_BYTES_MIN` were left behind `needed_bytes`.
    """
    free, least = shutil.disk_usage(folder).free, needed_bytes + 2 * FREE_BYTES_MIN
    if free < least:
        raise ClientError("disk-full", f"{folder}: {free} bytes are free, {least} are needed; make room")


def open_for_writing(path: Path, map_bytes: int, *, sync: bool = True) -> lmdb.Environment:
    """The store's environment. Without `sync`, the caller makes what it wrote durable before it counts."""
    return lmdb.open(
        str(path),
        map_size=map_bytes,
        max_dbs=16,
        max_readers=READERS_MAX,
        readahead=False,
        writemap=False,
        sync=sync,
        mode=0o640,
    )


def put_chain(txn: lmdb.Transaction, databases: Databases, genesis: Genesis) -> None:
    """Write which chain the store is of."""
    txn.put(b"format", encode(STORE_FORMAT), db=databases.meta)
    txn.put(b"genesis", encode(genesis), db=databases.meta)


def put_head(txn: lmdb.Transaction, databases: Databases, head: Head, state_root: bytes) -> None:
    """Write where the chain stands."""
    values = {b"height": height_key(head.tip.height), b"head": encode(head), b"state_root": state_root}
    for key, value in values.items():
        txn.put(key, value, db=databases.meta)


def put_hand_over(txn: lmdb.Transaction, databases: Databases, result: Result, voters: ValidatorSet) -> None:
    """Note the set that votes behind a block, if it is another one than that of the block."""
    require(voters.hash() == result.next_set_hash, "store-set", f"another set votes after height {result.height}")
    if result.next_set_hash != result.set_hash:
        txn.put(result.next_set_hash, encode(voters), db=databases.sets)
        txn.put(epoch_key(voters.epoch), height_key(result.height), db=databases.hand_overs)


def put_places(txn: lmdb.Transaction, databases: Databases, height: int, ids: Iterable[bytes]) -> None:
    """Index the transactions of a block, given in block order. Sorted keys touch each B-tree page once."""
    at = height_key(height)
    places = sorted((id_, at + index.to_bytes(4, "big")) for index, id_ in enumerate(ids))
    with txn.cursor(databases.transactions) as cursor:
        # The first place stays: a device's record may come again when the replay window has forgotten it. That copy
        # fails, and whoever asks for the record must find its first, true receipt.
        cursor.putmulti(places, overwrite=False)


def put_state(
    txn: lmdb.Transaction,
    databases: Databases,
    changes: Iterable[tuple[bytes, bytes | None]],
    tiles: Mapping[bytes, bytes | None],
) -> None:
    """Write changes of the state, sorted by key, and of its tree."""
    tile_changes = sorted((tile_key(path), tile) for path, tile in tiles.items())
    for database, items in ((databases.state, changes), (databases.tiles, tile_changes)):
        puts = []
        for key, value in items:
            if value is None:
                txn.delete(key, db=database)
            else:
                puts.append((key, value))
        with txn.cursor(database) as cursor:
            cursor.putmulti(puts)


@contextmanager
def errors_are_said(path: Path) -> Iterator[None]:
    """For a block that works on a store: turn LMDB's errors into ours: no room, damage, or a disk that fails.

    A failed sync is final, and EIO to LMDB. So is a write for which half the room is left; only that is waited out.
    """
    try:
        yield
    except lmdb.MapFullError as error:
        raise MapFullError(str(error)) from error
    except lmdb.DiskError as error:
        raise StoreFullError(str(error)) from error
    except DAMAGE_ERRORS as error:
        raise damage(path / DATA_FILE, str(error)) from error
    except lmdb.Error as error:
        is_eio = os.strerror(errno.EIO) in str(error)
        if os.strerror(errno.EDQUOT) in str(error) or (is_eio and has_no_room(path)):
            raise StoreFullError(str(error)) from error
        raise write_failed(path / DATA_FILE, str(error)) from error


def has_no_room(folder: Path) -> bool:
    """Whether disk or quota have no room for a small write: after half a write they have none. For errors that may be
    that or a broken disk.
    """
    probe = folder / "probe"
    try:
        file = files.create(probe)
        try:
            files.write(file, bytes(PROBE_BYTES), 0)
        finally:
            os.close(file)
    except OSError as error:
        return is_full(error)
    finally:
        probe.unlink(missing_ok=True)
    return False


class _NoTiles:
    """Tiles of the empty state."""

    def tile(self, path: bytes) -> bytes | None:
        """There are none."""
        return None
