"""The store that comes of a snapshot: whole or not there at all, with the sets, the history and the replay window."""

from pathlib import Path
from typing import Any

import pytest

from consensus.messages import SealedBlock
from devices.light_client import LightClient
from ledger.codec import decode, encode
from ledger.errors import ClientError, OurError, PeerError
from ledger.snapshot import Manifest
from node.cli.verify import verify_chain
from node.cli.verify_part import PartVerified
from node.core.donor import Donor
from node.home import Home
from node.join.trust import SetUnknownError, Trust
from node.storage import files, rebuild
from node.storage.reader import LedgerReader
from node.storage.snapshot_maker import Unhurried, make_snapshot
from node.storage.snapshots import Snapshots
from node.storage.store import Store
from tests.device_chain import DeviceChain, validator_set

MINUTE_MS = 60_000


def chain_of_an_hour(folder: Path) -> DeviceChain:
    """A chain whose set changed twice, the last time long before its replay window."""
    made = DeviceChain(folder / "donor", n=5)
    names = made.names
    for number in range(30):
        tx = made.call("d0", "money", "pay", to=made.genesis.validators.validators[0].company_key, amount_fen=1, memo=0)
        following = {8: validator_set(names[:4], 1), 14: validator_set(names, 2)}.get(number)
        made.seal(tx, at_ms=made.now_ms + 2 * MINUTE_MS, next_set=following)
    return made


@pytest.fixture
def chain(tmp_path):
    """A chain of an hour."""
    made = chain_of_an_hour(tmp_path)
    yield made
    made.close()


class Pieces:
    """A snapshot of a chain, with everything that a joiner fetches."""

    def __init__(self, chain: DeviceChain, folder: Any) -> None:
        self.chain = chain
        self.snapshots = Snapshots(folder / "snapshots")
        made = make_snapshot(chain.store, self.snapshots, Unhurried())
        assert made is not None
        self.height = made.height
        self.manifest = decode(Manifest, self.snapshots.manifest(self.height) or b"")
        nobody: Any = None
        donor = Donor(chain.store, self.snapshots, nobody, nobody, nobody)
        self.changes = donor._hand_overs(0)
        donor.close()

    def chunk(self, index: int) -> bytes:
        """A chunk."""
        return self.snapshots.chunk(self.height, index) or b""

    def block(self, height: int) -> bytes:
        """A block of the window."""
        with self.chain.store.snapshot() as snapshot:
            sealed = snapshot.sealed(height)
            assert sealed is not None
            return encode(SealedBlock(sealed, snapshot.transactions(height)))

    def build(self, path: Any, **other: Any) -> Any:
        """The store."""
        given = {"chunk": self.chunk, "block": self.block} | other
        return rebuild.build_store(
            path,
            self.chain.genesis,
            1 << 30,
            rebuild.ledger_height(path, 1 << 30),
            self.manifest,
            list(self.changes),
            given["chunk"],
            given["block"],
        )


def test_F13_a_joined_store_goes_on_where_the_others_are(chain, tmp_path):
    pieces = Pieces(chain, tmp_path)
    head = pieces.build(tmp_path / "joiner" / "ledger")
    joined = Store(tmp_path / "joiner" / "ledger", chain.genesis, {}, 1 << 30)
    with joined.snapshot() as ours, chain.store.snapshot() as theirs:
        assert ours.head == head == theirs.head
        assert dict(ours.scan(b"")) == dict(theirs.scan(b""))
        assert list(ours.hand_overs()) == list(theirs.hand_overs()) == [(1, 9), (2, 15)]
        first = pieces.manifest.first
        assert 15 < first == ours.first_block < chain.height
        for height in range(first, chain.height + 1):
            assert ours.transactions(height) == theirs.transactions(height)
            if height < chain.height:
                assert ours.prove_history(height) == theirs.prove_history(height)
        for absent in (
            lambda: ours.prove_history(9),
            lambda: ours.transactions(first - 1),
            lambda: ours.receipts(first),
        ):
            with pytest.raises(ClientError, match="height-pruned"):
                absent()
    theirs_store, chain.store = chain.store, joined
    chain.seal(at_ms=chain.now_ms + MINUTE_MS)  # a block on top of it
    with joined.snapshot() as ours:
        assert ours.first_whole == chain.height
        ours.prove_history(first)
    joined.close()
    verified = verify_chain(tmp_path / "joiner" / "ledger", chain.genesis, lambda *_: None)
    assert isinstance(verified, PartVerified)
    assert (verified.first_linked, verified.first_transactions) == (first, first)
    assert (verified.height, verified.first_receipts) == (chain.height, chain.height)
    chain.store = theirs_store


def test_F13_trust_follows_hand_overs_from_genesis_and_nothing_else(chain, tmp_path):
    pieces = Pieces(chain, tmp_path)
    first, second = pieces.changes
    trust = Trust(chain.genesis)
    with pytest.raises(SetUnknownError):
        trust.prove(pieces.manifest)
    for forged in (
        (second,),
        (type(first)(first.sealed, second.next_set),),
        (type(first)(second.sealed, first.next_set),),
    ):
        with pytest.raises(PeerError):
            trust.follow(forged)
    assert trust.follow((first,))
    assert not trust.follow((first,)), "nothing new"
    assert trust.follow((first, second))
    assert trust.prove(pieces.manifest).epoch == 2
    light = LightClient(chain.anchor())
    light.learn_genesis(chain.genesis.summary())
    assert all(light.follow(change.sealed, change.next_set).true for change in pieces.changes)


