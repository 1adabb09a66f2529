"""Reading the ledger store, from any process: snapshots in which block, state, proof and seal agree.

LMDB lets one process write and many read without locks. One snapshot is one read transaction. A process opens a store
once, never forks after that, and keeps snapshots short: pages that a snapshot can see are not used again, so a
forgotten one makes the file grow without end.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import lmdb

from consensus.head import Head
from ledger.block import Header, Result, SealedHeader, TransactionProof, header_hash, prove_transaction, receipt_leaf
from ledger.codec import decode_trusted
from ledger.errors import ClientError, OurError, PeerError
from ledger.genesis import Genesis
from ledger.merkle import MerkleProof, merkle_proof
from ledger.mmr import Mmr, MmrProof, mmr_proof
from ledger.state_proof import StateProof
from ledger.state_tree import StateTree
from ledger.transaction import transaction_leaf
from ledger.validators import ValidatorSet
from node.storage.layout import DATA_FILE, Databases, damage, epoch_key, height_key, node_key, tile_key, write_failed

MAP_BYTES = 64 * 1024**3
"""Size of the map: address space, not memory or disk. Fixed, because resizing it under readers is where LMDB users lose
nights.
"""
KEY_BYTES_MAX = 511
"""LMDB's longest key."""
READERS_MAX = 126
"""Slots for read transactions: api, gateway and indexer processes with their threads."""
EXPORT_S = 0.1
"""How long one snapshot may last: whoever reads more takes a new one."""
DAMAGE_ERRORS = (
    lmdb.BadDbiError,
    lmdb.CorruptedError,
    lmdb.CursorFullError,
    lmdb.IncompatibleError,
    lmdb.InvalidError,
    lmdb.NotFoundError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
)
"""What LMDB says of a file that is not what it wrote. It has no checksums: a bit that is flipped in a value is found by
who decodes it, by the state root that the quorum sealed, or by `pilechain verify`.
"""
STOPPED_ERRORS = (lmdb.BadTxnError, lmdb.PanicError)
"""What LMDB says in a process in which the last write of a commit failed (on a full copy-on-write disk, say): the file
is sound, but this process must open it anew.
"""

T = TypeVar("T")


class Place(NamedTuple):
    """Where a transaction is."""

    height: int
    position: int
    """In block order, from 0."""


class StaleReader(NamedTuple):
    """A process whose read transaction holds back the store."""

    pid: int
    lag: int
    """Write transactions since it began to read."""


