"""Whether a program's tables are of the types by which the node reads them."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from msgspec import inspect

from contracts.host import Table
from contracts.records import governance, identity, money, registry, session, tariff
from contracts.vm.program import Program
from contracts.vm.types import Bool, Bytes, Int, List, Optional, Struct, Text, Type
from ledger.errors import OurError


def _tables() -> Mapping[bytes, tuple[str, Table[Any]]]:
    modules = (identity, money, registry, tariff, session, governance)
    named = [pair for module in modules for pair in vars(module).items() if isinstance(pair[1], Table)]
    return {table.prefix: (name, table) for name, table in named}


TABLES = _tables()
"""By their beginning of keys in the state: name and table."""


def misfits(number: int, program: Program) -> list[str]:
    """Names of the tables that the node reads and a program, at its number, has not, or has with other types."""
    declared = {number.to_bytes(4, "big") + bytes([table.tag]): Struct(table.value) for table in program.tables}
    return [
        name
        for prefix, (name, table) in TABLES.items()
        if table.contract == number
        and (prefix not in declared or shape_of_program(program, declared[prefix]) != shape_of_python(table.kind))
    ]


def shape_of_program(program: Program, declared: Type) -> object:
    """A type of a program without names of structs and places."""
    match declared:
        case Struct(struct):
            return tuple(
                (field.name, shape_of_program(program, field.type)) for field in program.structs[struct].fields
            )
        case Optional(struct):
            return "or nothing", shape_of_program(program, Struct(struct))
        case List(item, low, high):
            return "list", shape_of_program(program, item), low, high
    return declared


def shape_of_python(kind: type) -> object:
    """A Python type in the same words."""
    return _shape(inspect.type_info(kind))


def _shape(described: Any) -> object:
    match described:
        case inspect.BoolType():
            return Bool()
        case inspect.IntType(ge=int(low), le=int(high)):
            return Int(low, high)
        case inspect.EnumType(cls=enum) if issubclass(enum, IntEnum):
            return Int(int(min(enum)), int(max(enum)))
        case inspect.BytesType(min_length=low, max_length=int(high)):
            return Bytes(low or 0, high)
        case inspect.StrType(min_length=low, max_length=int(high)):
            return Text(low or 0, high)
        case inspect.VarTupleType(item_type=item, min_length=low, max_length=high):
            return "list", _shape(item), low or 0, high
        case inspect.UnionType(types=(inner, inspect.NoneType())):
            return "or nothing", _shape(inner)
        case inspect.StructType(fields=fields):
            return tuple((field.name, _shape(field.type)) for field in fields)
    raise OurError("record-type", f"{described} is no type that a contract's record can have")
