"""`pilechain repair`: damage is found and set aside, nothing is deleted, and the key never votes on what it forgot."""

import asyncio
import os
import shutil
import signal
from pathlib import Path
from random import Random

import lmdb
import msgspec
import pytest

from ledger.codec import encode
from ledger.errors import OurError
from ledger.keys import Scheme, SoftSigner
from node.cli.main import run_command
from node.config import Config, to_toml
from node.core.lock import home_locked
from node.core.start import _join
from node.core.vote_keys import VoteKeys, next_key_file
from node.core.vote_mark import VoteMark
from node.home import Home
from node.keystore import LIGHT, public_key_of, save_key
from node.storage import scan
from node.storage.layout import DATA_FILE, height_key
from node.storage.reader import LedgerReader
from node.storage.scan import store_damage
from node.storage.store import Store
from node.storage.wal import WriteAheadLog, newest_segment
from tests.unit.test_rebuild import Pieces, chain_of_an_hour
from tests.unit.test_store import GENESIS, STATE, grow

MAP_BYTES = 1 << 28
KEY = SoftSigner.from_seed(Scheme.ED25519, b"1" * 32)


def bare_home(folder: Path) -> Home:
    """The home of a node that never ran."""
    made = Home(folder)
    made.config_file.parent.mkdir()
    made.config_file.write_text(to_toml({"node": {"company": "Teld"}}))
    save_key(made.path(Config().keys.vote), KEY, b"secret", LIGHT)
    return made


@pytest.fixture
def home(tmp_path):
    """The home of a node that has voted and stored 20 blocks."""
    made = bare_home(tmp_path)
    store = Store(made.ledger, GENESIS, STATE, MAP_BYTES)
    grow(store, 20)
    store.close()
    log = WriteAheadLog(made.wal, mark(made).raise_to)
    for height in range(21, 25):
        log.append([(height, b"vote" * 10)])
    log.close()
    return made


def mark(home: Home) -> VoteMark:
    """The mark of the home's vote key."""
    return VoteMark(home.path(Config().keys.vote), KEY.public_key)


def repair(home: Home, capsys, *options: str) -> dict:
    """Run the command; what it says."""
    assert run_command(["repair", "--home", str(home.root), "--output", "json", *options]) == 0
    return msgspec.json.decode(capsys.readouterr().out)


