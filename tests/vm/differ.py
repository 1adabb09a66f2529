"""Run random programs by both engines and compare everything that a node would keep of a call."""

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Any

from contracts.contract import Method
from contracts.host import Failure, Host
from contracts.memory import MemoryState
from contracts.vm.entry import methods_of
from contracts.vm.generator import functions
from contracts.vm.interpreter import Interpreter
from contracts.vm.link import Linked
from contracts.vm.program import Program
from contracts.vm.tree import Block, Expr
from contracts.vm.verifier import Verified, verify
from ledger.codec import encode
from ledger.errors import PeerError
from tests.vm.draw import OTHER, OWN, draw_program
from tests.vm.values import value_of

GAS = 200_000
CALLS = 4
"""Of each method."""

Engine = Callable[[Linked], Sequence[Callable[..., Any]]]


class Remembering(Interpreter):
    """The specification, which computes what a block costs once: a loop enters one thousands of times."""

    def __init__(self, linked: Linked, host: Host, costs: dict[tuple[int, int], int]) -> None:
        super().__init__(linked, host)
        self.costs = costs

    def gas(self, block: Block, condition: Expr | None) -> int:
        """By identity, which the program keeps; of both, for all empty blocks are one."""
        key = id(block), id(condition)
        found = self.costs.get(key)
        if found is None:
            found = self.costs[key] = super().gas(block, condition)
        return found


def interpreted(linked: Linked) -> list[Callable[..., Any]]:
    """The specification."""
    costs: dict[tuple[int, int], int] = {}
    return [
        lambda host, *args, position=position: Remembering(linked, host, costs).call(position, args)
        for position in range(len(linked.program.functions))
    ]


def outcome(
    state: MemoryState, methods: dict[tuple[int, str], Method], name: str, args: Any, gas: int
) -> tuple[Any, ...]:
    """Result or code, gas, events and changes of one call."""
    host = Host(state, methods, bytes(32), 7, 1_000)
    host.begin(bytes(32), bytes([1]) * 33, gas)
    method = methods[OWN, name]
    host.contract = OWN
    host._stack.append(OWN)
    result: Any = None
    try:
        result = method.run(host, args)
    except Failure as failure:
        host.roll_back()
        return failure.code, None, max(host.gas_left, 0), (), {}
    return 0, encode(result), host.gas_left, tuple(host.events), host.changes()


def passing(rng: random.Random, other: Program | None = None) -> tuple[Verified, int]:
    """A random program that the verifier passes, and how many it refused before."""
    for refused in range(50):
        program = draw_program(rng, other)
        try:
            return verify(encode(program)), refused
        except PeerError:
            continue
    raise AssertionError("fifty programs in a row were refused")


class DifferenceError(AssertionError):
    """The engines disagree."""


def compare(seed: int, tally: dict[int, int] | None = None) -> bytes:
    """A random program by both engines; returns a digest of all outcomes, the same on every machine."""
    rng = random.Random(f"program {seed}")
    other, _ = passing(rng)
    own, _ = passing(rng, other.program)
    return compare_programs(own, other, rng, tally)


def compare_programs(
    own: Verified, other: Verified | None, rng: random.Random, tally: dict[int, int] | None = None
) -> bytes:
    """Random calls of a program's methods by both engines; returns a digest of all outcomes. Counts codes in `tally`.
    Raises DifferenceError.
    """
    tables = []
    for engine in (interpreted, functions):
        linked = [Linked(own, OWN), *([Linked(other, OTHER)] if other else [])]
        tables.append({key: method for each in linked for key, method in methods_of(each, engine(each)).items()})
    linked_own = Linked(own, OWN)
    state = MemoryState()
    digest = hashlib.sha256(own.hash)
    for method in [*own.program.methods] * CALLS:
        function = own.program.functions[method.function]
        types = function.locals[: function.params]

        def make(struct: int, values: Sequence[Any]) -> Any:
            return linked_own.classes[struct](*values)

        args = linked_own.args_of(method)(*[value_of(rng, each, own.program.structs, make) for each in types])
        gas = rng.choice((rng.randint(0, 3_000), GAS, GAS))
        one, two = (outcome(state, table, method.name, args, gas) for table in tables)
        if one != two:
            raise DifferenceError(f"{own.hash.hex()}, {method.name}{args}: interpreter {one}, generator {two}")
        state.apply(one[4])
        digest.update(repr(one).encode())
        if tally is not None:
            tally[one[0]] = tally.get(one[0], 0) + 1
    return digest.digest()
