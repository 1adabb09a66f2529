"""The node's own types for tables of the library: the same tables, and the same types to the last bound."""

from enum import IntEnum
from types import ModuleType
from typing import Any

import pytest
from msgspec import inspect

from contracts.host import Table
from contracts.records import governance, identity, money, registry, session, tariff
from contracts.vm.program import Program, TableDef
from contracts.vm.types import Bool, Bytes, Int, List, Optional, Struct, Text, Type
from tests.vm.swap import linked_of

MODULES = {
    "identity": identity,
    "money": money,
    "registry": registry,
    "tariff": tariff,
    "session": session,
    "governance": governance,
}


def shape_of_program(program: Program, declared: Type) -> object:
    """A type of a program without places."""
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


def shape_of_python(described: Any) -> object:
    """A Python type in the same words."""
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
            return "list", shape_of_python(item), low or 0, high
        case inspect.UnionType(types=(inner, inspect.NoneType())):
            return "or nothing", shape_of_python(inner)
        case inspect.StructType(fields=fields):
            return tuple((field.name, shape_of_python(field.type)) for field in fields)
    raise AssertionError(described)


def tables_of(module: ModuleType) -> dict[str, Table[Any]]:
    """The tables of a module by name."""
    return {name: value for name, value in vars(module).items() if isinstance(value, Table)}


@pytest.mark.parametrize("name", MODULES)
def test_every_table_of_the_node_has_the_types_of_the_library_s(name: str):
    linked = linked_of(name)
    declared: dict[str, TableDef] = {table.name: table for table in linked.program.tables}
    for label, table in tables_of(MODULES[name]).items():
        found = declared[label]
        assert table.prefix == linked.contract.to_bytes(4, "big") + bytes([found.tag])
        record = inspect.type_info(table.kind)
        assert shape_of_python(record) == shape_of_program(linked.program, Struct(found.value)), label


def test_every_table_of_the_library_is_known_to_the_node():
    for name, module in MODULES.items():
        assert {table.name for table in linked_of(name).program.tables} == tables_of(module).keys()