def flip(path, at: int) -> None:
    """Flip a bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def test_F13_a_sound_node_is_left_as_it_is(home, capsys):
    said = repair(home, capsys)
    assert (said["log"], said["ledger"], said["set_aside"]) == ("good", "good", [])
    assert mark(home).allows(newest_segment(home.wal))


def test_F13_a_damaged_log_is_set_aside_and_its_key_only_observes(home, capsys):
    segment = home.wal / "00000001.wal"
    flip(segment, 60)
    damaged = segment.read_bytes()
    said = repair(home, capsys)
    assert "00000001.wal at offset 12" in said["log"]
    assert said["ledger"] == "good"
    [place] = said["set_aside"]
    assert place.startswith(f"{home.root}/data/damaged-")
    assert (home.root / place / "00000001.wal").read_bytes() == damaged
    assert not home.wal.exists()
    assert home.ledger.exists()
    for _ in range(3):
        WriteAheadLog(home.wal).close()
        assert not mark(home).allows(newest_segment(home.wal)), "not even when the new log has as many segments"


def test_F13_a_ledger_whose_pages_are_damaged_is_set_aside(home, capsys):
    """Whatever LMDB makes of them: errors, or the death of the process that reads."""
    data = bytearray((home.ledger / DATA_FILE).read_bytes())
    random = Random(5)
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 16] = random.randbytes(16)
    (home.ledger / DATA_FILE).write_bytes(data)
    said = repair(home, capsys)
    assert said["log"] == "good"
    assert str(home.ledger) in said["ledger"]
    assert (home.root / said["set_aside"][0] / DATA_FILE).read_bytes() == data
    assert not mark(home).allows(newest_segment(home.wal)), "it would vote anew on heights that the log has dropped"


def test_F13_a_scan_that_somebody_kills_finds_no_damage(home, capsys, monkeypatch):
    """The kernel, say, for want of memory: a sound ledger and its key are not given up for that."""
    monkeypatch.setattr(scan, "check_store", lambda reader: os.kill(os.getpid(), signal.SIGKILL))
    assert run_command(["repair", "--home", str(home.root)]) == 1
    assert "child-died" in capsys.readouterr().err
    assert (home.ledger / DATA_FILE).exists()
    assert mark(home).allows(newest_segment(home.wal))


def test_F13_a_ledger_that_verify_found_wrong_is_set_aside_on_the_operators_word(home, capsys):
    said = repair(home, capsys, "--ledger")
    assert len(said["set_aside"]) == 1
    assert not home.ledger.exists()
    Store(home.ledger, GENESIS, STATE, MAP_BYTES).close()
    assert len(repair(home, capsys, "--ledger")["set_aside"]) == 1, "twice in one second"


def test_F13_a_node_that_runs_is_not_repaired(home, capsys):
    with home_locked(home):
        assert run_command(["repair", "--home", str(home.root)]) == 1
    assert capsys.readouterr().err.startswith("home-in-use: ")


def test_F13_a_home_without_data_or_key_has_nothing_to_repair(home, capsys):
    for path in (home.wal, home.ledger):
        path.rename(home.root / path.name)
    assert repair(home, capsys)["set_aside"] == []
    home.path(Config().keys.vote).unlink()
    assert len(repair(home, capsys, "--ledger")["set_aside"]) == 0


def start(home: Home) -> VoteKeys:
    """What core does before it opens the store; the vote keys as it finds them then."""
    asyncio.run(_join(home, home.config()))
    return VoteKeys(home.path(Config().keys.vote), b"secret", newest_segment(home.wal))


@pytest.mark.parametrize("first", ["repair", "repair --ledger", "start"])
def test_F13_a_node_whose_ledger_is_gone_only_observes_though_its_log_is_whole(home, capsys, first):
    """The log has dropped the votes on what the ledger held."""
    keys = start(home)
    keys.make_waiting()
    assert len(start(home).signers) == 2, "with its ledger it votes"
    shutil.rmtree(home.ledger)
    if first != "start":
        said = repair(home, capsys, *first.split()[1:])
        assert (said["log"], said["ledger"], said["set_aside"]) == ("good", "missing, though this node had one", [])
        assert "keys renew" in said["next"]
        Store(home.ledger, GENESIS, STATE, MAP_BYTES).close()
    assert start(home).signers == []
    key_file = home.path(Config().keys.vote)
    for file in (key_file, next_key_file(key_file)):
        assert VoteMark(file, public_key_of(file)).is_forgotten


def test_F13_without_ledger_and_mark_a_log_is_enough_to_doubt_a_key(home):
    shutil.rmtree(home.ledger)
    home.path(Config().keys.vote).with_name("vote_key.json.voted").unlink()
    assert not start(home).may_vote


def test_F13_a_key_that_never_voted_may_vote_in_a_node_without_ledger(home):
    """One that took the place of another, whose mark is still there; and one in a home that is new."""
    key_file = home.path(Config().keys.vote)
    fresh = SoftSigner.from_seed(Scheme.ED25519, b"2" * 32)
    key_file.unlink()
    save_key(key_file, fresh, b"secret", LIGHT)
    shutil.rmtree(home.ledger)
    assert start(home).may_vote
    shutil.rmtree(home.wal)
    key_file.with_name("vote_key.json.voted").unlink()
    assert start(home).may_vote


def test_F13_a_repair_marks_the_waiting_key_as_well(home, capsys):
    start(home).make_waiting()
    repair(home, capsys, "--ledger")
    file = next_key_file(home.path(Config().keys.vote))
    assert VoteMark(file, public_key_of(file)).is_forgotten


def test_F13_a_ledger_of_another_format_is_set_aside_and_the_key_marked(home, capsys):
    with lmdb.open(str(home.ledger), max_dbs=16, map_size=MAP_BYTES) as env, env.begin(write=True) as txn:
        txn.put(b"format", encode(1), db=env.open_db(b"meta", txn))
        txn.drop(env.open_db(b"hand-overs", txn))
    said = repair(home, capsys)
    assert "has format 1, this program reads format" in said["ledger"]
    assert len(said["set_aside"]) == 1
    assert mark(home).is_forgotten


@pytest.mark.parametrize("options", [(), ("--ledger",)])
def test_F13_a_first_start_that_made_no_ledger_costs_no_key(tmp_path, capsys, options):
    """It found no room, or was killed: there is nothing that its key may have voted on."""
    home = bare_home(tmp_path)
    (home.ledger / "new").mkdir(parents=True)
    said = repair(home, capsys, *options)
    assert (said["ledger"], said["set_aside"]) == ("good", [])
    assert mark(home).allows(newest_segment(home.wal))


@pytest.mark.parametrize("how", ["joined", "pruned"])
def test_F13_a_sound_ledger_without_its_oldest_blocks_is_left_as_it_is(tmp_path, capsys, how):
    home = bare_home(tmp_path)
    if how == "joined":
        chain = chain_of_an_hour(tmp_path)
        Pieces(chain, tmp_path).build(home.ledger)
        assert chain.height > 20
        chain.close()
    else:
        store = Store(home.ledger, GENESIS, STATE, MAP_BYTES)
        grow(store, 20)
        store.prune(12, 20)
        store.close()
    said = repair(home, capsys)
    assert (said["ledger"], said["set_aside"]) == ("good", [])
    assert mark(home).allows(newest_segment(home.wal))


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (9, "height 9: there is no header"),  # of a hand-over
        (-2, "height 29: there is no header"),
        (-1, "height 30: there is no header"),
    ],
)
def test_F13_a_joined_ledger_that_lacks_a_header_is_damaged(tmp_path, at, said):
    chain = chain_of_an_hour(tmp_path)
    path = tmp_path / "joined" / "ledger"
    Pieces(chain, tmp_path).build(path)
    store = Store(path, chain.genesis, {}, MAP_BYTES)
    lost = height_key(at % (chain.height + 1))
    with store._env.begin(write=True) as txn:
        assert txn.delete(lost, db=store._databases.headers)
    store.close()
    chain.close()
    assert said in store_damage(path, MAP_BYTES)


def test_F13_a_pruned_ledger_that_lacks_a_header_is_damaged(home):
    store = Store(home.ledger, GENESIS, STATE, MAP_BYTES)
    store.prune(12, 20)
    with store._env.begin(write=True) as txn:
        txn.delete(height_key(5), db=store._databases.headers)
    store.close()
    assert "there is no header, or one that nothing follows" in store_damage(home.ledger, MAP_BYTES)


def test_F13_what_a_join_left_is_removed_when_the_ledger_is_there(home):
    for name in ("joining", "ledger.old", "ledger.new"):
        (home.ledger.with_name(name)).mkdir()
        (home.ledger.with_name(name) / "piece").touch()
    home.ledger.with_name("damaged-1").mkdir()
    start(home)
    assert sorted(path.name for path in home.ledger.parent.iterdir()) == ["damaged-1", "ledger", "lock", "wal"]


@pytest.mark.parametrize("seed", range(40))
def test_F13_a_bit_flipped_in_the_ledger_is_said_or_the_chain_is_the_same(home, seed):
    """LMDB has no checksums: reading must end in a message that names file and repair, or find good headers; values
    of the state are for `verify` and for the quorum, whose sealed root they contradict.
    """
    file = home.ledger / DATA_FILE
    reader = LedgerReader(home.ledger, MAP_BYTES)
    with reader.snapshot() as snapshot:
        headers = [snapshot.sealed(height) for height in range(1, 21)]
    reader.close()
    random = Random(seed)
    flip(file, random.randrange(file.stat().st_size))
    said = store_damage(home.ledger, MAP_BYTES)
    if said:
        assert str(home.ledger) in said
        return
    reader = LedgerReader(home.ledger, MAP_BYTES)
    with reader.snapshot() as snapshot:
        for height, sealed in enumerate(headers, 1):
            assert sealed
            found = snapshot.sealed(height)
            assert found
            assert found.header == sealed.header
    reader.close()


def test_F13_a_store_says_where_it_is_damaged(home):
    """Every read that cannot be decoded names the file, the height and the repair."""
    store = Store(home.ledger, GENESIS, STATE, MAP_BYTES)
    databases = store._databases
    height_7 = (7).to_bytes(8, "big")
    with store._env.begin(write=True) as txn:
        for database in (databases.headers, databases.bodies, databases.receipts, databases.changes):
            txn.put(height_7, b"\xc1", db=database)
        txn.delete(b"state_root", db=databases.meta)
    with store.snapshot() as snapshot:
        for read in (
            lambda: snapshot.sealed(7),
            lambda: snapshot.result(7),
            lambda: snapshot.transactions(7),
            lambda: snapshot.receipts(7),
            lambda: snapshot.changes(7),
            lambda: snapshot.prove_transaction(7, 0),
        ):
            with pytest.raises(OurError, match=r"data\.mdb: .* of height 7: .*pilechain repair"):
                read()
        with pytest.raises(OurError, match=r"store-damaged: .*state_root"):
            _ = snapshot.state_root
    store.close()
