"""The words of the contract language, for editors and type checkers: what a contract's text imports.

Nothing here does anything. A contract's text is never run as Python: the compiler (`contracts.compiler`) turns it into
a tree, and nodes run that. docs/contract-language.md explains the words.
"""

from collections.abc import Callable, Iterable
from enum import IntEnum as Enum
from typing import Annotated, Any, Generic, NoReturn, TypeVar, dataclass_transform

from contracts.contract import Business, Role
from ledger.transaction import Branch

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Range:
    """Least and greatest value of a number, both included."""

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most


class Size:
    """Least and greatest length: characters of a text, bytes, items of a list."""

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most


U8 = Annotated[int, Range(0, 255)]
U32 = Annotated[int, Range(0, 2**32 - 1)]
U63 = Annotated[int, Range(0, 2**63 - 1)]
I64 = Annotated[int, Range(-(2**63), 2**63 - 1)]
Wide = Annotated[int, Range(-(2**127), 2**127 - 1)]
"""For locals, where products and sums grow."""
Time = Annotated[int, Range(0, 2**63 - 1)]
"""Milliseconds since 1970 of the chain's own time."""
Span = Annotated[int, Range(1, 100 * 366 * 24 * 3_600_000)]
"""A length of time in milliseconds, up to a century."""
Name = Annotated[str, Size(1, 64)]
Hash = Annotated[bytes, Size(32, 32)]
PublicKey = Annotated[bytes, Size(33, 65)]
Signature = Annotated[bytes, Size(64, 64)]
List = list
"""Write `Annotated[List[Name], Size(0, 10)]`. Values copy: a list in two places is two lists."""


class Contract:
    """Name, type of business, and branch of the chain that its transactions belong to."""

    def __init__(self, name: str, business: Business, branch: Branch = Branch.SERVICE) -> None: ...


@dataclass_transform()
class Struct:
    """Base of records, events and parameters: fields with types, perhaps with constants as defaults."""


class Codes:
    """Base of the codes of receipts: NAME = number, "sentence"."""


class Interface:
    """Base of what a contract calls of another: `MONEY = Money(2)` after `class Money(Interface): …`."""

    def __init__(self, contract: int) -> None: ...


class Table(Generic[K, V]):
    """A map in the state: `RECORDS: Table[Name, Record] = table("r")`."""

    def __getitem__(self, key: K) -> V:
        """The entry; the call fails if there is none."""
        raise NotImplementedError

    def __setitem__(self, key: K, value: V) -> None: ...

    def __delitem__(self, key: K) -> None: ...

    def __contains__(self, key: K) -> bool:
        raise NotImplementedError

    def get(self, *key: Any) -> V | None:
        """The entry, or None."""

    def items(self, *begin: Any, limit: int) -> Iterable[tuple[Any, V]]:
        """The first entries in order of their keys, which begin so: (rest of the key, record)."""
        raise NotImplementedError


class Cell(Generic[V]):
    """One record in the state: `SETTINGS: Cell[Settings] = cell("s")`."""

    def read(self) -> V:
        """The record; the call fails if there is none."""
        raise NotImplementedError

    def get(self) -> V | None:
        """The record, or None."""

    def write(self, value: V) -> None:
        """Put it."""

    def clear(self) -> None:
        """Remove it."""


class Event(Generic[V]):
    """What the world is told: `PAID: Event[Paid] = event("money.paid")`."""


def table(mark: str) -> Any:
    """A table. The mark, one character, is part of its entries' keys."""


def cell(mark: str) -> Any:
    """A cell."""


def event(name: str) -> Any:
    """An event."""


def method(*roles: Role, business: Business = ..., device: bool = False) -> Callable[[F], F]:
    """Mark of what transactions call, and by which roles."""
    raise NotImplementedError


def internal(*callers: int) -> Callable[[F], F]:
    """Mark of what other contracts call."""
    raise NotImplementedError


def scheduled(*, gas: int) -> Callable[[F], F]:
    """Mark of what the contract has the chain call."""
    raise NotImplementedError


class _Call:
    caller: bytes
    """Public key of the sender, or the number of the calling contract in four bytes."""
    company: str
    """The company that the sender's key acts for, empty for all others."""
    id: Hash
    """Of the transaction or scheduled call: unique for good."""


class _Block:
    height: U63
    time_ms: Time


class _Chain:
    id: Hash


call: _Call
block: _Block
chain: _Chain


def fail(code: tuple[int, str]) -> NoReturn:
    """End the call. Nothing changes; the receipt has the code."""
    raise NotImplementedError


def require(condition: bool, code: tuple[int, str]) -> None:
    """Fail unless a condition holds."""


def emit(what: Event[V], value: V) -> None:
    """Tell the world."""


