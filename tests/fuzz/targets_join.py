"""What a donor sends to a node that joins by snapshot."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus.messages import SealedBlock
from ledger.codec import decode, encode
from ledger.snapshot import Manifest, check_manifest, check_window_block, unpack_chunk
from tests.fuzz.engine import Target
from tests.fuzz.targets import target
from tests.unit.test_snapshot import EXPIRY_MS, make, make_small

HEIGHT = 30


@target("ledger.snapshot.check_manifest")
def snapshot_manifests(folder: Path) -> Iterator[Target]:
    """The list of a snapshot's chunks and blocks."""
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        store, snapshots, _, _ = make(folder, height=HEIGHT)
        raw = snapshots.manifest(HEIGHT) or b""
        yield Target(lambda data: check_manifest(decode(Manifest, data), EXPIRY_MS), [raw], iterations=600)
        store.close()


@target("ledger.snapshot.unpack_chunk")
def snapshot_chunks(folder: Path) -> Iterator[Target]:
    """A chunk: what the sealed state holds there, or nothing."""
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        store, snapshots, _, _ = make(folder, height=HEIGHT)
        places = check_manifest(decode(Manifest, snapshots.manifest(HEIGHT) or b""), EXPIRY_MS)
        place = next(place for place in places if not place.empty)
        truth = snapshots.chunk(HEIGHT, place.index) or b""
        entries = unpack_chunk(place, truth)

        def parse(data: bytes) -> None:
            assert unpack_chunk(place, data) == entries

        yield Target(parse, [truth])
        store.close()


@target("ledger.snapshot.check_window_block")
def window_blocks(folder: Path) -> Iterator[Target]:
    """A block of the replay window."""
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        store, snapshots, _, _ = make(folder, height=HEIGHT)
        manifest = decode(Manifest, snapshots.manifest(HEIGHT) or b"")
        with store.snapshot() as snapshot:
            sealed, raws = snapshot.sealed(HEIGHT - 1), snapshot.transactions(HEIGHT - 1)
        assert sealed is not None
        truth = SealedBlock(sealed, raws)

        def parse(data: bytes) -> None:
            block = decode(SealedBlock, data)
            check_window_block(manifest, HEIGHT - 1, block.sealed, block.transactions)
            assert (block.sealed.header, block.transactions) == (sealed.header, raws)

        yield Target(parse, [encode(truth)])
        store.close()
