"""A mark beside the vote key: from which segment of the write-ahead log on it has voted.

The log is what keeps a key from voting twice. If it is gone (a folder from a backup, data that were reset), the key may
have voted on what nobody here remembers, so the node only observes until a new key is registered. Segments are numbered
upwards, so a log that ends before the mark is an older one.
"""

from pathlib import Path

from ledger.errors import ClientError
from node.storage import files

_FORGOTTEN = 2**63 - 1
"""More than any log has: a log that begins anew must not catch up with the mark by being opened often enough."""
_ANY_KEY = "any"


class VoteMark:
    """The mark of one key: a file with the key and a segment's number."""

    def __init__(self, key_file: Path, public_key: bytes) -> None:
        """Read the mark. One of another key, which this one has replaced, counts for nothing; one of any key counts.
        One that makes no sense says that the key never votes again, for it may have voted anywhere.

        Raises ClientError `vote-mark` if the file cannot be read.
        """
        self._path = mark_of(key_file)
        self._public_key = public_key.hex()
        self.segment = 0
        """Newest segment that votes of the key may stand in; 0 if it never voted."""
        if not self._path.exists():
            return
        try:
            key, number = self._path.read_text(encoding="ascii").split()
            self.segment = int(number) if key in (self._public_key, _ANY_KEY) else 0
        except ValueError:
            self.segment = _FORGOTTEN
        except OSError as error:
            hint = "give the file to the user that the node runs as, and keep it: it stops a second vote"
            raise ClientError("vote-mark", f"{self._path}: {error}; {hint}") from error

    def allows(self, newest: int) -> bool:
        """Whether a log whose newest segment this is remembers all votes. If it does not, the key never votes again.
        Raises OSError.
        """
        if newest < self.segment < _FORGOTTEN:
            self.forget()
        return newest >= self.segment

    def raise_to(self, segment: int) -> None:
        """Say, durably, that the key votes from now on in this segment, which exists. Raises OSError, OurError."""
        _write(self._path, self._public_key, segment)
        self.segment = segment

    @property
    def is_forgotten(self) -> bool:
        """Whether the key never votes again."""
        return self.segment == _FORGOTTEN

    def forget(self) -> None:
        """Say, durably, that the key has voted on what nobody here remembers: it never votes again. Raises OSError."""
        self.raise_to(_FORGOTTEN)


def mark_of(key_file: Path) -> Path:
    """Where the mark of the key in a file lies."""
    return key_file.with_name(key_file.name + ".voted")


def forget_any_key(key_file: Path) -> None:
    """As `VoteMark.forget`, of whatever key lies or will be put in a file. Raises OSError."""
    files.make_folder(key_file.parent)
    _write(mark_of(key_file), _ANY_KEY, _FORGOTTEN)


def _write(path: Path, key: str, segment: int) -> None:
    files.replace(path, f"{key} {segment}\n".encode())
