"""A contract's text in, its program out."""

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct as Plain
from msgspec.structs import replace

from contracts.compiler.declarations import Declarations, Signature
from contracts.compiler.errors import Flaw, SourceError, flaw
from contracts.compiler.statements import Body
from contracts.compiler.words import USED, WORDS
from contracts.vm.program import LANGUAGE, FunctionDef, MethodDef, Program
from contracts.vm.scope import Scope
from contracts.vm.verifier import Verified, verify
from contracts.vm.walk import Node
from ledger.codec import encode
from ledger.errors import PeerError

SOURCE_BYTES_MAX = 256 * 1024
_SUMMARY_MAX = 4_000
_SAY_MORE = "say more in comments"


class Mapped(Plain):
    """A program, and where its parts came from."""

    program: Program
    lines: Sequence[tuple[Node, int]]
    """Nodes of this very program with their lines; a node may come twice, its own line first."""


def compile_source(text: str, name: str = "contract") -> Program:
    """The program of a contract's text. Raises SourceError with all that was found, each with line, column and hint."""
    return compile_mapped(text, name).program


def compile_mapped(text: str, name: str = "contract") -> Mapped:
    """The same, and which line each node came from. Raises as `compile_source`."""
    module = _parse(text, name)
    try:
        return _compile(module)
    except SourceError as error:
        raise SourceError([_in_characters(each, text) for each in error.flaws], name) from None
    except RecursionError as error:
        raise SourceError([Flaw(1, 1, "something is nested too deeply", "give its parts names")], name) from error


def compile_verified(text: str, name: str = "contract") -> Verified:
    """The same, judged by the verifier. Raises SourceError, or PeerError `code-refused`."""
    return verify(encode(compile_source(text, name)))


def _in_characters(found: Flaw, text: str) -> Flaw:
    """Columns as editors count them: the parser counts bytes."""
    lines = re.split("\r\n|\r|\n", text)
    before = lines[found.line - 1].encode()[: found.column - 1]
    return replace(found, column=len(before.decode(errors="replace")) + 1)


def _parse(text: str, name: str) -> ast.Module:
    if len(text.encode(errors="replace")) > SOURCE_BYTES_MAX:
        raise SourceError([Flaw(1, 1, f"longer than {SOURCE_BYTES_MAX} bytes", "")], name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # `1if x`, an unknown `\l` and the like: not for texts that people vote on
            return ast.parse(text)
    except SyntaxError as error:
        raise SourceError([Flaw(error.lineno or 1, error.offset or 1, error.msg, "")], name) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise SourceError([Flaw(1, 1, f"no Python text: {error}", "")], name) from error


def _compile(module: ast.Module) -> Mapped:
    for each in ast.walk(module):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and not _is_text(each.value):
            flaw(each, "half of a character", "\\ud800 to \\udfff are no characters of their own")
    declared = Declarations()
    functions: list[ast.FunctionDef] = []
    flaws: list[Flaw] = []
    for node in module.body:
        with _Collected(flaws):
            match node:
                case ast.ImportFrom(module="contracts.language"):
                    for alias in node.names:
                        if alias.name not in {*WORDS, "*"} or alias.asname:
                            flaw(node, f"the language has no {alias.name}")
                case ast.Assign():
                    declared.assign(node)
                case ast.AnnAssign():
                    declared.annotated(node)
                case ast.ClassDef():
                    declared.define(node)
                case ast.FunctionDef():
                    declared.take(node, node.name)
                    functions.append(node)
                case ast.Expr(value=ast.Constant(value=str())):
                    continue
                case ast.Import() | ast.ImportFrom():
                    flaw(node, "a contract imports nothing but the language", "from contracts.language import …")
                case _:
                    flaw(node, "outside of functions there are declarations only")
    docstring = ast.get_docstring(module) or ""
    if len(docstring) > _SUMMARY_MAX:
        flaws.append(Flaw(1, 1, f"what the contract is, in at most {_SUMMARY_MAX} characters", _SAY_MORE))
    if not declared.name:
        flaws.append(Flaw(1, 1, "the contract has no name", 'CONTRACT = Contract("feeder", Business.LOAD)'))
    if flaws:
        raise SourceError(flaws)
    return _Functions(declared, functions, docstring).compile()


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Collected:
    """Note what is wrong and go on with the next declaration."""

    def __init__(self, flaws: list[Flaw]) -> None:
        self.flaws = flaws

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, SourceError):
            self.flaws += error.flaws
            return True
        return False


class _Mark:
    """What stands above a method."""

    def __init__(self) -> None:
        self.roles: tuple[int, ...] = ()
        self.business = 0
        self.device = False
        self.callers: tuple[int, ...] = ()
        self.gas = 0


