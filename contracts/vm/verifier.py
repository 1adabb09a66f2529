"""The gate: which programs may run. Whatever passes is safe to run, on any node, with any arguments and any state.

What it guarantees, and so which attack it stops:

| guarantee | attack |
|---|---|
| canonical encoding, known nodes, positions within their lists | two codes under one meaning; a crash of the reader |
| every expression has one kind, every binding fits or is checked | type confusion |
| numbers on the way stay below 255 bits, lengths below 65,536 | a small tree that computes a huge number |
| expressions ≤ 64 deep, blocks ≤ 16, inner calls ≤ 8 | exhausted stacks of Python and its parser |
| functions call only those before them | recursion |
| a local is read only after it is set on every way there | values left over from elsewhere |
| structs lie at most 16 deep within one another | exhausted stacks of whoever encodes, decodes or shows a value |
| a value of every type has at most 512 KiB | memory, and records that no transaction or snapshot could carry |

It does not judge what a contract does: that is for people who read its source.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct as Plain

from contracts.contract import Business, Role
from contracts.vm.flow import check_function
from contracts.vm.kinds import refuse
from contracts.vm.program import CODE_BYTES_MAX, LANGUAGE, MethodDef, Program, StructDef, TableDef, code_hash
from contracts.vm.scope import Scope, at
from contracts.vm.types import Bytes, Int, List, Optional, Struct, Text, Type, Wide
from ledger.codec import decode
from ledger.errors import PeerError
from ledger.transaction import Branch
from ledger.units import I64_MAX

LOCALS_MAX = 200
LISTED_MAX = 500
"""Structs, tables, events, codes, imports, functions, methods; fields; parameters."""
FIELDS_MAX = 32
"""Of a struct: changing one copies all, at one price."""
TYPE_BYTES_MAX = 512 * 1024
"""Longest encoding of a value: a thousand companies with their roles."""
NESTING_MAX = 16
"""Structs within structs: deeper ones would exhaust the stack of whoever encodes, decodes or shows a value."""
KEY_PARTS_MAX = 4
SCHEDULED_GAS_MAX = 10_000_000
"""Of one scheduled call: as much as a transaction of governance may take."""


class Verified(Plain, frozen=True):
    """A program that may run."""

    hash: bytes
    program: Program


def verify(code: bytes) -> Verified:
    """Decode and check a program. Raises PeerError `code-refused` with the reason."""
    if len(code) > CODE_BYTES_MAX:
        refuse(f"{len(code)} bytes of code, at most {CODE_BYTES_MAX}")
    try:
        program = decode(Program, code)
    except PeerError as error:
        raise PeerError("code-refused", error.message) from error
    if program.language != LANGUAGE:
        refuse(f"language {program.language}; this release knows {LANGUAGE}")
    _check(program)
    return Verified(code_hash(code), program)


def _check(program: Program) -> None:
    bounded = (program.structs, program.tables, program.events, program.codes, program.imports, program.functions)
    for rows in (*bounded, program.methods, program.enums):
        _few(rows)
    _distinct([enum.name for enum in program.enums], "enum")
    _distinct([struct.name for struct in program.structs], "struct")
    _distinct([table.name for table in program.tables], "table")
    _distinct([table.tag for table in program.tables], "table tag")
    _distinct([event.name for event in program.events], "event")
    _distinct([code.number for code in program.codes], "code")
    _distinct([code.name for code in program.codes], "code name")
    _distinct([function.name for function in program.functions], "function")
    _distinct([method.name for method in program.methods], "method")
    if program.branch not in set(Branch):
        refuse(f"there is no branch {program.branch}")
    for enum in program.enums:
        with _within("enum", enum.name):
            _few(enum.members)
            _distinct(enum.members, "member")
            if not enum.members or not -I64_MAX <= enum.first <= I64_MAX - len(enum.members):
                refuse("no members, or more than numbers")
    records = _Records(program)
    for position, struct in enumerate(program.structs):
        with _within("struct", struct.name):
            records.add(position, struct)
    for table in program.tables:
        with _within("table", table.name):
            _check_table(program, table)
    for event in program.events:
        with _within("event", event.name):
            at(program.structs, event.struct, "struct")
    for imported in program.imports:
        with _within("import", imported.method):
            _few(imported.params)
            _few(imported.result, 1)
            for each in (*imported.params, *imported.result):
                records.check(each)
    depths: list[int] = []
    for position, function in enumerate(program.functions):
        with _within("function", function.name):
            _few(function.locals, LOCALS_MAX)
            _few(function.result, 1)
            if function.params > len(function.locals):
                refuse("more parameters than locals")
            for each in (*function.locals, *function.result):
                if not isinstance(each, Wide):
                    records.check(each)
            depths.append(check_function(program, position, depths))
    for method in program.methods:
        with _within("method", method.name):
            _check_method(program, method)


class _Records:
    """Structs and how long their encodings may get. A struct may hold those before it: none holds itself."""

    def __init__(self, program: Program) -> None:
        self.scope = Scope(program, 0, ())
        self.sizes: list[int] = []
        self.depths: list[int] = []

    def add(self, position: int, struct: StructDef) -> None:
        _few(struct.fields, FIELDS_MAX)
        _distinct([field.name for field in struct.fields], "field")
        for field in struct.fields:
            self.check(field.type, position)
            _check_enum(self.scope.program, field.enum, field.type)
        self.depths.append(1 + max((self.depth(field.type) for field in struct.fields), default=0))
        if self.depths[-1] > NESTING_MAX:
            refuse(f"structs within structs, {self.depths[-1]} deep, at most {NESTING_MAX}")
        self.sizes.append(5 + sum(self.size(field.type) for field in struct.fields))
        if self.sizes[-1] > TYPE_BYTES_MAX:
            refuse(f"a value may take {self.sizes[-1]} bytes, at most {TYPE_BYTES_MAX}")

    def check(self, declared: Type, structs: int | None = None) -> None:
        """Refuse a type that no record, parameter or result may have."""
        self.scope.check_type(declared, structs)
        if isinstance(declared, Wide):
            refuse("a number of 128 bits outside of a function's locals")
        if (size := self.size(declared)) > TYPE_BYTES_MAX:
            refuse(f"a value may take {size} bytes, at most {TYPE_BYTES_MAX}")

    def depth(self, declared: Type) -> int:
        """How many structs lie within one another."""
        match declared:
            case List(item, _, _):
                return self.depth(item)
            case Struct(struct) | Optional(struct):
                return self.depths[struct]
        return 0

    def size(self, declared: Type) -> int:
        """Longest encoding: MessagePack's header of five bytes, four bytes per character, nine per number."""
        match declared:
            case Bytes(_, high):
                return 5 + high
            case Text(_, high):
                return 5 + 4 * high
            case List(item, _, high):
                return 5 + high * self.size(item)
            case Struct(struct) | Optional(struct):
                return self.sizes[struct]
        return 9


