"""Builds a ledger store out of a proven snapshot, in bounded memory: chunk by chunk, block by block.

It is built in a folder of its own, without waiting for the disk; its head is written when everything before it is
durable, and its folder gets the store's name last. So a crash leaves no half store that looks whole.
"""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import lmdb

from consensus.head import BranchPosition, Head, Tip
from consensus.messages import HandOver, SealedBlock
from contracts.host import TIMELINE
from contracts.system import branch_heads, failed_turns
from ledger.block import Result, header_hash
from ledger.codec import decode, decode_trusted, encode
from ledger.errors import OurError, require
from ledger.genesis import Genesis
from ledger.hashing import ZERO_HASH
from ledger.snapshot import Manifest, Place, check_window_block, unpack_chunk
from ledger.state_tree import StateTree
from ledger.transaction import Signed, transaction_id
from node.storage import files
from node.storage.layout import DATA_FILE, Databases, height_key, node_key
from node.storage.reader import LedgerReader, Snapshot
from node.storage.store import (
    errors_are_said,
    open_for_writing,
    put_chain,
    put_hand_over,
    put_head,
    put_places,
    put_state,
)

BUILDING = "ledger.new"
REPLACED = "ledger.old"


def build_store(
    ledger: Path,
    genesis: Genesis,
    map_bytes: int,
    floor: int,
    manifest: Manifest,
    changes: list[HandOver],
    chunk: Callable[[int], bytes],
    block: Callable[[int], bytes],
) -> Head:
    """Build the store at `ledger`, in place of one of height `floor` that may be there; where the chain stands in it.

    `chunk(index)` and `block(height)` give the pieces of the snapshot, `changes` the hand-overs from genesis to its
    set. Raises StoreFullError, PeerError for a piece that does not prove, OurError `rebuild-root`, `rebuild-lower`.
    """
    # The log has dropped the votes up to the old store's height: with a lower one, the key would vote a second time.
    height = manifest.header.height
    require(height > floor, "rebuild-lower", f"the snapshot of height {height} is not above this ledger, {floor}")
    path = ledger.with_name(BUILDING)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    with errors_are_said(path), closing(open_for_writing(path, map_bytes, sync=False)) as env:
        databases = Databases(env, create=True)
        with env.begin(write=True) as txn:
            put_chain(txn, databases, genesis)
            _put_sets(txn, databases, genesis, changes)
        root = ZERO_HASH
        for place in manifest.places():
            if not place.empty:
                root = _put_chunk(env, databases, root, place, chunk(place.index))
        sealed_root = manifest.result.state_root
        require(root == sealed_root, "rebuild-root", f"the chunks give {root.hex()}, sealed is {sealed_root.hex()}")
        _put_blocks(env, databases, manifest, block)
        with env.begin(write=True) as txn:
            head = _head(_State(txn, databases), manifest)
            put_hand_over(txn, databases, manifest.result, head.validators)
        env.sync(True)
        with env.begin(write=True) as txn:
            put_head(txn, databases, head, root)
        env.sync(True)
    _take_place(path, ledger)
    return head


def ledger_height(ledger: Path, map_bytes: int) -> int:
    """Height of the store at `ledger`; 0 if there is none. Raises OurError `store-damaged`."""
    if not (ledger / DATA_FILE).exists():
        return 0
    with closing(LedgerReader(ledger, map_bytes)) as reader, reader.snapshot() as snapshot:
        return snapshot.height


def undo_half_replacement(ledger: Path) -> None:
    """Bring the store back that a crash left under its other name while it was being replaced, and remove what nobody
    needs any more: a store that was not finished, and one whose successor is in its place.
    """
    replaced = ledger.with_name(REPLACED)
    if replaced.exists() and not ledger.exists():
        files.rename(replaced, ledger)
    leftovers = [ledger.with_name(BUILDING)]
    if (ledger / DATA_FILE).exists():
        leftovers.append(replaced)
    for path in leftovers:
        shutil.rmtree(path, ignore_errors=True)


class _State:
    """The state in an open transaction: a StateReader and TileSource."""

    def __init__(self, txn: lmdb.Transaction, databases: Databases) -> None:
        self._txn = txn
        self._db = databases

    get = Snapshot.get
    scan = Snapshot.scan
    tile = Snapshot.tile


def _put_sets(txn: lmdb.Transaction, databases: Databases, genesis: Genesis, changes: list[HandOver]) -> None:
    txn.put(genesis.validators.hash(), encode(genesis.validators), db=databases.sets)
    for change in changes:
        result = decode(Result, change.sealed.result)
        put_hand_over(txn, databases, result, change.next_set)
        txn.put(height_key(result.height), encode(change.sealed), db=databases.headers)


def _put_chunk(env: lmdb.Environment, databases: Databases, root: bytes, place: Place, data: bytes) -> bytes:
    entries = unpack_chunk(place, data)  # proven when it came; since then it was on a disk
    with env.begin(write=True) as txn:
        tree = StateTree(_State(txn, databases), root).apply(dict(entries))
        put_state(txn, databases, sorted(entries), tree.tiles)
    return tree.root


def _put_blocks(env: lmdb.Environment, databases: Databases, manifest: Manifest, block: Callable[[int], bytes]) -> None:
    with env.begin(write=True) as txn:
        index = 0
        for level in reversed(range(manifest.history.count.bit_length())):
            if manifest.history.count >> level & 1:
                peak = manifest.history.peaks[(manifest.history.count >> (level + 1)).bit_count()]
                txn.put(node_key(level, index >> level), peak, db=databases.history)
                index += 1 << level
    for height, history, leaf in manifest.ranges():
        found = decode(SealedBlock, block(height))
        check_window_block(manifest, height, found.sealed, found.transactions)
        at = height_key(height)
        with env.begin(write=True) as txn:
            txn.put(at, encode(found.sealed), db=databases.headers)
            txn.put(at, encode(list(found.transactions)), db=databases.bodies)
            ids = [transaction_id(decode_trusted(Signed, raw).body) for raw in found.transactions]
            put_places(txn, databases, height, ids)
            for (level, number), node in history.append_nodes(leaf):
                txn.put(node_key(level, number), node, db=databases.history)


def _head(state: _State, manifest: Manifest) -> Head:
    header = manifest.header
    heads = branch_heads(state)
    positions = tuple(BranchPosition(branch, heads[branch]) for branch in sorted(heads))
    digest = header_hash(manifest.sealed.header)
    tip = Tip(header.height, digest, header.time_ms, positions, failed_turns(state))
    *_, (_, history, leaf) = manifest.ranges()
    decided = TIMELINE.read(state)
    if decided is None:
        raise OurError("timeline-missing", "the state does not say who votes")
    return Head(tip, decided.timeline, history.append(leaf))


def _take_place(path: Path, ledger: Path) -> None:
    files.sync_folder(path)  # or a power cut could leave the store's name to a folder without its file
    replaced = ledger.with_name(REPLACED)
    shutil.rmtree(replaced, ignore_errors=True)
    if ledger.exists():
        files.rename(ledger, replaced)
    files.rename(path, ledger)
    shutil.rmtree(replaced, ignore_errors=True)
