"""What a contract's text gives a name once and for all: constants, and the members of enums."""

import ast
from enum import IntEnum

from contracts.compiler.errors import flaw
from contracts.contract import Business, Role
from contracts.vm.scope import LENGTH_MAX
from ledger.transaction import Branch

ENUMS: dict[str, type[IntEnum]] = {"Role": Role, "Business": Business, "Branch": Branch}
Constant = int | str | bytes | bool


class Constants:
    """Those of one text."""

    def __init__(self) -> None:
        self.constants: dict[str, Constant] = {}
        self.enums: dict[str, dict[str, int]] = {
            name: {each.name: each.value for each in enum} for name, enum in ENUMS.items()
        }

    def constant(self, node: ast.expr) -> Constant:
        """The value of an expression of constants."""
        value = self._value(node)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            flaw(node, "this number does not fit 64 bits")
        return value

    def _value(self, node: ast.expr) -> Constant:
        """The same, of a part of one: 2**63 is too large, but -(2**63) is not."""
        match node:
            case ast.Constant(value=bool() | int() | str() | bytes() as value):
                return value
            case ast.Name(id=name) if name in self.constants:
                return self.constants[name]
            case ast.Attribute(value=ast.Name(id=enum), attr=name) if enum in self.enums:
                return self._member(node, enum, name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._part(operand)
            case ast.BinOp(left=ast.Constant(value=bytes() as part), op=ast.Mult(), right=times):
                count = self._number(times)
                fits = 0 <= count <= LENGTH_MAX and count * len(part) <= LENGTH_MAX
                return part * count if fits else flaw(node, f"longer than {LENGTH_MAX}")
            case ast.BinOp(
                left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.FloorDiv() | ast.Pow() as op, right=right
            ):
                return self._folded(node, op, self._part(left), self._part(right))
        return flaw(
            node, "no constant", "numbers, texts, bytes, truth values, other constants, and + - * // ** of numbers"
        )

    def member(self, enum: str, name: str) -> int | None:
        """Value of an enum's member."""
        return self.enums.get(enum, {}).get(name)

    def _member(self, node: ast.AST, enum: str, name: str) -> int:
        value = self.member(enum, name)
        return (
            value if value is not None else flaw(node, f"{enum} has no {name}", f"it has {', '.join(self.enums[enum])}")
        )

    def _number(self, node: ast.expr) -> int:
        value = self.constant(node)
        return flaw(node, "a number is needed") if isinstance(value, bool | str | bytes) else value

    def _part(self, node: ast.expr) -> int:
        value = self._value(node)
        if isinstance(value, bool | str | bytes):
            flaw(node, "a number is needed")
        return value if abs(value) <= 2**63 else flaw(node, "this number does not fit 64 bits")

    def _folded(self, node: ast.AST, op: ast.operator, left: int, right: int) -> int:
        if isinstance(op, ast.Pow) and not 0 <= right <= 64:
            flaw(node, "an exponent is from 0 to 64")
        if isinstance(op, ast.FloorDiv) and right <= 0:
            flaw(node, "a divisor is positive")
        match op:
            case ast.Add():
                value = left + right
            case ast.Sub():
                value = left - right
            case ast.Mult():
                value = left * right
            case ast.FloorDiv():
                value = left // right
            case _:
                value = left**right
        return value
