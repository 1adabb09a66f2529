"""Expressions of a contract's text."""

import ast
from collections.abc import Sequence
from itertools import groupby

from contracts.compiler.errors import flaw
from contracts.compiler.order import is_quiet
from contracts.compiler.typed import Typed
from contracts.compiler.words import ARITHMETIC, FACTS, LENT
from contracts.vm import tree
from contracts.vm.functions import HOST_FUNCTIONS
from contracts.vm.kinds import show
from contracts.vm.native import Native
from contracts.vm.operators import Op, Relation
from contracts.vm.tree import Expr
from contracts.vm.types import Bool, Bytes, List, Optional, Struct, Text, Type

_OPERATORS: dict[type[ast.operator], Op] = {
    ast.Add: Op.ADD,
    ast.Sub: Op.SUB,
    ast.Mult: Op.MUL,
    ast.FloorDiv: Op.DIV_FLOOR,
    ast.Mod: Op.MOD,
}
_RELATIONS: dict[type[ast.cmpop], Relation] = {
    ast.Eq: Relation.EQ,
    ast.NotEq: Relation.NE,
    ast.Lt: Relation.LT,
    ast.LtE: Relation.LE,
    ast.Gt: Relation.GT,
    ast.GtE: Relation.GE,
}


class Expressions(Typed):
    """What each form of expression becomes."""

    # ── expressions ───────────────────────────────────────────────────────────────────────────────────────────────────

    def expr(self, node: ast.expr, target: Type | None = None) -> Expr:
        """An expression; `target` says which type the place has, where that matters."""
        match node:
            case ast.Constant(value=None):
                if isinstance(target, Optional):
                    return tree.Absent(target.struct)
                flaw(node, "None where no absent struct may be")
            case ast.Constant(value=bool() | int() | str() as value):
                return self._constant(node, value)
            case ast.Constant(value=bytes() as data):
                return tree.Blob(data)
            case ast.Name(id=name):
                return self._name(node, name)
            case ast.Attribute(value=value, attr=name):
                return self._attribute(node, value, name)
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(node, left, op, right, target)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return tree.Not(self.bind(operand, Bool()))
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
                return self._constant(node, -value)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return tree.Arith(Op.SUB, tree.Const(0), self.expr(operand))
            case ast.BoolOp(op=ast.And(), values=values):
                made = self.bind(values[0], Bool())
                for value in values[1:]:
                    made = tree.And(made, self.bind(value, Bool()))
                return made
            case ast.BoolOp(values=values):
                return self._or(node, values, target)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self._comparison(node, left, ops, comparators)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return tree.Choose(self.bind(test, Bool()), self.expr(body, target), self.expr(orelse, target))
            case ast.List(elts=[*_, ast.Starred()] | [ast.Starred(), *_] as items):
                return self._spliced(node, items, target)
            case ast.List(elts=items):
                return self._list(node, items, target)
            case ast.Subscript(value=value, slice=place):
                return self._subscript(node, value, place)
            case ast.Call():
                return self._call(node, target)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                flaw(node, "no comprehensions", "write a loop that appends to a list")
            case ast.JoinedStr():
                flaw(node, "no f-strings", "texts are joined with +; numbers are not written as text on a chain")
        return flaw(node, "this form of expression is not part of the language")

    def _constant(self, node: ast.AST, value: bool | int | str) -> Expr:
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            flaw(node, "this number does not fit 64 bits")
        return tree.Const(value)

    def _name(self, node: ast.AST, name: str) -> Expr:
        if name in self.names:
            return tree.Get(self.names[name])
        if name in self.declared.constants:
            value = self.declared.constants[name]
            return tree.Blob(value) if isinstance(value, bytes) else tree.Const(value)
        if name in self.declared.tables:
            flaw(node, f"{name} is a table", f"{name}[key], {name}.get(key) or fail(…), key in {name}")
        return flaw(node, f"{name} is not known here")

    def _attribute(self, node: ast.expr, value: ast.expr, name: str) -> Expr:
        if isinstance(value, ast.Name) and value.id not in self.names:
            if (value.id, name) in FACTS:
                return tree.Host(FACTS[value.id, name], ())
            if value.id in self.declared.enums:
                return tree.Const(self.declared.constant(node))  # type: ignore[arg-type]  # a number
            if (value.id, name) in self.declared.codes:
                flaw(node, "a code is for fail(…) and require(…) only")
        operand = self.expr(value)
        kind = self.kind(operand, value)
        if isinstance(kind, Optional):
            operand, kind = tree.Present(operand), Struct(kind.struct)
        if not isinstance(kind, Struct):
            flaw(node, self.readable(f"{show(kind)} has no fields"))
        shape = self.shape(kind.struct)
        place = shape.index(name)
        if place is None:
            flaw(node, f"no field {name}", f"there are {', '.join(field.name for field in shape.fields)}")
        return tree.Field(operand, place)

    def _binary(self, node: ast.expr, left: ast.expr, op: ast.operator, right: ast.expr, target: Type | None) -> Expr:
        if type(op) not in _OPERATORS:
            hint = "// rounds down; ceil_div and round_half_up round as they say" if isinstance(op, ast.Div) else ""
            flaw(node, "numbers know + - * // %", hint)
        one, other = self.expr(left, target), self.expr(right, target)
        if isinstance(op, ast.Add) and isinstance(self.kind(one, left), Bytes | Text | List):
            return tree.Concat(one, other)
        return tree.Arith(_OPERATORS[type(op)], self.number(one, left), self.number(other, right))

    def _or(self, node: ast.expr, values: Sequence[ast.expr], target: Type | None) -> Expr:
        first = self.expr(values[0])
        kind = self.kind(first, values[0])
        if isinstance(kind, Optional):
            wanted = target or Struct(kind.struct)
            for value in values[1:-1]:
                flaw(value, "only one alternative", "x or y")
            return tree.OrElse(first, self.expr(values[-1], wanted))
        made = self.fitted(first, values[0], Bool())
        for value in values[1:]:
            made = tree.Or(made, self.bind(value, Bool()))
        return made

    def _comparison(
        self, node: ast.expr, left: ast.expr, ops: Sequence[ast.cmpop], comparators: Sequence[ast.expr]
    ) -> Expr:
        made: Expr | None = None
        for op, right in zip(ops, comparators, strict=True):
            link = self._relation(node, left, op, right)
            made = link if made is None else tree.And(made, link)
            if len(ops) > 1 and right is not comparators[-1] and not self._simple(right):
                flaw(right, "computed twice", "give the value in the middle a name first")
            left = right
        return made if made is not None else flaw(node, "no comparison")

    def _relation(self, node: ast.expr, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Expr:
        match op, right:
            case ((ast.Is() | ast.IsNot()), ast.Constant(value=None)):
                operand = self.expr(left)
                if not isinstance(self.kind(operand, left), Optional):
                    flaw(left, "this is never None")
                absent = tree.IsAbsent(operand)
                return absent if isinstance(op, ast.Is) else tree.Not(absent)
            case ((ast.Is() | ast.IsNot()), _):
                flaw(node, "`is` is for None only", "compare values with ==")
            case ((ast.In() | ast.NotIn()), _):
                found = self._membership(left, right)
                return found if isinstance(op, ast.In) else tree.Not(found)
        one, other = self.expr(left), self.expr(right)
        made = tree.Compare(_RELATIONS[type(op)], one, other)
        self.kind(made, node)
        return made

    def _membership(self, left: ast.expr, right: ast.expr) -> Expr:
        if isinstance(right, ast.Name) and right.id in self.declared.tables:
            return tree.Not(tree.IsAbsent(self.load(right, right.id, left)))
        row, item = self.expr(right), self.expr(left)
        if not is_quiet(row) and not is_quiet(item):
            flaw(left, "computed after the list, though written before it", "give it a name first")
        return tree.Contains(row, item)

    def _simple(self, node: ast.expr) -> bool:
        """Whether computing it twice costs little and does nothing."""
        if isinstance(node, ast.Attribute):
            return self._simple(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
            return all(map(self._simple, node.args))
        return isinstance(node, ast.Name | ast.Constant)

    def _spliced(self, node: ast.expr, items: Sequence[ast.expr], target: Type | None) -> Expr:
        """A list of others' items and some more."""
        made: Expr | None = None
        for starred, group in groupby(items, key=lambda item: isinstance(item, ast.Starred)):
            if starred:
                rows = [self.expr(item.value, target) for item in group if isinstance(item, ast.Starred)]
            else:
                rows = [self._list(node, list(group), target)]
            for row in rows:
                made = row if made is None else tree.Concat(made, row)
        return made if made is not None else flaw(node, "a list of nothing")

    def _list(self, node: ast.expr, items: Sequence[ast.expr], target: Type | None) -> Expr:
        if isinstance(target, List):
            return tree.ListOf(target.item, tuple(self.bind(item, target.item) for item in items))
        if not items:
            flaw(node, "a list of what?", "name: Annotated[List[Type], Size(0, 10)] = []")
        item_type = self.inferred(self.kind(self.expr(items[0]), items[0]), items[0])
        return tree.ListOf(item_type, tuple(self.bind(item, item_type) for item in items))

    # ── tables and lists ──────────────────────────────────────────────────────────────────────────────────────────────

    def key(self, node: ast.AST, table: int, key: ast.expr | None) -> tuple[Expr, ...]:
        """A whole key."""
        declared = self.declared.table_defs[table].key
        parts: Sequence[ast.expr] = () if key is None else key.elts if isinstance(key, ast.Tuple) else (key,)
        return self.bind_all(node, parts, declared, "the key")

    def load(self, node: ast.AST, name: str, key: ast.expr | None) -> Expr:
        """An entry, or nothing."""
        table = self.declared.tables[name]
        return tree.Load(table, self.key(node, table, key))

    def _subscript(self, node: ast.expr, value: ast.expr, place: ast.expr) -> Expr:
        if isinstance(value, ast.Name) and value.id in self.declared.tables:
            return tree.Present(self.load(node, value.id, place))
        row = self.expr(value)
        match place:
            case ast.Slice(lower=lower, upper=upper, step=None):
                begin: Expr = tree.Const(0) if lower is None else self.expr(lower)
                end = self.expr(upper) if upper is not None else tree.Len(self._again(value))
                return tree.Slice(row, begin, end)
        return tree.Index(row, self.place(value, place))

    def place(self, row: ast.expr, place: ast.expr) -> Expr:
        """An index; `-1` counts from the end."""
        match place:
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as back)):
                return tree.Arith(Op.SUB, tree.Len(self._again(row)), self._constant(place, back))
        return self.expr(place)

    def _again(self, node: ast.expr) -> Expr:
        if not self._simple(node):
            flaw(node, "computed twice", "give it a name first")
        return self.expr(node)

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _call(self, node: ast.Call, target: Type | None) -> Expr:
        match node.func:
            case ast.Name(id=name):
                return self._call_name(node, name, target)
            case ast.Attribute(value=ast.Name(id=name), attr=method) if name in self.declared.tables:
                return self._call_table(node, name, method)
            case ast.Attribute(value=ast.Name(id=name), attr=method) if (name, method) in self.declared.imports:
                imported = self.declared.imports[name, method]
                args = self.bind_all(node, self._positional(node, imported.names), imported.params, method)
                self._in_order(node, imported.names, args)
                return tree.Invoke(imported.place, args)
        return flaw(node, "no function of the contract, of the language, or of another contract's interface")

    def _call_name(self, node: ast.Call, name: str, target: Type | None) -> Expr:
        declared = self.declared
        if name in declared.structs:
            return self._make(node, name)
        if name in self.functions:
            called = self.functions[name]
            passed = self.bind_all(node, self._positional(node, called.names), called.params, name)
            self._in_order(node, called.names, passed)
            return tree.Call(called.place, passed)
        if name in LENT:
            lent = HOST_FUNCTIONS[LENT[name]]
            values = self._plain(node)
            if len(values) != len(lent.params):
                flaw(node, f"{name} takes {len(lent.params)} values, not {len(values)}")
            given = [
                self.expr(value) if isinstance(kind, Native) else self.bind(value, kind)
                for value, kind in zip(values, lent.params, strict=True)
            ]
            return tree.Host(LENT[name], tuple(given))
        args = self._plain(node) if name != "replace" else node.args
        match name, args:
            case "fail", [code]:
                return tree.Fail(self.code(code))
            case "len", [operand]:
                return tree.Len(self.expr(operand))
            case "sorted_set", [operand]:
                return tree.SortedSet(self.expr(operand, target))
            case "decode", [ast.Name(id=struct), operand] if struct in declared.structs:
                return tree.Decode(declared.structs[struct].place, self.expr(operand))
            case "replace", [ast.Name(id=local)] if local in self.names:
                return self._replace(node, local)
            case _, [first, *rest] if name in ARITHMETIC and rest:
                made = self.number(self.expr(first), first)
                for other in rest:
                    made = tree.Arith(ARITHMETIC[name], made, self.number(self.expr(other), other))
                return made
        hints = {
            "replace": "replace(local, field=value, …)",
            "fail": "fail(Code.NAME)",
            "decode": "decode(Struct, data)",
            "sum": "write a loop",
            "sorted": "sorted_set(list) sorts and leaves each item once",
            "int": "numbers are whole numbers already",
        }
        return flaw(node, f"{name} is no function here, or not called so", hints.get(name, ""))

    def _call_table(self, node: ast.Call, name: str, method: str) -> Expr:
        match method, node.args:
            case "get", []:
                return self.load(node, name, None)
            case "get", [key]:
                return self.load(node, name, key)
            case "get", [*parts]:
                return self.load(node, name, ast.Tuple(elts=parts))
            case "read", []:
                return tree.Present(self.load(node, name, None))
        return flaw(
            node, f"{name} has no {method} like this", "get(key) or fail(…); of a cell read(), write(record), clear()"
        )

    def _make(self, node: ast.Call, name: str) -> Expr:
        shape = self.declared.structs[name]
        given: dict[str, ast.expr] = {}
        names = [field.name for field in shape.fields]
        if len(node.args) > len(names):
            flaw(node, f"{name} has {len(names)} fields")
        given.update(zip(names, node.args, strict=False))
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg not in names or keyword.arg in given:
                flaw(keyword, f"{name} has no field {keyword.arg}, or it is given twice")
            given[keyword.arg] = keyword.value
        values = []
        for field, default in zip(shape.fields, shape.defaults, strict=True):
            value = given.get(field.name, default)
            if value is None:
                flaw(node, f"{name} needs {field.name}")
            values.append(self.bind(value, field.type))
        self._in_order(node, names, values)
        return tree.Make(shape.place, tuple(values))

    def _in_order(self, node: ast.Call, names: Sequence[str], values: Sequence[Expr]) -> None:
        """Values are computed in the order of the fields or parameters: it must be the written one, if it shows."""
        given = [names.index(keyword.arg) for keyword in node.keywords if keyword.arg in names]
        if given != sorted(given) and not all(is_quiet(values[place]) for place in given):
            flaw(node, "values are computed in another order than written", f"the order is {', '.join(names)}")

    def _replace(self, node: ast.Call, local: str) -> Expr:
        kind = self.local_types[self.names[local]]
        if not isinstance(kind, Struct):
            flaw(node, f"{local} is no struct")
        shape = self.shape(kind.struct)
        changes = []
        for keyword in node.keywords:
            place = shape.index(keyword.arg or "")
            if place is None:
                flaw(keyword, f"no field {keyword.arg}")
            changes.append(tree.Change(place, self.bind(keyword.value, shape.fields[place].type)))
        if not changes:
            flaw(node, "nothing is replaced")
        fields = [field.name for field in shape.fields]
        values: dict[int, Expr] = {change.field: change.value for change in changes}
        self._in_order(node, fields, [values.get(place, tree.Const(0)) for place in range(len(fields))])
        return tree.With(self.names[local], tuple(sorted(changes, key=lambda change: change.field)))

    def _positional(self, node: ast.Call, names: Sequence[str]) -> list[ast.expr]:
        """Arguments in order, however they are given."""
        given: dict[str, ast.expr] = dict(zip(names, node.args, strict=False))
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg not in names or keyword.arg in given:
                flaw(keyword, f"no parameter {keyword.arg}, or it is given twice")
            given[keyword.arg] = keyword.value
        if len(node.args) > len(names) or len(given) < len(names):
            flaw(node, f"{len(names)} values are needed: {', '.join(names) or 'none'}")
        return [given[name] for name in names]

    def _plain(self, node: ast.Call) -> list[ast.expr]:
        if node.keywords:
            flaw(node, "no names of parameters here")
        return node.args
