"""Random programs that the verifier passes, and random arguments for them. Everything follows from one seed."""

import random

from contracts.vm import tree
from contracts.vm.functions import HOST_FUNCTIONS
from contracts.vm.kinds import check_of
from contracts.vm.native import Native
from contracts.vm.operators import Op, Relation
from contracts.vm.program import (
    LANGUAGE,
    CodeDef,
    EventDef,
    FunctionDef,
    ImportDef,
    MethodDef,
    NamedType,
    Param,
    Program,
    StructDef,
    TableDef,
)
from contracts.vm.tree import Expr, Statement
from contracts.vm.types import Bool, Bytes, Int, List, Optional, Struct, Text, Type, Wide
from ledger.errors import PeerError
from tests.vm.values import EDGES, RememberingScope, Types, value_of

SCALARS = (Int, Bytes, Text)
OWN, OTHER = 40, 41
"""Contract numbers: programs of OWN may import methods of OTHER."""


class Draw(Types):
    """One program in the making."""

    def __init__(self, rng: random.Random, other: Program | None = None) -> None:
        self.rng = rng
        self.structs: list[StructDef] = []
        for place in range(rng.randint(1, 4)):
            fields = [NamedType(f"f{i}", self.type(Wide)) for i in range(rng.randint(0 if place else 1, 5))]
            self.structs.append(StructDef(f"S{place}", tuple(fields)))
        self.tables = tuple(
            TableDef(f"T{place}", place + 1, self.key_types(), rng.randrange(len(self.structs)))
            for place in range(rng.randint(1, 3))
        )
        self.events = tuple(EventDef(f"own.e{place}", rng.randrange(len(self.structs))) for place in range(2))
        self.codes = tuple(CodeDef(number, f"C{number}", "a code") for number in (1, 2, 999))
        self.imports = self.draw_imports(other) if other else ()
        self.functions: list[FunctionDef] = []
        self.methods: list[MethodDef] = []
        self.depth = 0
        self.loops = 0
        for _ in range(rng.randint(1, 4)):
            self.add_function()

    def program(self) -> Program:
        """The program as far as it is drawn."""
        return Program(
            LANGUAGE, "own", "drawn", 4, tuple(self.structs), self.tables, self.events, self.codes, self.imports,
            tuple(self.functions), tuple(self.methods),
        )  # fmt: skip

    def draw_imports(self, other: Program) -> tuple[ImportDef, ...]:
        """Methods of the other program, whose types are now and then not what they are."""
        found = []
        for method in other.methods:
            function = other.functions[method.function]
            types = (*function.locals[: function.params], *function.result)
            if any(isinstance(each, Struct | Optional | List) for each in types):
                continue
            params, result = function.locals[: function.params], function.result
            if self.rng.random() < 0.2:
                params = (self.type(Wide), *params[1:])
            if self.rng.random() < 0.2:
                result = (self.type(Wide),)
            found.append(ImportDef(OTHER, method.name, params, result))
        return (*found, ImportDef(OTHER, "nowhere", (), ()), ImportDef(OWN, "method0", (), ()))

    # ── functions ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def add_function(self) -> None:
        rng = self.rng
        position = len(self.functions)
        method = rng.random() < 0.7
        params = [self.type(Wide) if method else self.type() for _ in range(rng.randint(0, 3))]
        rest = [self.type() for _ in range(rng.randint(2, 8))]
        result = (self.type(Wide) if method else self.type(),) if rng.random() < 0.6 else ()
        self.local_types = (*params, *rest)
        self.result = result
        self.scope = RememberingScope(self.program(), position, self.local_types)
        self.scope.readable = set(range(len(params)))
        body = self.block(rng.randint(1, 5))
        if result and not _ends(body):
            body = (*body, tree.Return((self.expr(result[0]),)))
        self.functions.append(FunctionDef(f"function{position}", len(params), self.local_types, result, body))
        if method:
            number = len(self.methods)
            names = tuple(Param(f"p{place}") for place in range(len(params)))
            gas = rng.choice((0, 0, 100_000))
            self.methods.append(
                MethodDef(f"method{number}", position, names, (1,), 1, False, (OWN, OTHER), gas, "drawn")
            )

    def block(self, length: int) -> tuple[Statement, ...]:
        made: list[Statement] = []
        for _ in range(length):
            statement = self.statement()
            made.append(statement)
            if _ends((statement,)):
                break
        return tuple(made)

    def inner(self, *bound: int, loop: bool = False) -> tuple[Statement, ...]:
        """A block within; what it sets is not readable after it."""
        before = set(self.scope.readable)
        self.scope.readable |= set(bound)
        self.depth += 1
        self.loops += loop
        made = self.block(self.rng.randint(0, 3))
        self.loops -= loop
        self.depth -= 1
        self.scope.readable = before
        return made

    def statement(self) -> Statement:
        rng = self.rng
        choice = rng.randint(0, 17) if self.depth < 3 else rng.randint(0, 9)
        if choice <= 3:
            local = rng.randrange(len(self.local_types))
            statement = tree.Set(local, self.expr(self.local_types[local]))
            self.scope.readable.add(local)
            return statement
        if choice <= 5:
            table = rng.randrange(len(self.tables))
            return tree.Store(table, self.key(table), self.expr(Struct(self.tables[table].value)))
        if choice == 6:
            table = rng.randrange(len(self.tables))
            return tree.Delete(table, self.key(table))
        if choice == 7:
            event = rng.randrange(len(self.events))
            return tree.Emit(event, self.expr(Struct(self.events[event].struct)))
        if choice == 8:
            return self.call_statement()
        if choice == 9:
            return self.leave()
        if choice <= 12:
            condition = self.expr(Bool())
            return tree.If(condition, self.inner(), self.inner() if rng.random() < 0.6 else ())
        if choice == 13:
            condition = self.expr(Bool())
            return tree.While(condition, self.inner(loop=True))
        return self.loop(choice)

    def loop(self, choice: int) -> Statement:
        rng = self.rng
        locals_of = dict(enumerate(self.local_types))
        if choice <= 15:
            for local, declared in locals_of.items():
                if not isinstance(declared, Wide) and rng.random() < 0.5:
                    items = self.expr(List(declared, 0, 6))
                    return tree.For(local, items, self.inner(local, loop=True))
        if choice == 16:
            for local, declared in locals_of.items():
                if isinstance(declared, Wide | Int):
                    low = 0 if isinstance(declared, Wide) else declared.min
                    high = 9 if isinstance(declared, Wide) else min(declared.max, low + 9)
                    begin, end = tree.Const(low), self.expr(Int(low, high))
                    statement = tree.Count(local, begin, end, ())
                    if self.fits(end, Int(low, high + 1)):
                        return tree.Count(local, begin, end, self.inner(local, loop=True))
                    return tree.Count(local, begin, tree.Const(high), statement.body)
        table = rng.randrange(len(self.tables))
        declared_key = self.tables[table].key
        given = rng.randint(0, len(declared_key))
        free = list(locals_of)
        keys = []
        for part in declared_key[given:]:
            found = next((local for local in free if self.local_types[local] == part), None)
            if found is None:
                return self.leave()
            free.remove(found)
            keys.append(found)
        value = next((local for local in free if self.local_types[local] == Struct(self.tables[table].value)), None)
        if value is None:
            return self.leave()
        prefix = tuple(self.expr(part) for part in declared_key[:given])
        return tree.Walk(table, prefix, rng.randint(1, 5), tuple(keys), value, self.inner(*keys, value, loop=True))

    def call_statement(self) -> Statement:
        rng = self.rng
        scheduled = [place for place, method in enumerate(self.methods) if method.scheduled_gas]
        if scheduled and rng.random() < 0.3:
            method = rng.choice(scheduled)
            function = self.functions[self.methods[method].function]
            args = tuple(self.expr(each) for each in function.locals[: function.params])
            due_ms = tree.Const(rng.choice((0, 2_000, 5_000)))
            return tree.Schedule(due_ms, tree.Blob(rng.randbytes(1) * 32), method, args)
        if rng.random() < 0.1:
            return tree.Cancel(tree.Const(2_000), tree.Blob(rng.randbytes(1) * 32))
        if self.imports and rng.random() < 0.5:
            place = rng.randrange(len(self.imports))
            return tree.Do(tree.Invoke(place, tuple(self.expr(each) for each in self.imports[place].params)))
        if self.functions:
            place = rng.randrange(len(self.functions))
            function = self.functions[place]
            return tree.Do(tree.Call(place, tuple(self.expr(each) for each in function.locals[: function.params])))
        return tree.Do(self.expr(self.type()))

    def leave(self) -> Statement:
        rng = self.rng
        if self.loops and rng.random() < 0.6:
            return rng.choice((tree.Break(), tree.Continue()))
        if rng.random() < 0.3:
            return tree.Do(tree.Fail(rng.choice((1, 2, 999))))
        return tree.Return(tuple(self.expr(each) for each in self.result))

    # ── expressions ───────────────────────────────────────────────────────────────────────────────────────────────────

    def key(self, table: int) -> tuple[Expr, ...]:
        return tuple(self.expr(part) for part in self.tables[table].key)

    def fits(self, node: Expr, target: Type) -> bool:
        """Whether an expression may be bound to a type."""
        try:
            check_of(self.scope.kind(node), target)
        except PeerError:
            return False
        return True

    def expr(self, target: Type, depth: int = 0) -> Expr:
        """An expression that may be bound to a type, though its value may not fit."""
        for _ in range(3):
            node = self.try_expr(target, depth)
            if self.fits(node, target):
                return node
        return self.plain(target)

    def try_expr(self, target: Type, depth: int) -> Expr:
        rng = self.rng
        if depth > 4 or rng.random() < 0.15:
            return self.simple(target)
        made = [self.general, self.general, self.special]
        return rng.choice(made)(target, depth + 1)

    def simple(self, target: Type) -> Expr:
        """A local or a constant."""
        fitting = [local for local in self.scope.readable if type(self.local_types[local]) is type(target)]
        if fitting and self.rng.random() < 0.7:
            return tree.Get(self.rng.choice(sorted(fitting)))
        return self.plain(target)

    def plain(self, target: Type) -> Expr:
        """A constant."""
        match target:
            case Struct(struct):
                return tree.Make(struct, tuple(self.plain(field.type) for field in self.structs[struct].fields))
            case Optional(struct):
                return tree.Absent(struct)
            case List(item, low, _):
                return tree.ListOf(item, tuple(self.plain(item) for _ in range(low)))
            case Bytes():
                return tree.Blob(value_of(self.rng, target, self.structs))
            case Wide():
                return tree.Const(self.rng.choice(EDGES))
        return tree.Const(value_of(self.rng, target, self.structs))

    def general(self, target: Type, depth: int) -> Expr:
        """What gives any type."""
        rng = self.rng
        choice = rng.randint(0, 7)
        if choice == 0:
            return tree.Choose(self.expr(Bool(), depth), self.expr(target, depth), self.expr(target, depth))
        if choice == 1:
            found = [place for place, function in enumerate(self.functions) if function.result[:1] == (target,)]
            if found:
                place = rng.choice(found)
                function = self.functions[place]
                args = function.locals[: function.params]
                return tree.Call(place, tuple(self.expr(each, depth) for each in args))
        if choice == 2:
            found = [place for place, imported in enumerate(self.imports) if imported.result[:1] == (target,)]
            if found:
                place = rng.choice(found)
                return tree.Invoke(place, tuple(self.expr(each, depth) for each in self.imports[place].params))
        if choice in (3, 4):
            fields = [
                (struct, place)
                for struct, declared in enumerate(self.structs)
                for place, field in enumerate(declared.fields)
                if type(field.type) is type(target)
            ]
            if fields:
                struct, place = rng.choice(fields)
                return tree.Field(self.expr(Struct(struct), depth), place)
        if choice == 5 and not isinstance(target, List | Wide):
            return tree.Index(self.expr(List(target, 0, 6), depth), self.expr(Int(0, 5), depth))
        if choice == 6 and rng.random() < 0.2:
            return tree.Fail(rng.choice((1, 2, 999)))
        return self.simple(target)

    def special(self, target: Type, depth: int) -> Expr:
        """What gives this type only."""
        rng = self.rng
        choice = rng.randint(0, 5)
        match target:
            case Bool():
                return self.truth(choice, depth)
            case Int() | Wide():
                if choice == 0:
                    return tree.Len(self.expr(rng.choice((self.bytes_type(), self.text_type())), depth))
                if choice == 1:
                    return tree.Host(rng.choice((4, 5)), ())
                if choice == 2:
                    return tree.Index(self.expr(Bytes(0, 40), depth), self.expr(Int(0, 39), depth))
                number = Wide() if rng.random() < 0.2 else self.int_type()
                return tree.Arith(rng.choice(tuple(Op)), self.expr(number, depth), self.expr(target, depth))
            case Bytes() | Text() | List():
                return self.row(target, choice, depth)
            case Struct(struct):
                tables = [place for place, table in enumerate(self.tables) if table.value == struct]
                if choice == 0 and tables:
                    return tree.Present(self.load(rng.choice(tables), depth))
                if choice <= 2:
                    return tree.OrElse(self.expr(Optional(struct), depth), self.expr(target, depth))
                fields = self.structs[struct].fields
                changed = [place for place in range(len(fields)) if rng.random() < 0.5]
                here = [local for local in sorted(self.scope.readable) if self.local_types[local] == target]
                if choice == 3 and changed and here:
                    changes = tuple(tree.Change(place, self.expr(fields[place].type, depth)) for place in changed)
                    return tree.With(rng.choice(here), changes)
                return tree.Make(struct, tuple(self.expr(field.type, depth) for field in fields))
            case Optional(struct):
                tables = [place for place, table in enumerate(self.tables) if table.value == struct]
                if choice <= 2 and tables:
                    return self.load(rng.choice(tables), depth)
                if choice == 3:
                    return tree.Decode(struct, self.expr(Bytes(0, 40), depth))
                return self.expr(Struct(struct), depth)

    def load(self, table: int, depth: int) -> Expr:
        return tree.Load(table, tuple(self.expr(part, depth) for part in self.tables[table].key))

    def truth(self, choice: int, depth: int) -> Expr:
        rng = self.rng
        if choice == 0:
            return tree.Not(self.expr(Bool(), depth))
        if choice == 1:
            return rng.choice((tree.And, tree.Or))(self.expr(Bool(), depth), self.expr(Bool(), depth))
        if choice == 2:
            return tree.IsAbsent(self.expr(Optional(rng.randrange(len(self.structs))), depth))
        if choice == 3:
            item = rng.choice((self.int_type(), self.bytes_type(), self.text_type()))
            return tree.Contains(self.expr(List(item, 0, 6), depth), self.expr(item, depth))
        if choice == 4:
            return tree.Host(17, (self.expr(Text(0, 12), depth),))
        kind = rng.choice((self.int_type(), self.bytes_type(), self.text_type(), Bool()))
        relations = (Relation.EQ, Relation.NE) if isinstance(kind, Bool) else tuple(Relation)
        return tree.Compare(rng.choice(relations), self.expr(kind, depth), self.expr(kind, depth))

    def row(self, target: Bytes | Text | List, choice: int, depth: int) -> Expr:
        rng = self.rng
        if choice <= 1:
            return tree.Concat(self.expr(target, depth), self.expr(target, depth))
        if choice == 2:
            begin, end = self.expr(Int(0, 3), depth), self.expr(Int(0, 6), depth)
            return tree.Slice(self.expr(target, depth), begin, end)
        if isinstance(target, List):
            if choice == 3 and isinstance(target.item, SCALARS):
                return tree.SortedSet(self.expr(target, depth))
            if choice == 4:
                place, item = self.expr(Int(0, 5), depth), self.expr(target.item, depth)
                return tree.WithItem(self.expr(target, depth), place, item)
            count = rng.randint(0, 3)
            return tree.ListOf(target.item, tuple(self.expr(target.item, depth) for _ in range(count)))
        lending = [
            place
            for place, lent in enumerate(HOST_FUNCTIONS)
            if type(lent.result) is type(target) and not any(isinstance(each, Native) for each in lent.params)
        ]
        if lending:
            function = rng.choice(lending)
            params = [each for each in HOST_FUNCTIONS[function].params if not isinstance(each, Native)]
            return tree.Host(function, tuple(self.expr(each, depth) for each in params))
        return self.simple(target)


def _ends(block: tuple[Statement, ...]) -> bool:
    """Whether nothing after a block is ever reached."""
    match block[-1:]:
        case (tree.Return() | tree.Break() | tree.Continue() | tree.Do(tree.Fail()),):
            return True
        case (tree.If(_, then, otherwise),):
            return _ends(then) and _ends(otherwise)
    return False


def draw_program(rng: random.Random, other: Program | None = None) -> Program:
    """A program. Not every one passes the verifier: a `Never` or too wide a number may have slipped in."""
    return Draw(rng, other).program()
