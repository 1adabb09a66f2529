"""Vote keys change with every epoch: what is due when, and what lies on disk."""

import errno
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.keys import Scheme, SoftSigner
from node.core.key_plan import KeyFacts, KeyStep, next_step
from node.core.vote_keys import VoteKeys, next_key_file, next_vote_key
from node.core.vote_mark import VoteMark
from node.keystore import LIGHT, load_key, save_key
from node.storage import files
from node.storage.files import replace as replace_file
from node.storage.wal import WriteAheadLog, newest_segment

OLD, NEW = b"old", b"new"
VOTING = KeyFacts(has_seat=True, present=OLD, decided=OLD, registered=None, held=OLD, waiting=None, waiting_known=False)


@pytest.mark.parametrize(
    ("facts", "step"),
    [
        ({}, KeyStep.REGISTER),
        ({"waiting": NEW}, KeyStep.REGISTER),  # made, and its registration was lost
        ({"waiting": NEW, "registered": b"lost"}, KeyStep.REGISTER),  # the registered one is on no disk any more
        ({"waiting": NEW, "registered": NEW}, KeyStep.NONE),
        ({"waiting": NEW, "decided": NEW}, KeyStep.NONE),  # it rules in some blocks
        ({"waiting": NEW, "decided": NEW, "present": NEW}, KeyStep.PROMOTE),
        ({"has_seat": False}, KeyStep.NONE),
        ({"waiting": NEW, "waiting_known": True}, KeyStep.REPLACE),  # suspended when its epoch came
        ({"waiting": NEW, "waiting_known": True, "registered": NEW}, KeyStep.NONE),
        ({"present": None, "decided": None}, KeyStep.REGISTER),  # an observer that is to vote one day
        ({"present": None, "decided": None, "waiting": NEW, "registered": NEW}, KeyStep.NONE),
        ({"held": None}, KeyStep.NONE),  # a restored node: the one that it was copied from may be running
        ({"held": b"another"}, KeyStep.NONE),
        ({"held": None, "waiting": NEW, "present": NEW}, KeyStep.PROMOTE),  # … until a key of its own is in force
    ],
)
def test_F07_what_is_due(facts: dict[str, Any], step: KeyStep):
    assert next_step(replace(VOTING, **facts)) is step


@pytest.fixture
def file(tmp_path):
    """A vote key's file."""
    path = tmp_path / "vote_key.json"
    save_key(path, SoftSigner.from_seed(Scheme.SM2, b"1" * 32), b"secret", LIGHT)
    return path


def mark(path):
    """Content of the mark beside a key's file."""
    return path.with_name(path.name + ".voted").read_text().split()


def test_F07_the_next_key_takes_over_and_the_former_is_erased(file):
    keys = VoteKeys(file, b"secret", 0)
    keys.raise_marks(1)
    former, fresh = keys.present, keys.make_waiting()
    assert fresh.scheme is Scheme.SM2
    assert keys.make_waiting() is fresh
    assert [signer.public_key for signer in keys.signers] == [former.public_key, fresh.public_key]
    keys.raise_marks(2)
    assert keys.promote() == former.public_key
    assert load_key(file, b"secret").public_key == fresh.public_key
    assert not next_key_file(file).exists()
    assert mark(file) == [fresh.public_key.hex(), "2"]
    assert sorted(file.parent.iterdir()) == [file, file.with_name("vote_key.json.voted")]
    assert keys.signers == [fresh]
    assert keys.promote() == b""


def test_F07_a_restart_finds_both_keys_and_neither_if_the_log_is_lost(file):
    keys = VoteKeys(file, b"secret", 0)
    keys.raise_marks(1)
    fresh = keys.make_waiting()
    assert len(VoteKeys(file, b"secret", 1).signers) == 2
    lost = VoteKeys(file, b"secret", 0)
    assert (lost.may_vote, lost.signers) == (False, [])
    assert load_key(next_key_file(file), b"secret").public_key == fresh.public_key


def test_F07_a_crash_between_mark_and_key_leaves_the_next_key_marked(file):
    keys = VoteKeys(file, b"secret", 0)
    keys.raise_marks(1)
    former, fresh = keys.present, keys.make_waiting()

    file.with_name("vote_key.next.json.voted").replace(file.with_name("vote_key.json.voted"))
    again = VoteKeys(file, b"secret", 1)
    assert [signer.public_key for signer in again.signers] == [former.public_key, fresh.public_key]
    assert again.promote() == former.public_key
    assert VoteMark(file, fresh.public_key).segment == 1


def test_F07_a_forgotten_next_key_makes_way_for_a_fresh_one(file):
    keys = VoteKeys(file, b"secret", 0)
    keys.raise_marks(1)
    lost = keys.make_waiting()
    again = VoteKeys(file, b"secret", 0)  # the log is gone
    assert (again.may_vote, again.waiting, again.find_waiting()) == (False, None, None)
    renewed = next_vote_key(file, b"secret")  # `pilechain keys renew`
    assert renewed.public_key != lost.public_key
    found = again.find_waiting()
    assert found is not None
    assert found.public_key == renewed.public_key


def test_F07_a_spent_next_key_is_dropped(file):
    keys = VoteKeys(file, b"secret", 0)
    keys.raise_marks(1)
    spent = keys.make_waiting()
    assert keys.drop_waiting() == spent.public_key
    assert keys.drop_waiting() == b""
    assert sorted(file.parent.iterdir()) == [file, file.with_name("vote_key.json.voted")]
    assert keys.make_waiting().public_key != spent.public_key


def test_F07_a_key_that_comes_to_lie_there_is_found(file):
    keys = VoteKeys(file, b"secret", 0)
    assert keys.find_waiting() is None
    renewed = next_vote_key(file, b"secret")  # `pilechain keys renew`, while the node runs
    found = keys.find_waiting()
    assert found is not None
    assert found.public_key == renewed.public_key
    assert next_vote_key(file, b"secret").public_key == renewed.public_key, "one, however often it is asked for"
    assert keys.find_waiting() is None


def test_F13_a_disk_that_gets_full_between_the_marks_of_two_keys_costs_neither_its_vote(file, monkeypatch):
    wal = file.with_name("wal")
    keys = VoteKeys(file, b"secret", 0)
    log = WriteAheadLog(wal, keys.raise_marks, segment_bytes=1)
    keys.make_waiting()
    log.append([(1, b"vote")])
    with monkeypatch.context() as disk:

        def full(path, data):
            if "next" in path.name:
                raise OSError(errno.ENOSPC, "No space left on device")
            replace_file(path, data)

        disk.setattr(files, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            log.append([(2, b"vote")])
        disk.setattr(files, "write", lambda *_: full(Path("next"), b""))
        with pytest.raises(OSError, match="No space left"):
            log.append([(2, b"vote")])  # nor is it taken away again by a try that fails earlier
    log.close()
    again = VoteKeys(file, b"secret", newest_segment(wal))  # the operator stopped the node and made room
    assert [key.public_key for key in again.signers] == [key.public_key for key in keys.signers]
    assert len(again.signers) == 2
    log = WriteAheadLog(wal, again.raise_marks)
    log.close()
    assert log.recovered == [b"vote"]


def test_F13_a_next_key_that_was_being_written_when_the_power_was_cut_is_made_anew(file):
    draft = next_key_file(file).with_name(next_key_file(file).name + ".new")
    draft.write_text("{")
    keys = VoteKeys(file, b"secret", 0)
    assert keys.make_waiting().public_key == load_key(next_key_file(file), b"secret").public_key
    assert not draft.exists()
