"""Which nodes of a program have run: for the tests of a contract's author."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from contracts.compiler.compiler import Mapped
from contracts.host import Host
from contracts.vm.interpreter import After, Frame, Interpreter
from contracts.vm.link import Linked
from contracts.vm.tree import Expr, Statement
from contracts.vm.walk import Node, blocks, expressions, within


class Coverage:
    """What has run of one program, by the identity of its nodes."""

    def __init__(self, mapped: Mapped) -> None:
        self.program = mapped.program
        self.ran: set[int] = set()
        self._nodes: dict[int, tuple[Node, int]] = {}
        own: dict[int, int] = {}
        for node, line in mapped.lines:
            own.setdefault(id(node), line)
        for function in self.program.functions:
            for statement in function.body:
                self._add(statement, own, 0)

    def _add(self, node: Node, own: Mapping[int, int], line: int) -> None:
        """A node with its line; what the compiler made of a word (`require`) has that of the word."""
        line = own.get(id(node), line)
        self._nodes.setdefault(id(node), (node, line))
        if isinstance(node, Statement):
            parts: Iterable[Node] = chain(expressions(node), *blocks(node))
        else:
            parts = within(node)
        for part in parts:
            self._add(part, own, line)

    @property
    def count(self) -> int:
        """How many nodes there are."""
        return len(self._nodes)

    def functions(self, linked: Linked) -> Sequence[Callable[..., Any]]:
        """The functions of the program, which must be `linked`'s own, run by the interpreter and noted."""
        return [self._function(linked, place) for place in range(len(self.program.functions))]

    def _function(self, linked: Linked, place: int) -> Callable[..., Any]:
        def run(host: Host, *args: Any) -> Any:
            return _Noting(linked, host, self.ran).call(place, args)

        return run

    @property
    def missed(self) -> list[int]:
        """The line of each node that never ran."""
        return [line for name, (_, line) in self._nodes.items() if name not in self.ran]


class _Noting(Interpreter):
    def __init__(self, linked: Linked, host: Host, ran: set[int]) -> None:
        super().__init__(linked, host)
        self.ran = ran

    @property
    def frame(self) -> type[Frame]:
        return _NotedFrame


class _NotedFrame(Frame):
    interpreter: _Noting

    def step(self, statement: Statement) -> After:
        self.interpreter.ran.add(id(statement))
        return super().step(statement)

    def value(self, node: Expr) -> Any:
        self.interpreter.ran.add(id(node))
        return super().value(node)