class _Functions:
    """All functions of a contract, those that are called before those that call them."""

    def __init__(self, declared: Declarations, nodes: Sequence[ast.FunctionDef], docstring: str) -> None:
        self.declared = declared
        self.docstring = docstring
        self.nodes = {node.name: node for node in nodes}
        self.flaws: list[Flaw] = []
        self.locals: dict[str, dict[str, int]] = {}

    def compile(self) -> Mapped:
        order = self._order()
        signatures: dict[str, Signature] = {}
        marks: dict[str, _Mark] = {}
        for place, name in enumerate(order):
            with _Collected(self.flaws):
                _, params, result = self.declared.signature(self.nodes[name])
                for arg in self.nodes[name].args.args:
                    # A method's parameters are its wire format: they may be called like one of its functions.
                    if (arg.arg in self.declared.taken and arg.arg not in self.nodes) or arg.arg in USED:
                        flaw(arg, f"the name {arg.arg} means something else in this contract", "choose another")
                signatures[name] = Signature(place, tuple(params), tuple(params.values()), result)
                mark = self._mark(self.nodes[name])
                if mark is not None:
                    marks[name] = mark
        if self.flaws:
            raise SourceError(self.flaws)
        written = [name for name in self.nodes if name in marks]
        with _Collected(self.flaws):
            methods = tuple(self._method(name, signatures[name], marks[name]) for name in written)
        if self.flaws:
            raise SourceError(self.flaws)
        scheduled = {name: place for place, name in enumerate(written) if marks[name].gas}
        lines: list[tuple[Node, int]] = []
        done: list[FunctionDef] = [
            FunctionDef(name, len(signatures[name].params), signatures[name].params, signatures[name].result, ())
            for name in order
        ]
        for place, name in enumerate(order):
            with _Collected(self.flaws):
                scope = Scope(self._program(done, methods), place, ())
                body = Body(self.declared, signatures, scope, scheduled)
                signature = signatures[name]
                block = body.compile(
                    dict(zip(signature.names, signature.params, strict=True)), signature.result, self.nodes[name].body
                )
                self.locals[name] = body.names
                lines += body.lines
                done[place] = FunctionDef(name, len(signature.params), tuple(body.local_types), signature.result, block)
        if self.flaws:
            raise SourceError(self.flaws)
        program = self._program(done, methods)
        self._verify(program)
        return Mapped(program, lines)

    def _program(self, functions: Sequence[FunctionDef], methods: tuple[MethodDef, ...]) -> Program:
        declared = self.declared
        return Program(
            LANGUAGE,
            declared.name,
            self.docstring,
            declared.branch,
            tuple(declared.struct_defs),
            tuple(declared.table_defs),
            tuple(declared.event_defs),
            tuple(declared.code_defs),
            tuple(declared.import_defs),
            tuple(functions),
            methods,
            tuple(declared.enum_defs),
        )

    def _verify(self, program: Program) -> None:
        """What only the verifier sees: where it was, by the function's name."""
        try:
            verify(encode(program))
        except PeerError as error:
            words = error.message.split(" ")
            name = words[1].rstrip(":") if words[0] in ("function", "method") else ""
            node, message = self.nodes.get(name), error.message
            for local, place in self.locals.get(name, {}).items():
                message = message.replace(f"local {place} ", f"{local} ")
            raise SourceError([Flaw(node.lineno if node else 1, 1, message, "")]) from error

    def _order(self) -> list[str]:
        """Functions so that each comes after those that it calls. Refuses recursion."""
        order: list[str] = []
        under_way: list[str] = []

        def add(name: str) -> None:
            if name in under_way:
                cycle = " calls ".join([*under_way[under_way.index(name) :], name])
                flaw(self.nodes[name], f"{cycle}: no recursion", "write a loop")
            if name not in order:
                under_way.append(name)
                for callee in self._callees(self.nodes[name]):
                    add(callee)
                under_way.pop()
                order.append(name)

        for name in self.nodes:
            add(name)
        return order

    def _callees(self, node: ast.FunctionDef) -> Iterator[str]:
        for each in ast.walk(ast.Module(body=node.body, type_ignores=[])):
            match each:
                case ast.Call(func=ast.Name(id=name)) if name in self.nodes:
                    yield name

    def _mark(self, node: ast.FunctionDef) -> _Mark | None:
        """What the decorator says, if there is one."""
        if not node.decorator_list:
            return None
        mark = _Mark()
        mark.business = self.declared.business
        for decorator in node.decorator_list:
            match decorator:
                case ast.Call(func=ast.Name(id="method"), args=roles, keywords=keywords):
                    mark.roles = self._numbers(roles)
                    for keyword in keywords:
                        if keyword.arg == "business":
                            mark.business = self._number(keyword.value)
                        elif keyword.arg == "device":
                            mark.device = bool(self.declared.constant(keyword.value))
                        else:
                            flaw(keyword, "method(roles…, business=…, device=True)")
                case ast.Call(func=ast.Name(id="internal"), args=callers, keywords=[]) if callers:
                    mark.callers = self._numbers(callers)
                case ast.Call(func=ast.Name(id="scheduled"), args=[], keywords=[ast.keyword(arg="gas", value=gas)]):
                    mark.gas = self._number(gas)
                case _:
                    flaw(decorator, "no such mark", "@method(Role.GRID), @internal(MONEY), @scheduled(gas=200_000)")
        return mark

    def _numbers(self, nodes: Iterable[ast.expr]) -> tuple[int, ...]:
        found: set[int] = set()
        for node in nodes:
            inner = node.value if isinstance(node, ast.Starred) else node
            found.add(self._number(inner))
        return tuple(sorted(found))

    def _number(self, node: ast.expr) -> int:
        value = self.declared.constant(node)
        return value if isinstance(value, int) else flaw(node, "a number is needed")

    def _method(self, name: str, signature: Signature, mark: _Mark) -> MethodDef:
        docstring = ast.get_docstring(self.nodes[name]) or ""
        summary = " ".join(docstring.split("\n\n")[0].split())
        if len(summary) > _SUMMARY_MAX:
            flaw(self.nodes[name].body[0], f"what a method does, in at most {_SUMMARY_MAX} characters", _SAY_MORE)
        return MethodDef(
            name.rstrip("_"),
            signature.place,
            self.declared.params(self.nodes[name]),
            mark.roles,
            mark.business,
            mark.device,
            mark.callers,
            mark.gas,
            summary,
        )
