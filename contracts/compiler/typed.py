"""Expressions with the places that they are made for: types, their checks, and what is said when they do not fit."""

import ast
from collections.abc import Sequence

from contracts.compiler.declarations import Declarations, Signature, StructShape
from contracts.compiler.errors import flaw
from contracts.vm import tree
from contracts.vm.kinds import Kind, check_of, kind_of, show
from contracts.vm.scope import Scope
from contracts.vm.tree import Expr
from contracts.vm.types import Bool, Bytes, Int, List, Optional, Struct, Text, Type, Wide
from ledger.errors import PeerError
from ledger.units import I64_MAX

_I64 = Int(-(2**63), I64_MAX)


class Typed:
    """Those of one function."""

    def __init__(self, declared: Declarations, functions: dict[str, Signature], scope: Scope) -> None:
        self.declared = declared
        self.functions = functions
        self.scope = scope
        self.names: dict[str, int] = {}
        """Locals by name."""
        self.local_types: list[Type] = []

    def expr(self, node: ast.expr, target: Type | None = None) -> Expr:
        """An expression; `target` says which type the place has, where that matters."""
        raise NotImplementedError

    # ── places that want a type ───────────────────────────────────────────────────────────────────────────────────────

    def bind(self, node: ast.expr, target: Type) -> Expr:
        """An expression for a place of a type."""
        return self.fitted(self.expr(node, target), node, target)

    def fitted(self, made: Expr, node: ast.expr, target: Type) -> Expr:
        """The same, of an expression that is made already."""
        kind = self.kind(made, node)
        if isinstance(kind, Optional) and isinstance(target, Struct):
            made = tree.Present(made)
            kind = self.kind(made, node)
        try:
            check_of(kind, target)
        except PeerError as error:
            flaw(node, self.readable(error.message))
        self._never_fits(node, kind, target)
        return made

    def _never_fits(self, node: ast.expr, kind: Kind, target: Type) -> None:
        bound = kind_of(target)
        match kind, bound:
            case (
                (Int(low, high), Int(least, most))
                | (Bytes(low, high), Bytes(least, most))
                | (Text(low, high), Text(least, most))
                | (List(_, low, high), List(_, least, most))
            ) if low > most or high < least:
                flaw(node, self.readable(f"{show(kind)} where {show(bound)} is needed"))

    def bind_all(
        self, node: ast.AST, values: Sequence[ast.expr], targets: Sequence[Type], what: str
    ) -> tuple[Expr, ...]:
        """Expressions for so many places."""
        if len(values) != len(targets):
            flaw(node, f"{what} takes {len(targets)} values, not {len(values)}")
        return tuple(self.bind(value, target) for value, target in zip(values, targets, strict=True))

    def kind(self, made: Expr, node: ast.AST) -> Kind:
        """What an expression may come to."""
        try:
            kind = self.scope.kind(made)
        except PeerError as error:
            flaw(node, self.readable(error.message))
        return kind

    def readable(self, message: str) -> str:
        """The verifier's words with names in place of positions."""
        for name, shape in self.declared.structs.items():
            message = message.replace(f"struct {shape.place} ", f"{name} ").replace(
                f"struct {shape.place},", f"{name},"
            )
            if message.endswith(f"struct {shape.place}"):
                message = message.removesuffix(f"struct {shape.place}") + name
        for name, local in self.names.items():
            message = message.replace(f"local {local} ", f"{name} ")
        return message

    def shape(self, struct: int) -> StructShape:
        """A struct by position."""
        return next(shape for shape in self.declared.structs.values() if shape.place == struct)

    def number(self, made: Expr, node: ast.AST) -> Expr:
        """An expression that must be a number."""
        kind = self.kind(made, node)
        return made if isinstance(kind, Int) else flaw(node, self.readable(f"{show(kind)} where a number is needed"))

    def inferred(self, kind: Kind, node: ast.AST) -> Type:
        """The type of a local that is given none."""
        match kind:
            case Int(low, high) if _I64.min <= low and high <= _I64.max:
                return _I64
            case Int():
                return Wide()
            case Bytes(_, high) | Text(_, high) | List(_, _, high) if high == 0:
                flaw(node, "nothing to infer a greatest length from", "name: Annotated[…, Size(0, 10)] = …")
            case Bytes(_, high):
                return Bytes(0, high)
            case Text(_, high):
                return Text(0, high)
            case List(item, _, high):
                return List(item, 0, high)
            case Bool() | Struct() | Optional():
                return kind
        return flaw(node, f"{show(kind)} cannot be kept")

    def code(self, node: ast.expr) -> int:
        """Number of one of the contract's codes."""
        match node:
            case ast.Attribute(value=ast.Name(id=codes), attr=name) if (codes, name) in self.declared.codes:
                return self.declared.codes[codes, name]
        return flaw(node, "one of the contract's codes", 'class Code(Codes): OVERSPENT = 3, "…"; then Code.OVERSPENT')
