"""Run a chain by other methods than its own: by the oracles, or by methods made for a test."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from contracts import executor
from contracts.contract import Method
from contracts.host import StateReader
from contracts.vm.link import Linked
from contracts.vm.verifier import verify
from ledger.codec import encode
from node.library import NUMBERS, program_of

Methods = Mapping[tuple[int, str], Method]


@contextmanager
def running(methods: Methods) -> Iterator[None]:
    """Have these methods rule every chain for a while, beside those of the chain that they leave."""
    before = vars(executor)["methods_at"]

    def both(state: StateReader, height: int) -> Methods:
        return {**before(state, height), **methods}

    vars(executor)["methods_at"] = both
    try:
        yield
    finally:
        vars(executor)["methods_at"] = before


def linked_of(name: str) -> Linked:
    """A contract of the library at its number."""
    return Linked(verify(encode(program_of(name))), NUMBERS[name])
