"""Backups: a consistent copy while the node writes, checked file by file, restored to a node that only observes."""

import shutil
import stat
from types import SimpleNamespace

import lmdb
import msgspec
import pytest

from ledger.errors import ClientError, OurError
from ledger.keys import Scheme, SoftSigner
from node.cli import backup as backup_module
from node.cli.backup import LEDGER, MANIFEST, _Pace, check_backup, make_backup, restore_backup
from node.cli.main import run_command
from node.config import Config, to_toml
from node.core.vote_mark import VoteMark
from node.home import Home, genesis_json
from node.keystore import LIGHT, save_key
from node.storage import copy as copy_module
from node.storage import files
from node.storage.copy import copy_ledger
from node.storage.reader import LedgerReader
from node.storage.scan import check_store
from node.storage.store import FREE_BYTES_MIN, Store
from node.storage.wal import WriteAheadLog, newest_segment
from tests.device_chain import DeviceChain, validator_set
from tests.unit.test_store import GENESIS, STATE, grow

MAP_BYTES = 1 << 28
KEY = SoftSigner.from_seed(Scheme.ED25519, b"1" * 32)
FAST = 1 << 40


@pytest.fixture
def home(tmp_path):
    """The home of a stopped node that has stored 30 blocks and voted."""
    made = Home(tmp_path / "home")
    made.config_file.parent.mkdir(parents=True)
    made.config_file.write_text(to_toml({"node": {"company": "Teld"}, "store": {"map_bytes": MAP_BYTES}}))
    made.genesis_file.write_text(genesis_json(GENESIS, {}))
    save_key(made.path(Config().keys.vote), KEY, b"secret", LIGHT)
    (made.config_file.parent / "passphrase").write_text("secret")
    store = Store(made.ledger, GENESIS, STATE, MAP_BYTES)
    grow(store, 30)
    store.close()
    log = WriteAheadLog(made.wal, VoteMark(made.path(Config().keys.vote), KEY.public_key).raise_to)
    log.append([(31, b"vote")])
    log.close()
    return made


def rows(reader: LedgerReader) -> dict[str, list]:
    """All that a store holds."""
    names = list(reader._databases.named)
    with reader.snapshot() as snapshot:
        return {name: list(snapshot.rows(name)) for name in names}


@pytest.mark.parametrize("chunk_bytes", [1, 300, 1 << 20])
def test_F13_a_copy_that_is_made_while_blocks_are_stored_is_the_store_at_its_height(tmp_path, monkeypatch, chunk_bytes):
    """Entry by entry, in all databases, whenever the blocks came in between."""
    monkeypatch.setattr(copy_module, "CHUNK_BYTES", chunk_bytes)
    store = Store(tmp_path / "ledger", GENESIS, STATE, MAP_BYTES)
    grow(store, 8)
    left = 40

    def pace(size):
        nonlocal left
        if left and size:
            left -= 1
            grow(store, 1)

    head = copy_ledger(store, tmp_path / "copy", MAP_BYTES, pace)
    assert head.tip.height > 8, "blocks came while it was made"
    copy = LedgerReader(tmp_path / "copy", MAP_BYTES)
    reference = Store(tmp_path / "reference", GENESIS, STATE, MAP_BYTES)
    grow(reference, head.tip.height)
    assert rows(copy) == rows(reference)
    check_store(copy)
    for each in (store, copy, reference):
        each.close()


def test_F13_a_copy_holds_the_hand_overs(tmp_path):
    """A restored node hands them to whoever joins by a snapshot of it."""
    chain = DeviceChain(tmp_path, n=5)
    chain.seal(next_set=validator_set(chain.names[:4], 1))
    chain.seal(next_set=validator_set(chain.names, 2))
    copy_ledger(chain.store, tmp_path / "copy", 1 << 30, lambda size: None)
    copy = LedgerReader(tmp_path / "copy", 1 << 30)
    assert rows(copy) == rows(chain.store)
    with copy.snapshot() as snapshot:
        assert list(snapshot.hand_overs()) == [(1, 1), (2, 2)]
    copy.close()
    chain.close()