def _check_table(program: Program, table: TableDef) -> None:
    """Keys sort as their parts do, and no two keys are one string of bytes."""
    at(program.structs, table.value, "struct")
    if len(table.key) > KEY_PARTS_MAX:
        refuse(f"a key of {len(table.key)} parts, at most {KEY_PARTS_MAX}")
    for place, part in enumerate(table.key):
        last = place == len(table.key) - 1
        match part:
            case Int(low, high) if 0 <= low <= high:
                continue
            case Text(low, high) if low <= high:
                continue
            case Bytes(low, high) if low == high or (last and low <= high):
                continue
        refuse("a key's parts are numbers from 0, texts, bytes of fixed length, and at its end bytes of any length")


def _check_method(program: Program, method: MethodDef) -> None:
    function = at(program.functions, method.function, "function")
    if len(method.params) != function.params:
        refuse(f"{len(method.params)} names for {function.params} parameters")
    _distinct([param.name for param in method.params], "parameter")
    for param, declared in zip(method.params, function.locals, strict=False):
        _check_enum(program, param.enum, declared)
    if any(isinstance(each, Wide) for each in (*function.locals[: function.params], *function.result)):
        refuse("a number of 128 bits outside of a function's locals")
    for rows in (method.roles, method.callers):
        _few(rows)
        if list(rows) != sorted(set(rows)):
            refuse("roles or callers that are not in order, each once")
    if not set(method.roles) <= set(Role) or method.business not in set(Business):
        refuse("a role or type of business that there is not")
    if method.scheduled_gas > SCHEDULED_GAS_MAX:
        refuse(f"{method.scheduled_gas} gas for a scheduled call, at most {SCHEDULED_GAS_MAX}")
    if method.device:
        names = [param.name for param in method.params]
        counter = dict(zip(names, function.locals, strict=False)).get("counter")
        if not isinstance(counter, Int) or counter.min < 0:
            refuse("a method of device class without a number `counter`")


def _check_enum(program: Program, enums: Sequence[int], declared: Type) -> None:
    """Every number that a place may hold has a name, and no name is for nothing."""
    _few(enums, 1)
    numbers = declared.item if isinstance(declared, List) else declared
    for place in enums:
        enum = at(program.enums, place, "enum")
        if numbers != Int(enum.first, enum.first + len(enum.members) - 1):
            refuse(f"a place that is not one of {enum.name}'s numbers")


def _few(rows: Sequence[Any], most: int = LISTED_MAX) -> None:
    if len(rows) > most:
        refuse(f"a list of {len(rows)}, at most {most}")


def _distinct(names: Sequence[Any], what: str) -> None:
    seen = set()
    for name in names:
        if name in seen:
            refuse(f"{what} {name} twice")
        seen.add(name)


@contextmanager
def _within(what: str, name: str) -> Iterator[None]:
    """Say where it was that something was refused."""
    try:
        yield
    except PeerError as error:
        raise PeerError(error.code, f"{what} {name}: {error.message}") from error
