"""Statements: that each has what it needs, on every way that leads to it."""

from collections.abc import Sequence

from contracts.vm.functions import HASH, QUANTITY
from contracts.vm.kinds import NO_CHECK, Kind, Never, check_of, kind_of, refuse, show
from contracts.vm.program import Program
from contracts.vm.scope import Scope, at
from contracts.vm.tree import (
    Break,
    Cancel,
    Continue,
    Count,
    Delete,
    Do,
    Emit,
    Expr,
    For,
    If,
    Schedule,
    Set,
    Statement,
    Store,
    Walk,
    While,
)
from contracts.vm.types import Bool, Int, List, Struct, Type

NESTING_MAX = 16
"""Blocks within blocks: CPython itself refuses more than twenty nested loops."""
CALLS_MAX = 8
"""Functions of one program on the stack; with eight contracts on it, 64 frames."""


def check_function(program: Program, position: int, depths: Sequence[int]) -> int:
    """Check one function, given how deep the calls of those before it go; returns how deep its own go, itself included.

    Raises PeerError `code-refused`.
    """
    function = program.functions[position]
    flow = _Flow(Scope(program, position, function.locals), function.result)
    flow.scope.readable = set(range(function.params))
    if not flow.ends(function.body) and function.result:
        refuse("may end without a result")
    depth = 1 + max((depths[callee] for callee in flow.scope.callees), default=0)
    return depth if depth <= CALLS_MAX else refuse(f"calls of functions {depth} deep, at most {CALLS_MAX}")


class _Flow:
    def __init__(self, scope: Scope, result: Sequence[Type]) -> None:
        self.scope = scope
        self.program = scope.program
        self.result = result
        self.nesting = 0
        self.loops = 0

    def ends(self, block: Sequence[Statement]) -> bool:
        """Check a block; whether nothing after it is ever reached. What it sets stays readable in the scope."""
        self.nesting += 1
        if self.nesting > NESTING_MAX:
            refuse(f"blocks nested deeper than {NESTING_MAX}")
        for place, statement in enumerate(block):
            if self._ends(statement):
                if place + 1 < len(block):
                    refuse("a statement that is never reached")
                self.nesting -= 1
                return True
        self.nesting -= 1
        return False

    def _ends(self, statement: Statement) -> bool:
        scope = self.scope
        match statement:
            case Set(local, value):
                scope.bind(value, at(scope.locals, local, "local"))
                scope.readable.add(local)
            case Do(value):
                return isinstance(scope.kind(value), Never)
            case Store(table, key, value):
                scope.table_key(table, key, 1)
                scope.bind(value, Struct(self.program.tables[table].value))
            case Delete(table, key):
                scope.table_key(table, key, 1)
            case Emit(event, value):
                scope.bind(value, Struct(at(self.program.events, event, "event").struct))
            case Schedule(due_ms, call_id, method, args):
                self._schedule(due_ms, call_id, method, args)
            case Cancel(due_ms, call_id):
                scope.bind(due_ms, QUANTITY)
                scope.bind(call_id, HASH)
            case If(condition, then, otherwise):
                return self._if(condition, then, otherwise)
            case While(condition, body):
                scope.bind(condition, Bool())
                self._loop(body)
            case For(local, items, body):
                row = scope.kind(items)
                if not isinstance(row, List):
                    refuse(f"a loop over {show(row)}")
                self._loop(body, (local, kind_of(row.item)))
            case Count(local, begin, end, body):
                first, last = scope.kind(begin), scope.kind(end)
                if not isinstance(first, Int) or not isinstance(last, Int):
                    refuse("a count between what are no numbers")
                self._loop(body, (local, Int(first.min, max(first.min, last.max - 1))))
            case Walk(table, prefix, _, keys, value, body):
                self._walk(table, prefix, keys, value, body)
            case Break() | Continue():
                if not self.loops:
                    refuse("a break or continue outside of a loop")
                return True
            case _:
                self._return(statement.value)
                return True
        return False

    def _if(self, condition: Expr, then: Sequence[Statement], otherwise: Sequence[Statement]) -> bool:
        scope = self.scope
        scope.bind(condition, Bool())
        before = set(scope.readable)
        then_ends, after_then = self.ends(then), scope.readable
        scope.readable = before
        otherwise_ends = self.ends(otherwise)
        if otherwise_ends:
            scope.readable = after_then
        elif not then_ends:
            scope.readable &= after_then
        return then_ends and otherwise_ends

    def _loop(self, body: Sequence[Statement], *bound: tuple[int, Kind]) -> None:
        """A loop's body may run any number of times, so what it sets is not set after it."""
        scope = self.scope
        before = set(scope.readable)
        for local, kind in bound:
            if check_of(kind, at(scope.locals, local, "local")) != NO_CHECK:
                refuse(f"{show(kind)} in a loop's local that may be too small for it")
            scope.readable.add(local)
        self.loops += 1
        self.ends(body)
        self.loops -= 1
        scope.readable = before

    def _walk(
        self, table: int, prefix: Sequence[Expr], keys: Sequence[int], value: int, body: Sequence[Statement]
    ) -> None:
        self.scope.table_key(table, prefix, 1, whole=False)
        declared = self.program.tables[table]
        rest = declared.key[len(prefix) :]
        if prefix and not rest:  # a text at a key's end is not ended there, so longer ones would be found too
            refuse("a walk under a whole key")
        if len(keys) != len(rest) or len({*keys, value}) != len(keys) + 1:
            refuse(f"{len(keys)} locals for {len(rest)} parts of a key, or one local twice")
        self._loop(
            body,
            *((local, kind_of(part)) for local, part in zip(keys, rest, strict=True)),
            (value, Struct(declared.value)),
        )

    def _schedule(self, due_ms: Expr, call_id: Expr, method: int, args: Sequence[Expr]) -> None:
        scope = self.scope
        scope.bind(due_ms, QUANTITY)
        scope.bind(call_id, HASH)
        called = at(self.program.methods, method, "method")
        if not called.scheduled_gas:
            refuse(f"method {called.name} is not for the schedule")
        function = at(self.program.functions, called.function, "function")
        scope.bind_all(args, function.locals[: function.params])

    def _return(self, value: Sequence[Expr]) -> None:
        if len(value) != len(self.result):
            refuse(f"{len(value)} results of {len(self.result)}")
        for each, target in zip(value, self.result, strict=True):
            self.scope.bind(each, target)
