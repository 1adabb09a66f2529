"""What the governance contract has the host do about codes: keep one that is proposed, let it rule, drop it."""

from collections.abc import Hashable, Sequence

from msgspec.structs import replace

from contracts.codes import Code
from contracts.deployment import (
    CODES,
    DEPLOYMENTS,
    DEPLOYMENTS_MAX,
    NUMBER_MAX,
    Deployment,
    Deployments,
    StoredCode,
)
from contracts.host import Failure, Host
from contracts.vm.program import NamedType, Program, code_hash
from contracts.vm.types import List, Optional, Struct, Type
from contracts.vm.verifier import verify
from ledger.codec import decode_trusted
from ledger.errors import OurError, PeerError

VERIFY_BYTE_GAS = 500
"""The verifier takes in a byte in 350 ns."""
READ_BYTE_GAS = 50
"""Decoding alone, in 30."""


def keep_code(host: Host, number: int, code: bytes, source: str) -> bytes:
    """Judge a code that is proposed for a number, and keep it; returns its hash. Fails with CODE_REFUSED,
    LAYOUT_CHANGED.
    """
    host.charge(len(code) * VERIFY_BYTE_GAS)
    if not 1 <= number <= NUMBER_MAX:
        raise Failure(Code.NUMBER_INVALID)
    try:
        program = verify(code).program
    except PeerError as error:
        raise Failure(Code.CODE_REFUSED) from error
    name = code_hash(code)
    with host.as_system():
        found = host.get(DEPLOYMENTS)
        _check_layout(host, _last(found, number, host.height + 1), program)
        kept = host.get(CODES, name)
        # Whoever is first would else have the text of all that propose the same code after it.
        if kept is not None and kept.source != source:
            raise Failure(Code.TEXT_DIFFERS)
        host.put(CODES, name, StoredCode(code, source, kept.proposals + 1 if kept else 1))
    return name


def install(host: Host, number: int, name: bytes, from_height: int) -> int:
    """Let a kept code rule under a number from a height on, at the earliest from the next; returns that height. Fails
    with CODE_UNKNOWN, LAYOUT_CHANGED, CODE_REFUSED.
    """
    with host.as_system():
        stored = host.get(CODES, name)
        found = host.get(DEPLOYMENTS)
    if stored is None or stored.proposals == 0:
        raise Failure(Code.CODE_UNKNOWN)
    height = max(from_height, host.height + 1)
    with host.as_system():
        _check_layout(host, _last(found, number, height), _read(host, stored))
    before = [
        each
        for each in (found.deployments if found else ())
        if each.number != number or each.from_height < height  # a later decision takes the place of what waits
    ]
    if len(before) >= DEPLOYMENTS_MAX:
        raise Failure(Code.CODE_REFUSED)
    after = sorted((*before, Deployment(number, height, name)), key=lambda each: (each.number, each.from_height))
    with host.as_system():
        host.put(CODES, name, replace(stored, proposals=stored.proposals - 1))
        host.put(DEPLOYMENTS, b"", Deployments(tuple(after)))
    return height


def drop_code(host: Host, name: bytes) -> bool:
    """A proposal of a code has lapsed: forget the code, unless others propose it, or it rules or ruled. Whether it is
    forgotten. Fails with CODE_UNKNOWN.
    """
    with host.as_system():
        stored = host.get(CODES, name)
        if stored is None or stored.proposals == 0:
            raise Failure(Code.CODE_UNKNOWN)
        found = host.get(DEPLOYMENTS)
        rules = any(each.code_hash == name for each in (found.deployments if found else ()))
        if rules or stored.proposals > 1:
            host.put(CODES, name, replace(stored, proposals=stored.proposals - 1))
            return False
        host.delete(CODES, name)
    return True


def _last(found: Deployments | None, number: int, height: int) -> Deployment | None:
    """The newest version of a number that begins before a height: the one that the next takes over from."""
    versions = [each for each in (found.deployments if found else ()) if each.number == number]
    return next((each for each in reversed(versions) if each.from_height < height), None)


def _check_layout(host: Host, before: Deployment | None, program: Program) -> None:
    # Records and events are read by the types of the code that rules, and by readers of their own: with others, what an
    # earlier code wrote would be misread, or stop every node that reads it. Each version keeps the tables and events of
    # the one before it, so all of all before.
    if before is None:
        return
    stored = host.get(CODES, before.code_hash)
    if stored is None:
        raise OurError("code-missing", f"code {before.code_hash.hex()} rules and is not in the state")
    old = _read(host, stored)
    known: dict[Hashable, int] = {}
    if not _layouts(old, known).items() <= _layouts(program, known).items():
        raise Failure(Code.LAYOUT_CHANGED)


def _layouts(program: Program, known: dict[Hashable, int]) -> dict[object, object]:
    """Types of tables by their marks and of events by their names, without names of structs. `known` numbers the shapes
    of structs, each by those of its parts: a program may nest more than anybody could write out.
    """
    numbers: list[int] = []
    for struct in program.structs:
        shape = tuple(_shape(field, numbers) for field in struct.fields)
        numbers.append(known.setdefault(shape, len(known)))
    tables: dict[object, object] = {table.tag: (table.key, numbers[table.value]) for table in program.tables}
    return tables | {event.name: numbers[event.struct] for event in program.events}


def _shape(field: NamedType, numbers: Sequence[int]) -> Hashable:
    def of(declared: Type) -> Hashable:
        match declared:
            case Struct(struct):
                return numbers[struct]
            case Optional(struct):
                return "or nothing", numbers[struct]
            case List(item, low, high):
                return "list", of(item), low, high
        return declared

    return field.name, of(field.type)


def _read(host: Host, stored: StoredCode) -> Program:
    """A kept code, which was verified before it was kept."""
    host.charge(len(stored.code) * READ_BYTE_GAS)
    return decode_trusted(Program, stored.code)
