"""The methods of a chain's contracts, compiled: kept by code, number and version of the prices."""

from collections.abc import Mapping

from contracts.contract import Method
from contracts.deployment import CODES, deployments_of, ruling
from contracts.host import StateReader
from contracts.vm.entry import methods_of
from contracts.vm.gas import SCHEDULE_1
from contracts.vm.generator import functions
from contracts.vm.link import Linked
from contracts.vm.program import Program
from contracts.vm.verifier import verify
from ledger.codec import decode_trusted
from ledger.errors import OurError

COMPILED_MAX = 256
"""Programs at their numbers that a process keeps compiled: several versions of every contract of a chain."""

_compiled: dict[tuple[bytes, int, int], dict[tuple[int, str], Method]] = {}
_linked: dict[tuple[tuple[int, bytes], ...], Mapping[tuple[int, str], Method]] = {}


def methods_at(state: StateReader, height: int) -> Mapping[tuple[int, str], Method]:
    """The methods of all contracts that rule at a height, by number and name."""
    present = tuple(sorted(ruling(deployments_of(state), height).items()))
    found = _linked.get(present)
    if found is None:
        merged: dict[tuple[int, str], Method] = {}
        for number, code_hash in present:
            merged.update(_methods(state, number, code_hash))
        _linked.clear()  # one set rules at a time; another one comes with an upgrade
        found = _linked[present] = merged
    return found


def _methods(state: StateReader, number: int, code_hash: bytes) -> dict[tuple[int, str], Method]:
    key = code_hash, number, SCHEDULE_1.version
    if key not in _compiled:
        if len(_compiled) >= COMPILED_MAX:
            _compiled.clear()
        linked = Linked(verify(_code(state, code_hash)), number, SCHEDULE_1)
        _compiled[key] = methods_of(linked, functions(linked))
    return _compiled[key]


def _code(state: StateReader, code_hash: bytes) -> bytes:
    stored = CODES.read(state, code_hash)
    if stored is None:
        raise OurError("code-missing", f"code {code_hash.hex()} rules and is not in the state")
    return stored.code


def program_of(state: StateReader, code_hash: bytes) -> Program:
    """A program that is in the state."""
    return decode_trusted(Program, _code(state, code_hash))
