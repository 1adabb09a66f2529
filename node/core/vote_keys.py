"""This node's vote keys on disk: the one in force, and the one that waits for the next epoch of the validator set.

Every epoch takes fresh keys, so that nobody who gets at a node later can sign for a former epoch (long-range attack).
The next key lies beside the present one as `….next.json`, each with a mark that says from where in the write-ahead log
on it has voted (`node.core.vote_mark`). When the next key is in force, it takes the other's place, which is erased.
"""

import os
import threading
from pathlib import Path

from ledger.keys import SoftSigner, scheme_of
from node.core.vote_mark import VoteMark, forget_any_key, mark_of
from node.keystore import clear_draft, cost_of, load_key, public_key_of, save_key
from node.storage import files

RENEW = "to vote again, run `pilechain keys renew` while the node runs"
"""What an operator does about keys that never vote again."""


class VoteKeys:
    """Key files and their marks. Calls read, decrypt and write files, so they may take a tenth of a second."""

    def __init__(self, key_file: Path, passphrase: bytes, newest_segment: int) -> None:
        """Load the present key and, if there is one, the next. `newest_segment` is that of the log before it is opened.

        Raises ClientError as `load_key` and `VoteMark` do.
        """
        self._file = key_file
        self._next_file = next_key_file(key_file)
        self._passphrase = passphrase
        self._segment = newest_segment
        self.present = load_key(key_file, passphrase)
        self.may_vote = VoteMark(key_file, self.present.public_key).allows(newest_segment)
        """Whether the log remembers all votes of the present key."""
        self.waiting: SoftSigner | None = None
        self._lock = threading.Lock()
        """The log raises marks from its own thread while keys move."""
        clear_draft(self._next_file)  # of a power cut: nobody writes it while a node starts
        self.find_waiting()

    @property
    def signers(self) -> list[SoftSigner]:
        """Keys that may vote."""
        present = [self.present] if self.may_vote else []
        return present + ([self.waiting] if self.waiting else [])

    def raise_marks(self, segment: int) -> None:
        """The log begins a new segment: votes of all keys may stand in it. Raises OSError."""
        with self._lock:
            self._segment = segment
            if self.may_vote:
                VoteMark(self._file, self.present.public_key).raise_to(segment)
            if self.waiting:
                VoteMark(self._next_file, self.waiting.public_key).raise_to(segment)

    def find_waiting(self) -> SoftSigner | None:
        """Load a next key that has come to lie there (made by a former life, or `pilechain keys renew`), unless the log
        has forgotten votes of it. Returns it if it is new to us.
        """
        if self.waiting or not self._next_file.exists() or _is_forgotten(self._next_file):
            return None
        found = load_key(self._next_file, self._passphrase)
        with self._lock:
            mark = VoteMark(self._next_file, found.public_key)
            if not mark.allows(self._segment):
                return None
            mark.raise_to(self._segment)
            self.waiting = found
        return found

    def make_waiting(self) -> SoftSigner:
        """The next key, a fresh one if there is none yet. Raises OSError, ClientError as `save_key`."""
        if self.waiting is None:
            made = next_vote_key(self._file, self._passphrase)
            with self._lock:
                VoteMark(self._next_file, made.public_key).raise_to(self._segment)
                self.waiting = made
        return self.waiting

    def drop_waiting(self) -> bytes:
        """Give up a next key that the chain will never put in force; returns its public key."""
        with self._lock:
            if self.waiting is None:
                return b""
            dropped, self.waiting = self.waiting.public_key, None
            _remove(self._next_file)
            return dropped

    def promote(self) -> bytes:
        """Let the next key take the place of the present one, which is erased; returns the latter's public key.

        The mark goes first: were the machine to stop between the two, the former key, which no set names any more,
        would stand beside the mark of the next one, whose own is raised anew at the start.
        """
        with self._lock:
            return self._promote()

    def _promote(self) -> bytes:
        if self.waiting is None:
            return b""
        former, next_mark = self.present.public_key, mark_of(self._next_file)
        if next_mark.exists():
            files.rename(next_mark, mark_of(self._file))
        files.rename(self._next_file, self._file)
        self.present, self.waiting, self.may_vote = self.waiting, None, True
        return former


def next_key_file(key_file: Path) -> Path:
    """Where the next key lies, beside the present one."""
    return key_file.with_name(f"{key_file.stem}.next{key_file.suffix}")


def forget_votes(key_file: Path) -> None:
    """Votes of this node's keys are not all known here: neither the present key and the next one vote again, nor any
    other that is put in their place, such as one that an operator had kept elsewhere. Only a fresh key does
    (`next_vote_key`). Raises OSError.
    """
    for file in (key_file, next_key_file(key_file)):
        forget_any_key(file)


def forget_votes_without_ledger(key_file: Path, newest_segment: int) -> bool:
    """For a node without a ledger: whether it had one once. Its log has dropped the votes on what the ledger held, so
    all keys that may have voted are marked as by `forget_votes`.

    The store is made before the log, and a mark is raised before the log takes a vote. So a mark or a log shows that
    there was a ledger. A key beside the mark of another key has taken that one's place and may vote; a key without any
    mark is in doubt where there is a log.
    """
    marks = [(file, VoteMark(file, public_key_of(file))) for file in _files(key_file)]
    for file, mark in marks:
        if (mark.segment and not mark.is_forgotten) or (newest_segment and not mark_of(file).exists()):
            mark.forget()
    return newest_segment > 0 or any(mark.segment for _, mark in marks)


def next_vote_key(key_file: Path, passphrase: bytes) -> SoftSigner:
    """The next key beside a vote key: the one that lies there, unless it never votes again, or a fresh one of the same
    scheme, encrypted alike, and of the same owner: an administrator's key would be closed to the node.

    Raises ClientError as `load_key` and `save_key` do, OSError.
    """
    file = next_key_file(key_file)
    if file.exists() and not _is_forgotten(file):
        return load_key(file, passphrase)
    _remove(file)  # with a mark of any key
    scheme = scheme_of(load_key(key_file, passphrase).public_key)
    made = SoftSigner.from_seed(scheme, os.urandom(32))
    save_key(file, made, passphrase, cost_of(key_file))
    owner = key_file.stat()
    os.chown(file, owner.st_uid, owner.st_gid)
    return made


def _files(key_file: Path) -> list[Path]:
    """Files of the present key and the next one, as far as they exist."""
    return [file for file in (key_file, next_key_file(key_file)) if file.exists()]


def _is_forgotten(file: Path) -> bool:
    """Whether the log has forgotten votes of a key file's key."""
    return VoteMark(file, public_key_of(file)).is_forgotten


def _remove(file: Path) -> None:
    """Erase a key file and its mark, as far as they exist. The key goes first: a mark alone lets nobody vote."""
    for path in (file, mark_of(file)):
        if path.exists():
            files.remove(path)
