"""Whether a program's tables and events are of the types by which the node reads them."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from msgspec import inspect

from contracts.host import Table
from contracts.numbers import SESSION
from contracts.records import governance, identity, money, registry, session, tariff
from contracts.vm.program import Program, TableDef
from contracts.vm.types import Bool, Bytes, Int, List, Optional, Struct, Text, Type


def _tables() -> Mapping[bytes, tuple[str, Table[Any]]]:
    modules = (identity, money, registry, tariff, session, governance)
    named = [pair for module in modules for pair in vars(module).items() if isinstance(pair[1], Table)]
    return {table.prefix: (name, table) for name, table in named}


TABLES = _tables()
"""By their beginning of keys in the state: name and table."""


def misfits(number: int, program: Program) -> list[str]:
    """Names of the tables and events that the node reads and a program, at its number, has not, or has with other
    types.
    """
    tables = {number.to_bytes(4, "big") + bytes([table.tag]): table for table in program.tables}
    wrong = [
        name
        for prefix, (name, table) in TABLES.items()
        if table.contract == number and not _is_read_as(program, tables.get(prefix), table)
    ]
    if number == SESSION:
        events = {event.name: event.struct for event in program.events}
        for name, kind in session.EVENTS.items():
            if name not in events or not _fits(program, Struct(events[name]), inspect.type_info(kind)):
                wrong.append(name)
    return wrong


def _is_read_as(program: Program, declared: TableDef | None, table: Table[Any]) -> bool:
    if declared is None or len(declared.key) != len(table.key_parts):
        return False
    parts = zip((*declared.key, Struct(declared.value)), (*table.key_parts, table.kind), strict=True)
    return all(_fits(program, part, inspect.type_info(read_as)) for part, read_as in parts)


def _fits(program: Program, declared: Type, read_as: Any) -> bool:
    """Whether a type of a program is what the node reads it as. Goes no deeper than the node's own types."""
    match declared, read_as:
        case Bool(), inspect.BoolType():
            return True
        case Int(low, high), inspect.IntType(ge=least, le=most):
            return (low, high) == (least, most)
        case Int(low, high), inspect.EnumType(cls=enum) if issubclass(enum, IntEnum):
            return (low, high) == (min(enum), max(enum))
        case Bytes(low, high), inspect.BytesType(min_length=least, max_length=most):
            return (low, high) == (least or 0, most)
        case Text(low, high), inspect.StrType(min_length=least, max_length=most):
            return (low, high) == (least or 0, most)
        case List(item, low, high), inspect.VarTupleType(item_type=read_item, min_length=least, max_length=most):
            return (low, high) == (least or 0, most) and _fits(program, item, read_item)
        case Optional(struct), inspect.UnionType(types=(inner, inspect.NoneType())):
            return _fits(program, Struct(struct), inner)
        case Struct(struct), inspect.StructType(fields=fields):
            ours = program.structs[struct].fields
            return [field.name for field in ours] == [field.name for field in fields] and all(
                _fits(program, field.type, read_field.type) for field, read_field in zip(ours, fields, strict=True)
            )
    return False
