"""Structs of the ledger in the types of the contract language: what some functions of the host take and give.

A program declares such a struct itself, in its own words; what counts is the shape.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from msgspec import Struct as Plain
from msgspec import inspect

from contracts.vm.program import NamedType, StructDef
from contracts.vm.types import Bool, Bytes, Int, List, Struct, Text, Type
from ledger.codec import Wire
from ledger.errors import OurError
from ledger.evidence import Equivocation
from ledger.terms import Terms


class Natives:
    """Struct definitions of Wire classes, those that are held before those that hold them."""

    def __init__(self, *roots: type[Wire]) -> None:
        self.structs: list[StructDef] = []
        self.classes: list[type[Wire]] = []
        for root in roots:
            self.add(root)

    def add(self, wire: type[Wire]) -> int:
        """Position of a class, which is added with all that it holds."""
        if wire not in self.classes:
            described = inspect.type_info(wire)
            if not isinstance(described, inspect.StructType):
                raise OurError("native-type", f"{wire} is no struct")
            fields = tuple(NamedType(field.name, self._type(field.type)) for field in described.fields)
            self.structs.append(StructDef(wire.__name__, fields))
            self.classes.append(wire)
        return self.classes.index(wire)

    def type(self, wire: type[Wire]) -> Struct:
        """The type of a class that was added."""
        return Struct(self.classes.index(wire))

    def _type(self, described: Any) -> Type:
        match described:
            case inspect.BoolType():
                return Bool()
            case inspect.IntType(ge=low, le=high) if low is not None and high is not None:
                return Int(low, high)
            case inspect.EnumType(cls=enum) if issubclass(enum, IntEnum):
                return Int(int(min(enum)), int(max(enum)))
            case inspect.BytesType(min_length=low, max_length=high) if high is not None:
                return Bytes(low or 0, high)
            case inspect.StrType(min_length=low, max_length=high) if high is not None:
                return Text(low or 0, high)
            case inspect.VarTupleType(item_type=item, min_length=low, max_length=high) if high is not None:
                return List(self._type(item), low or 0, high)
            case inspect.StructType(cls=wire) if issubclass(wire, Wire):
                return Struct(self.add(wire))
        raise OurError("native-type", f"{described} has no bounds that the contract language could state")


class Native(Plain, frozen=True):
    """A type whose structs are those of `NATIVES`."""

    type: Type


NATIVES = Natives(Terms, Equivocation)


def is_native(declared: Type, structs: Sequence[StructDef], native: Native) -> bool:
    """Whether a program's type is a native one but for the names in it. Lengths of a list are for the host to ask."""
    if isinstance(declared, List) and isinstance(native.type, List):
        return _alike(declared.item, structs, native.type.item)
    return _alike(declared, structs, native.type)


def _alike(one: Type, ones: Sequence[StructDef], other: Type) -> bool:
    others = NATIVES.structs
    match one, other:
        case Struct(a), Struct(b):
            fields, theirs = ones[a].fields, others[b].fields
            return len(fields) == len(theirs) and all(
                _alike(field.type, ones, their.type) for field, their in zip(fields, theirs, strict=True)
            )
        case List(item, low, high), List(their_item, their_low, their_high):
            return (low, high) == (their_low, their_high) and _alike(item, ones, their_item)
    return one == other
