"""Backups: a consistent copy while the node writes, checked file by file, restored to a node that only observes."""

import hashlib
import os
import shutil
import signal
import stat
from types import SimpleNamespace

import lmdb
import msgspec
import pytest

from ledger.errors import ClientError, OurError
from ledger.keys import Scheme, SoftSigner
from node.cli import backup as backup_module
from node.cli.backup import LEDGER, MANIFEST, FileEntry, _Pace, check_backup, make_backup, restore_backup
from node.cli.main import run_command
from node.config import Config, to_toml
from node.core.vote_keys import VoteKeys, next_key_file, next_vote_key
from node.core.vote_mark import VoteMark
from node.home import Home, genesis_json
from node.keystore import LIGHT, save_key
from node.storage import copy as copy_module
from node.storage import files
from node.storage.reader import LedgerReader
from node.storage.store import FREE_BYTES_MIN, Store
from node.storage.wal import WriteAheadLog, newest_segment
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
    assert "keys renew" in said["next"]
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
    for missing in (LEDGER, "config/config.toml"):
        files_but_one = {each: entry for each, entry in manifest.files.items() if each != missing}
        without = msgspec.structs.replace(manifest, files=files_but_one)
        (backup / MANIFEST).write_bytes(msgspec.json.encode(without))
        with pytest.raises(ClientError, match=f"lists no {missing}"):
            check_backup(backup)


def settings(**others: dict[str, object]) -> str:
    """A config.toml."""
    return to_toml({"node": {"company": "Teld"}, "store": {"map_bytes": MAP_BYTES}, **others})


def test_F13_a_restore_beside_the_node_does_not_silence_it(home, tmp_path):
    """Though a backup that somebody made by hand names that one's key."""
    key_file, backup = home.path(Config().keys.vote), tmp_path / "backup"
    manifest = make_backup(home, backup, FAST)
    for name in (str(key_file), f"../../{home.root.name}/config/{key_file.name}"):
        config = Home(backup).config_file
        config.write_text(settings(keys={"vote": name}))
        entry = FileEntry(config.stat().st_size, hashlib.sha256(config.read_bytes()).hexdigest())
        bent = msgspec.structs.replace(manifest, files=manifest.files | {"config/config.toml": entry})
        (backup / MANIFEST).write_bytes(msgspec.json.encode(bent))
        with pytest.raises(ClientError, match="outside of the home"):
            restore_backup(backup, Home(tmp_path / "new"))
    assert VoteMark(key_file, KEY.public_key).allows(newest_segment(home.wal))


def test_F13_a_backup_holds_the_files_that_the_settings_name(home, tmp_path):
    """Whatever they are called: a key that was left out would be put back by hand."""
    config = home.config_file.parent
    (config / "vote_key.json").rename(config / "validator.json")
    (config / "node.crt").write_text("certificate")
    (config / "old_key.json").write_text("nobody names it")
    home.config_file.write_text(
        settings(keys={"vote": "config/validator.json"}, p2p={"certificate": "config/node.crt"})
    )
    found = make_backup(home, tmp_path / "backup", FAST).files
    assert sorted(found) == [
        *(f"config/{name}" for name in ("config.toml", "genesis.json", "node.crt", "validator.json")),
        LEDGER,
    ]
    new = Home(tmp_path / "new")
    restore_backup(tmp_path / "backup", new)
    assert VoteMark(new.path("config/validator.json"), KEY.public_key).is_forgotten


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("keys", "vote", "/etc/pile/vote_key.json"),
        ("keys", "archive", "config/keys/a.json"),
        ("p2p", "key", "node.pem"),
    ],
)
def test_F13_a_backup_without_a_file_that_the_settings_name_is_refused(home, tmp_path, section, name, value):
    home.config_file.write_text(settings(**{section: {name: value}}))
    with pytest.raises(
        ClientError, match=rf"backup-elsewhere: {section}\.{name} = '{value}'.*'config/{value.split('/')[-1]}'"
    ):
        make_backup(home, tmp_path / "backup", FAST)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_F13_a_restored_node_observes_whatever_key_is_put_into_it_until_it_makes_a_fresh_one(home, tmp_path):
    """The operator has another copy of the key in a safe, or the one that the backup is too old for."""
    home.path(Config().keys.vote).unlink()
    make_backup(home, tmp_path / "backup", FAST)
    new = Home(tmp_path / "new")
    restore_backup(tmp_path / "backup", new)
    key_file = new.path(Config().keys.vote)
    later = SoftSigner.from_seed(Scheme.ED25519, b"2" * 32)
    for key in (KEY, later):
        for file in (key_file, next_key_file(key_file)):
            file.unlink(missing_ok=True)
            save_key(file, key, b"secret", LIGHT)
        assert VoteKeys(key_file, b"secret", newest_segment(new.wal)).signers == []
        WriteAheadLog(new.wal).close()
    fresh = next_vote_key(key_file, b"secret")  # `pilechain keys renew`
    assert fresh.public_key not in (KEY.public_key, later.public_key)
    keys = VoteKeys(key_file, b"secret", newest_segment(new.wal))
    assert [signer.public_key for signer in keys.signers] == [fresh.public_key]
    keys.promote()
    assert VoteKeys(key_file, b"secret", newest_segment(new.wal)).may_vote


def test_F13_the_draft_of_another_backup_is_left_alone(home, tmp_path):
    draft = tmp_path / "backup.partial"
    draft.mkdir()
    (draft / "file").touch()
    with pytest.raises(ClientError, match=r"backup-exists: .*partial"):
        make_backup(home, tmp_path / "backup", FAST)
    assert (draft / "file").exists()


def test_F13_a_new_file_system_is_an_empty_home(home, tmp_path):
    make_backup(home, tmp_path / "backup", FAST)
    new = Home(tmp_path / "new")
    (new.root / "lost+found").mkdir(parents=True)
    restore_backup(tmp_path / "backup", new)
    assert sorted(path.name for path in new.root.iterdir()) == ["config", "data", "lost+found"]


@pytest.mark.parametrize("command", ["verify", "backup DEST", "snapshot create", "query block"])
def test_F13_a_ledger_that_kills_whoever_reads_it_is_called_damaged(home, tmp_path, monkeypatch, capsys, command):
    def die(*_):
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGBUS)

    monkeypatch.setattr(LedgerReader, "snapshot", die)
    words = command.replace("DEST", str(tmp_path / "backup")).split()
    assert run_command([*words, "--home", str(home.root)]) == 4
    assert capsys.readouterr().err.startswith(f"store-damaged: {home.ledger}/data.mdb: reading it kills the reader")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(lmdb.DiskError("mdb_txn_commit: no space"), "disk-full"), (lmdb.MapFullError("mdb_put"), "map-full")],
)
def test_F13_a_full_disk_of_the_copy_is_said_and_nothing_stays(home, tmp_path, monkeypatch, capsys, error, code):
    def full(*_):
        raise error

    monkeypatch.setattr(copy_module._Copy, "_put", full)
    assert run_command(["backup", str(tmp_path / "backup"), "--home", str(home.root)]) == 1
    assert capsys.readouterr().err.startswith(f"{code}: ")
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
