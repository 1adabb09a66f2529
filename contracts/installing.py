"""What the governance contract has the host do about codes: keep one that is proposed, let it rule, drop it."""

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
from contracts.vm.program import Program, TableDef, code_hash
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
    TABLES_CHANGED.
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
        _check_tables(host, _last(found, number, host.height + 1), program)
        if host.get(CODES, name) is None:
            host.put(CODES, name, StoredCode(code, source))
    return name


def install(host: Host, number: int, name: bytes, from_height: int) -> int:
    """Let a kept code rule under a number from a height on, at the earliest from the next; returns that height. Fails
    with CODE_UNKNOWN, TABLES_CHANGED, CODE_REFUSED.
    """
    with host.as_system():
        stored = host.get(CODES, name)
        found = host.get(DEPLOYMENTS)
    if stored is None:
        raise Failure(Code.CODE_UNKNOWN)
    height = max(from_height, host.height + 1)
    with host.as_system():
        _check_tables(host, _last(found, number, height), _read(host, stored))
    before = [
        each
        for each in (found.deployments if found else ())
        if each.number != number or each.from_height < height  # a later decision takes the place of what waits
    ]
    if len(before) >= DEPLOYMENTS_MAX:
        raise Failure(Code.CODE_REFUSED)
    after = sorted((*before, Deployment(number, height, name)), key=lambda each: (each.number, each.from_height))
    with host.as_system():
        host.put(DEPLOYMENTS, b"", Deployments(tuple(after)))
    return height


def drop_code(host: Host, name: bytes) -> bool:
    """Forget a code that was proposed, unless it rules or ruled; whether it is forgotten."""
    with host.as_system():
        found = host.get(DEPLOYMENTS)
        rules = any(each.code_hash == name for each in (found.deployments if found else ()))
        if not rules:
            host.delete(CODES, name)
    return not rules


def _last(found: Deployments | None, number: int, height: int) -> Deployment | None:
    """The newest version of a number that begins before a height: the one that the next takes over from."""
    versions = [each for each in (found.deployments if found else ()) if each.number == number]
    return next((each for each in reversed(versions) if each.from_height < height), None)


def _check_tables(host: Host, before: Deployment | None, program: Program) -> None:
    # Records are read by the types of the code that rules: with others, what an earlier code wrote would be misread,
    # or stop every node that reads it. Each version keeps the tables of the one before it, so all of all before.
    if before is None:
        return
    stored = host.get(CODES, before.code_hash)
    if stored is None:
        raise OurError("code-missing", f"code {before.code_hash.hex()} rules and is not in the state")
    old = _read(host, stored)
    tables = {table.tag: table for table in program.tables}
    for table in old.tables:
        kept = tables.get(table.tag)
        if kept is None or _layout(old, table) != _layout(program, kept):
            raise Failure(Code.TABLES_CHANGED)


def _read(host: Host, stored: StoredCode) -> Program:
    """A kept code, which was verified before it was kept."""
    host.charge(len(stored.code) * READ_BYTE_GAS)
    return decode_trusted(Program, stored.code)


def _layout(program: Program, table: TableDef) -> object:
    return table.key, _shape(program, Struct(table.value))


def _shape(program: Program, declared: Type) -> object:
    """A type without names and positions."""
    match declared:
        case Struct(struct):
            return tuple(_shape(program, field.type) for field in program.structs[struct].fields)
        case Optional(struct):
            return "or nothing", _shape(program, Struct(struct))
        case List(item, low, high):
            return "list", _shape(program, item), low, high
    return declared
