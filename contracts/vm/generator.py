"""The fast engine: prints a verified program as Python functions.

Each expression becomes one Python expression, with a check only where the verifier could not prove that the value fits.
Names in the printed text are made of positions, and constants are handed over as objects, so nothing that a program's
author wrote is ever read as Python. What each node means is `contracts.vm.interpreter`; gas is charged at the same
points.
"""

from collections.abc import Callable, Sequence
from typing import Any

from contracts.vm import operations as op
from contracts.vm import tree
from contracts.vm.functions import HASH, HOST_FUNCTIONS, QUANTITY
from contracts.vm.gas import block_gas
from contracts.vm.kinds import NO_CHECK, Kind, check_of
from contracts.vm.layout import field_name
from contracts.vm.link import Linked
from contracts.vm.native import Native
from contracts.vm.operators import Op, Relation
from contracts.vm.program import Program
from contracts.vm.scope import Scope
from contracts.vm.tree import Block, Expr, Statement
from contracts.vm.types import Bytes, Int, List, Struct, Text, Type, Wide

_RELATIONS = {
    Relation.EQ: "==",
    Relation.NE: "!=",
    Relation.LT: "<",
    Relation.LE: "<=",
    Relation.GT: ">",
    Relation.GE: ">=",
}
_SIMPLE = {Op.ADD: "+", Op.SUB: "-", Op.MUL: "*"}
_FACTS = {
    "get_caller": "h.caller",
    "get_company": "(h.company or '')",
    "get_call_id": "h.call_id",
    "get_chain_id": "h.chain_id",
    "get_height": "h.height",
    "get_now_ms": "h.now_ms",
}
"""Functions of the host that only look something up: a call less, as they stand in every method."""
_DIVIDED = {
    Op.DIV_FLOOR: "{0} // {1}",
    Op.DIV_CEIL: "-(-{0} // {1})",
    Op.DIV_HALF_UP: "(2 * {0} + {1}) // (2 * {1})",
    Op.MOD: "{0} % {1}",
}
"""By a positive divisor."""


def source(linked: Linked) -> tuple[str, dict[str, Any]]:
    """The Python text of a program's functions f0, f1, …, and the objects that it names."""
    printer = _Printer(linked)
    texts = [printer.function(position) for position in range(len(linked.program.functions))]
    return "\n".join(texts), printer.names


def functions(linked: Linked) -> list[Callable[..., Any]]:
    """The program's functions: each takes the host and its arguments. They raise `contracts.host.Failure`."""
    text, names = source(linked)
    exec(compile(text, f"<contract {linked.contract}>", "exec"), names)  # noqa: S102 - printed by us from positions alone
    return [names[f"f{position}"] for position in range(len(linked.program.functions))]


class _Kinds(Scope):
    """Kinds of one function's expressions, each found once: bindings ask at every level. The program holds its nodes,
    so none passes for another.
    """

    def __init__(self, program: Program, own: int, local_types: Sequence[Type]) -> None:
        super().__init__(program, own, local_types)
        self.found: dict[int, Kind] = {}

    def kind(self, node: Expr, depth: int = 1) -> Kind:
        key = id(node)
        if key not in self.found:
            self.found[key] = super().kind(node, depth)
        return self.found[key]


