"""Run random programs by both engines and compare everything that a node would keep of a call."""

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Any

from contracts.contract import Business, Method
from contracts.host import Failure, Host
from contracts.memory import MemoryState
from contracts.vm.generator import functions
from contracts.vm.interpreter import Interpreter
from contracts.vm.layout import args_class
from contracts.vm.link import Linked
from contracts.vm.program import Program
from contracts.vm.verifier import Verified, verify
from ledger.codec import encode
from ledger.errors import PeerError
from ledger.transaction import Branch, ExpiryClass
from tests.vm.draw import OTHER, OWN, draw_program
from tests.vm.values import value_of

GAS = 200_000
CALLS = 4
"""Of each method."""

Engine = Callable[[Linked], Sequence[Callable[..., Any]]]


def interpreted(linked: Linked) -> list[Callable[..., Any]]:
    """The specification."""
    return [
        lambda host, *args, position=position: Interpreter(linked, host).call(position, args)
        for position in range(len(linked.program.functions))
    ]


def methods_of(linked: Linked, engine: Engine) -> dict[tuple[int, str], Method]:
    """Entries for the host."""
    run = engine(linked)
    found = {}
    for declared in linked.program.methods:
        function = linked.program.functions[declared.function]
        args = linked.args_of(declared)

        def enter(host: Host, values: Any, body: Any = run[declared.function]) -> Any:
            return body(host, *[getattr(values, name) for name in values.__struct_fields__])

        found[linked.contract, declared.name] = Method(
            linked.contract, declared.name, args, Branch.SERVICE, ExpiryClass.ORDINARY, Business.CHARGING, (),
            declared.callers, enter, "", args_class(function.result, linked.classes),
        )  # fmt: skip
    return found


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
    """One program by both engines; returns a digest of all outcomes, the same on every machine. Counts codes in
    `tally`. Raises DifferenceError.
    """
    rng = random.Random(f"program {seed}")
    other, _ = passing(rng)
    own, _ = passing(rng, other.program)
    tables = []
    for engine in (interpreted, functions):
        linked = [Linked(other, OTHER), Linked(own, OWN)]
        tables.append(methods_of(linked[0], engine) | methods_of(linked[1], engine))
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
            raise DifferenceError(f"program {seed}, {method.name}{args}: interpreter {one}, generator {two}")
        state.apply(one[4])
        digest.update(repr(one).encode())
        if tally is not None:
            tally[one[0]] = tally.get(one[0], 0) + 1
    return digest.digest()
