"""Small programs written by hand, and one call of them by both engines."""

from collections.abc import Sequence
from typing import Any

import msgspec

from contracts.contract import Method
from contracts.memory import MemoryState
from contracts.vm import tree
from contracts.vm.entry import methods_of
from contracts.vm.generator import functions
from contracts.vm.link import Linked
from contracts.vm.operators import Op
from contracts.vm.program import (
    LANGUAGE,
    CodeDef,
    EventDef,
    FunctionDef,
    ImportDef,
    MethodDef,
    NamedType,
    Param,
    Program,
    StructDef,
    TableDef,
)
from contracts.vm.tree import Block, Expr
from contracts.vm.types import Bool, Bytes, Int, List, Optional, Struct, Text, Type, Wide
from contracts.vm.verifier import verify
from ledger.codec import decode, encode
from ledger.errors import PeerError
from tests.vm.differ import interpreted, outcome
from tests.vm.draw import OTHER, OWN

DIGIT = Int(0, 9)
I64 = Int(-(2**63), 2**63 - 1)
HASH = Bytes(32, 32)
GAS = 2_000_000

PAIR, HOLDER, EMPTY = 0, 1, 2
STRUCTS = (
    StructDef("Pair", (NamedType("x", DIGIT), NamedType("y", Text(0, 9)))),
    StructDef("Holder", (NamedType("pair", Struct(PAIR)), NamedType("maybe", Optional(PAIR)))),
    StructDef("Empty", ()),
)
NAMED, PARTS, CELL, COUNTED = 0, 1, 2, 3
TABLES = (
    TableDef("NAMED", 1, (Text(1, 64),), PAIR),
    TableDef("PARTS", 2, (Text(0, 300), Int(0, 255), Text(0, 40)), PAIR),
    TableDef("CELL", 3, (), HOLDER),
    TableDef("COUNTED", 4, (Int(0, 2**63 - 1),), PAIR),
)


def num(value: int) -> Expr:
    """A number."""
    return tree.Const(value)


def get(local: int) -> Expr:
    """A local."""
    return tree.Get(local)


def add(left: Expr, right: Expr) -> Expr:
    """A sum."""
    return tree.Arith(Op.ADD, left, right)


def pair(x: Expr | int, y: str = "") -> Expr:
    """A Pair."""
    return tree.Make(PAIR, (num(x) if isinstance(x, int) else x, tree.Const(y)))


def function(
    *body: tree.Statement,
    types: Sequence[Type] = (),
    params: int = 0,
    result: Type | None = None,
    name: str = "run",
) -> FunctionDef:
    """A function."""
    return FunctionDef(name, params, tuple(types), () if result is None else (result,), body)


def method(function: int = 0, params: Sequence[str] = (), **changes: Any) -> MethodDef:
    """A method."""
    made = MethodDef("go", function, tuple(map(Param, params)), (1,), 1, False, (OWN, OTHER), 0, "")
    return msgspec.structs.replace(made, **changes)


def program(*functions: FunctionDef, **changes: Any) -> Program:
    """A program of some functions; its method `go` is the last of them."""
    last = len(functions) - 1
    methods: tuple[MethodDef, ...] = ()
    if functions:
        methods = (method(last, [f"p{place}" for place in range(functions[last].params)]),)
    made = Program(
        LANGUAGE, "own", "", 4, STRUCTS, TABLES, (EventDef("own.e", PAIR),), (CodeDef(1, "BAD", "bad"),), (), functions,
        methods,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def imports(*imported: tuple[int, str, Sequence[Type], Sequence[Type]]) -> tuple[ImportDef, ...]:
    """Methods of other contracts."""
    return tuple(ImportDef(number, name, tuple(params), tuple(result)) for number, name, params, result in imported)


def reason(code: bytes) -> str:
    """Why the verifier refuses a code; nothing if it passes."""
    try:
        verify(code)
    except PeerError as error:
        return error.message if error.code == "code-refused" else f"another code: {error}"
    return ""


class Ran(msgspec.Struct, frozen=True):
    """What became of a call."""

    code: int
    value: Any
    gas: int
    """Used."""
    events: tuple[Any, ...]
    changes: dict[bytes, bytes | None]


def run(
    called: Program,
    *args: Any,
    gas: int = GAS,
    state: MemoryState | None = None,
    others: Sequence[tuple[int, Program]] = (),
) -> Ran:
    """The method `go` by both engines, which must agree. Values of structs are lists of their fields."""
    found = []
    for engine in (interpreted, functions):
        methods: dict[tuple[int, str], Method] = {}
        for number, each in ((OWN, called), *others):
            linked = Linked(verify(encode(each)), number)
            methods |= methods_of(linked, engine(linked))
        values = decode(methods[OWN, "go"].args, encode(args))
        found.append(outcome(state or MemoryState(), methods, "go", values, gas))
    assert found[0] == found[1], f"interpreter {found[0]}, generated code {found[1]}"
    code, result, left, events, changes = found[0]
    value = None if result is None else msgspec.msgpack.decode(result)
    return Ran(code, value, gas - left, events, changes)


def ran(*body: tree.Statement, types: Sequence[Type] = (), result: Type | None = None, args: Sequence[Any] = ()) -> Ran:
    """A function of some statements, whose first locals are the arguments."""
    return run(program(function(*body, types=types, params=len(args), result=result)), *args)


def evaluated(node: Expr, result: Type = I64, types: Sequence[Type] = (), args: Sequence[Any] = ()) -> Ran:
    """What an expression gives when it is returned."""
    return ran(tree.Return((node,)), types=types, result=result, args=args)


def nested(block: Block, depth: int) -> Block:
    """A block within blocks."""
    for _ in range(depth):
        block = (tree.If(tree.Const(True), block, ()),)
    return block


__all__ = [
    "CELL", "COUNTED", "DIGIT", "EMPTY", "GAS", "HASH", "HOLDER", "I64", "NAMED", "OTHER", "OWN", "PAIR", "PARTS",
    "STRUCTS", "TABLES", "Bool", "Bytes", "Int", "List", "Optional", "Ran", "Struct", "Text", "Type", "Wide", "add",
    "evaluated", "function", "get", "imports", "method", "nested", "num", "pair", "program", "ran", "reason", "run",
]  # fmt: skip
