"""How to talk to contracts: methods, events and codes by name, as their programs say. For the API, the command line,
and everybody who builds or reads a transaction.

Classes here carry the names that the contract's author gave, for people and programs; what runs calls fields by
position (`contracts.vm.layout`). Both have one encoding.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from contracts.codes import describe as describe_own
from contracts.compiled import program_of
from contracts.contract import Business, Role
from contracts.deployment import deployments_of, ruling
from contracts.host import StateReader
from contracts.numbers import GOVERNANCE
from contracts.vm.layout import python_type
from contracts.vm.program import EnumDef, NamedType, Program
from contracts.vm.types import List
from ledger.block import Event
from ledger.codec import Wire, decode, encode
from ledger.errors import ClientError, PeerError
from ledger.transaction import Body, Branch, ExpiryClass

GAS_LIMIT = 1_000_000
"""Enough for every method but those of governance; a block's gas is that of a full block of such calls."""
GOVERNANCE_GAS_LIMIT = 10_000_000
"""Of calls that rewrite the timeline: with a hundred validators and nine decisions pending they take half of it."""
DESCRIBED_MAX = 256
"""Programs, and sets of them, that a process keeps described: several versions of every contract of a chain."""


K = TypeVar("K")
V = TypeVar("V")


class MethodDescription(msgspec.Struct, frozen=True):
    """One method as people and programs need it."""

    contract: str
    number: int
    method: str
    summary: str
    args: type[Wire]
    branch: Branch
    expiry_class: ExpiryClass
    business: Business
    roles: tuple[Role, ...]
    """Who may send it as a transaction, unless the permission table in the state says otherwise; none for methods that
    only other contracts and the schedule call.
    """

    def encode(self, args: Wire) -> "EncodedCall":
        """A call of it."""
        gas_limit = GOVERNANCE_GAS_LIMIT if self.number == GOVERNANCE else GAS_LIMIT
        return EncodedCall(self.number, self.method, self.branch, self.expiry_class, encode(args), gas_limit)


class EventDescription(msgspec.Struct, frozen=True):
    """One event."""

    contract: str
    number: int
    name: str
    data: type[Wire]


class EncodedCall(msgspec.Struct, frozen=True):
    """The part of a transaction's body that says what is called."""

    contract: int
    method: str
    branch: Branch
    expiry_class: ExpiryClass
    args: bytes
    gas_limit: int

    def body(self, chain_id: bytes, sender: bytes, valid_until_ms: int, salt: bytes) -> Body:
        """The body of the transaction that makes the call. Its salt (8 bytes) sets it apart from one like it."""
        return Body(
            chain_id=chain_id,
            sender=sender,
            branch=self.branch,
            expiry_class=self.expiry_class,
            contract=self.contract,
            method=self.method,
            args=self.args,
            gas_limit=self.gas_limit,
            valid_until_ms=valid_until_ms,
            salt=salt,
        )


class Described(msgspec.Struct, frozen=True):
    """One contract at its number."""

    number: int
    name: str
    summary: str
    methods: tuple[MethodDescription, ...]
    events: tuple[EventDescription, ...]
    structs: tuple[type[Wire], ...]
    """By their places in the program."""
    codes: Mapping[int, tuple[str, str]]
    """Number of a receipt's code → label and sentence."""


class Abi:
    """Some contracts, by number and by name."""

    def __init__(self, contracts: Iterable[Described]) -> None:
        self.contracts = tuple(contracts)
        self._methods = {(each.number, method.method): method for each in self.contracts for method in each.methods}
        self._events = {(each.number, event.name): event for each in self.contracts for event in each.events}
        self._codes = {number: told for each in self.contracts for number, told in each.codes.items()}
        self._names = {each.number: each.name for each in self.contracts}

    def contract_name(self, number: int) -> str:
        """Name of a contract; its number in words where there is none."""
        return self._names.get(number, f"contract-{number}")

    def contract(self, contract: str) -> Described:
        """A contract by name or number. Raises ClientError `contract-unknown`, `contract-ambiguous`."""
        named = [each for each in self.contracts if contract in (each.name, str(each.number))]
        # No contract of later takes the name of one of genesis over.
        named = [each for each in named if each.number <= GOVERNANCE] or named
        if not named:
            known = ", ".join(sorted(self._names.values()))
            raise ClientError("contract-unknown", f"no contract {contract}; there are {known}")
        if len(named) > 1:
            raise ClientError("contract-ambiguous", f"several contracts are called {contract}; name one by its number")
        return named[0]

    def method(self, contract: str, method: str) -> MethodDescription:
        """A method that transactions call, by the contract's name or number. Raises ClientError as `contract`, and
        `method-unknown`.
        """
        named = self.contract(contract)
        found = {each.method: each for each in named.methods if each.roles}
        if method not in found:
            known = ", ".join(sorted(found))
            raise ClientError("method-unknown", f"{named.name} has no method {method}; it has {known}")
        return found[method]

    def encode_call(self, contract: str, method: str, /, **fields: Any) -> EncodedCall:
        """A call by names; fields are those of the argument struct.

        Raises ClientError as `method`, and `args-malformed`.
        """
        found = self.method(contract, method)
        try:
            call = found.encode(found.args(**fields))
            decode(found.args, call.args)
        except (TypeError, ValueError, OverflowError, PeerError) as error:  # lengths and ranges, too
            raise ClientError("args-malformed", f"{found.contract}.{method}: {error}") from error
        return call

    def decode_args(self, contract: int, method: str, args: bytes) -> Wire:
        """Argument struct of a transaction.

        Raises ClientError `method-unknown`, PeerError `encoding-malformed` or `encoding-not-canonical`.
        """
        found = self._methods.get((contract, method))
        if found is None:
            raise ClientError("method-unknown", f"contract {contract} has no method {method}")
        return decode(found.args, args)

    def decode_event(self, event: Event) -> Wire:
        """Struct of an event. Raises ClientError `event-unknown`, PeerError `encoding-malformed`."""
        found = self._events.get((event.contract, event.name))
        if found is None:
            raise ClientError("event-unknown", f"contract {event.contract} has no event {event.name}")
        return decode(found.data, event.data)

    def describe_code(self, code: int) -> tuple[str, str]:
        """Label and sentence of a receipt's code, whichever contract it is of."""
        return self._codes.get(code) or describe_own(code)


