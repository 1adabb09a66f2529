"""The power is cut before, in and after every write of the parts that seldom write: the log alone, vote keys that take
turns, snapshots, and a ledger that takes another's place.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ledger.keys import Scheme, SoftSigner
from node.cli import repair
from node.config import Config, to_toml
from node.core import vote_keys
from node.core.vote_keys import VoteKeys
from node.core.vote_mark import VoteMark
from node.home import Home
from node.keystore import LIGHT, save_key
from node.storage import rebuild
from node.storage.layout import DATA_FILE
from node.storage.snapshots import MANIFEST, Snapshots, chunk_name, write_durably
from node.storage.wal import WriteAheadLog, check_log, newest_segment
from tests.storage.disk_node import after_power_cut, write_on
from tests.storage.power import HOW, PowerCutError, PowerDisk

Work = Callable[[PowerDisk], None]


def power_cuts(folder: Path, begin: Callable[[Path], None], work: Work) -> Iterator[Path]:
    """Do some work in a home again and again, with the power cut one point further each time, and at last not at all;
    what is left of the home each time.
    """
    for number in count():
        for how in HOW:
            home, left, points = folder / "home", folder / f"{number}-{how}", count()
            home.mkdir(parents=True)
            begin(home)

            def crash(name: str, tear: Callable[[], None] | None, points: Iterator[int] = points, at: int = number):
                if next(points) == at:
                    if tear:
                        tear()
                    raise PowerCutError

            disk, was_cut = PowerDisk(home, crash), False
            write_on(disk)
            try:
                work(disk)
            except PowerCutError:
                was_cut = True
            write_on(os)
            after_power_cut(disk, how, Random(number), left)
            shutil.rmtree(home)
            yield left
            shutil.rmtree(left)
        if not was_cut:
            return


def make_folders(home: Path) -> None:
    """The folders of a home."""
    (home / "config").mkdir()
    (home / "data").mkdir()


def test_F13_the_log_holds_what_it_said_to_hold_and_an_honest_disk_is_never_called_damaged(folder):
    told: list[bytes] = []
    sealed = 0

    def work(disk: PowerDisk) -> None:
        nonlocal sealed
        told.clear()
        sealed = 0
        wal = disk.root / "data" / "wal"
        for start in (0, 4):
            log = WriteAheadLog(wal, segment_bytes=600)
            for height in range(start + 1, start + 5):
                record = bytes([height]) * 300
                log.append([(height, record)])
                told.append(record)
            sealed = start + 2
            log.truncate(sealed)
            log.close()

    cuts = 0
    for left in power_cuts(folder, make_folders, work):
        wal = left / "data" / "wal"
        check_log(wal)
        log = WriteAheadLog(wal)
        log.close()
        needed = told[sealed:]
        found = [record for record in log.recovered if record in needed]
        assert found == needed
        log = WriteAheadLog(wal)  # what was cut is sound at the next start
        log.close()
        cuts += 1
    assert cuts > 200


KEY = SoftSigner.from_seed(Scheme.ED25519, b"1" * 32)


def test_F07_F13_keys_that_take_turns_keep_their_votes_and_their_right_to_vote(folder, monkeypatch):
    """No power cut takes the vote of an honest disk away, and each key that was handed out is still there."""
    handed_out: set[bytes] = set()
    gone: set[bytes] = set()

    def begin(home: Path) -> None:
        make_folders(home)
        save_key(home / "config" / "vote_key.json", KEY, b"secret", LIGHT)

    def work(disk: PowerDisk) -> None:
        def save(path: Path, *arguments: Any) -> None:
            save_key(path, *arguments)  # durable, by itself
            disk.learn(path)

        monkeypatch.setattr(vote_keys, "save_key", save)
        handed_out.clear()
        gone.clear()
        wal = disk.root / "data" / "wal"
        keys = VoteKeys(disk.root / "config" / "vote_key.json", b"secret", newest_segment(wal))
        log = WriteAheadLog(wal, keys.raise_marks, segment_bytes=1)
        handed_out.add(keys.present.public_key)
        handed_out.add(keys.make_waiting().public_key)
        log.append([(1, b"votes of both")])
        gone.add(keys.present.public_key)
        keys.promote()
        log.append([(3, b"votes")])
        spent = keys.make_waiting().public_key
        handed_out.add(spent)
        log.append([(4, b"votes of both")])
        gone.add(spent)
        keys.drop_waiting()
        log.close()

    for left in power_cuts(folder, begin, work):
        file, wal = left / "config" / "vote_key.json", left / "data" / "wal"
        keys = VoteKeys(file, b"secret", newest_segment(wal))
        assert keys.may_vote, "the power cut took the vote away"
        assert handed_out - gone <= {signer.public_key for signer in keys.signers}
        log = WriteAheadLog(wal, keys.raise_marks)
        log.append([(9, b"votes go on")])
        log.close()
        assert VoteKeys(file, b"secret", newest_segment(wal)).may_vote


def test_F13_a_key_has_lost_its_vote_before_repair_sets_its_log_aside(folder, monkeypatch):
    """Whatever becomes of the machine in between, and nothing is deleted."""
    monkeypatch.setattr(repair, "store_damage", lambda ledger, map_bytes: "")
    is_done = False

    def begin(home: Path) -> None:
        make_folders(home)
        Home(home).config_file.write_text(to_toml({"node": {"company": "Teld"}}))
        file, wal = Home(home).path(Config().keys.vote), Home(home).wal
        save_key(file, KEY, b"secret", LIGHT)
        log = WriteAheadLog(wal, VoteKeys(file, b"secret", 0).raise_marks)
        log.append([(1, b"vote")])
        log.close()
        segment = wal / "00000001.wal"
        segment.write_bytes(segment.read_bytes().replace(b"vote", b"Vote"))
        (home / "data" / "ledger").mkdir()
        (home / "data" / "ledger" / DATA_FILE).touch()

    def work(disk: PowerDisk) -> None:
        nonlocal is_done
        is_done = False
        repair.repair(Home(disk.root), ledger_is_bad=False)
        is_done = True

    for left in power_cuts(folder, begin, work):
        wal, damaged = Home(left).wal, list((left / "data").glob("damaged-*/wal"))
        newest = max(newest_segment(each) for each in (wal, *damaged))
        assert newest == 1, "nothing is deleted"
        is_forgotten = VoteMark(Home(left).path(Config().keys.vote), KEY.public_key).is_forgotten
        assert is_forgotten or (newest_segment(wal) == 1 and not is_done)


def test_F13_a_snapshot_that_can_be_seen_is_whole(folder):
    told: list[int] = []

    def work(disk: PowerDisk) -> None:
        told.clear()
        snapshots = Snapshots(disk.root / "data" / "snapshots")
        for height in (8, 16, 16, 24):
            draft = snapshots.draft(height)
            for name in (MANIFEST, chunk_name(0)):
                write_durably(draft / name, bytes([height]) * 1_000)
            if height in told:
                told.remove(height)  # it is given up for a moment
            snapshots.publish(draft, height)
            told.append(height)
            del told[:-2]
            snapshots.keep(2)

    def begin(home: Path) -> None:
        make_folders(home)
        (home / "data" / "snapshots").mkdir()

    for left in power_cuts(folder, begin, work):
        snapshots = left / "data" / "snapshots"
        seen = Snapshots(snapshots).heights()
        assert set(seen) >= set(told)
        for height in seen:
            for name in (MANIFEST, chunk_name(0)):
                assert (snapshots / str(height) / name).read_bytes() == bytes([height]) * 1_000


@pytest.mark.parametrize("had_one", [True, False])
def test_F13_a_ledger_that_takes_anothers_place_is_the_old_or_the_new_one(folder, had_one):
    is_done = False

    def begin(home: Path) -> None:
        make_folders(home)
        for name in (rebuild.BUILDING, "ledger")[: 1 + had_one]:
            (home / "data" / name).mkdir()
            (home / "data" / name / DATA_FILE).write_bytes(name.encode() * 100)

    def work(disk: PowerDisk) -> None:
        nonlocal is_done
        is_done = False
        ledger = disk.root / "data" / "ledger"
        rebuild._take_place(ledger.with_name(rebuild.BUILDING), ledger)
        is_done = True

    def undo(disk: PowerDisk) -> None:
        rebuild.undo_half_replacement(disk.root / "data" / "ledger")

    for left in power_cuts(folder / "first", begin, work):

        def copy(home: Path, left: Path = left) -> None:
            shutil.copytree(left, home, dirs_exist_ok=True)

        for again in power_cuts(folder / "again", copy, undo):
            rebuild.undo_half_replacement(again / "data" / "ledger")
            file = again / "data" / "ledger" / DATA_FILE
            found = file.read_bytes() if file.exists() else b""
            assert found in (b"" if not had_one else b"ledger" * 100, b"ledger.new" * 100)
            assert found == b"ledger.new" * 100 or not is_done
            assert {path.name for path in (again / "data").iterdir()} <= {"ledger"}