@pytest.mark.parametrize("step", ["put_head", "put_hand_over", "_put_blocks", "_take_place", "rename"])
def test_F13_a_crash_while_building_leaves_no_store_that_looks_whole(chain, tmp_path, monkeypatch, step):
    pieces = Pieces(chain, tmp_path)
    path = tmp_path / "joiner" / "ledger"
    old = Store(path, chain.genesis, {b"k": b"old"}, 1 << 30)
    old.close()

    class CrashError(Exception):
        """The power is cut."""

    rename = files.rename

    def crash(*paths: Any) -> None:
        if step == "rename" and paths[0] == path:
            rename(*paths)  # the old store has its other name, the new one not yet its own
        else:
            raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(files if step == "rename" else rebuild, step, crash)
        with pytest.raises(CrashError):
            pieces.build(path)
    rebuild.undo_half_replacement(path)
    reader = LedgerReader(path)
    with reader.snapshot() as snapshot:
        assert snapshot.height == 0, "the store before"
    reader.close()
    pieces.build(path)
    reader = LedgerReader(path)
    with reader.snapshot() as snapshot:
        assert snapshot.height == pieces.height
    reader.close()


def test_F13_the_new_ledgers_folder_is_durable_before_it_gets_its_name(chain, tmp_path, monkeypatch):
    pieces = Pieces(chain, tmp_path)
    path = tmp_path / "joiner" / "ledger"
    done: list[Any] = []
    sync_folder, rename = files.sync_folder, files.rename

    def sync(folder):
        done.append(folder)
        sync_folder(folder)

    def name(old, new):
        done.append((old, new))
        rename(old, new)

    monkeypatch.setattr(files, "sync_folder", sync)
    monkeypatch.setattr(files, "rename", name)
    pieces.build(path)
    new = path.with_name(rebuild.BUILDING)
    assert done[: done.index((new, path))] == [new]


def test_F13_a_piece_that_the_disk_spoiled_is_not_built_in(chain, tmp_path):
    pieces = Pieces(chain, tmp_path)
    path = tmp_path / "joiner" / "ledger"
    with pytest.raises(PeerError, match="chunk-malformed"):
        pieces.build(path, chunk=lambda index: pieces.chunk(index)[:-1])
    with pytest.raises(PeerError, match="block-forged"):
        pieces.build(path, block=lambda height: pieces.block(pieces.height))
    assert not path.exists()


def test_F13_no_snapshot_takes_a_ledger_back(chain, tmp_path):
    """The log has dropped the votes on what the ledger holds."""
    pieces = Pieces(chain, tmp_path)
    path = tmp_path / "joiner" / "ledger"
    pieces.build(path)
    for height in (pieces.height, pieces.height + 1):
        with pytest.raises(OurError, match="rebuild-lower"):
            pieces.build(path)
        assert rebuild.ledger_height(path, 1 << 30) == height
        donors, chain.store = chain.store, Store(path, chain.genesis, {}, 1 << 30)
        chain.seal(at_ms=chain.now_ms + MINUTE_MS)
        chain.store.close()
        chain.store = donors


def test_F13_the_mark_to_join_again_goes_with_the_ledger_that_it_is_for(chain, tmp_path, monkeypatch):
    """Whenever the power is cut: a node that has joined must not give its good ledger up once more."""
    pieces = Pieces(chain, tmp_path)
    home = Home(tmp_path / "joiner")
    Store(home.ledger, chain.genesis, {}, 1 << 30).close()
    home.rejoin.touch()

    class CrashError(Exception):
        """The power is cut."""

    def crash(path, new):
        rename(path, new)
        if new == home.ledger:
            raise CrashError

    rename = files.rename
    with monkeypatch.context() as patch:
        patch.setattr(files, "rename", crash)
        with pytest.raises(CrashError):
            pieces.build(home.ledger)
    rebuild.undo_half_replacement(home.ledger)
    assert rebuild.ledger_height(home.ledger, 1 << 30) == pieces.height
    assert not home.rejoin.exists()


def test_F13_verify_finds_what_was_altered_in_a_partial_ledger(chain, tmp_path):
    pieces = Pieces(chain, tmp_path)
    path = tmp_path / "joiner" / "ledger"
    pieces.build(path)
    joined = Store(path, chain.genesis, {}, 1 << 30)
    with joined.snapshot() as snapshot:
        key, value = next(iter(snapshot.scan(b"\0\0\0\2")))
    with joined._env.begin(write=True) as txn:
        txn.put(key, value + b"!", db=joined._databases.state)
    joined.close()
    with pytest.raises(ClientError, match="chain-invalid: snapshot-root"):
        verify_chain(path, chain.genesis, lambda *_: None)


def test_F13_a_reader_sees_that_its_store_was_replaced(chain, tmp_path, monkeypatch):
    pieces = Pieces(chain, tmp_path)
    path = tmp_path / "joiner" / "ledger"
    Store(path, chain.genesis, {}, 1 << 30).close()
    with monkeypatch.context() as patch:
        patch.setattr(rebuild, "ledger_height", lambda *_: 0)  # this process has the store open already
        reader = LedgerReader(path)
        assert not reader.is_replaced()
        pieces.build(path)
    assert reader.is_replaced()
    reader.close()
