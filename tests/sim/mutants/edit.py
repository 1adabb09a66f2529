"""How a bug is put in: a piece of a function's source is replaced, and the function gets the code of the result.

Whoever has imported the function runs the bug too. A piece that is no longer there is an error: the mutant must follow
the code.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any, NamedTuple

Function = Callable[..., Any]


class Edit(NamedTuple):
    """One replacement in a function."""

    function: Function
    old: str
    new: str


class Mutant(NamedTuple):
    """A deliberate bug."""

    name: str
    what: str
    """What is wrong, in words."""
    edits: tuple[Edit, ...]
    breaks: str
    """How the failure begins: any other one, a crash say, would show something else."""
    seed: int
    """A seed that finds it in this version of the engine. A change of timing moves a bug to another seed."""
    family: str = "seed"
    """Of the seed: a name in `tests.sim.plan.FAMILIES`."""


def compiled(edits: list[Edit]) -> CodeType:
    """The code of a function after some edits of it."""
    function = edits[0].function
    source = textwrap.dedent(inspect.getsource(function))
    source = source[source.index("def ") :]  # without decorators, which register the right one
    for edit in edits:
        if edit.old not in source:
            raise AssertionError(f"{function.__qualname__} no longer contains {edit.old!r}: the mutant must follow it")
        source = source.replace(edit.old, edit.new)
    names = dict(function.__globals__)
    exec(compile(source, f"<mutant of {function.__qualname__}>", "exec"), names)
    code: CodeType = names[function.__name__].__code__
    return code


@contextmanager
def mutated(mutant: Mutant) -> Iterator[None]:
    """Run with a bug."""
    by_function: dict[Function, list[Edit]] = {}
    for edit in mutant.edits:
        by_function.setdefault(edit.function, []).append(edit)
    codes = {function: compiled(edits) for function, edits in by_function.items()}
    right = {function: function.__code__ for function in codes}
    for function, code in codes.items():
        function.__code__ = code
    try:
        yield
    finally:
        for function, code in right.items():
            function.__code__ = code
