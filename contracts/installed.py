"""How to talk to contracts that a vote has installed: their methods and events, described from the codes in the state.

Classes here carry the names that the contract's author gave, for people and programs; what runs calls fields by
position (`contracts.vm.layout`). Both have one encoding.
"""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from contracts.abi import EventDescription, MethodDescription
from contracts.codes import describe
from contracts.compiled import program_of
from contracts.contract import Business, Role
from contracts.deployment import deployments_of, ruling
from contracts.host import StateReader
from contracts.vm.layout import python_type
from contracts.vm.program import NamedType, Program
from ledger.codec import Wire
from ledger.transaction import Branch, ExpiryClass

DESCRIBED_MAX = 64
"""Programs that are kept described."""


def methods(state: StateReader, height: int) -> list[MethodDescription]:
    """All methods of installed contracts that transactions can call at a height."""
    return [
        each for number, name in _programs(state, height) for each in _described(number, program_of(state, name))[0]
    ]


def events(state: StateReader, height: int) -> list[EventDescription]:
    """All events of installed contracts."""
    return [
        each for number, name in _programs(state, height) for each in _described(number, program_of(state, name))[1]
    ]


def describe_code(state: StateReader, height: int, code: int) -> tuple[str, str]:
    """Label and sentence of a receipt's code, whichever contract it is of."""
    number, own = divmod(code, 1000)
    name = ruling(deployments_of(state), height).get(number)
    declared = program_of(state, name).codes if name else ()
    found = next((each for each in declared if each.number == own), None)
    return (found.name.lower().replace("_", "-"), found.sentence) if found else describe(code)


def _programs(state: StateReader, height: int) -> list[tuple[int, bytes]]:
    return sorted(ruling(deployments_of(state), height).items())


@lru_cache(DESCRIBED_MAX)
def _described(number: int, program: Program) -> tuple[list[MethodDescription], list[EventDescription]]:
    classes: list[type[Wire]] = []
    for struct in program.structs:
        classes.append(_class(struct.name, struct.fields, classes))
    found = []
    for method in program.methods:
        function = program.functions[method.function]
        params = [NamedType(*pair) for pair in zip(method.params, function.locals, strict=False)]
        if method.roles:
            found.append(
                MethodDescription(
                    contract=program.name,
                    number=number,
                    method=method.name,
                    summary=method.summary,
                    args=_class(method.name, params, classes),
                    branch=Branch(program.branch),
                    expiry_class=ExpiryClass.DEVICE if method.device else ExpiryClass.ORDINARY,
                    business=Business(method.business),
                    roles=tuple(map(Role, method.roles)),
                )
            )
    told = [EventDescription(program.name, number, event.name, classes[event.struct]) for event in program.events]
    return found, told


def _class(name: str, fields: Sequence[NamedType], classes: Sequence[type[Wire]]) -> type[Wire]:
    typed = [(field.name, python_type(field.type, classes)) for field in fields]
    made: type[Wire] = msgspec.defstruct(name, typed, bases=(Wire,))  # type: ignore[assignment]  # of that base
    return made