class Snapshot:
    """The ledger at one sealed height. Valid inside `with reader.snapshot()`, for less than 100 ms."""

    def __init__(self, txn: Any, databases: Databases) -> None:
        self._txn = txn
        self._db = databases
        self.height = int.from_bytes(self._must(databases.meta, b"height"), "big")

    @cached_property
    def head(self) -> Head:
        """Where the chain stands at this height."""
        return self._decode(Head, self._must(self._db.meta, b"head"), "head")

    @cached_property
    def state_root(self) -> bytes:
        """Root of the state at this height; `result(height)` says the same, signed, from height 1 on."""
        return self._must(self._db.meta, b"state_root")

    @property
    def genesis(self) -> Genesis:
        """The genesis document."""
        return self._decode(Genesis, self._must(self._db.meta, b"genesis"), "genesis document")

    def sealed(self, height: int) -> SealedHeader | None:
        """Header, result and seal of a height; None for 0, which has no seal, and above the tip."""
        data = self._txn.get(height_key(height), db=self._db.headers)
        return None if data is None else self._decode(SealedHeader, data, f"header of height {height}")

    def transactions(self, height: int) -> tuple[bytes, ...]:
        """The transactions of a block as received. Raises ClientError `height-unknown`."""
        return self._items(self._db.bodies, height, "transactions")

    def receipts(self, height: int) -> tuple[bytes, ...]:
        """Encoded receipts of a block. Raises ClientError `height-unknown`."""
        return self._items(self._db.receipts, height, "receipts")

    def changes(self, height: int) -> tuple[tuple[bytes, bytes | None], ...]:
        """What a block changed in the state, sorted by key. Raises ClientError `height-unknown`."""
        data = self._at(self._db.changes, height)
        return self._decode(tuple[tuple[bytes, bytes | None], ...], data, f"changes of height {height}")

    def locate(self, transaction_id: bytes) -> Place | None:
        """Where a transaction was sealed, or None."""
        data = self._txn.get(transaction_id, db=self._db.transactions)
        return None if data is None else Place(int.from_bytes(data[:8], "big"), int.from_bytes(data[8:], "big"))

    def get(self, key: bytes) -> bytes | None:
        """Value of a state key; None for what cannot be a key (LMDB raises on those)."""
        value: bytes | None = self._txn.get(key, db=self._db.state) if 1 <= len(key) <= KEY_BYTES_MAX else None
        return value

    @property
    def entries(self) -> int:
        """How many entries the state has."""
        count: int = self._txn.stat(self._db.state)["entries"]
        return count

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """State entries whose keys begin with `prefix` and lie behind `after`, in key order. The caller stops when it
        has enough.
        """
        with self._txn.cursor(db=self._db.state) as cursor:
            found = (
                cursor.set_range(max(prefix, after + b"\0") if after else prefix) if prefix or after else cursor.first()
            )
            while found:
                key, value = cursor.item()
                if not key.startswith(prefix):
                    return
                yield key, value
                found = cursor.next()

    def rows(self, database: str, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Entries of a database (by its name in `Databases`) whose keys lie behind `after`, in key order."""
        with self._txn.cursor(db=self._db.named[database]) as cursor:
            found = cursor.set_range(after + b"\0") if after else cursor.first()
            while found:
                yield cursor.item()
                found = cursor.next()

    def bytes_used(self) -> dict[str, int]:
        """Bytes of the pages that each database uses, by its name in `Databases`."""
        stats = {name: self._txn.stat(db=database) for name, database in self._db.named.items()}
        return {
            name: stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])
            for name, stat in stats.items()
        }

    def tile(self, path: bytes) -> bytes | None:
        """Tile of the state tree under a path: makes a snapshot a TileSource."""
        data: bytes | None = self._txn.get(tile_key(path), db=self._db.tiles)
        return data

    def prove_state(self, key: bytes) -> StateProof:
        """Proof of what the state holds under a key, against the state root of this height."""
        return StateTree(self, self.state_root).prove(key)

    def prove_transaction(self, height: int, index: int) -> TransactionProof:
        """Proof of a transaction against its block's header. Raises ClientError `height-unknown`, `index-unknown`."""
        sealed = self._sealed(height)
        leaves = [transaction_leaf(raw) for raw in self.transactions(height)]
        _check_index(index, len(leaves))
        header = self._decode(Header, sealed.header, f"header of height {height}")
        return prove_transaction(header, leaves, index)

    def prove_receipt(self, height: int, index: int) -> MerkleProof:
        """Proof of a receipt against its block's result. Raises ClientError `height-unknown`, `index-unknown`."""
        leaves = [receipt_leaf(raw) for raw in self.receipts(height)]
        _check_index(index, len(leaves))
        return merkle_proof(leaves, index)

    def prove_history(self, old_height: int, height: int | None = None) -> MmrProof:
        """Proof that a block is an ancestor: its leaf (number old_height - 1) against the history root in the result of
        `height`, or of this height.

        Raises ClientError `height-unknown` unless 1 <= old_height < height <= this height, `height-pruned` for blocks
        before those that a node began with which joined by snapshot.
        """
        newer = self.height if height is None else height
        if not 1 <= old_height < newer <= self.height:
            raise ClientError("height-unknown", f"ancestors of height {newer} are 1 to {newer - 1}")
        if not self.has_history(old_height):
            raise self._absent(old_height)
        return mmr_proof(newer - 1, old_height - 1, lambda level, at: self._must(self._db.history, node_key(level, at)))

    def has_history(self, height: int) -> bool:
        """Whether the mountain range's nodes are here from this block on."""
        return self._txn.get(node_key(0, height - 1), db=self._db.history) is not None

    def history(self, count: int) -> Mmr:
        """The mountain range over the first `count` blocks. Raises OurError `store-damaged` for blocks before those
        that a node began with which joined by snapshot.
        """
        peaks, index = [], 0
        for level in reversed(range(count.bit_length())):
            if count >> level & 1:
                peaks.append(self._must(self._db.history, node_key(level, index >> level)))
                index += 1 << level
        return Mmr(count, tuple(peaks))

    def validator_set(self, set_hash: bytes) -> ValidatorSet | None:
        """A set that was ever in force, or None."""
        data = self._txn.get(set_hash, db=self._db.sets)
        return None if data is None else self._decode(ValidatorSet, data, f"validator set {set_hash.hex()}")

    def hand_overs(self, epoch: int = 0) -> Iterator[tuple[int, int]]:
        """(epoch, height) of the hand-overs to the sets behind an epoch, in order: the height is that of the last block
        of the set before.
        """
        with self._txn.cursor(db=self._db.hand_overs) as cursor:
            found = cursor.set_range(epoch_key(epoch))
            while found:
                key, value = cursor.item()
                found = cursor.next()
                if key == epoch_key(epoch):
                    continue
                yield int.from_bytes(key, "big"), int.from_bytes(value, "big")

    @property
    def first_whole(self) -> int:
        """First height whose receipts and changes are here too; a node that joined by snapshot has no receipts of the
        replay window's blocks.
        """
        with self._txn.cursor(db=self._db.receipts) as cursor:
            return int.from_bytes(cursor.key(), "big") if cursor.first() else self.height + 1

    @property
    def first_block(self) -> int:
        """First height whose transactions are here: 1, unless older blocks are pruned or the node joined by snapshot.
        One above the newest if there are none.
        """
        with self._txn.cursor(db=self._db.bodies) as cursor:
            return int.from_bytes(cursor.key(), "big") if cursor.first() else self.height + 1

    def result(self, height: int) -> Result:
        """Result of a sealed block. Raises ClientError `height-unknown`."""
        return self._decode(Result, self._sealed(height).result, f"result of height {height}")

    def check_tip(self) -> None:
        """That head, newest block and state root belong together. Raises OurError `store-damaged`."""
        tip, height = self.head.tip, self.height
        if tip.height != height or (height and tip.header_hash != header_hash(self._sealed(height).header)):
            raise self._db.damage(f"height {height}: the newest block is not the one that the head names")
        if height and self.result(height).state_root != self.state_root:
            raise self._db.damage(f"height {height}: the state root is not the one that was sealed")

    def _sealed(self, height: int) -> SealedHeader:
        return self._decode(SealedHeader, self._at(self._db.headers, height), f"header of height {height}")

    def _items(self, database: Any, height: int, what: str) -> tuple[bytes, ...]:
        return self._decode(tuple[bytes, ...], self._at(database, height), f"{what} of height {height}")

    def _decode(self, kind: type[T], data: bytes, what: str) -> T:
        try:
            return decode_trusted(kind, data)
        except PeerError as error:
            raise self._db.damage(f"{what}: {error.message}") from error

    def _at(self, database: Any, height: int) -> bytes:
        data: bytes | None = self._txn.get(height_key(height), db=database)
        if data is None:
            raise self._absent(height)
        return data

    def _absent(self, height: int) -> ClientError:
        if not 1 <= height <= self.height:
            return ClientError("height-unknown", f"sealed blocks are 1 to {self.height}; there is no {height}")
        first = max(self.first_block, height + 1)
        return ClientError("height-pruned", f"this node keeps blocks from {first} on, not {height}; ask another node")

    def _must(self, database: Any, key: bytes) -> bytes:
        data: bytes | None = self._txn.get(key, db=database)
        if data is None:
            raise self._db.damage(f"there is nothing under {key!r}")
        return data


class LedgerReader:
    """The store, read-only. Open it once per process; snapshots may be taken in any thread."""

    def __init__(self, path: Path, map_bytes: int = MAP_BYTES) -> None:
        """Open the store in a folder.

        Raises ClientError `store-missing` if no core process has made one there yet, `store-format`; OurError
        `store-damaged`.
        """
        if not (path / DATA_FILE).exists():
            raise ClientError("store-missing", f"{path} holds no ledger yet; start the node's core process first")
        with _damage_is_said(path):
            env = lmdb.open(str(path), readonly=True, max_dbs=16, map_size=map_bytes, readahead=False)
            self._attach(env, create=False)

    def _attach(self, env: lmdb.Environment, *, create: bool) -> None:
        self._env = env
        self._databases = Databases(env, create=create)
        self._inode = self._databases.file.stat().st_ino

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The ledger as it is now, unchanged while the block lasts. Keep it under 100 ms."""
        with _damage_is_said(self._databases.file.parent), self._env.begin(buffers=False) as txn:
            yield Snapshot(txn, self._databases)

    def damage(self, what: str) -> OurError:
        """The error to raise for something in it that cannot be."""
        return self._databases.damage(what)

    def is_replaced(self) -> bool:
        """Whether another store stands in the place of this one: the node joined again by snapshot, and what is read
        here is of the past.
        """
        file = self._databases.file
        return file.exists() and file.stat().st_ino != self._inode

    def close(self) -> None:
        """Close the store; no snapshot may be open."""
        self._env.close()


@contextmanager
def _damage_is_said(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE_ERRORS as error:
        raise damage(path / DATA_FILE, str(error)) from error
    except STOPPED_ERRORS as error:
        raise write_failed(path / DATA_FILE, str(error)) from error


def _check_index(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise ClientError("index-unknown", f"the block has {count} of these, numbered from 0; there is no {index}")


def stale_readers(env: lmdb.Environment, lag_min: int = 64) -> list[StaleReader]:
    """Other processes whose read transactions are more than `lag_min` write transactions old, the oldest first.

    A stopped process is not dead, so `reader_check` leaves it alone; its supervisor has to kill it before the file
    fills the disk.
    """
    last = env.info()["last_txnid"]
    stale = []
    for line in env.readers().splitlines()[1:]:
        pid, _, txnid = line.split()[:3]
        if txnid.isdigit() and last - int(txnid) > lag_min and int(pid) != os.getpid():
            stale.append(StaleReader(int(pid), last - int(txnid)))
    return sorted(stale, key=lambda reader: -reader.lag)
