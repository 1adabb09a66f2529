"""Typing: the kind of every expression of a function."""

from collections.abc import Sequence
from typing import TypeVar

from contracts.vm.functions import HOST_FUNCTIONS, HostFunction
from contracts.vm.kinds import Kind, Never, Nothing, arithmetic, check_of, concat, join, kind_of, refuse, show
from contracts.vm.native import Native, is_native
from contracts.vm.operators import Relation
from contracts.vm.program import Program
from contracts.vm.tree import (
    Absent,
    And,
    Arith,
    Blob,
    Call,
    Choose,
    Compare,
    Concat,
    Const,
    Contains,
    Decode,
    Expr,
    Field,
    Get,
    Host,
    Index,
    Invoke,
    IsAbsent,
    Len,
    ListOf,
    Load,
    Make,
    Not,
    Or,
    OrElse,
    Present,
    Slice,
    SortedSet,
    With,
    WithItem,
)
from contracts.vm.types import Bool, Bytes, Int, List, Optional, Struct, Text, Type, Wide

INTERMEDIATE_MAX = 2**255
"""Numbers within an expression stay below it in size: what they cost has a bound."""
LENGTH_MAX = 65_536
"""Characters, bytes or items."""
DEPTH_MAX = 64
"""Expressions within expressions: Python's parser takes two hundred parentheses, the generator prints two for one."""

COMPARED_MAX = 1_024
"""Length of what may be compared: costs no more than comparing numbers. Longer things are compared by their digests."""

T = TypeVar("T")


def at(rows: Sequence[T], place: int, what: str) -> T:
    """A row by position."""
    return rows[place] if place < len(rows) else refuse(f"there is no {what} {place}")