def schedule(due_ms: int, call_id: bytes, what: Any, *values: Any) -> None:
    """Have the chain call a scheduled method in the first block at or after a future time."""


def cancel(due_ms: int, call_id: bytes) -> None:
    """Take a scheduled call back, if it waits."""


def replace(record: T, **fields: Any) -> T:
    """A copy of a struct with some fields changed."""
    raise NotImplementedError


def decode(struct: type[T], data: bytes) -> T | None:
    """A struct of its canonical bytes, None if they are not."""


def sorted_set(items: list[T]) -> list[T]:
    """The distinct items in order."""
    raise NotImplementedError


def ceil_div(value: int, divisor: int) -> int:
    """A quotient rounded up; // rounds down."""
    raise NotImplementedError


def round_half_up(value: int, divisor: int) -> int:
    """A quotient rounded to the nearest, halves up."""
    raise NotImplementedError


def verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether a signature holds."""
    raise NotImplementedError


def key_is_sound(public_key: bytes, schemes: list[int]) -> bool:
    """Whether a key may be registered: of one of the schemes, and a safe point."""
    raise NotImplementedError


def digest(data: bytes) -> Hash:
    """SM3 of what a contract hashes for itself."""
    raise NotImplementedError


def own_key_digest(company: str, key: bytes) -> Hash:
    """What the holder of a key signs so that a company may register it."""
    raise NotImplementedError


def vote_key_digest(company: str, vote_key: bytes) -> Hash:
    """What the holder of a vote key signs."""
    raise NotImplementedError


def node_key_digest(company: str, node_key: bytes) -> Hash:
    """What the holder of a node's TLS key signs."""
    raise NotImplementedError


def reading_digest(reading: bytes) -> Hash:
    """What a pile signs of an encoded reading."""
    raise NotImplementedError


def utf8(text: str) -> bytes:
    """A text's bytes."""
    raise NotImplementedError


def big_endian_1(number: int) -> bytes:
    """A number in one byte."""
    raise NotImplementedError


def big_endian_4(number: int) -> bytes:
    """A number in four bytes."""
    raise NotImplementedError


def big_endian_8(number: int) -> bytes:
    """A number in eight bytes."""
    raise NotImplementedError


def is_printable(text: str) -> bool:
    """Whether a text has characters, and none of control."""
    raise NotImplementedError


def present_terms() -> Any:
    """The newest decided terms (`ledger.terms.Terms`), as a struct of that shape. For governance alone, like those
    below.
    """


def is_known_node_key(node_key: bytes) -> bool:
    """Whether a node connects by this key under any terms that rule or are decided."""
    raise NotImplementedError


def decide(members: list[Any], observers: list[Any], parameters: Any) -> Any:
    """Change the terms from K + 1 blocks on; gives them."""


def proves_equivocation(evidence: Any) -> bool:
    """Whether a key signed two contradicting votes (`ledger.evidence.Equivocation`)."""
    raise NotImplementedError


def keep_code(number: int, code: bytes, source: str) -> Hash:
    """Judge and keep a code that is proposed for a contract's number; its hash."""
    raise NotImplementedError


def install_code(number: int, code_hash: bytes, from_height: int) -> U63:
    """Let a kept code rule from a height on; that height, or the next."""
    raise NotImplementedError


def drop_code(code_hash: bytes) -> bool:
    """Forget a kept code, unless it rules or ruled."""
    raise NotImplementedError


def is_method(contract: int, name: str) -> bool:
    """Whether a contract has a method of this name that transactions may call."""
    raise NotImplementedError


__all__ = [
    "I64",
    "U8",
    "U32",
    "U63",
    "Annotated",
    "Branch",
    "Business",
    "Cell",
    "Codes",
    "Contract",
    "Enum",
    "Event",
    "Hash",
    "Interface",
    "List",
    "Name",
    "PublicKey",
    "Range",
    "Role",
    "Signature",
    "Size",
    "Span",
    "Struct",
    "Table",
    "Time",
    "Wide",
    "big_endian_1",
    "big_endian_4",
    "big_endian_8",
    "block",
    "call",
    "cancel",
    "ceil_div",
    "cell",
    "chain",
    "decide",
    "decode",
    "digest",
    "drop_code",
    "emit",
    "event",
    "fail",
    "install_code",
    "internal",
    "is_known_node_key",
    "is_method",
    "is_printable",
    "keep_code",
    "key_is_sound",
    "method",
    "node_key_digest",
    "own_key_digest",
    "present_terms",
    "proves_equivocation",
    "reading_digest",
    "replace",
    "require",
    "round_half_up",
    "schedule",
    "scheduled",
    "sorted_set",
    "table",
    "utf8",
    "verify",
    "vote_key_digest",
]  # fmt: skip
