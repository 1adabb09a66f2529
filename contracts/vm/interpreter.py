"""What a program means: each node in the few lines that say it. The generator must do the same, faster.

Nothing here is for speed. Every value is checked where it is bound, whether or not the verifier knows that it fits.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any

from contracts.host import Host
from contracts.vm import operations as op
from contracts.vm import tree
from contracts.vm.functions import HASH, HOST_FUNCTIONS, QUANTITY
from contracts.vm.gas import block_gas
from contracts.vm.kinds import kind_of
from contracts.vm.layout import field_name
from contracts.vm.link import Linked
from contracts.vm.native import Native
from contracts.vm.operators import Relation
from contracts.vm.scope import Scope
from contracts.vm.tree import Block, Expr, Statement
from contracts.vm.types import Bytes, Int, List, Text, Type


class After(Enum):
    """What comes after a statement."""

    NEXT = 0
    BREAK = 1
    CONTINUE = 2
    RETURN = 3


class Interpreter:
    """One call of a contract."""

    def __init__(self, linked: Linked, host: Host) -> None:
        self.linked = linked
        self.program = linked.program
        self.host = host

    @property
    def frame(self) -> "type[Frame]":
        """What a function works in."""
        return Frame

    def gas(self, block: Block, condition: Expr | None) -> int:
        """What entering a block costs."""
        return block_gas(self.linked.schedule, block, condition)

    def call(self, function: int, args: Sequence[Any]) -> Any:
        """Run a function; returns its result, None if it has none. Raises `contracts.host.Failure`."""
        declared = self.program.functions[function]
        frame = self.frame(self, function, declared.locals, declared.result)
        for local, value in enumerate(args):
            frame.set(local, value)
        frame.run(declared.body)
        return frame.result


class Frame:
    """One function at work."""

    def __init__(
        self, interpreter: Interpreter, function: int, local_types: Sequence[Type], result: Sequence[Type]
    ) -> None:
        self.interpreter = interpreter
        self.linked = interpreter.linked
        self.program = interpreter.program
        self.host = interpreter.host
        self.operations = interpreter.linked.operations
        self.scope = Scope(interpreter.program, function, local_types)
        self.local_types = local_types
        self.result_types = result
        self.locals: list[Any] = [None] * len(local_types)
        self.result: Any = None

    def set(self, local: int, value: Any) -> None:
        """A local takes a value."""
        self.locals[local] = checked(value, self.local_types[local])

    # ── statements ────────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self, block: Block, condition: Expr | None = None) -> After:
        """A block, paid for first; the body of a While with its next `condition`."""
        self.host.charge(self.interpreter.gas(block, condition))
        for statement in block:
            after = self.step(statement)
            if after is not After.NEXT:
                return after
        return After.NEXT

    def step(self, statement: Statement) -> After:
        """One statement."""
        match statement:
            case tree.Set(local, value):
                self.set(local, self.value(value))
            case tree.Do(value):
                self.value(value)
            case tree.Store(table, key, value):
                records = self.linked.tables[table]
                own_key = records.key(*self.key(table, key))
                self.host.put(records.table, own_key, self.value(value))
            case tree.Delete(table, key):
                records = self.linked.tables[table]
                self.host.delete(records.table, records.key(*self.key(table, key)))
            case tree.Emit(event, value):
                self.host.emit(self.program.events[event].name, self.value(value))
            case tree.Schedule(due_ms, call_id, method, args):
                when, name = self.quantity(due_ms), self.hash(call_id)
                function = self.program.functions[self.program.methods[method].function]
                self.linked.methods[method].call(self.host, when, name, *self.values(args, function.locals))
            case tree.Cancel(due_ms, call_id):
                when, name = self.quantity(due_ms), self.hash(call_id)
                self.host.cancel(when, name)
            case tree.If(condition, then, otherwise):
                block = then if self.value(condition) else otherwise
                return self.run(block) if block else After.NEXT
            case tree.While(condition, body):
                return self.loop(body, self.turns(condition), (), condition)
            case tree.For(local, items, body):
                return self.loop(body, ((item,) for item in self.value(items)), (local,))
            case tree.Count(local, begin, end, body):
                numbers = range(self.value(begin), self.value(end))
                return self.loop(body, ((number,) for number in numbers), (local,))
            case tree.Walk(table, prefix, limit, keys, value, body):
                return self.loop(body, self.entries(table, prefix, limit), (*keys, value))
            case tree.Break():
                return After.BREAK
            case tree.Continue():
                return After.CONTINUE
            case tree.Return(()):
                return After.RETURN
            case _:
                self.result = checked(self.value(statement.value[0]), self.result_types[0])
                return After.RETURN
        return After.NEXT

    def loop(
        self, body: Block, rounds: Iterable[Sequence[Any]], bound: Sequence[int], condition: Expr | None = None
    ) -> After:
        """A body once a round, with the round's values in the locals `bound`."""
        for values in rounds:
            for local, value in zip(bound, values, strict=True):
                self.set(local, value)
            after = self.run(body, condition)
            if after is After.BREAK:
                break
            if after is After.RETURN:
                return after
        return After.NEXT

    def turns(self, condition: Expr) -> Iterator[tuple[()]]:
        """Rounds of a While: as many as the condition holds."""
        while self.value(condition):
            yield ()

    def entries(self, table: int, prefix: Sequence[Expr], limit: int) -> Iterator[list[Any]]:
        """Rounds of a Walk: all entries are read before the first."""
        records = self.linked.tables[table]
        begin = records.key(*self.key(table, prefix))
        for key, value in self.host.iterate(records.table, begin, limit):
            yield [*records.rest(key, len(prefix)), value]

    # ── expressions ───────────────────────────────────────────────────────────────────────────────────────────────────

    def value(self, node: Expr) -> Any:
        """The value of an expression; its parts are computed from left to right."""
        match node:
            case tree.Const(value) | tree.Blob(value):
                return value
            case tree.Get(local):
                return self.locals[local]
            case tree.Arith(operator, left, right):
                return op.arith(operator, self.value(left), self.value(right))
            case tree.Compare(relation, left, right):
                return compared(relation, self.value(left), self.value(right))
            case tree.And(left, right):
                return self.value(left) and self.value(right)
            case tree.Or(left, right):
                return self.value(left) or self.value(right)
            case tree.Not(operand):
                return not self.value(operand)
            case tree.Choose(condition, then, otherwise):
                return self.value(then) if self.value(condition) else self.value(otherwise)
            case tree.Len(operand):
                return len(self.value(operand))
            case tree.Index(operand, index):
                return op.index(self.value(operand), self.value(index))
            case tree.Slice(operand, begin, end):
                return self.operations.part(self.host, self.value(operand), self.value(begin), self.value(end))
            case tree.Concat(left, right):
                return self.operations.joined(self.host, self.value(left), self.value(right))
            case tree.Contains(operand, item):
                return self.operations.contains(self.host, self.value(operand), self.value(item))
            case tree.SortedSet(operand):
                return self.operations.sorted_set(self.host, self.value(operand))
            case tree.ListOf(item, items):
                return tuple([checked(self.value(each), item) for each in items])
            case tree.WithItem(operand, index, item):
                row, place = self.value(operand), self.value(index)
                return self.operations.with_item(
                    self.host, row, place, checked(self.value(item), self.item_type(operand))
                )
            case tree.Make(struct, fields):
                declared = [field.type for field in self.program.structs[struct].fields]
                return self.linked.classes[struct](*self.values(fields, declared))
            case tree.Field(operand, field):
                return getattr(self.value(operand), field_name(field))
            case tree.With(local, _):
                return self.changed(self.locals[local], node)
            case tree.Absent():
                return None
            case tree.IsAbsent(operand):
                return self.value(operand) is None
            case tree.OrElse(operand, otherwise):
                found = self.value(operand)
                return self.value(otherwise) if found is None else found
            case tree.Present(operand):
                found = self.value(operand)
                return op.missing() if found is None else found
            case tree.Load(table, key):
                records = self.linked.tables[table]
                return self.host.get(records.table, records.key(*self.key(table, key)))
            case tree.Decode(struct, operand):
                return self.operations.decoded(self.host, self.linked.classes[struct], self.value(operand))
            case tree.Call(function, args):
                callee = self.program.functions[function]
                return self.interpreter.call(function, self.values(args, callee.locals))
            case tree.Invoke(import_, args):
                types = self.program.imports[import_].params
                return self.linked.imports[import_].call(self.host, *self.values(args, types))
            case tree.Host(function, args):
                return op.LENT[function](self.host, *self.values(args, HOST_FUNCTIONS[function].params))
        return op.fail(self.host, node.code)

    # ── parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def values(self, nodes: Sequence[Expr], types: Sequence[Type | Native]) -> list[Any]:
        """Values for so many places, each checked before the next is computed."""
        return [checked(self.value(node), target) for node, target in zip(nodes, types, strict=False)]

    def key(self, table: int, parts: Sequence[Expr]) -> list[Any]:
        """Parts of a key."""
        return self.values(parts, self.program.tables[table].key)

    def quantity(self, node: Expr) -> int:
        """A time."""
        return int(checked(self.value(node), QUANTITY))

    def hash(self, node: Expr) -> bytes:
        """A hash."""
        return bytes(checked(self.value(node), HASH))

    def item_type(self, operand: Expr) -> Type:
        """Type of a list's items."""
        row = self.scope.kind(operand)
        return row.item if isinstance(row, List) else row  # type: ignore[return-value]  # it is one: verified

    def changed(self, before: Any, node: tree.With) -> Any:
        """A struct with some fields changed."""
        struct = self.local_types[node.local].struct  # type: ignore[union-attr]  # it is one: verified
        types = [field.type for field in self.program.structs[struct].fields]
        fields = [getattr(before, field_name(place)) for place in range(len(types))]
        for change in node.changes:
            fields[change.field] = checked(self.value(change.value), types[change.field])
        return type(before)(*fields)


def checked(value: Any, declared: Type | Native) -> Any:
    """A value that is being bound, which must fit. Fails with OUT_OF_RANGE."""
    if isinstance(declared, Native):
        return value  # the host asks
    match kind_of(declared):
        case Int(low, high):
            return value if low <= value <= high else op.out_of_range()
        case Bytes(low, high) | Text(low, high) | List(_, low, high):
            return value if low <= len(value) <= high else op.out_of_range()
    return value


def compared(relation: Relation, left: Any, right: Any) -> bool:
    """A comparison; texts in the order of their characters' numbers."""
    match relation:
        case Relation.EQ:
            return bool(left == right)
        case Relation.NE:
            return bool(left != right)
        case Relation.LT:
            return bool(left < right)
        case Relation.LE:
            return bool(left <= right)
        case Relation.GT:
            return bool(left > right)
    return bool(left >= right)
