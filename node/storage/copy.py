"""A copy of the ledger store while its node runs, in short snapshots: a long one would make the store grow.

LMDB's own hot copy reads in one snapshot however long it takes, and the supervisor would kill it for that. Here most
databases are copied piece by piece, each piece as it is when it is read: blocks never change, and of the state every
entry is right at some height between the first snapshot and the last. What the blocks between changed is then applied
in order, which makes every entry right at the last height. What the pruner dropped meanwhile is dropped here as well:
pieces from before and after would leave a hole. The state's tree is built anew, so its root proves the copy
against the root that a quorum sealed; a damaged ledger gives no copy.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb

from consensus.head import Head
from ledger.block import header_hash, history_leaf, result_digest
from ledger.hashing import ZERO_HASH
from ledger.state_tree import StateTree
from ledger.transaction import decode_transaction
from node.storage.layout import Databases, height_key, node_key, tile_key
from node.storage.reader import EXPORT_S, LedgerReader, Snapshot
from node.storage.store import errors_are_said

CHUNK_BYTES = 4 * 1024 * 1024
"""Read in one snapshot at most."""
TREE_KEYS = 5_000
"""State entries that are hashed into the tree at once: bounds memory."""
BY_HEIGHT = ("headers", "bodies", "receipts", "changes")
"""Databases that grow at their end alone."""
BY_KEY = ("history", "transactions", "state")
BUILT_ANEW = ("tiles",)
"""All others are small, and copied whole as they are at the newest height."""

Row = tuple[bytes, bytes]


def copy_ledger(source: LedgerReader, folder: Path, map_bytes: int, pace: Callable[[int], None]) -> Head:
    """Copy a store into a new folder; the head of the copy. `pace(size)` is called between snapshots with the bytes
    that the last one read, and may sleep.

    Raises StoreFullError where the disk of the copy has no room, OurError `store-damaged`, `store-write`, OSError.
    """
    folder.mkdir()
    with (
        errors_are_said(folder),
        closing(lmdb.open(str(folder), map_size=map_bytes, max_dbs=16, sync=False, mode=0o640)) as env,
    ):
        copy = _Copy(source, env, pace)
        copy.run()
        env.sync(True)
    (folder / "lock.mdb").unlink()
    return copy.head


class _Copy:
    def __init__(self, source: LedgerReader, env: lmdb.Environment, pace: Callable[[int], None]) -> None:
        self._source = source
        self._env = env
        self._target = Databases(env, create=True)
        self._pace = pace
        with source.snapshot() as snapshot:
            self.head = self._first = snapshot.head
            self._first_block = self._began_at = snapshot.first_block
            self._first_whole = snapshot.first_whole

    def run(self) -> None:
        for name in (*BY_HEIGHT, *BY_KEY):
            self._bulk(name)
        while not self._catch_up():
            pass
        if self._first_block != self._began_at:
            self._drop_places()
        for height in range(self._first.tip.height + 1, self.head.tip.height + 1):
            self._apply(height)
        self._drop_blocks()
        self._grow_tree()

    def _bulk(self, name: str) -> None:
        after: bytes | None = b""
        while after is not None:
            with self._source.snapshot() as snapshot:
                rows = list(_piece(snapshot.rows(name, after)))
            self._put(name, rows)
            after = rows[-1][0] if rows else None

    def _catch_up(self) -> bool:
        """Copy blocks that came meanwhile, and at the newest the place where the chain stands; whether it is that."""
        with self._env.begin(db=self._target.headers) as txn, txn.cursor() as cursor:
            newest = cursor.key() if cursor.last() else b""
        with self._source.snapshot() as snapshot:
            heights = [key for key, _ in _piece(snapshot.rows("headers", newest))]
            rows = {name: list(_up_to(snapshot.rows(name, newest), heights)) for name in BY_HEIGHT}
            is_newest = (heights[-1:] or [newest or height_key(0)]) == [height_key(snapshot.height)]
            if is_newest:
                whole = self._target.named.keys() - {*BY_HEIGHT, *BY_KEY, *BUILT_ANEW}
                rows |= {name: list(snapshot.rows(name)) for name in sorted(whole)}
                self.head = snapshot.head
                self._first_block, self._first_whole = snapshot.first_block, snapshot.first_whole
        for name, found in rows.items():
            self._put(name, found)
        return is_newest

    def _put(self, name: str, rows: list[Row]) -> None:
        with self._env.begin(write=True) as txn, txn.cursor(self._target.named[name]) as cursor:
            cursor.putmulti(rows)
        self._pace(sum(len(key) + len(value) for key, value in rows))

    def _drop_places(self) -> None:
        """Where the transactions of pruned blocks were."""
        after, db, first = b"", self._target, height_key(self._first_block)
        while True:
            with self._env.begin(write=True) as txn:
                rows = list(islice(Snapshot(txn, db).rows("transactions", after), TREE_KEYS))
                if not rows:
                    return
                for id_, place in rows:
                    if place[: len(first)] < first:
                        txn.delete(id_, db=db.transactions)
            after = rows[-1][0]
            self._pace(0)

    def _drop_blocks(self) -> None:
        db = self._target
        kept = {db.bodies: self._first_block, db.receipts: self._first_whole, db.changes: self._first_whole}
        for database, first in kept.items():
            with self._env.begin(write=True) as txn, txn.cursor(database) as cursor:
                while cursor.first() and cursor.key() < height_key(first):
                    cursor.delete()

    def _apply(self, height: int) -> None:
        """What a block adds to history, index and state."""
        db = self._target
        with self._env.begin(write=True) as txn:
            copied = Snapshot(txn, db)
            sealed = copied.sealed(height)
            if sealed is None:
                raise db.damage(f"height {height}: there is no header")
            leaf = history_leaf(header_hash(sealed.header), result_digest(sealed.result))
            for (level, index), node in self._first.history.append_nodes(leaf):
                txn.put(node_key(level, index), node, db=db.history)
            for index, raw in enumerate(copied.transactions(height)):
                place = height_key(height) + index.to_bytes(4, "big")
                txn.put(decode_transaction(raw).id, place, db=db.transactions, overwrite=False)
            for key, value in copied.changes(height):
                _set(txn, key, value, db.state)
        self._first = Head(self._first.tip, self._first.timeline, self._first.history.append(leaf))

    def _grow_tree(self) -> None:
        root, after, db = ZERO_HASH, b"", self._target
        while True:
            with self._env.begin(write=True) as txn:
                copied = Snapshot(txn, db)
                entries = dict(islice(copied.rows("state", after), TREE_KEYS))
                if not entries:
                    break
                change = StateTree(copied, root).apply(entries)
                for path, tile in sorted(change.tiles.items()):
                    _set(txn, tile_key(path), tile, db.tiles)
                root, after = change.root, next(reversed(entries))
                self._pace(0)
        with self._env.begin() as txn:
            copied = Snapshot(txn, db)
            copied.check_tip()
            if (root, self._first.history) != (copied.state_root, copied.head.history):
                raise self._source.damage(f"height {copied.height}: state or history is not what was sealed")


def _piece(rows: Iterable[Row]) -> Iterator[Row]:
    """As many as one snapshot may read."""
    end, size = time.monotonic() + EXPORT_S, 0
    for key, value in rows:
        yield key, value
        size += len(key) + len(value)
        if size >= CHUNK_BYTES or time.monotonic() >= end:
            return


def _up_to(rows: Iterable[Row], heights: list[bytes]) -> Iterator[Row]:
    for key, value in rows:
        if not heights or key > heights[-1]:
            return
        yield key, value


def _set(txn: Any, key: bytes, value: bytes | None, database: Any) -> None:
    if value is None:
        txn.delete(key, db=database)
    else:
        txn.put(key, value, db=database)
