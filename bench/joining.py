"""How long it takes to make a snapshot, and to build a store from it: what a node that joins waits for beside its line.

`python -m bench.joining --keys 100000 --json FILE`.
"""

import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from bench.consortium import machine, report
from consensus.messages import SealedBlock
from contracts.genesis import genesis_state
from ledger.block import Block, Header, Result, SealedHeader, branch_table, header_hash, receipts_root, result_digest
from ledger.codec import decode, encode
from ledger.genesis import Genesis
from ledger.hashing import Tag, sm3
from ledger.snapshot import Manifest, check_manifest, unpack_chunk
from ledger.state_tree import StateTree
from node.core.snapshot_keeper import REST_FACTOR
from node.effects import Outcome, StoreSealed
from node.home import read_genesis
from node.storage.rebuild import build_store
from node.storage.snapshot_maker import Unhurried, make_snapshot
from node.storage.snapshots import Snapshots
from node.storage.store import BlockWork, Store
from node.testnet.make import TestnetPlan, make_testnet

BATCH = 5_000
"""Keys that one block adds."""
MAP_BYTES = 16 << 30


def grow(store: Store, genesis: Genesis, keys: int) -> None:
    """Blocks without transactions that add keys to the state, of 130 bytes with their values as wallets are; their
    seals are empty, for nobody looks at them here.
    """
    for first in range(0, keys, BATCH):
        changes = {
            b"\0\0\0\2w" + sm3(Tag.STATE_KEY, str(number).encode()): sm3(Tag.STATE_VALUE, str(number).encode()) * 3
            for number in range(first, min(first + BATCH, keys))
        }
        with store.snapshot() as snapshot:
            parent = snapshot.head
            change = StateTree(snapshot, snapshot.state_root).apply(changes)
        height, rows = parent.tip.height + 1, branch_table([], {})
        voters = parent.validators.hash()
        time_ms = parent.tip.time_ms + 1_000
        header = Header(
            genesis.hash(), height, 0, time_ms, parent.tip.header_hash, rows[1], 0, voters, "bench", rows[0]
        )
        raw = encode(header)
        root = receipts_root([])
        result = Result(
            genesis.hash(), height, header_hash(raw), time_ms, voters, voters, change.root, root, parent.history.root
        )
        sealed = SealedHeader(raw, encode(result), ())
        tip = parent.tip.after(raw, header, parent.validators)
        head = parent.after(tip, result_digest(sealed.result), parent.timeline)
        work = BlockWork(tuple(sorted(changes.items())), change.tiles, ())
        outcome = Outcome(height, header_hash(raw), change.root, root, parent.timeline, work)
        store.write([StoreSealed(Block(raw, header, header_hash(raw), ()), sealed, outcome, head)])


def measure(keys: int) -> dict[str, Any]:
    """The figures for a state of so many keys."""
    with tempfile.TemporaryDirectory(prefix="pilechain-joining-") as folder:
        root = Path(folder)
        net = make_testnet(root / "net", TestnetPlan(base_port=0))
        genesis = read_genesis(net.home(next(iter(net.nodes))).genesis_file)
        store = Store(root / "donor" / "ledger", genesis, genesis_state(genesis), MAP_BYTES)
        grow(store, genesis, keys)
        snapshots = Snapshots(root / "snapshots")
        began = time.perf_counter()
        made = make_snapshot(store, snapshots, Unhurried())
        making_s = time.perf_counter() - began
        if made is None:
            raise SystemExit("the chain stood still, so there must be a snapshot")
        manifest = decode(Manifest, snapshots.manifest(made.height) or b"")

        def chunk(index: int) -> bytes:
            return snapshots.chunk(made.height, index) or b""

        def block(height: int) -> bytes:
            with store.snapshot() as snapshot:
                sealed = snapshot.sealed(height)
                return encode(SealedBlock(sealed, snapshot.transactions(height))) if sealed else b""

        began = time.perf_counter()
        for place in check_manifest(manifest, 0):
            if not place.empty:
                unpack_chunk(place, chunk(place.index))
        proving_s = time.perf_counter() - began
        began = time.perf_counter()
        build_store(root / "joiner" / "ledger", genesis, MAP_BYTES, 0, manifest, [], chunk, block)
        building_s = time.perf_counter() - began
        size = (root / "joiner" / "ledger" / "data.mdb").stat().st_size
        store.close()
        return {
            "keys": made.entries,
            "chunks": made.chunks,
            "line_bytes": made.size_bytes,
            "making_s": round(making_s, 2),
            "making_beside_a_chain_s": round(making_s * (1 + REST_FACTOR), 2),
            "proving_s": round(proving_s, 2),
            "building_s": round(building_s, 2),  # with all proofs again
            "store_bytes": size,
        }


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.joining", description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000, help="entries of the state")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    report(machine() | measure(given.keys), given.json)