class Scope:
    """The kinds of one function's expressions."""

    def __init__(self, program: Program, own: int, local_types: Sequence[Type]) -> None:
        """`own` is the function's position: it may call those before it."""
        self.program = program
        self.own = own
        self.locals = local_types
        self.readable: set[int] = set(range(len(local_types)))
        """Locals that are set, on whatever way the present node is reached."""
        self.callees: set[int] = set()

    def kind(self, node: Expr, depth: int = 1) -> Kind:
        """Kind of an expression. Refuses what has none."""
        if depth > DEPTH_MAX:
            refuse(f"an expression deeper than {DEPTH_MAX}")
        found = self._kind(node, depth + 1)
        if isinstance(found, Int) and not (found.min > -INTERMEDIATE_MAX and found.max < INTERMEDIATE_MAX):
            refuse("a number that may grow beyond 255 bits on the way; bind it to a local first")
        if isinstance(found, Bytes | Text | List) and found.max > LENGTH_MAX:
            refuse(f"{show(found)}: longer than {LENGTH_MAX}; bind it to a local first")
        return found

    def bind(self, node: Expr, target: Type, depth: int = 1) -> None:
        """Have an expression computed for a place of some type."""
        check_of(self.kind(node, depth), target)

    def table_key(self, table: int, parts: Sequence[Expr], depth: int, *, whole: bool = True) -> None:
        """Check the parts of a key, or of the beginning of one."""
        declared = at(self.program.tables, table, "table").key
        if len(parts) != len(declared) if whole else len(parts) > len(declared):
            refuse(f"a key of {len(parts)} parts for a table of {len(declared)}")
        for part, target in zip(parts, declared, strict=False):
            self.bind(part, target, depth)

    def _kind(self, node: Expr, depth: int) -> Kind:
        match node:
            case Const(value):
                if isinstance(value, bool):
                    return Bool()
                return Int(value, value) if isinstance(value, int) else Text(len(value), len(value))
            case Blob(value):
                return Bytes(len(value), len(value))
            case Get(local):
                return self._local(local)
            case Arith(op, left, right):
                return arithmetic(op, self._number(left, depth), self._number(right, depth))
            case Compare(relation, left, right):
                return self._compare(relation, self.kind(left, depth), self.kind(right, depth))
            case And(left, right) | Or(left, right):
                self._truth(left, depth)
                self._truth(right, depth)
                return Bool()
            case Not(operand):
                self._truth(operand, depth)
                return Bool()
            case Choose(condition, then, otherwise):
                self._truth(condition, depth)
                return join(self.kind(then, depth), self.kind(otherwise, depth))
            case Len(operand):
                row = self._row(operand, depth)
                return Int(row.min, row.max)
            case Index(operand, index):
                row = self._row(operand, depth)
                self._number(index, depth)
                if isinstance(row, Text):
                    refuse("a character of a text; take a slice")
                return kind_of(row.item) if isinstance(row, List) else Int(0, 255)
            case Slice(operand, begin, end):
                row = self._row(operand, depth)
                self._number(begin, depth)
                self._number(end, depth)
                return List(row.item, 0, row.max) if isinstance(row, List) else type(row)(0, row.max)
            case Concat(left, right):
                return concat(self._row(left, depth), self._row(right, depth))
            case Contains(operand, item):
                row = self._scalars(operand, depth)
                self._compare(Relation.EQ, row.item, self.kind(item, depth))
                return Bool()
            case SortedSet(operand):
                row = self._scalars(operand, depth)
                return List(row.item, min(row.min, 1), row.max)
            case ListOf(item, items):
                self.check_type(List(item, len(items), len(items)))
                for each in items:
                    self.bind(each, item, depth)
                return List(item, len(items), len(items))
            case WithItem(operand, index, item):
                row = self._row(operand, depth)
                self._number(index, depth)
                if not isinstance(row, List):
                    refuse("another item in what is no list")
                self.bind(item, row.item, depth)
                return row
            case Make(struct, fields):
                declared = at(self.program.structs, struct, "struct").fields
                self.bind_all(fields, [field.type for field in declared], depth)
                return Struct(struct)
            case Field(operand, field):
                return kind_of(self._field(self._struct(operand, depth), field))
            case With(local, changes):
                before = self._local(local)
                struct = before.struct if isinstance(before, Struct) else refuse(f"{show(before)} where a struct is")
                places = [change.field for change in changes]
                if not places or places != sorted(set(places)):
                    refuse("changes of fields that are not in the struct's order")
                for change in changes:
                    self.bind(change.value, self._field(struct, change.field), depth)
                return Struct(struct)
            case Absent(struct):
                at(self.program.structs, struct, "struct")
                return Optional(struct)
            case IsAbsent(operand):
                self._optional(operand, depth)
                return Bool()
            case OrElse(operand, otherwise):
                struct = self._optional(operand, depth)
                return join(Struct(struct), self.kind(otherwise, depth))
            case Present(operand):
                return Struct(self._optional(operand, depth))
            case Load(table, key):
                self.table_key(table, key, depth)
                return Optional(self.program.tables[table].value)
            case Decode(struct, operand):
                at(self.program.structs, struct, "struct")
                if not isinstance(self.kind(operand, depth), Bytes):
                    refuse("a struct decoded from what is not bytes")
                return Optional(struct)
            case Call(function, args):
                callee = at(self.program.functions[: self.own], function, "function before this one")
                self.callees.add(function)
                self.bind_all(args, callee.locals[: callee.params], depth)
                return kind_of(callee.result[0]) if callee.result else Nothing()
            case Invoke(import_, args):
                imported = at(self.program.imports, import_, "import")
                self.bind_all(args, imported.params, depth)
                return kind_of(imported.result[0]) if imported.result else Nothing()
            case Host(function, args):
                return self._host(at(HOST_FUNCTIONS, function, "host function"), args, depth)
        return Never()

    def check_type(self, declared: Type, structs: int | None = None) -> None:
        """Refuse a type that contradicts itself, or holds a struct that is not among the first `structs`."""
        count = len(self.program.structs) if structs is None else structs
        match declared:
            case Int(low, high) | Bytes(low, high) | Text(low, high):
                if low > high:
                    refuse(f"{show(declared)}: nothing")
            case List(item, low, high):
                if low > high or isinstance(item, Wide):
                    refuse(f"{show(declared)}: nothing, or too wide for a list")
                if isinstance(item, List):
                    refuse("a list of lists; make a struct of the inner one")
                self.check_type(item, count)
            case Struct(struct) | Optional(struct):
                if struct >= count:
                    refuse(f"{show(declared)}: not known here")

    def bind_all(self, values: Sequence[Expr], targets: Sequence[Type], depth: int = 1) -> None:
        """Have expressions computed for so many places."""
        if len(values) != len(targets):
            refuse(f"{len(values)} values where {len(targets)} are needed")
        for value, target in zip(values, targets, strict=True):
            self.bind(value, target, depth)

    # ── parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _local(self, local: int) -> Kind:
        if local not in self.readable:
            refuse(f"local {local} is read where it may not be set")
        return kind_of(at(self.locals, local, "local"))

    def _host(self, lent: HostFunction, args: Sequence[Expr], depth: int) -> Kind:
        if len(args) != len(lent.params):
            refuse(f"{len(args)} values for {lent.name}, which takes {len(lent.params)}")
        for value, target in zip(args, lent.params, strict=True):
            if not isinstance(target, Native):
                self.bind(value, target, depth)
                continue
            kind = self.kind(value, depth)
            if isinstance(kind, Never | Nothing) or not is_native(kind, self.program.structs, target):
                refuse(f"{show(kind)} where {lent.name} takes a struct of the ledger")
        if not isinstance(lent.result, Native):
            return lent.result
        places = range(len(self.program.structs))
        found = next((each for each in map(Struct, places) if is_native(each, self.program.structs, lent.result)), None)
        return found or refuse(f"no struct has the shape of what {lent.name} gives")

    def _number(self, node: Expr, depth: int) -> Int:
        kind = self.kind(node, depth)
        return kind if isinstance(kind, Int) else refuse(f"{show(kind)} where a number is needed")

    def _truth(self, node: Expr, depth: int) -> None:
        kind = self.kind(node, depth)
        if not isinstance(kind, Bool):
            refuse(f"{show(kind)} where a truth value is needed")

    def _row(self, node: Expr, depth: int) -> Bytes | Text | List:
        kind = self.kind(node, depth)
        return kind if isinstance(kind, Bytes | Text | List) else refuse(f"{show(kind)} where bytes, text or list is")

    def _scalars(self, node: Expr, depth: int) -> List:
        kind = self.kind(node, depth)
        if isinstance(kind, List) and isinstance(kind.item, Int | Bytes | Text):
            self._compare(Relation.EQ, kind.item, kind.item)
            return kind
        return refuse(f"{show(kind)} where a list of numbers, bytes or texts is needed")

    def _struct(self, node: Expr, depth: int) -> int:
        kind = self.kind(node, depth)
        return kind.struct if isinstance(kind, Struct) else refuse(f"{show(kind)} where a struct is needed")

    def _optional(self, node: Expr, depth: int) -> int:
        kind = self.kind(node, depth)
        return kind.struct if isinstance(kind, Optional) else refuse(f"{show(kind)}, which is never nothing")

    def _field(self, struct: int, field: int) -> Type:
        return at(self.program.structs[struct].fields, field, "field").type

    def _compare(self, relation: Relation, left: Kind, right: Kind) -> Kind:
        if isinstance(left, Bytes | Text) and isinstance(right, Bytes | Text):
            short = max(left.max, right.max) <= COMPARED_MAX
            return (
                Bool() if short and type(left) is type(right) else refuse(f"{show(left)} compared with {show(right)}")
            )
        ordered = isinstance(left, Int) and isinstance(right, Int)
        equal = isinstance(left, Bool) and isinstance(right, Bool) and relation in (Relation.EQ, Relation.NE)
        return Bool() if ordered or equal else refuse(f"{show(left)} compared with {show(right)}")
