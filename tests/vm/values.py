"""Random types and values."""

import random
from typing import Any

from contracts.vm.kinds import Kind
from contracts.vm.program import StructDef
from contracts.vm.scope import Scope
from contracts.vm.tree import Expr
from contracts.vm.types import Bool, Bytes, Int, List, Optional, Struct, Text, Type, Wide
from ledger.units import I64_MAX

EDGES = (-(2**63), -1, 0, 1, 2, 7, 255, 2**31, I64_MAX)


class Types:
    """Draws types."""

    rng: random.Random
    structs: list[StructDef]

    def type(self, *without: type) -> Type:
        """Any type but some, of structs so far."""
        rng = self.rng
        made: list[Type] = [Bool(), self.int_type(), self.int_type(), self.bytes_type(), self.text_type()]
        if Wide not in without:
            made.append(Wide())
        if List not in without:
            made.append(List(self.type(List, Wide), 0, rng.randint(0, 6)))
        if self.structs:
            made += [Struct(rng.randrange(len(self.structs))), Optional(rng.randrange(len(self.structs)))]
        return rng.choice(made)

    def int_type(self) -> Int:
        low, high = sorted((self.rng.choice(EDGES), self.rng.choice(EDGES)))
        return Int(low, high)

    def bytes_type(self) -> Bytes:
        low, high = sorted((self.rng.randint(0, 4), self.rng.randint(0, 40)))
        return Bytes(low, high)

    def text_type(self) -> Text:
        low, high = sorted((self.rng.randint(0, 3), self.rng.randint(0, 12)))
        return Text(low, high)

    def key_types(self) -> tuple[Type, ...]:
        rng = self.rng
        count = rng.randint(0, 3)
        parts: list[Type] = []
        for place in range(count):
            size = rng.randint(0, 4)
            made: list[Type] = [
                Int(0, rng.choice((1, 255, 2**32 - 1, I64_MAX))),
                Bytes(size, size),
                self.text_type(),
                Text(0, 140),
            ]
            if place == count - 1:
                made.append(Bytes(0, 9))
            parts.append(rng.choice(made))
        return tuple(parts)


def length(rng: random.Random, low: int, high: int) -> int:
    """Mostly short: long values take time and find nothing more."""
    return rng.randint(low, high if rng.random() < 0.05 else min(high, low + 12))


def value_of(rng: random.Random, declared: Any, structs: Any, make: Any = None) -> Any:
    """A random value of a type; `make(struct, values)` builds structs."""
    match declared:
        case Bool():
            return rng.random() < 0.5
        case Int(low, high):
            return rng.choice((low, high, rng.randint(low, high), max(low, min(high, rng.randint(-2, 9)))))
        case Bytes(low, high):
            return bytes(rng.choices(b"\0\1az\xff", k=length(rng, low, high)))
        case Text(low, high):
            return "".join(rng.choices("\0 az桩", k=length(rng, low, high)))
        case List(item, low, high):
            return tuple(value_of(rng, item, structs, make) for _ in range(length(rng, low, high)))
        case Optional(_) if rng.random() < 0.4:
            return None
        case Struct(struct) | Optional(struct):
            return make(struct, [value_of(rng, field.type, structs, make) for field in structs[struct].fields])
    raise TypeError(declared)


class RememberingScope(Scope):
    """Finds the kind of each expression once: trees are drawn from within, and each part is asked about again."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.known: dict[int, tuple[Expr, Kind]] = {}

    def _kind(self, node: Expr, depth: int) -> Kind:
        found = self.known.get(id(node))
        if found is None:
            found = self.known[id(node)] = node, super()._kind(node, depth)
        return found[1]
