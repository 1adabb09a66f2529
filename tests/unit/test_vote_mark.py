"""A vote key whose log is lost votes no more, whatever comes back from a backup."""

import errno
import os
import shutil

import pytest

from ledger.errors import ClientError, OurError
from ledger.keys import Scheme, SoftSigner
from node.config import Config
from node.core.process import _open_wal, _vote_keys
from node.core.vote_keys import forget_votes, next_vote_key
from node.core.vote_mark import VoteMark
from node.home import Home
from node.keystore import LIGHT, save_key


def new_key(home: Home, seed: bytes = b"1" * 32) -> None:
    """Put a vote key into a home."""
    path = home.path("config/vote_key.json")
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    save_key(path, SoftSigner.from_seed(Scheme.ED25519, seed), b"secret", LIGHT)


def start(home: Home) -> bool:
    """Open key and log as core does; whether the node votes. A vote is logged if it does."""
    keys = _vote_keys(home, Config(), b"secret")
    log = _open_wal(home, keys)
    if keys.may_vote:
        log.append([(1, b"vote")])
    log.close()
    return keys.may_vote


@pytest.fixture
def home(tmp_path):
    """A home with a key that has voted."""
    made = Home(tmp_path)
    new_key(made)
    assert start(made)
    return made


def test_F04_a_key_with_its_log_votes_after_every_restart(home):
    assert [start(home) for _ in range(3)] == [True] * 3


def test_F04_a_key_whose_log_was_reset_only_observes_until_there_is_a_new_key(home):
    shutil.rmtree(home.wal)
    assert [start(home) for _ in range(5)] == [False] * 5, "not even when the new log has as many segments"
    new_key(home, b"2" * 32)
    assert start(home)
    new_key(home, b"3" * 32)
    assert start(home), "a key that never voted has nothing to forget"


def test_F04_a_log_from_a_backup_is_older_than_the_key(home, tmp_path):
    shutil.copytree(home.wal, tmp_path / "backup")
    assert start(home)
    shutil.rmtree(home.wal)
    shutil.copytree(tmp_path / "backup", home.wal)
    assert not start(home)


def test_F04_the_mark_is_durable_before_the_segment_takes_a_vote(home, monkeypatch):
    mark = VoteMark(home.path("config/vote_key.json"), SoftSigner.from_seed(Scheme.ED25519, b"1" * 32).public_key)
    assert mark.segment == 1

    def full(file):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(OurError, match="fsync-failed"):
        mark.raise_to(2)
    monkeypatch.undo()
    assert start(home)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"any 1 2", b"any many", b"\xff"])
def test_F13_a_key_whose_mark_makes_no_sense_only_observes_and_another_may_be_made(home, content):
    home.path("config/vote_key.json.voted").write_bytes(content)
    assert [start(home) for _ in range(3)] == [False] * 3
    fresh = next_vote_key(home.path("config/vote_key.json"), b"secret")  # `pilechain keys renew`
    assert [key.public_key for key in _vote_keys(home, Config(), b"secret").signers] == [fresh.public_key]


def test_F13_a_mark_that_cannot_be_read_is_to_be_kept(home):
    """Without it the key would vote a second time."""
    mark = home.path("config/vote_key.json.voted")
    mark.unlink()
    mark.mkdir()
    with pytest.raises(ClientError, match=r"vote-mark: .*the user that the node runs as, and keep it") as caught:
        start(home)
    assert "remove" not in caught.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="needs an administrator, for one writes the mark")
def test_F13_a_mark_that_an_administrator_writes_is_the_nodes(home):
    """`sudo pilechain repair`."""
    key_file, nobody = home.path("config/vote_key.json"), (65_534, 65_534)
    os.chown(key_file.parent, *nobody)
    forget_votes(key_file)
    for mark in key_file.parent.glob("*.voted"):
        assert (mark.stat().st_uid, mark.stat().st_gid) == nobody
