"""Which nodes of a program have run: for the tests of a contract's author."""

from collections.abc import Callable, Sequence
from typing import Any

from contracts.compiler.compiler import Mapped
from contracts.host import Host
from contracts.vm.interpreter import After, Frame, Interpreter
from contracts.vm.link import Linked
from contracts.vm.tree import Expr, Statement
from contracts.vm.walk import Node, nodes


class Coverage:
    """What has run of one program, by the identity of its nodes."""

    def __init__(self, mapped: Mapped) -> None:
        self.program = program = mapped.program
        self._lines: dict[int, int] = {}
        for node, line in mapped.lines:
            self._lines.setdefault(id(node), line)
        self.nodes: tuple[Node, ...] = tuple(
            {id(node): node for function in program.functions for node in nodes(function.body)}.values()
        )
        self.ran: set[int] = set()

    def functions(self, linked: Linked) -> Sequence[Callable[..., Any]]:
        """The functions of the program, which must be `linked`'s own, run by the interpreter and noted."""
        return [self._function(linked, place) for place in range(len(self.program.functions))]

    def _function(self, linked: Linked, place: int) -> Callable[..., Any]:
        def run(host: Host, *args: Any) -> Any:
            return _Noting(linked, host, self.ran).call(place, args)

        return run

    @property
    def missed(self) -> list[Node]:
        """Nodes that never ran, in the order of the program."""
        return [node for node in self.nodes if id(node) not in self.ran]

    @property
    def missed_lines(self) -> list[int]:
        """Lines of the text with such nodes."""
        return sorted({self._lines[id(node)] for node in self.missed if id(node) in self._lines})


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
