"""Statements of a contract's text."""

import ast
from collections.abc import Sequence

from contracts.compiler.declarations import Declarations, Signature
from contracts.compiler.errors import flaw
from contracts.compiler.expressions import Expressions
from contracts.compiler.order import is_quiet
from contracts.compiler.words import USED
from contracts.vm import tree
from contracts.vm.functions import HASH, QUANTITY
from contracts.vm.kinds import NO_CHECK, Kind, check_of, show
from contracts.vm.scope import Scope
from contracts.vm.tree import Block, Expr, Statement
from contracts.vm.types import Bool, Bytes, Int, List, Struct, Text, Type
from ledger.errors import PeerError

WALK_MAX = 1_000
_HINTS: dict[type[ast.stmt], str] = {
    ast.Try: "a call that fails is undone as a whole",
    ast.Raise: "fail(Code.NAME)",
    ast.Assert: "require(condition, Code.NAME)",
    ast.With: "there is nothing to open",
    ast.Global: "what lasts is in tables",
    ast.Nonlocal: "functions do not nest",
    ast.FunctionDef: "functions do not nest",
    ast.Match: "if … elif … else",
}


class Body(Expressions):
    """The body of one function."""

    def __init__(
        self, declared: Declarations, functions: dict[str, Signature], scope: Scope, methods: dict[str, int]
    ) -> None:
        super().__init__(declared, functions, scope)
        self.scheduled = methods
        self.result: tuple[Type, ...] = ()
        self.scope.locals = self.local_types
        self.lines: list[tuple[Statement | Expr, int]] = []
        """Nodes as they were made, with their lines; some of them became parts of others."""

    def compile(self, params: dict[str, Type], result: tuple[Type, ...], body: Sequence[ast.stmt]) -> Block:
        """The function's block."""
        self.result = result
        for name, declared in params.items():
            self.local(name, declared)
        return self.block(body)

    def local(self, name: str, declared: Type) -> int:
        """A new local."""
        place = len(self.local_types)
        self.names[name] = place
        self.local_types.append(declared)
        self.scope.readable.add(place)
        return place

    def block(self, statements: Sequence[ast.stmt]) -> Block:
        """A block; changes of several fields of one struct in a row become one."""
        made: list[Statement] = []
        for statement in statements:
            for each in self.statement(statement):
                merged = _merged(made[-1], each) if made else None
                if merged is not None:
                    made[-1] = merged
                else:
                    made.append(each)
                self.lines.append((made[-1], statement.lineno))
        return tuple(made)

    def expr(self, node: ast.expr, target: Type | None = None) -> Expr:
        """An expression, and the line that it stands on."""
        made = super().expr(node, target)
        self.lines.append((made, node.lineno))
        return made

    def statement(self, node: ast.stmt) -> list[Statement]:
        """What a statement becomes: mostly one."""
        match node:
            case ast.Assign(targets=[target], value=value):
                return self._assign(node, target, value)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value) if value is not None:
                if name in self.names:
                    flaw(node, f"{name} has a type already")
                declared = self.declared.type(annotation)
                made = self.bind(value, declared)
                return [tree.Set(self._new(node, name, declared), made)]
            case ast.AugAssign(target=target, op=op, value=value):
                if isinstance(target, ast.Subscript) and any(map(_may_do, ast.walk(target.slice))):
                    flaw(target, "the index would be computed twice", "give it a name first")
                read = ast.copy_location(ast.BinOp(left=target, op=op, right=value), node)
                return self._assign(node, target, read)
            case ast.Expr(value=ast.Constant(value=str())) | ast.Pass():
                return []
            case ast.Expr(value=ast.Call() as call):
                return self._call_statement(call)
            case ast.Delete(targets=[ast.Subscript(value=ast.Name(id=name), slice=key)]) if (
                name in self.declared.tables
            ):
                table = self.declared.tables[name]
                return [tree.Delete(table, self.key(node, table, key))]
            case ast.If(test=test, body=then, orelse=otherwise):
                return [tree.If(self.bind(test, Bool()), self.block(then), self.block(otherwise))]
            case ast.While(test=test, body=body, orelse=[]):
                return [tree.While(self.bind(test, Bool()), self.block(body))]
            case ast.For(target=target, iter=items, body=body, orelse=[]):
                return [self._for(node, target, items, body)]
            case ast.Break():
                return [tree.Break()]
            case ast.Continue():
                return [tree.Continue()]
            case ast.Return(value=value):
                return [self._return(node, value)]
        return flaw(node, "this form of statement is not part of the language", _HINTS.get(type(node), ""))

    # ── assignments ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _new(self, node: ast.AST, name: str, declared: Type) -> int:
        if name in self.declared.taken or name in self.functions or name in USED:
            flaw(node, f"the name {name} means something else in this contract", "choose another")
        return self.local(name, declared)

    def _assign(self, node: ast.stmt, target: ast.expr, value: ast.expr) -> list[Statement]:
        match target:
            case ast.Name(id=name):
                if name in self.names:
                    place = self.names[name]
                    return [tree.Set(place, self.bind(value, self.local_types[place]))]
                made = self.expr(value)
                kind = self.kind(made, value)
                return [tree.Set(self._new(node, name, self.inferred(kind, value)), made)]
            case ast.Subscript(value=ast.Name(id=name), slice=key) if name in self.declared.tables:
                table = self.declared.tables[name]
                record = Struct(self.declared.table_defs[table].value)
                return [tree.Store(table, self.key(node, table, key), self.bind(value, record))]
            case ast.Subscript(value=ast.Name() | ast.Attribute() as row, slice=index) if not isinstance(
                index, ast.Slice
            ):
                operand = self.expr(row)
                kind = self.kind(operand, row)
                if not isinstance(kind, List):
                    flaw(row, self.readable(f"{show(kind)} has no items to change"))
                changed = tree.WithItem(operand, self.place(row, index), self.bind(value, kind.item))
                return self._put(node, row, changed)
            case ast.Attribute():
                return self._put_bound(node, target, value)
        return flaw(
            target, "nothing can be assigned here", "a name, a field, an item of a list, or an entry of a table"
        )

    def _put_bound(self, node: ast.AST, target: ast.Attribute, value: ast.expr) -> list[Statement]:
        return self._put(node, target, self.bind(value, self._field_type(target)))

    def _put(self, node: ast.AST, target: ast.expr, made: Expr) -> list[Statement]:
        """Give a local, or a field within one, a value that is made already."""
        match target:
            case ast.Name(id=name) if name in self.names:
                place = self.names[name]
                self._fits(node, made, self.local_types[place])
                return [tree.Set(place, made)]
            case ast.Attribute(value=ast.Name(id=name), attr=field) if name in self.names:
                place = self.names[name]
                declared = self._struct_of(node, self.local_types[place])
                index = self.shape(declared.struct).index(field)
                if index is None:
                    flaw(target, f"no field {field}")
                self._fits(node, made, self.shape(declared.struct).fields[index].type)
                return [tree.Set(place, tree.With(place, (tree.Change(index, made),)))]
            case ast.Attribute(value=ast.Attribute() as inner, attr=field):
                held = self._field_type(inner)
                name = f"·{len(self.local_types)}"
                place = self.local(name, self._struct_of(node, held))
                taken = tree.Set(place, self.bind(inner, held))
                change = self._put(node, ast.Attribute(value=ast.Name(id=name), attr=field), made)
                return [taken, *change, *self._put(node, inner, tree.Get(place))]
        return flaw(node, "only locals and their fields change", "take the record into a local first")

    def _fits(self, node: ast.AST, made: Expr, target: Type) -> None:
        try:
            check_of(self.kind(made, node), target)
        except PeerError as error:
            flaw(node, self.readable(error.message))

    def _struct_of(self, node: ast.AST, declared: Type) -> Struct:
        return (
            declared if isinstance(declared, Struct) else flaw(node, self.readable(f"{show(declared)} has no fields"))
        )

    def _field_type(self, target: ast.Attribute) -> Type:
        """The declared type of a field."""
        if isinstance(target.value, ast.Name) and target.value.id in self.names:
            held = self.local_types[self.names[target.value.id]]
        elif isinstance(target.value, ast.Attribute):
            held = self._field_type(target.value)
        else:
            flaw(target, "only locals and their fields change", "take the record into a local first")
        shape = self.shape(self._struct_of(target, held).struct)
        index = shape.index(target.attr)
        return shape.fields[index].type if index is not None else flaw(target, f"no field {target.attr}")

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _call_statement(self, node: ast.Call) -> list[Statement]:
        match node:
            case ast.Call(func=ast.Name(id="emit"), args=[ast.Name(id=event), value]) if event in self.declared.events:
                place = self.declared.events[event]
                record = Struct(self.declared.event_defs[place].struct)
                return [tree.Emit(place, self.bind(value, record))]
            case ast.Call(func=ast.Name(id="require"), args=[condition, code]):
                refuse = (tree.Do(tree.Fail(self.code(code))),)
                return [tree.If(_negated(self.bind(condition, Bool())), refuse, ())]
            case ast.Call(func=ast.Name(id="schedule"), args=[due_ms, call_id, ast.Name(id=method), *args]):
                return [self._schedule(node, due_ms, call_id, method, args)]
            case ast.Call(func=ast.Name(id="cancel"), args=[due_ms, call_id]):
                return [tree.Cancel(self.bind(due_ms, QUANTITY), self.bind(call_id, HASH))]
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="write"), args=[value]) if (
                name in self.declared.tables
            ):
                table = self.declared.tables[name]
                record = Struct(self.declared.table_defs[table].value)
                return [tree.Store(table, self.key(node, table, None), self.bind(value, record))]
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="clear"), args=[]) if (
                name in self.declared.tables
            ):
                table = self.declared.tables[name]
                return [tree.Delete(table, self.key(node, table, None))]
            case ast.Call(func=ast.Attribute(value=row, attr="append"), args=[item]):
                operand = self.expr(row)
                kind = self.kind(operand, row)
                if not isinstance(kind, List):
                    flaw(row, self.readable(f"nothing can be appended to {show(kind)}"))
                longer = tree.Concat(operand, tree.ListOf(kind.item, (self.bind(item, kind.item),)))
                return self._put(node, row, longer)
            case ast.Call(func=ast.Name(id="emit" | "require" | "schedule" | "cancel" as name)):
                forms = {
                    "emit": "emit(EVENT, Struct(…))",
                    "require": "require(condition, Code.NAME)",
                    "schedule": "schedule(due_ms, call_id, method, its values…)",
                    "cancel": "cancel(due_ms, call_id)",
                }
                flaw(node, f"{name} is not called so", forms[name])
        return [tree.Do(self.expr(node))]

    def _schedule(
        self, node: ast.AST, due_ms: ast.expr, call_id: ast.expr, method: str, args: Sequence[ast.expr]
    ) -> Statement:
        if method not in self.scheduled:
            flaw(node, f"{method} is not for the schedule", "mark it @scheduled(gas=…)")
        when, name = self.bind(due_ms, QUANTITY), self.bind(call_id, HASH)
        params = self.functions[method].params
        return tree.Schedule(when, name, self.scheduled[method], self.bind_all(node, args, params, method))

    # ── loops and returns ─────────────────────────────────────────────────────────────────────────────────────────────

    def _for(self, node: ast.For, target: ast.expr, items: ast.expr, body: Sequence[ast.stmt]) -> Statement:
        match items:
            case ast.Call(func=ast.Name(id="range"), args=[end], keywords=[]):
                return self._count(node, target, tree.Const(0), self.expr(end), body)
            case ast.Call(func=ast.Name(id="range"), args=[begin, end], keywords=[]):
                return self._count(node, target, self.expr(begin), self.expr(end), body)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="items")) if name in self.declared.tables:
                return self._walk(node, target, items, name, body)
        row = self.expr(items)
        kind = self.kind(row, items)
        if not isinstance(kind, List):
            flaw(items, self.readable(f"a loop over {show(kind)}"), "over a list, range(n), or TABLE.items(limit=…)")
        return tree.For(self._loop_local(target, kind.item), row, self.block(body))

    def _count(self, node: ast.AST, target: ast.expr, begin: Expr, end: Expr, body: Sequence[ast.stmt]) -> Statement:
        first, last = self.kind(self.number(begin, node), node), self.kind(self.number(end, node), node)
        if not isinstance(first, Int) or not isinstance(last, Int):
            flaw(node, "a range is between numbers")
        counted = self.inferred(Int(first.min, max(first.min, last.max - 1)), node)
        return tree.Count(self._loop_local(target, counted), begin, end, self.block(body))

    def _walk(self, node: ast.AST, target: ast.expr, items: ast.Call, name: str, body: Sequence[ast.stmt]) -> Statement:
        table = self.declared.tables[name]
        declared = self.declared.table_defs[table]
        limit = items.keywords[0].value if len(items.keywords) == 1 and items.keywords[0].arg == "limit" else None
        count = self.declared.constant(limit) if limit is not None else None
        if not isinstance(count, int) or not 1 <= count <= WALK_MAX:
            flaw(items, f"a limit from 1 to {WALK_MAX} says how many entries at most", f"{name}.items(limit=100)")
        given = len(items.args)
        prefix = self.bind_all(node, items.args, declared.key[:given], "the beginning of the key")
        rest = declared.key[given:]
        match target:
            case ast.Tuple(elts=[ast.Tuple(elts=keys), value]) if len(keys) == len(rest):
                targets = keys
            case ast.Tuple(elts=[key, value]) if len(rest) == 1:
                targets = [key]
            case _:
                flaw(
                    target,
                    f"an entry is the {len(rest)} other parts of its key, and its record",
                    "for key, record in …",
                )
        places = tuple(self._loop_local(each, part) for each, part in zip(targets, rest, strict=True))
        place = self._loop_local(value, Struct(declared.value))
        return tree.Walk(table, prefix, count, places, place, self.block(body))

    def _loop_local(self, target: ast.expr, declared: Type) -> int:
        if not isinstance(target, ast.Name):
            flaw(target, "a loop gives its values names")
        name = target.id
        if name != "_" and name in self.names:
            place = self.names[name]
            kind: Kind = declared
            try:
                same = check_of(kind, self.local_types[place]) == NO_CHECK
            except PeerError:
                same = False
            return place if same else flaw(target, f"{name} has another type already", "choose another name")
        return self._new(target, name, declared) if name != "_" else self.local(name, declared)

    def _return(self, node: ast.AST, value: ast.expr | None) -> Statement:
        if value is None or (isinstance(value, ast.Constant) and value.value is None and not self.result):
            if self.result:
                flaw(node, "the function returns a value")
            return tree.Return(())
        if not self.result:
            flaw(node, "the function returns nothing")
        return tree.Return((self.bind(value, self.result[0]),))


