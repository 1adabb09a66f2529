"""What an expression may come to: its type with bounds, followed through every operation.

The bounds of a number or a length are an interval that holds whatever the values of the locals are. So the verifier
knows how wide a number can get on the way, and which bindings need a check when the program runs: where the interval
fits, none. A kind is one of the types, with numbers of any size as bounds.
"""

from typing import NoReturn

from msgspec import Struct as Plain

from contracts.vm.operators import Op
from contracts.vm.types import Bool, Bytes, Int, List, Optional, Struct, Text, Type, Wide
from ledger.errors import PeerError

WIDE_MIN, WIDE_MAX = -(2**127), 2**127 - 1


class Never(Plain, frozen=True):
    """The kind of an expression that does not return."""


class Nothing(Plain, frozen=True):
    """The kind of a call without result: a statement may hold it, no expression."""


Kind = Type | Never | Nothing


def refuse(reason: str) -> NoReturn:
    """Raise PeerError `code-refused`: the code comes from a company, and no node may run it."""
    raise PeerError("code-refused", reason)


def kind_of(declared: Type) -> Kind:
    """What may be in a local, field or parameter of a type."""
    return Int(WIDE_MIN, WIDE_MAX) if isinstance(declared, Wide) else declared


class Check(Plain, frozen=True):
    """What a binding still has to ask: a lower and an upper bound of a number or length, each if need be."""

    lower: int | None
    upper: int | None


NO_CHECK = Check(None, None)


def check_of(kind: Kind, target: Type) -> Check:
    """What a value of some kind must be asked before it may be bound to a type. Refuses where it never may."""
    bound = kind_of(target)
    match kind, bound:
        case (Never(), _) | (Bool(), Bool()):
            return NO_CHECK
        case Int(a, b), Int(c, d):
            return _missing(a, b, c, d)
        case Bytes(a, b), Bytes(c, d):
            return _missing(a, b, c, d)
        case Text(a, b), Text(c, d):
            return _missing(a, b, c, d)
        case List(item, a, b), List(target_item, c, d):
            if b and check_of(item, target_item) != NO_CHECK:
                refuse(f"items that are {show(item)} in a list of {show(target_item)}")
            return _missing(a, b, c, d)
        case (Struct(a), Struct(b)) | (Optional(a), Optional(b)) | (Struct(a), Optional(b)) if a == b:
            return NO_CHECK
    return refuse(f"{show(kind)} where {show(target)} is needed")


def _missing(low: int, high: int, lower: int, upper: int) -> Check:
    return Check(lower if low < lower else None, upper if high > upper else None)


def join(one: Kind, other: Kind) -> Kind:
    """What either of two values may be."""
    match one, other:
        case Never(), _:
            return other
        case _, Never():
            return one
        case Int(), Int():
            return Int(min(one.min, other.min), max(one.max, other.max))
        case Bytes(), Bytes():
            return Bytes(min(one.min, other.min), max(one.max, other.max))
        case Text(), Text():
            return Text(min(one.min, other.min), max(one.max, other.max))
        case List(), List() if not one.max or not other.max or one.item == other.item:
            item = one.item if one.max else other.item
            return List(item, min(one.min, other.min), max(one.max, other.max))
        case ((Struct() | Optional()), (Struct() | Optional())) if one.struct == other.struct:
            return one if one == other else Optional(one.struct)
        case Bool(), Bool():
            return one
    return refuse(f"either {show(one)} or {show(other)}")


def arithmetic(op: Op, left: Int, right: Int) -> Int:
    """Bounds of a result. A divisor that is not positive fails, so only positive ones count."""
    a, b = left.min, left.max
    c, d = right.min, right.max
    match op:
        case Op.ADD:
            return Int(a + c, b + d)
        case Op.SUB:
            return Int(a - d, b - c)
        case Op.MUL:
            products = (a * c, a * d, b * c, b * d)
            return Int(min(products), max(products))
        case Op.MIN:
            return Int(min(a, c), min(b, d))
        case Op.MAX:
            return Int(max(a, c), max(b, d))
    least, most = max(c, 1), max(d, 1)
    if op is Op.MOD:
        return Int(0, most - 1 if a < 0 else min(b, most - 1))
    # Of all three roundings: down at the lower end, up at the upper one.
    return Int(min(a // least, a // most), max(-(-b // least), -(-b // most)))


def concat(left: Bytes | Text | List, right: Bytes | Text | List) -> Kind:
    """Bounds of two in one."""
    low, high = left.min + right.min, left.max + right.max
    match left, right:
        case Bytes(), Bytes():
            return Bytes(low, high)
        case Text(), Text():
            return Text(low, high)
        case List(), List():
            joined = join(left, right)
            return List(joined.item, low, high) if isinstance(joined, List) else joined
    return refuse(f"{show(left)} joined to {show(right)}")


def show(kind: Kind) -> str:
    """A kind in words, for messages."""
    match kind:
        case Never():
            return "a failure"
        case Nothing():
            return "no value"
        case Bool():
            return "a truth value"
        case Wide():
            return "a number of 128 bits"
        case Int(low, high):
            return f"a number from {low} to {high}"
        case Bytes(low, high):
            return f"bytes of length {low} to {high}"
        case Text(low, high):
            return f"a text of {low} to {high} characters"
        case List(item, low, high):
            return f"a list of {low} to {high} items, each {show(item)}"
        case Struct(number):
            return f"struct {number}"
    return f"struct {kind.struct} or nothing"
