"""Run library contracts on the machine in place of their Python twins: `pytest --vm money,identity …`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from contracts.catalogue import BY_NAME, METHODS
from contracts.compiler.compiler import compile_verified
from contracts.contract import Method
from contracts.vm.entry import methods_of
from contracts.vm.generator import functions
from contracts.vm.link import Linked

LIBRARY = Path(__file__).parents[2] / "contracts" / "library"


@contextmanager
def running(methods: Mapping[tuple[int, str], Method]) -> Iterator[None]:
    """Have these methods be the chain's for a while."""
    before = dict(METHODS)
    METHODS.update(methods)
    try:
        yield
    finally:
        METHODS.update(before)


def linked_of(name: str) -> Linked:
    """A contract of the library at its number."""
    text = (LIBRARY / f"{name}.py").read_text(encoding="utf-8")
    return Linked(compile_verified(text, f"{name}.py"), BY_NAME[name].number)


def swap(name: str) -> None:
    """Have a contract of the library run by the generated code of its text."""
    linked = linked_of(name)
    twin = {key: method for key, method in METHODS.items() if key[0] == linked.contract}
    found = methods_of(linked, functions(linked))
    assert found.keys() == twin.keys(), found.keys() ^ twin.keys()
    for key, method in found.items():
        old = twin[key]
        ours = (method.branch, method.expiry_class, method.business, method.roles, method.callers)
        theirs = (old.branch, old.expiry_class, old.business, tuple(sorted(old.roles)), tuple(sorted(old.callers)))
        if old.roles or old.callers:
            assert ours == theirs, (key, ours, theirs)
        METHODS[key] = method
