"""Run library contracts on the machine in place of their Python twins: `pytest --vm money,identity …`."""

from pathlib import Path

from contracts.catalogue import BY_NAME, METHODS
from contracts.compiler.compiler import compile_verified
from contracts.vm.entry import methods_of
from contracts.vm.generator import functions
from contracts.vm.link import Linked

LIBRARY = Path(__file__).parents[2] / "contracts" / "library"


def swap(name: str) -> None:
    """Have a contract of the library run by the generated code of its text."""
    number = BY_NAME[name].number
    verified = compile_verified((LIBRARY / f"{name}.py").read_text(encoding="utf-8"), f"{name}.py")
    linked = Linked(verified, number)
    twin = {key: method for key, method in METHODS.items() if key[0] == number}
    found = methods_of(linked, functions(linked))
    assert found.keys() == twin.keys(), found.keys() ^ twin.keys()
    for key, method in found.items():
        old = twin[key]
        ours = (method.branch, method.expiry_class, method.business, method.roles, method.callers)
        theirs = (old.branch, old.expiry_class, old.business, tuple(sorted(old.roles)), tuple(sorted(old.callers)))
        if old.roles or old.callers:
            assert ours == theirs, (key, ours, theirs)
        METHODS[key] = method