class _Printer:
    """Prints one program."""

    def __init__(self, linked: Linked) -> None:
        self.linked = linked
        self.program = linked.program
        self.scope = _Kinds(linked.program, 0, ())
        self.names: dict[str, Any] = {
            "__builtins__": {"len": len, "range": range},
            "out_of_gas": op.out_of_gas,
            "out_of_range": op.out_of_range,
            "missing": op.missing,
            "fail": op.fail,
            "not_positive": op.not_positive,
            "index": op.index,
        }
        for name in ("part", "joined", "contains", "sorted_set", "with_item", "decoded"):
            self.names[name] = getattr(linked.operations, name)
        self.result: Sequence[Type] = ()
        self.local_types: Sequence[Type] = ()
        self.temporaries = 0

    def function(self, position: int) -> str:
        declared = self.program.functions[position]
        self.result, self.local_types, self.temporaries = declared.result, declared.locals, 0
        self.scope = _Kinds(self.program, position, declared.locals)
        params = "".join(f", v{place}" for place in range(declared.params))
        return f"def f{position}(h{params}):\n" + self.block(declared.body, 1)

    # ── statements ────────────────────────────────────────────────────────────────────────────────────────────────────

    def block(self, block: Block, depth: int, condition: Expr | None = None) -> str:
        """A block with its payment."""
        gas = block_gas(self.linked.schedule, block, condition)
        lines = [f"h.gas_left -= {gas}", "if h.gas_left < 0: out_of_gas()"]
        text = "".join(f"{'  ' * depth}{line}\n" for line in lines)
        return text + "".join(self.statement(statement, depth) for statement in block)

    def statement(self, statement: Statement, depth: int) -> str:
        indent = "  " * depth
        match statement:
            case tree.If(condition, then, otherwise):
                text = f"{indent}if {self.expr(condition)}:\n"
                text += self.block(then, depth + 1) if then else f"{indent}  pass\n"
                return text + (f"{indent}else:\n" + self.block(otherwise, depth + 1) if otherwise else "")
            case tree.While(condition, body):
                return f"{indent}while {self.expr(condition)}:\n" + self.block(body, depth + 1, condition)
            case tree.For(local, items, body):
                return f"{indent}for v{local} in {self.expr(items)}:\n" + self.block(body, depth + 1)
            case tree.Count(local, begin, end, body):
                numbers = f"range({self.expr(begin)}, {self.expr(end)})"
                return f"{indent}for v{local} in {numbers}:\n" + self.block(body, depth + 1)
            case tree.Walk():
                return self.walk(statement, depth)
            case tree.Set(local, value):
                return f"{indent}v{local} = {self.bound(value, self.local_types[local])}\n"
            case tree.Do(value):
                return f"{indent}{self.expr(value)}\n"
            case tree.Store(table, key, value):
                own_key = self.key(table, key)
                return f"{indent}h.put({self.table(table)}, {own_key}, {self.expr(value)})\n"
            case tree.Delete(table, key):
                return f"{indent}h.delete({self.table(table)}, {self.key(table, key)})\n"
            case tree.Emit(event, value):
                name = self.object(f"e{event}", self.program.events[event].name)
                return f"{indent}h.emit({name}, {self.expr(value)})\n"
            case tree.Schedule(due_ms, call_id, method, args):
                call = self.object(f"m{method}", self.linked.methods[method].call)
                function = self.program.functions[self.program.methods[method].function]
                when = f"{self.bound(due_ms, QUANTITY)}, {self.bound(call_id, HASH)}"
                return f"{indent}{call}(h, {when}{self.args(args, function.locals)})\n"
            case tree.Cancel(due_ms, call_id):
                return f"{indent}h.cancel({self.bound(due_ms, QUANTITY)}, {self.bound(call_id, HASH)})\n"
            case tree.Break():
                return f"{indent}break\n"
            case tree.Continue():
                return f"{indent}continue\n"
        return f"{indent}return {self.bound(statement.value[0], self.result[0]) if statement.value else ''}\n"

    def walk(self, statement: tree.Walk, depth: int) -> str:
        indent = "  " * depth
        records = self.linked.tables[statement.table]
        key = self.temporary()
        prefix = self.key(statement.table, statement.prefix)
        entries = f"h.iterate({self.table(statement.table)}, {prefix}, {statement.limit})"
        text = f"{indent}for {key}, v{statement.value} in {entries}:\n"
        if statement.keys:
            rest = self.object(f"r{statement.table}", records.rest)
            targets = "".join(f"v{local}, " for local in statement.keys)
            text += f"{indent}  {targets}= {rest}({key}, {len(statement.prefix)})\n"
        return text + self.block(statement.body, depth + 1)

    # ── expressions ───────────────────────────────────────────────────────────────────────────────────────────────────

    def expr(self, node: Expr) -> str:
        """One Python expression, in parentheses where it needs them."""
        match node:
            case tree.Const(value):
                return self.constant(value) if isinstance(value, str) else f"({value!r})"
            case tree.Blob(value):
                return self.constant(value)
            case tree.Get(local):
                return f"v{local}"
            case tree.Arith(operator, left, right):
                return self.arith(operator, left, right)
            case tree.Compare(relation, left, right):
                return f"({self.expr(left)} {_RELATIONS[relation]} {self.expr(right)})"
            case tree.And(left, right):
                return f"({self.expr(left)} and {self.expr(right)})"
            case tree.Or(left, right):
                return f"({self.expr(left)} or {self.expr(right)})"
            case tree.Not(operand):
                return f"(not {self.expr(operand)})"
            case tree.Choose(condition, then, otherwise):
                return f"({self.expr(then)} if {self.expr(condition)} else {self.expr(otherwise)})"
            case tree.Len(operand):
                return f"len({self.expr(operand)})"
            case tree.Index(operand, place):
                return f"index({self.expr(operand)}, {self.expr(place)})"
            case tree.Slice(operand, begin, end):
                return f"part(h, {self.expr(operand)}, {self.expr(begin)}, {self.expr(end)})"
            case tree.Concat(left, right):
                return f"joined(h, {self.expr(left)}, {self.expr(right)})"
            case tree.Contains(operand, item):
                return f"contains(h, {self.expr(operand)}, {self.expr(item)})"
            case tree.SortedSet(operand):
                return f"sorted_set(h, {self.expr(operand)})"
            case tree.ListOf(item, items):
                return "(" + "".join(f"{self.bound(each, item)}, " for each in items) + ")"
            case tree.WithItem(operand, place, item):
                row = self.scope.kind(operand)
                value = self.bound(item, row.item) if isinstance(row, List) else ""
                return f"with_item(h, {self.expr(operand)}, {self.expr(place)}, {value})"
            case tree.Make(struct, fields):
                declared = self.program.structs[struct].fields
                values = [self.bound(value, field.type) for value, field in zip(fields, declared, strict=True)]
                return f"{self.struct(struct)}({', '.join(values)})"
            case tree.Field(operand, field):
                return f"{self.expr(operand)}.{field_name(field)}"
            case tree.With(local, changes):
                return self.changed(local, changes)
            case tree.Absent():
                return "None"
            case tree.IsAbsent(operand):
                return f"({self.expr(operand)} is None)"
            case tree.OrElse(operand, otherwise):
                found = self.temporary()
                return f"({found} if ({found} := {self.expr(operand)}) is not None else {self.expr(otherwise)})"
            case tree.Present(operand):
                found = self.temporary()
                return f"({found} if ({found} := {self.expr(operand)}) is not None else missing())"
            case tree.Load(table, key):
                return f"h.get({self.table(table)}, {self.key(table, key)})"
            case tree.Decode(struct, operand):
                return f"decoded(h, {self.struct(struct)}, {self.expr(operand)})"
            case tree.Call(function, args):
                return f"f{function}(h{self.args(args, self.program.functions[function].locals)})"
            case tree.Invoke(import_, args):
                call = self.object(f"i{import_}", self.linked.imports[import_].call)
                return f"{call}(h{self.args(args, self.program.imports[import_].params)})"
            case tree.Host(function, args):
                return self.lent(function, args)
        return f"fail(h, {node.code})"

    def arith(self, operator: Op, left: Expr, right: Expr) -> str:
        one, other = self.expr(left), self.expr(right)
        if operator in _SIMPLE:
            return f"({one} {_SIMPLE[operator]} {other})"
        if operator in (Op.MIN, Op.MAX):
            first, second = self.temporary(), self.temporary()
            relation = "<=" if operator is Op.MIN else ">="
            return f"({first} if ({first} := {one}) {relation} ({second} := {other}) else {second})"
        if isinstance(right, tree.Const) and isinstance(right.value, int) and right.value > 0:
            # No other expression, even if it has one value only: some of these forms would compute it twice.
            return "(" + _DIVIDED[operator].format(one, other) + ")"
        first, second = self.temporary(), self.temporary()
        both = f"(({first} := {one}), ({second} := {other}))[1] > 0"
        return f"({_DIVIDED[operator].format(first, second)} if {both} else not_positive())"

    def changed(self, local: int, changes: Sequence[tree.Change]) -> str:
        kind = self.local_types[local]
        struct = kind.struct if isinstance(kind, Struct) else 0
        declared = self.program.structs[struct].fields
        fields = [f"v{local}.{field_name(place)}" for place in range(len(declared))]
        for change in changes:
            fields[change.field] = self.bound(change.value, declared[change.field].type)
        return f"{self.struct(struct)}({', '.join(fields)})"

    def lent(self, function: int, args: Sequence[Expr]) -> str:
        if (fact := _FACTS.get(HOST_FUNCTIONS[function].name)) is not None:
            return fact
        name = self.object(f"h{function}", op.LENT[function])
        return f"{name}(h{self.args(args, HOST_FUNCTIONS[function].params)})"

    # ── parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def bound(self, node: Expr, target: Type | Native) -> str:
        """An expression with what is left of the check that its value fits."""
        if isinstance(target, Native):
            return self.expr(node)
        check = check_of(self.scope.kind(node), target)
        text = self.expr(node)
        if check == NO_CHECK:
            return text
        value = self.temporary()
        asked = f"({value} := {text})" if isinstance(target, Int | Wide) else f"len({value} := {text})"
        lower = "" if check.lower is None else f"{check.lower} <= "
        upper = "" if check.upper is None else f" <= {check.upper}"
        return f"({value} if {lower}{asked}{upper} else out_of_range())"

    def args(self, nodes: Sequence[Expr], types: Sequence[Type | Native]) -> str:
        return "".join(f", {self.bound(node, target)}" for node, target in zip(nodes, types, strict=False))

    def key(self, table: int, parts: Sequence[Expr]) -> str:
        declared = self.program.tables[table].key
        records = self.linked.tables[table]
        if len(parts) == len(declared) == 1 and not records.may_be_too_long and isinstance(declared[0], Bytes | Text):
            value = self.bound(parts[0], declared[0])
            return value if isinstance(declared[0], Bytes) else f"{value}.encode()"
        return f"{self.object(f'k{table}', records.key)}({self.args(parts, declared)[2:]})"

    def table(self, table: int) -> str:
        return self.object(f"t{table}", self.linked.tables[table].table)

    def struct(self, struct: int) -> str:
        return self.object(f"s{struct}", self.linked.classes[struct])

    def constant(self, value: str | bytes) -> str:
        return self.object(f"c{len(self.names)}", value)

    def object(self, name: str, value: Any) -> str:
        """Have the printed text know an object by a name."""
        self.names[name] = value
        return name

    def temporary(self) -> str:
        self.temporaries += 1
        return f"x{self.temporaries}"