_described: dict[tuple[int, bytes], Described] = {}
_abis: dict[tuple[tuple[int, bytes], ...], Abi] = {}


def abi_at(state: StateReader, height: int) -> Abi:
    """The contracts that rule at a height."""
    present = tuple(sorted(ruling(deployments_of(state), height).items()))
    found = _abis.get(present)
    if found is None:
        found = Abi([_described_at(state, number, name) for number, name in present])
        _keep(_abis, present, found)
    return found


def _described_at(state: StateReader, number: int, code_hash: bytes) -> Described:
    key = number, code_hash
    found = _described.get(key)
    if found is None:
        found = described(number, program_of(state, code_hash))
        _keep(_described, key, found)
    return found


def _keep(kept: dict[K, V], key: K, value: V) -> None:
    """Keep one more, the oldest ones no longer. Threads of a process share these."""
    kept[key] = value
    for oldest in list(kept)[:-DESCRIBED_MAX]:
        kept.pop(oldest, None)


def described(number: int, program: Program) -> Described:
    """A program at its number."""
    enums = [_enum(declared) for declared in program.enums]
    classes: list[type[Wire]] = []
    for struct in program.structs:
        classes.append(_class(struct.name, struct.fields, classes, enums))
    methods = []
    for method in program.methods:
        types = program.functions[method.function].locals
        params = [
            NamedType(param.name, declared, param.enum)
            for param, declared in zip(method.params, types, strict=False)  # locals that are no parameters follow
        ]
        methods.append(
            MethodDescription(
                contract=program.name,
                number=number,
                method=method.name,
                summary=method.summary,
                args=_class(method.name, params, classes, enums),
                branch=Branch(program.branch),
                expiry_class=ExpiryClass.DEVICE if method.device else ExpiryClass.ORDINARY,
                business=Business(method.business),
                roles=tuple(map(Role, method.roles)),
            )
        )
    return Described(
        number,
        program.name,
        program.summary,
        tuple(methods),
        tuple(EventDescription(program.name, number, event.name, classes[event.struct]) for event in program.events),
        tuple(classes),
        {number * 1_000 + code.number: (_label(code.name), code.sentence) for code in program.codes},
    )


def _label(name: str) -> str:
    """A name for programs, in kebab-case."""
    return name.lower().replace("_", "-")


def _class(
    name: str, fields: Sequence[NamedType], classes: Sequence[type[Wire]], enums: Sequence[type[IntEnum]]
) -> type[Wire]:
    typed = []
    for field in fields:
        shown: Any = python_type(field.type, classes)
        for place in field.enum:
            shown = _of_members(field, enums[place])
        typed.append((field.name, shown))
    made: type[Wire] = msgspec.defstruct(name, typed, bases=(Wire,))  # type: ignore[assignment]  # of that base
    return made


def _of_members(field: NamedType, enum: type[IntEnum]) -> Any:
    """The annotation of a field whose number, or numbers, are an enum's."""
    match field.type:
        case List(_, low, high):
            return Annotated[tuple[enum, ...], Meta(min_length=low, max_length=high)]  # type: ignore[valid-type]  # made here
    return enum


def _enum(declared: EnumDef) -> type[IntEnum]:
    members = {name: declared.first + place for place, name in enumerate(declared.members)}
    functional: Any = IntEnum  # whose name type checkers want as a literal
    made: type[IntEnum] = functional(declared.name, members)
    return made