def test_F13_a_damaged_ledger_gives_no_backup(home, tmp_path):
    store = Store(home.ledger, GENESIS, STATE, MAP_BYTES)
    with store._env.begin(write=True) as txn:
        txn.put(b"\0\0\0\2other", b"2", db=store._databases.state)
    store.close()
    with pytest.raises(OurError, match=r"store-damaged: .*height 30"):
        make_backup(home, tmp_path / "backup", FAST)
    assert not (tmp_path / "backup").exists()


def test_F13_a_backup_is_restored_to_a_node_that_only_observes(home, tmp_path, capsys):
    backup, new = tmp_path / "backup", Home(tmp_path / "new")
    assert run_command(["backup", str(backup), "--home", str(home.root), "-o", "json"]) == 0
    said = msgspec.json.decode(capsys.readouterr().out)
    assert (said["height"], said["chain"], said["company"]) == (30, GENESIS.hash().hex(), "Teld")
    found = sorted(str(path.relative_to(backup)) for path in backup.rglob("*") if path.is_file())
    assert found == ["config/config.toml", "config/genesis.json", "config/vote_key.json", LEDGER, MANIFEST]
    assert run_command(["restore", str(backup), "--home", str(new.root), "-o", "json"]) == 0
    said = msgspec.json.decode(capsys.readouterr().out)
    assert "new vote key" in said["next"]
    key_file = new.path(Config().keys.vote)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    store = Store(new.ledger, GENESIS, STATE, MAP_BYTES)
    with store.snapshot() as snapshot:
        assert snapshot.height == 30
    grow(store, 1)
    store.close()
    for _ in range(3):
        assert not VoteMark(key_file, KEY.public_key).allows(newest_segment(new.wal))
        WriteAheadLog(new.wal).close()
    assert VoteMark(home.path(Config().keys.vote), KEY.public_key).allows(newest_segment(home.wal)), "the old one may"


def test_F13_a_backup_is_restored_into_a_mount_point(home, tmp_path, small_disk):
    """As a container's volume is: it can be neither renamed nor replaced."""
    make_backup(home, tmp_path / "backup", FAST)
    restore_backup(tmp_path / "backup", Home(small_disk.path))
    assert sorted(path.name for path in small_disk.path.iterdir()) == ["config", "data"]
    key_file = Home(small_disk.path).path(Config().keys.vote)
    assert VoteMark(key_file, KEY.public_key).is_forgotten


@pytest.mark.parametrize("step", [("forget_votes", 0), ("rename", 0), ("rename", 1)])
def test_F13_a_home_that_is_half_restored_does_not_start(home, tmp_path, monkeypatch, step):
    make_backup(home, tmp_path / "backup", FAST)
    new, (name, left) = Home(tmp_path / "new"), step

    class CrashError(Exception):
        """The power is cut."""

    def crash(*paths):
        nonlocal left
        if left == 0:
            raise CrashError
        left -= 1
        rename(*paths)

    rename = files.rename
    with monkeypatch.context() as patch:
        patch.setattr(files if name == "rename" else backup_module, name, crash)
        with pytest.raises(CrashError):
            restore_backup(tmp_path / "backup", new)
    assert not new.config_file.parent.exists()
    with pytest.raises(ClientError, match="genesis-missing"):
        new.genesis()
    if new.ledger.exists():
        with pytest.raises(ClientError, match=r"home-exists: .*empty it"):
            restore_backup(tmp_path / "backup", new)
        shutil.rmtree(new.root)
    restore_backup(tmp_path / "backup", new)
    assert sorted(path.name for path in new.root.iterdir()) == ["config", "data"]
    assert stat.S_IMODE(new.root.stat().st_mode) == 0o700


def test_F13_nothing_is_written_over(home, tmp_path, capsys):
    backup = tmp_path / "backup"
    make_backup(home, backup, FAST)
    for command in (["backup", str(backup)], ["restore", str(backup)]):
        assert run_command([*command, "--home", str(home.root)]) == 1
    said = capsys.readouterr().err
    assert "backup-exists: " in said
    assert "home-exists: " in said
    (tmp_path / "file").touch()
    with pytest.raises(ClientError, match="home-exists"):
        restore_backup(backup, Home(tmp_path / "file"))
    (tmp_path / "empty").mkdir()
    restore_backup(backup, Home(tmp_path / "empty"))


