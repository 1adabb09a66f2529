"""What is wrong with a contract's text: where, what, and what to do."""

import ast
from typing import NoReturn

from msgspec import Struct as Plain

from ledger.errors import ClientError


class Flaw(Plain, frozen=True):
    """One thing to mend."""

    line: int
    column: int
    """From 1."""
    message: str
    hint: str

    def text(self, name: str) -> str:
        """For a terminal, as editors understand it."""
        return f"{name}:{self.line}:{self.column}: {self.message}" + (f"\n    {self.hint}" if self.hint else "")


class SourceError(ClientError):
    """A text that is no contract."""

    def __init__(self, flaws: list[Flaw], name: str = "contract") -> None:
        self.flaws = flaws
        super().__init__("contract-source", "\n".join(flaw.text(name) for flaw in flaws))


def flaw(node: ast.AST, message: str, hint: str = "") -> NoReturn:
    """Raise SourceError for one place."""
    line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
    raise SourceError([Flaw(line, column + 1, message, hint)])
