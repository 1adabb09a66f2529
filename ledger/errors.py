"""Errors say whose fault they are, with a stable code that programs and people can rely on.

Three faults exist: a peer (another node, or a proof that somebody handed us), a client (who submitted a transaction,
wrote a configuration, called the API) and ourselves. The first two never take a process down; the third stops it
loudly, because a validator that goes on with a broken invariant signs falsehoods.
"""

from typing import Any, Self


class PileChainError(Exception):
    """Base of all errors of this project: a stable `code` (kebab-case) and a sentence that says what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type[Self], tuple[str, str], dict[str, Any]]:
        """For another process."""
        return type(self), (self.code, self.message), self.__dict__


class PeerError(PileChainError):
    """A peer sent bytes that no honest peer sends, or a proof that does not hold. The peer is charged for it."""


class ClientError(PileChainError):
    """A client asked for something that cannot be done, or wrote a setting that cannot be read. The message says what
    would.
    """


class OurError(PileChainError):
    """Our own bug, or damage to our own disk. The process stops; going on could sign or store a falsehood."""


def require(condition: bool, code: str, message: str) -> None:
    """Raise `OurError` unless an invariant of our own code holds (unlike `assert`, it survives `python -O`)."""
    if not condition:
        raise OurError(code, message)
