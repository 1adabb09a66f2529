"""The nodes of a contract's code: thirty kinds of expression and fifteen of statement, no jumps.

Everything refers to locals, structs, tables and functions by position. What a node means is
`contracts.vm.interpreter`; which trees may run, `contracts.vm.verifier`.
"""

from typing import Annotated

from msgspec import Meta

from contracts.vm.operators import Op, Relation
from contracts.vm.types import Place, Type
from ledger.codec import Wire
from ledger.units import I64

# ── expressions ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Const(Wire, tag=0):
    """A number, truth value or text."""

    value: I64 | bool | str


class Blob(Wire, tag=1):
    """A string of bytes."""

    value: bytes


class Get(Wire, tag=2):
    """A local."""

    local: Place


class Arith(Wire, tag=3):
    """Arithmetic on two numbers."""

    op: Op
    left: "Expr"
    right: "Expr"


class Compare(Wire, tag=4):
    """A comparison."""

    relation: Relation
    left: "Expr"
    right: "Expr"


class And(Wire, tag=5):
    """Whether both hold; the second is computed only if the first does."""

    left: "Expr"
    right: "Expr"


class Or(Wire, tag=6):
    """Whether either holds; the second is computed only if the first does not."""

    left: "Expr"
    right: "Expr"


class Not(Wire, tag=7):
    """The opposite."""

    operand: "Expr"


class Choose(Wire, tag=8):
    """One of two values; only that one is computed."""

    condition: "Expr"
    then: "Expr"
    otherwise: "Expr"


class Len(Wire, tag=9):
    """Length of bytes, text or list."""

    operand: "Expr"


class Index(Wire, tag=10):
    """Item of a list, or byte of a byte string, from 0."""

    operand: "Expr"
    index: "Expr"


class Slice(Wire, tag=11):
    """Part of bytes, text or list, from `begin` to before `end`."""

    operand: "Expr"
    begin: "Expr"
    end: "Expr"


class Concat(Wire, tag=12):
    """Two byte strings, texts or lists in one."""

    left: "Expr"
    right: "Expr"


class Contains(Wire, tag=13):
    """Whether an item is in a list of numbers, texts or byte strings."""

    operand: "Expr"
    item: "Expr"


class SortedSet(Wire, tag=14):
    """The distinct items of a list of numbers, texts or byte strings, in order."""

    operand: "Expr"


class ListOf(Wire, tag=15):
    """A list of some items."""

    item: Type
    items: tuple["Expr", ...]


class WithItem(Wire, tag=16):
    """A list with another item in one place."""

    operand: "Expr"
    index: "Expr"
    item: "Expr"


class Make(Wire, tag=17):
    """A struct of its fields."""

    struct: Place
    fields: tuple["Expr", ...]


class Field(Wire, tag=18):
    """A field of a struct."""

    operand: "Expr"
    field: Place


class Change(Wire):
    """A new value for a field."""

    field: Place
    value: "Expr"


class With(Wire, tag=19):
    """The struct in a local with some fields changed, in the struct's order."""

    local: Place
    changes: tuple[Change, ...]


class Absent(Wire, tag=20):
    """Nothing, in place of a struct."""

    struct: Place


class IsAbsent(Wire, tag=21):
    """Whether an optional struct is nothing."""

    operand: "Expr"


class OrElse(Wire, tag=22):
    """An optional struct, or, if it is nothing, another value."""

    operand: "Expr"
    otherwise: "Expr"


class Present(Wire, tag=23):
    """An optional struct that must be there; fails with VALUE_MISSING."""

    operand: "Expr"


class Load(Wire, tag=24):
    """Entry of one of the contract's tables, nothing if there is none."""

    table: Place
    key: tuple["Expr", ...]


class Decode(Wire, tag=25):
    """A struct from its canonical bytes, nothing if they are not its encoding."""

    struct: Place
    operand: "Expr"


class Call(Wire, tag=26):
    """One of the program's functions."""

    function: Place
    args: tuple["Expr", ...]


class Invoke(Wire, tag=27):
    """A method of another contract, as the program's imports declare it."""

    import_: Place
    args: tuple["Expr", ...]


class Host(Wire, tag=28):
    """A function of the host (`contracts.vm.functions`)."""

    function: Place
    args: tuple["Expr", ...]


class Fail(Wire, tag=29):
    """End the call: nothing changes; its receipt has the code 1000 × contract number + this."""

    code: Annotated[int, Meta(ge=1, le=999)]


Expr = (
    Const
    | Blob
    | Get
    | Arith
    | Compare
    | And
    | Or
    | Not
    | Choose
    | Len
    | Index
    | Slice
    | Concat
    | Contains
    | SortedSet
    | ListOf
    | WithItem
    | Make
    | Field
    | With
    | Absent
    | IsAbsent
    | OrElse
    | Present
    | Load
    | Decode
    | Call
    | Invoke
    | Host
    | Fail
)


# ── statements ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Set(Wire, tag=0):
    """A local takes a value."""

    local: Place
    value: Expr


class Do(Wire, tag=1):
    """A value is computed for what comes of it: a call, or a failure."""

    value: Expr


class Store(Wire, tag=2):
    """An entry of one of the contract's tables is written."""

    table: Place
    key: tuple[Expr, ...]
    value: Expr


class Delete(Wire, tag=3):
    """An entry is removed, if there is one."""

    table: Place
    key: tuple[Expr, ...]


class Emit(Wire, tag=4):
    """The world is told."""

    event: Place
    value: Expr


class Schedule(Wire, tag=5):
    """The chain will call a scheduled method of this contract in the first block at or after `due_ms`."""

    due_ms: Expr
    call_id: Expr
    method: Place
    args: tuple[Expr, ...]


class Cancel(Wire, tag=6):
    """A scheduled call of this contract is taken back, if it waits."""

    due_ms: Expr
    call_id: Expr


class If(Wire, tag=7):
    """One of two blocks."""

    condition: Expr
    then: tuple["Statement", ...]
    otherwise: tuple["Statement", ...]


class While(Wire, tag=8):
    """A block as long as a condition holds: gas ends it."""

    condition: Expr
    body: tuple["Statement", ...]


class For(Wire, tag=9):
    """A block for each item of a list."""

    local: Place
    items: Expr
    body: tuple["Statement", ...]


class Count(Wire, tag=10):
    """A block for each number from `begin` to before `end`."""

    local: Place
    begin: Expr
    end: Expr
    body: tuple["Statement", ...]


class Walk(Wire, tag=11):
    """A block for each of the first `limit` entries whose key begins with `prefix`, in the order of their keys, as they
    were when the loop began.
    """

    table: Place
    prefix: tuple[Expr, ...]
    limit: Annotated[int, Meta(ge=1, le=1_000)]
    keys: tuple[Place, ...]
    """Locals for the rest of the key."""
    value: Place
    body: tuple["Statement", ...]


class Break(Wire, tag=12):
    """Leave the innermost loop."""


class Continue(Wire, tag=13):
    """Go on with the innermost loop's next round."""


class Return(Wire, tag=14):
    """Leave the function, with its result if it has one."""

    value: tuple[Expr, ...]
    """One or none."""


Statement = (
    Set | Do | Store | Delete | Emit | Schedule | Cancel | If | While | For | Count | Walk | Break | Continue | Return
)
Block = tuple[Statement, ...]
