"""A contract's code: typed, with one canonical encoding, whose hash names it. Names in it are for people and for the
encoding of calls.
"""

from typing import Annotated

from msgspec import Meta

from contracts.vm.tree import Block
from contracts.vm.types import Place, Type
from ledger.codec import Wire
from ledger.hashing import Tag, sm3
from ledger.units import I64, U32, U63

LANGUAGE = 1
"""Version of the tree's meaning. A change of any node's meaning is a new one; programs of the old one keep the old."""
CODE_BYTES_MAX = 128 * 1024
"""Encoded program: several times the largest contract of the library."""

Identifier = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}\Z")]
FieldName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}\Z")]
"""Of fields and parameters: Python's structs have these names where people read them, and its own begin with `_`."""
Member = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]{0,63}\Z")]
"""Of an enum."""
Label = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9.-]{0,63}\Z")]
"""Of an event: kebab-case with the contract's name before a dot."""
Prose = Annotated[str, Meta(max_length=4_000)]
"""For people; part of the hash like everything else."""


class EnumDef(Wire):
    """Names of consecutive numbers. To the machine they are numbers; calls and records show and take the names."""

    name: Identifier
    first: I64
    members: tuple[Member, ...]


class NamedType(Wire):
    """A field of a struct."""

    name: FieldName
    type: Type
    enum: tuple[Place, ...] = ()
    """Whose members its number, or the numbers in its list, are: one or none."""


class Param(Wire):
    """A parameter of a method; its type is the function's."""

    name: FieldName
    enum: tuple[Place, ...] = ()


class StructDef(Wire):
    """A struct. It may hold those before it."""

    name: Identifier
    fields: tuple[NamedType, ...]


class TableDef(Wire):
    """A map in the state, from a key of some parts to a struct."""

    name: Identifier
    tag: Annotated[int, Meta(ge=1, le=255)]
    """Byte in front of the entries' own keys; a table's types never change under one tag."""
    key: tuple[Type, ...]
    value: Place


class EventDef(Wire):
    """An event."""

    name: Label
    struct: Place


class CodeDef(Wire):
    """A code of a receipt with its sentence for people."""

    number: Annotated[int, Meta(ge=1, le=999)]
    name: Identifier
    sentence: Prose


class ImportDef(Wire):
    """A method of another contract that the program calls."""

    contract: U32
    method: Identifier
    params: tuple[Type, ...]
    result: tuple[Type, ...]
    """One or none."""


class FunctionDef(Wire):
    """A function. It may call those before it."""

    name: Identifier
    params: Place
    """How many of the locals are parameters: the first ones."""
    locals: tuple[Type, ...]
    result: tuple[Type, ...]
    """One or none."""
    body: Block


class MethodDef(Wire):
    """An entry: a function that transactions, other contracts or the schedule may call."""

    name: Identifier
    function: Place
    params: tuple[Param, ...]
    roles: tuple[Annotated[int, Meta(ge=1, le=255)], ...]
    """Who may send it as a transaction, until the permission table says otherwise."""
    business: Annotated[int, Meta(ge=1, le=255)]
    device: bool
    """Of device class: a parameter `counter` keeps it from running twice."""
    callers: tuple[U32, ...]
    """Contracts that may call it."""
    scheduled_gas: U63
    """Gas of a call by the schedule; 0 if it may not be scheduled."""
    summary: Prose


class Program(Wire):
    """A contract's code."""

    language: U32
    name: Identifier
    summary: Prose
    branch: Annotated[int, Meta(ge=1, le=255)]
    """Section of a block that its transactions belong to."""
    structs: tuple[StructDef, ...]
    tables: tuple[TableDef, ...]
    events: tuple[EventDef, ...]
    codes: tuple[CodeDef, ...]
    imports: tuple[ImportDef, ...]
    functions: tuple[FunctionDef, ...]
    methods: tuple[MethodDef, ...]
    enums: tuple[EnumDef, ...] = ()


def code_hash(code: bytes) -> bytes:
    """What a program is called by: the hash of its encoding."""
    return sm3(Tag.CODE, code)
