"""Values of the contract types in Python, and the bytes of records and keys.

| type | value |
|---|---|
| Bool, Int, Wide | bool, int |
| Bytes, Text | bytes, str |
| List | tuple |
| Struct, Optional | an immutable msgspec struct, or None |

Structs of one shape share one class, in whichever program they stand, so what one contract hands to another need not be
encoded and decoded again. Their fields are called by position: no name out of a program ever becomes part of Python
code.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from contracts.codes import Code
from contracts.host import Failure, Table
from contracts.vm.program import StructDef, TableDef
from contracts.vm.types import Bool, Bytes, Int, List, Optional, Struct, Text, Type
from ledger.codec import Wire

KEY_BYTES_MAX = 511
"""Of the store (LMDB), with the contract's number and the table's tag."""
_PREFIX_BYTES = 5


def field_name(place: int) -> str:
    """Attribute of a struct's field."""
    return f"a{place}"


def struct_classes(structs: Sequence[StructDef]) -> list[type[Wire]]:
    """A class for each struct of a program."""
    classes: list[type[Wire]] = []
    for struct in structs:
        classes.append(_struct_class(tuple(_shape(field.type, classes) for field in struct.fields)))
    return classes


def python_type(declared: Type, classes: Sequence[type[Wire]]) -> Any:
    """The annotation by which msgspec decodes and checks a value."""
    return _annotation(_shape(declared, classes))


def args_class(params: Sequence[Type], classes: Sequence[type[Wire]]) -> type[Wire]:
    """The class of a method's arguments: encoded as a struct of them."""
    return _struct_class(tuple(_shape(param, classes) for param in params))


def _shape(declared: Type, classes: Sequence[type[Wire]]) -> Hashable:
    match declared:
        case Struct(struct):
            return classes[struct]
        case Optional(struct):
            return Optional, classes[struct]
        case List(item, low, high):
            return List, _shape(item, classes), low, high
    return declared


@cache  # by shape: as many as the contracts of this process have structs
def _struct_class(shapes: tuple[Hashable, ...]) -> type[Wire]:
    fields = [(field_name(place), _annotation(shape)) for place, shape in enumerate(shapes)]
    return cast(type[Wire], msgspec.defstruct("Record", fields, bases=(Wire,)))


def _annotation(shape: Any) -> Any:
    match shape:
        case Bool():
            return bool
        case Int(low, high):
            return Annotated[int, Meta(ge=low, le=high)]
        case Bytes(low, high):
            return Annotated[bytes, Meta(min_length=low, max_length=high)]
        case Text(low, high):
            return Annotated[str, Meta(min_length=low, max_length=high)]
        case kind, item, low, high if kind is List:
            return Annotated[tuple[_annotation(item), ...], Meta(min_length=low, max_length=high)]  # type: ignore[misc]
        case kind, struct if kind is Optional:
            return struct | None
    return shape


class Records:
    """A table of a program at work: how its keys are written and read, and its records decoded."""

    def __init__(self, contract: int, table: TableDef, classes: Sequence[type[Wire]]) -> None:
        self.table: Table[Any] = Table(contract, bytes([table.tag]), classes[table.value])
        last = len(table.key) - 1
        self.parts = [_Part(declared, last=place == last) for place, declared in enumerate(table.key)]
        longest = _PREFIX_BYTES + sum(part.bytes_max for part in self.parts)
        self.may_be_too_long = longest > KEY_BYTES_MAX

    def key(self, *values: Any) -> bytes:
        """Own key of an entry, or the beginning that several share. Fails with KEY_MALFORMED."""
        key = b"".join([part.encode(value) for part, value in zip(self.parts, values, strict=False)])
        if self.may_be_too_long and _PREFIX_BYTES + len(key) > KEY_BYTES_MAX:
            raise Failure(Code.KEY_MALFORMED)
        return key

    def rest(self, key: bytes, given: int) -> list[Any]:
        """The parts of an own key after the first `given`."""
        values = []
        for place, part in enumerate(self.parts):
            value, key = part.split(key)
            if place >= given:
                values.append(value)
        return values


class _Part:
    """A part of keys. Numbers are big-endian and texts end in NUL, so keys sort as their parts do."""

    def __init__(self, declared: Type, *, last: bool) -> None:
        self.encode: Callable[[Any], bytes]
        self.split: Callable[[bytes], tuple[Any, bytes]]
        match declared:
            case Int(_, high):
                size = next(size for size in (1, 2, 4, 8) if high < 256**size)
                self.bytes_max = size
                self.encode = lambda value: value.to_bytes(size, "big")
                self.split = lambda key: (int.from_bytes(key[:size], "big"), key[size:])
            case Text(_, high):
                self.bytes_max = 4 * high + (not last)
                self.encode = str.encode if last else _with_end
                self.split = _whole_text if last else _until_end
            case _:  # bytes: the verifier lets through no other type
                length: int = declared.max  # type: ignore[union-attr]
                self.bytes_max = length
                self.encode = bytes
                self.split = lambda key: (key[:length], key[length:])


def _with_end(value: str) -> bytes:
    # Else the parts "a\0b", "c" and "a", "b\0c" would be one key: whoever names things could write another's record.
    if "\0" in value:
        raise Failure(Code.KEY_MALFORMED)
    return value.encode() + b"\0"


def _whole_text(key: bytes) -> tuple[str, bytes]:
    return key.decode(), b""


def _until_end(key: bytes) -> tuple[str, bytes]:
    text, _, rest = key.partition(b"\0")
    return text.decode(), rest
