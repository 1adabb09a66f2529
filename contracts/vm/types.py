"""The types of the contract language. Values of every one are immutable: they copy."""

from typing import Annotated

from msgspec import Meta

from ledger.codec import Wire
from ledger.units import I64

Place = Annotated[int, Meta(ge=0, le=65_535)]
"""Position in one of the program's lists, or of a local."""
Size = Annotated[int, Meta(ge=0, le=65_536)]
"""A length: characters of a text, bytes, items of a list."""


class Bool(Wire, tag=0):
    """True or false."""


class Int(Wire, tag=1):
    """A whole number within bounds, both included: any part of the 64-bit signed integers."""

    min: I64
    max: I64


class Wide(Wire, tag=2):
    """A whole number of 128 bits, signed: for locals, where sums and products grow; never in a record."""


class Bytes(Wire, tag=3):
    """A string of bytes."""

    min: Size
    max: Size


class Text(Wire, tag=4):
    """A string of Unicode characters; lengths count them."""

    min: Size
    max: Size


class List(Wire, tag=5):
    """A list of items of one type."""

    item: "Type"
    min: Size
    max: Size


class Struct(Wire, tag=6):
    """One of the program's structs."""

    struct: Place


class Optional(Wire, tag=7):
    """One of the program's structs, or nothing."""

    struct: Place


Type = Bool | Int | Wide | Bytes | Text | List | Struct | Optional
