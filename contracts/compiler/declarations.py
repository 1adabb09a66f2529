"""What a contract's text declares: its types, tables, events, codes, constants, and the signatures of its functions."""

import ast
import re
from typing import Any

from msgspec import Struct as Plain

from contracts.compiler.constants import Constants
from contracts.compiler.errors import flaw
from contracts.compiler.words import TYPES, WORDS
from contracts.contract import Business
from contracts.vm.kinds import kind_of, show
from contracts.vm.program import CodeDef, EnumDef, EventDef, ImportDef, NamedType, Param, StructDef, TableDef
from contracts.vm.scope import LENGTH_MAX
from contracts.vm.types import Bytes, Int, List, Optional, Struct, Text, Type
from ledger.transaction import Branch


class StructShape(Plain, frozen=True):
    """A struct as constructors need it."""

    place: int
    fields: tuple[NamedType, ...]
    defaults: tuple[ast.expr | None, ...]

    def index(self, name: str) -> int | None:
        """Place of a field."""
        names = [field.name for field in self.fields]
        return names.index(name) if name in names else None


class Signature(Plain, frozen=True):
    """A function's parameters and result."""

    place: int
    names: tuple[str, ...]
    params: tuple[Type, ...]
    result: tuple[Type, ...]


class Declarations(Constants):
    """Everything outside of functions' bodies, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.business = 0
        self.branch = Branch.SERVICE
        self.aliases: dict[str, Type] = {}
        self.enum_aliases: dict[str, str] = {}
        self.enum_defs: list[EnumDef] = []
        """Those that a field or a method's parameter shows, by first use."""
        self.structs: dict[str, StructShape] = {}
        self.struct_defs: list[StructDef] = []
        self.tables: dict[str, int] = {}
        self.table_defs: list[TableDef] = []
        self.events: dict[str, int] = {}
        self.event_defs: list[EventDef] = []
        self.codes: dict[tuple[str, str], int] = {}
        self.code_defs: list[CodeDef] = []
        self.interfaces: dict[str, list[ast.FunctionDef]] = {}
        self.imports: dict[tuple[str, str], Signature] = {}
        self.import_defs: list[ImportDef] = []
        self.taken: set[str] = set()

    def take(self, node: ast.AST, name: str) -> None:
        """A name is given a meaning, once, and none of the language's own."""
        if name in self.taken or name in WORDS:
            flaw(node, f"the name {name} has a meaning already", "every name means one thing in a contract")
        self.taken.add(name)

    # ── statements of the module ──────────────────────────────────────────────────────────────────────────────────────

    def assign(self, node: ast.Assign) -> None:
        """`NAME = …`: the contract itself, another contract, a type, or a constant."""
        if len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
            flaw(node, "a declaration gives one name", "write NAME = value")
        name, value = node.targets[0].id, node.value
        self.take(node, name)
        match value:
            case ast.Call(func=ast.Name(id="Contract")):
                self._contract(value)
            case ast.Call(func=ast.Name(id=interface)) if interface in self.interfaces:
                self._interface(name, interface, value)
            case ast.Subscript(value=ast.Name(id="Annotated" | "List")) | ast.BinOp(right=ast.Constant(value=None)):
                self.aliases[name] = self.type(value)
                self.enum_aliases[name] = self._enum_of(value)
            case _:
                self.constants[name] = self.constant(value)

    def annotated(self, node: ast.AnnAssign) -> None:
        """`NAME: Table[…] = table("x")` and its like."""
        match node:
            case ast.AnnAssign(
                target=ast.Name(id=name),
                annotation=ast.Subscript(value=ast.Name(id="Table" | "Cell" | "Event" as what), slice=inner),
                value=ast.Call(func=ast.Name(id=maker), args=[ast.Constant(value=str(label))], keywords=[]),
            ) if maker == what.lower():
                self.take(node, name)
                if what == "Event":
                    self._event(node, name, inner, label)
                else:
                    self._table(name, what, inner, label)
            case _:
                forms = 'NAME: Table[Key, Record] = table("x"), Cell[Record] = cell("x"), Event[Record] = event("x.y")'
                flaw(node, "outside of functions only tables, cells and events are declared with a type", forms)

    def define(self, node: ast.ClassDef) -> None:
        """`class Name(Struct)`, `class Name(Codes)`, `class Name(Enum)`, `class Name(Interface)`."""
        self.take(node, node.name)
        base = node.bases[0].id if len(node.bases) == 1 and isinstance(node.bases[0], ast.Name) else ""
        body = [each for each in node.body if not _is_prose(each)]
        match base:
            case "Struct":
                self._struct(node, body)
            case "Codes":
                self._codes(node, body)
            case "Enum":
                self._enum(node, body)
            case "Interface":
                self.interfaces[node.name] = [each for each in body if isinstance(each, ast.FunctionDef)]
                if len(self.interfaces[node.name]) != len(body):
                    flaw(node, "an interface lists methods only")
            case _:
                flaw(node, "a class is a Struct, Codes, an Enum or an Interface", f"class {node.name}(Struct):")

    # ── types ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def type(self, node: ast.expr) -> Type:
        """The type that an annotation names."""
        match node:
            case ast.Name(id=name):
                if name in TYPES:
                    return TYPES[name]
                if name in self.aliases:
                    return self.aliases[name]
                if name in self.structs:
                    return Struct(self.structs[name].place)
                if name in self.enums:
                    return enum_type(self.enums[name])
                hints = {"int": "U63, U32, I64 or Annotated[int, Range(0, 10)]", "str": "Annotated[str, Size(0, 40)]"}
                hints |= {"bytes": "Annotated[bytes, Size(0, 65)]", "list": "Annotated[List[Name], Size(0, 10)]"}
                flaw(node, f"{name} is no type here", f"write {hints[name]}" if name in hints else "")
            case ast.BinOp(op=ast.BitOr(), left=inner, right=ast.Constant(value=None)):
                found = self.type(inner)
                if isinstance(found, Struct):
                    return Optional(found.struct)
                flaw(
                    node, "only a struct may be absent", "give the number or text a value that means nothing, or a flag"
                )
            case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, limits])):
                return self._limited(node, inner, limits)
            case ast.Subscript(value=ast.Name(id="List")):
                flaw(node, "a list has a greatest length", "write Annotated[List[Name], Size(0, 10)]")
        return flaw(node, "no type")

    def enum(self, node: ast.expr) -> tuple[int, ...]:
        """The place of the enum whose members an annotation names, one or none."""
        name = self._enum_of(node)
        if not name:
            return ()
        members = self.enums[name]
        found = EnumDef(name, min(members.values()), tuple(members))
        if found not in self.enum_defs:
            self.enum_defs.append(found)
        return (self.enum_defs.index(found),)

    def _enum_of(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name):
                return name if name in self.enums else self.enum_aliases.get(name, "")
            case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, _])):
                return self._enum_of(inner)
            case ast.Subscript(value=ast.Name(id="List"), slice=item):
                return self._enum_of(item)
        return ""

    def params(self, node: ast.FunctionDef) -> tuple[Param, ...]:
        """A method's parameters with the enums that show them; its signature was found sound."""
        for arg in node.args.args:
            _check_field(arg, arg.arg)
        return tuple(Param(arg.arg, self.enum(arg.annotation)) for arg in node.args.args if arg.annotation)

    def _limited(self, node: ast.expr, inner: ast.expr, limits: ast.expr) -> Type:
        match limits:
            case ast.Call(func=ast.Name(id="Range" | "Size" as what), args=[low, high], keywords=[]):
                bounds = (self._number(low), self._number(high))
            case _:
                flaw(limits, "limits are Range(least, most) of a number or Size(least, most) of a length")
        if bounds[0] > bounds[1] or (what == "Size" and not 0 <= bounds[0] <= bounds[1] <= LENGTH_MAX):
            flaw(limits, f"the least comes first; lengths are from 0 to {LENGTH_MAX}")
        match inner:
            case ast.Name(id="int") if what == "Range":
                return Int(*bounds)
            case ast.Name(id="bytes") if what == "Size":
                return Bytes(*bounds)
            case ast.Name(id="str") if what == "Size":
                return Text(*bounds)
            case ast.Subscript(value=ast.Name(id="List"), slice=item) if what == "Size":
                return List(self.type(item), *bounds)
        return flaw(node, f"{what} does not go with this", "Range with int; Size with str, bytes and List[…]")

    # ── parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _contract(self, node: ast.Call) -> None:
        values: list[Any] = [self.constant(each) for each in node.args]
        if self.name:
            flaw(node, "the contract has a name already")
        match values if not node.keywords else []:
            case [str(name), business] if business in set(Business):
                self.name, self.business = name, business
            case [str(name), business, branch] if business in set(Business) and branch in set(Branch):
                self.name, self.business, self.branch = name, business, Branch(branch)
            case _:
                form = 'Contract("feeder", Business.LOAD, Branch.SERVICE)'
                flaw(node, "a contract has a name and a type of business", form)

    def _interface(self, name: str, interface: str, node: ast.Call) -> None:
        if len(node.args) != 1:
            flaw(node, "another contract is named by its number", f"{name} = {interface}(2)")
        number = self._number(node.args[0])
        for method in self.interfaces[interface]:
            _, params, result = self.signature(method, skip_self=True)
            signature = Signature(len(self.import_defs), tuple(params), tuple(params.values()), result)
            self.imports[name, method.name] = signature
            self.import_defs.append(ImportDef(number, method.name.rstrip("_"), signature.params, result))

    def signature(
        self, node: ast.FunctionDef, *, skip_self: bool = False
    ) -> tuple[str, dict[str, Type], tuple[Type, ...]]:
        """Name, parameters and result of a function or method."""
        args = node.args
        if args.vararg or args.kwarg or args.kwonlyargs or args.posonlyargs or args.defaults:
            flaw(node, "parameters are plain: no defaults, no *")
        params: dict[str, Type] = {}
        for arg in args.args[1:] if skip_self else args.args:
            if arg.annotation is None:
                flaw(arg, f"parameter {arg.arg} needs a type", f"{arg.arg}: U63")
            if arg.arg in params:
                flaw(arg, f"parameter {arg.arg} twice")
            params[arg.arg] = self.type(arg.annotation)
        match node.returns:
            case None:
                flaw(node, "a function says what it returns", f"def {node.name}(…) -> None:")
            case ast.Constant(value=None):
                return node.name, params, ()
        return node.name, params, (self.type(node.returns),)

    def _struct(self, node: ast.ClassDef, body: list[ast.stmt]) -> None:
        fields, defaults = [], []
        for each in body:
            if not isinstance(each, ast.AnnAssign) or not isinstance(each.target, ast.Name):
                flaw(each, "a struct lists its fields", "name: Type")
            _check_field(each, each.target.id)
            fields.append(NamedType(each.target.id, self.type(each.annotation), self.enum(each.annotation)))
            defaults.append(each.value)
        shape = StructShape(len(self.struct_defs), tuple(fields), tuple(defaults))
        self.structs[node.name] = shape
        self.struct_defs.append(StructDef(node.name, shape.fields))

    def _codes(self, node: ast.ClassDef, body: list[ast.stmt]) -> None:
        for each in body:
            match each:
                case ast.Assign(
                    targets=[ast.Name(id=name)],
                    value=ast.Tuple(elts=[ast.Constant(value=int(number)), ast.Constant(value=str(sentence))]),
                ) if 1 <= number <= 999:
                    self.codes[node.name, name] = number
                    self.code_defs.append(CodeDef(number, name, sentence))
                case _:
                    flaw(
                        each,
                        "a code is a number from 1 to 999 and a sentence",
                        'OVERSPENT = 3, "the wallet holds less"',
                    )

    def _enum(self, node: ast.ClassDef, body: list[ast.stmt]) -> None:
        members: dict[str, int] = {}
        for each in body:
            match each:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    if not re.fullmatch("[A-Z][A-Z0-9_]*", name) or name in members:
                        flaw(each, f"{name}: the names of an enum are in capitals, each once", "OPEN = 1")
                    members[name] = self._number(value)
                case _:
                    flaw(each, "an enum lists its values", "OPEN = 1")
        values = list(members.values())
        if not values or values != list(range(values[0], values[0] + len(values))):
            flaw(node, "the values of an enum are consecutive numbers")
        self.enums[node.name] = members

    def _table(self, name: str, what: str, inner: ast.expr, label: str) -> None:
        key: tuple[Type, ...] = ()
        if what == "Table":
            match inner:
                case ast.Tuple(elts=[ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=parts)), record]):
                    key = tuple(self.type(part) for part in parts)
                case ast.Tuple(elts=[part, record]):
                    key = (self.type(part),)
                case _:
                    flaw(
                        inner,
                        "a table has a key and a record",
                        "Table[Name, Record] or Table[tuple[Name, Time], Record]",
                    )
        else:
            record = inner
        value = self.type(record)
        if not isinstance(value, Struct):
            flaw(record, f"records are structs, not {show(kind_of(value))}")
        if len(label) != 1 or not "!" <= label <= "~":
            flaw(inner, "a table is marked by one character", f'{name} = {what.lower()}("x")')
        self.tables[name] = len(self.table_defs)
        self.table_defs.append(TableDef(name, ord(label), key, value.struct))

    def _event(self, node: ast.AST, name: str, inner: ast.expr, label: str) -> None:
        value = self.type(inner)
        if not isinstance(value, Struct):
            flaw(node, "an event carries a struct")
        self.events[name] = len(self.event_defs)
        self.event_defs.append(EventDef(label, value.struct))


def enum_type(members: dict[str, int]) -> Int:
    """The numbers of an enum."""
    return Int(min(members.values()), max(members.values()))


def _check_field(node: ast.AST, name: str) -> None:
    if name.startswith("_"):
        flaw(node, f"the name {name} begins with _", "others read and write fields and parameters")


def _is_prose(node: ast.stmt) -> bool:
    """A docstring, of a class or under a field."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
