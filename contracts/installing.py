"""What the governance contract has the host do about codes: keep one that is proposed, let it rule, drop it."""

from contracts.codes import Code
from contracts.deployment import (
    CODES,
    DEPLOYMENTS,
    DEPLOYMENTS_MAX,
    Deployment,
    Deployments,
    StoredCode,
    deployments_of,
    ruling,
)
from contracts.host import Failure, Host
from contracts.vm.program import Program, TableDef, code_hash
from contracts.vm.types import List, Optional, Struct, Type
from contracts.vm.verifier import verify
from ledger.errors import PeerError

VERIFY_BYTE_GAS = 500
"""The verifier takes in a byte in 350 ns."""


def keep_code(host: Host, number: int, code: bytes, source: str) -> bytes:
    """Judge a code that is proposed for a number, and keep it; returns its hash. Fails with CODE_REFUSED,
    TABLES_CHANGED.
    """
    host.charge(len(code) * VERIFY_BYTE_GAS)
    try:
        program = verify(code).program
    except PeerError as error:
        raise Failure(Code.CODE_REFUSED) from error
    _check_tables(host, number, program)
    name = code_hash(code)
    with host.as_system():
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
    host.charge(len(stored.code) * VERIFY_BYTE_GAS)
    _check_tables(host, number, verify(stored.code).program)
    height = max(from_height, host.height + 1)
    before = [
        each
        for each in (found.deployments if found else ())
        if each.number != number or each.from_height < height  # a later decision takes the place of what waits
    ]
    if len(before) >= DEPLOYMENTS_MAX or number == 0:
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


def _check_tables(host: Host, number: int, program: Program) -> None:
    # Records are read by the types of the code that rules: with others, what an earlier code wrote would be misread,
    # or stop every node that reads it.
    present = ruling(deployments_of(host.state), host.height).get(number)
    if present is None:
        return
    with host.as_system():
        stored = host.get(CODES, present)
    if stored is None:
        raise Failure(Code.CODE_UNKNOWN)
    before = verify(stored.code).program
    tables = {table.tag: table for table in program.tables}
    for table in before.tables:
        kept = tables.get(table.tag)
        if kept is None or _layout(before, table) != _layout(program, kept):
            raise Failure(Code.TABLES_CHANGED)


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