def _may_do(node: ast.AST) -> bool:
    """Whether it is a call that may do something."""
    match node:
        case ast.Call(func=ast.Name(id="len" | "min" | "max")):
            return False
    return isinstance(node, ast.Call)


def _negated(condition: Expr) -> Expr:
    return condition.operand if isinstance(condition, tree.Not) else tree.Not(condition)


def _merged(before: Statement, after: Statement) -> Statement | None:
    """Two changes of one struct as one, unless the second looks at what the first has changed."""
    match before, after:
        case tree.Set(local, tree.With(source, first)), tree.Set(same, tree.With(other, second)) if (
            local == source == same == other
        ):
            changed = {change.field for change in first}
            # They are computed in the order of the fields: that must be the order in which they are written.
            in_order = max(changed) < min(change.field for change in second) or is_quiet((first, second))
            if (
                in_order
                and changed.isdisjoint(change.field for change in second)
                and not any(_looks(change.value, local, changed) for change in second)
            ):
                return tree.Set(local, tree.With(local, tuple(sorted((*first, *second), key=lambda each: each.field))))
    return None


def _looks(node: object, local: int, fields: set[int]) -> bool:
    """Whether an expression reads some fields of a local, or all of it."""
    match node:
        case tree.Field(tree.Get(read), field) if read == local:
            return field in fields
        case tree.Get(read):
            return read == local
        case tree.With(read, changes):
            return read == local or any(_looks(change.value, local, fields) for change in changes)
        case tuple():
            return any(_looks(each, local, fields) for each in node)
        case Bytes() | Text() | Int() | List() | Struct():
            return False
    return any(_looks(getattr(node, name), local, fields) for name in getattr(node, "__struct_fields__", ()))