def test_F13_a_backup_with_another_byte_is_refused(home, tmp_path, capsys):
    backup = tmp_path / "backup"
    manifest = make_backup(home, backup, FAST)
    for name in manifest.files:
        good = (backup / name).read_bytes()
        for bad in (good[:-1] + bytes([good[-1] ^ 1]), good + b"\0", None):
            (backup / name).unlink()
            if bad is not None:
                (backup / name).write_bytes(bad)
            assert run_command(["restore", str(backup), "--home", str(tmp_path / "new")]) == 1
            assert capsys.readouterr().err.startswith(f"backup-invalid: {backup / name} is ")
            assert run_command(["verify", "--backup", str(backup)]) == 1
            capsys.readouterr()
            (backup / name).write_bytes(good)
    assert not (tmp_path / "new").exists()
    check_backup(backup)
    assert run_command(["restore", str(tmp_path), "--home", str(tmp_path / "new")]) == 1
    assert capsys.readouterr().err.startswith("backup-missing: ")


@pytest.mark.parametrize("name", ["../key", "/etc/passwd", "config/../../key", "config/..", "data/wal/1", "config/a/b"])
def test_F13_a_manifest_names_no_file_outside_of_the_home(home, tmp_path, name):
    """A backup from elsewhere must not write where its maker likes."""
    backup = tmp_path / "backup"
    manifest = make_backup(home, backup, FAST)
    entry = manifest.files[LEDGER]
    bent = msgspec.structs.replace(manifest, files=manifest.files | {name: entry})
    (backup / MANIFEST).write_bytes(msgspec.json.encode(bent))
    with pytest.raises(ClientError, match="is no file of a backup"):
        restore_backup(backup, Home(tmp_path / "new"))
    without = msgspec.structs.replace(manifest, files={"config/config.toml": manifest.files["config/config.toml"]})
    (backup / MANIFEST).write_bytes(msgspec.json.encode(without))
    with pytest.raises(ClientError, match="lists no ledger"):
        check_backup(backup)


def test_F13_a_restore_beside_the_node_does_not_silence_it(home, tmp_path):
    key_file = home.path(Config().keys.vote)
    for number, name in enumerate((str(key_file), f"../../{home.root.name}/config/{key_file.name}")):
        settings: dict[str, dict[str, object]] = {
            "node": {"company": "Teld"},
            "store": {"map_bytes": MAP_BYTES},
            "keys": {"vote": name},
        }
        home.config_file.write_text(to_toml(settings))
        make_backup(home, tmp_path / f"backup-{number}", FAST)
        with pytest.raises(ClientError, match="outside of the home"):
            restore_backup(tmp_path / f"backup-{number}", Home(tmp_path / "new"))
    assert VoteMark(key_file, KEY.public_key).allows(newest_segment(home.wal))


@pytest.mark.parametrize("error", [lmdb.DiskError("mdb_txn_commit: no space"), lmdb.MapFullError("mdb_put")])
def test_F13_a_full_disk_of_the_copy_is_said_and_nothing_stays(home, tmp_path, monkeypatch, capsys, error):
    def full(*_):
        raise error

    monkeypatch.setattr(copy_module._Copy, "_put", full)
    assert run_command(["backup", str(tmp_path / "backup"), "--home", str(home.root)]) == 1
    assert capsys.readouterr().err.startswith("disk-full: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_F13_a_backup_leaves_the_room_that_votes_need(home, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * FREE_BYTES_MIN - 1))
    with pytest.raises(ClientError, match="disk-full"):
        make_backup(home, tmp_path / "backup", FAST)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_F13_a_backup_reads_no_faster_than_it_may(tmp_path, monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr("node.cli.backup.time.monotonic", lambda: 100.0)
    monkeypatch.setattr("node.cli.backup.time.sleep", slept.append)
    pace = _Pace(1_000_000, tmp_path)
    pace(500_000)
    pace(0)
    pace(2_000_000)
    assert slept == [0.5, 0.5, 2.5]
