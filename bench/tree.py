"""Cost of the state tree on disk: CPU per updated key, tiles written, proof sizes, at growing numbers of keys.

`python -m bench.tree [keys …]` prints a table, then one line of JSON. A block of 2,000 payments updates 4,000 keys,
here drawn at random: the worst case, since real payments meet at the same accounts. Reading tiles from LMDB counts as
update, writing them stands apart. CPU time of this process; `hash_us` is the machine's own measure beside it.
"""

import json
import platform
import random
import sys
import tempfile
from collections.abc import Mapping
from time import process_time

import lmdb

from ledger.codec import encode
from ledger.hashing import ZERO_HASH
from ledger.state_proof import hash_inner, verify_state
from ledger.state_tree import StateTree

KEYS = (10_000, 100_000, 1_000_000)
UPDATED = 4_000
ROUNDS = 5
PROOFS = 500
HASHES = 20_000
MAP_BYTES = 16 << 30
"""Address space, not disk."""


class LmdbTiles:
    """Tiles in an LMDB file, as a node keeps them."""

    def __init__(self, folder: str) -> None:
        self._env = lmdb.open(folder, map_size=MAP_BYTES, sync=False)
        self._reading = self._env.begin()

    def tile(self, path: bytes) -> bytes | None:
        """Return the tile under a path; LMDB allows no empty key, so each has a letter before it."""
        tile: bytes | None = self._reading.get(b"t" + path)
        return tile

    def write(self, tiles: Mapping[bytes, bytes | None]) -> None:
        """Write a change."""
        with self._env.begin(write=True) as txn:
            for path in sorted(tiles):
                tile = tiles[path]
                if tile is None:
                    txn.delete(b"t" + path)
                else:
                    txn.put(b"t" + path, tile)
        self._reading = self._env.begin()

    def size(self) -> tuple[int, int]:
        """Return the number of tiles and the bytes of their pages."""
        stat = self._env.stat()
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return stat["entries"], pages * stat["psize"]


def key_of(number: int) -> bytes:
    """Return a key as a wallet's is: contract number and account."""
    return b"\0\0\0\2w" + number.to_bytes(32, "big")


def measure(keys: int, folder: str) -> dict[str, float]:
    """Build a tree of so many keys, update and prove."""
    draw = random.Random(keys)
    store = LmdbTiles(folder)
    root = ZERO_HASH
    for first in range(0, keys, 50_000):
        numbers = range(first, min(keys, first + 50_000))
        change = StateTree(store, root).apply({key_of(number): number.to_bytes(24, "big") for number in numbers})
        store.write(change.tiles)
        root = change.root
    tiles, disk_bytes = store.size()
    update = write = slice_max = 0.0
    written = written_bytes = 0
    values: dict[bytes, bytes] = {}
    for _ in range(ROUNDS):
        values = {key_of(number): draw.randbytes(24) for number in draw.sample(range(keys), UPDATED)}
        steps = StateTree(store, root).update(values)
        while True:
            start = process_time()
            try:
                next(steps)
            except StopIteration as done:
                change = done.value
                break
            finally:
                took = process_time() - start
                update += took
                slice_max = max(slice_max, took)
        start = process_time()
        store.write(change.tiles)
        write += process_time() - start
        written += len(change.tiles)
        written_bytes += sum(len(tile) for tile in change.tiles.values() if tile is not None)
        root = change.root
    tree = StateTree(store, root)
    chosen = draw.sample(sorted(values), PROOFS)
    start = process_time()
    proofs = [tree.prove(key) for key in chosen]
    prove = process_time() - start
    start = process_time()
    if not all(verify_state(root, key, values[key], proof) for key, proof in zip(chosen, proofs, strict=True)):
        raise SystemExit("a proof does not verify")
    verify = process_time() - start
    absent = [key_of(keys + number) for number in range(PROOFS)]
    proofs += [tree.prove(key) for key in absent]
    sizes = sorted(len(encode(proof)) for proof in proofs)
    start = process_time()
    for _ in range(HASHES):
        hash_inner(root + root)
    hashing = process_time() - start
    updated = ROUNDS * UPDATED
    return {
        "keys": keys,
        "hash_us": round(hashing / HASHES * 1e6, 2),
        "update_us_per_key": round(update / updated * 1e6, 2),
        "slice_max_ms": round(slice_max * 1e3, 2),
        "write_us_per_key": round(write / updated * 1e6, 2),
        "tiles_per_key": round(written / updated, 2),
        "tile_bytes_per_key": round(written_bytes / updated),
        "tiles": tiles,
        "disk_bytes_per_key": round(disk_bytes / keys),
        "prove_us": round(prove / PROOFS * 1e6, 1),
        "verify_us": round(verify / PROOFS * 1e6, 1),
        "proof_bytes_p50": sizes[len(sizes) // 2],
        "proof_bytes_max": sizes[-1],
    }


def main() -> None:
    """Measure and print."""
    print(f"{platform.machine()}, Python {platform.python_version()}, {UPDATED} keys an update, {ROUNDS} updates")
    rows = []
    for keys in [int(text) for text in sys.argv[1:]] or KEYS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(keys, folder))
        print("  ".join(f"{name} {value:g}" for name, value in rows[-1].items()))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
