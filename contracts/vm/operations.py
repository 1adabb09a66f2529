"""What both engines call where a node needs more than an operator of Python: checks, sizes paid for, the host's
functions.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from contracts.codes import Code
from contracts.digests import node_key_digest, own_key_digest, vote_key_digest
from contracts.host import Failure, Host
from contracts.installing import drop_code, install, keep_code
from contracts.numbers import GOVERNANCE
from contracts.vm.gas import Schedule
from contracts.vm.layout import struct_classes
from contracts.vm.native import NATIVES
from contracts.vm.operators import Op
from ledger.charging import reading_digest
from ledger.codec import Wire, decode, encode
from ledger.errors import PeerError
from ledger.evidence import Equivocation, proves_equivocation
from ledger.genesis import Parameters
from ledger.hashing import Tag, sm3
from ledger.keys import Scheme
from ledger.terms import OBSERVERS_MAX, Observer, Terms
from ledger.validators import VALIDATORS_MAX, VALIDATORS_MIN, Validator

W = TypeVar("W", bound=Wire)

DIGEST_BYTE_GAS = 6
"""SM3 takes in a byte in about as many nanoseconds."""
_ITEM_BYTES = 8
"""Of a list: a reference."""
_NATIVE_CLASSES = struct_classes(NATIVES.structs)


def out_of_range() -> NoReturn:
    """A number or length does not fit."""
    raise Failure(Code.OUT_OF_RANGE)


def missing() -> NoReturn:
    """A struct that had to be there is not."""
    raise Failure(Code.VALUE_MISSING)


def out_of_gas() -> NoReturn:
    """The limit is reached."""
    raise Failure(Code.OUT_OF_GAS)


def not_positive() -> NoReturn:
    """A divisor is none."""
    raise Failure(Code.DIVISOR_NOT_POSITIVE)


def fail(host: Host, code: int) -> NoReturn:
    """The contract ends the call with one of its own codes."""
    raise Failure(1000 * host.contract + code)


def arith(op: Op, left: int, right: int) -> int:
    """Arithmetic as the tree means it."""
    match op:
        case Op.ADD:
            return left + right
        case Op.SUB:
            return left - right
        case Op.MUL:
            return left * right
        case Op.MIN:
            return min(left, right)
        case Op.MAX:
            return max(left, right)
    if right <= 0:
        not_positive()
    match op:
        case Op.DIV_FLOOR:
            return left // right
        case Op.DIV_CEIL:
            return -(-left // right)
        case Op.DIV_HALF_UP:
            return (2 * left + right) // (2 * right)
    return left % right


def index(row: Any, place: int) -> Any:
    """An item of a list, a byte of bytes."""
    if not 0 <= place < len(row):
        raise Failure(Code.INDEX_OUT_OF_RANGE)
    return row[place]


class Operations:
    """Those that cost by size, at one schedule's prices."""

    def __init__(self, schedule: Schedule) -> None:
        self._nanogas = schedule.nanogas_per_byte
        self._per_item = schedule.per_item

    def _charge(self, host: Host, row: Any, length: int) -> None:
        size = length * _ITEM_BYTES if isinstance(row, tuple) else length
        host.charge(size * self._nanogas // 1000)

    def part(self, host: Host, row: Any, begin: int, end: int) -> Any:
        """A slice: exactly what was asked for, or a failure."""
        if not 0 <= begin <= end <= len(row):
            raise Failure(Code.INDEX_OUT_OF_RANGE)
        self._charge(host, row, end - begin)
        return row[begin:end]

    def joined(self, host: Host, left: Any, right: Any) -> Any:
        """Two in one."""
        self._charge(host, left, len(left) + len(right))
        return left + right

    def contains(self, host: Host, row: Any, item: Any) -> bool:
        """Whether an item is in a list."""
        host.charge(len(row) * self._per_item)
        return item in row

    def sorted_set(self, host: Host, row: Any) -> Any:
        """Distinct items in order."""
        host.charge(4 * len(row) * self._per_item)
        return tuple(sorted(set(row)))

    def with_item(self, host: Host, row: Any, place: int, item: Any) -> Any:
        """Another item in one place."""
        if not 0 <= place < len(row):
            raise Failure(Code.INDEX_OUT_OF_RANGE)
        self._charge(host, row, len(row))
        return (*row[:place], item, *row[place + 1 :])

    def decoded(self, host: Host, struct: type[Wire], data: bytes) -> Wire | None:
        """A struct of its canonical bytes, or None."""
        self._charge(host, data, 8 * len(data))
        try:
            return decode(struct, data)
        except PeerError:
            return None


# ── what the host lends, in the order of `contracts.vm.functions.HOST_FUNCTIONS` ──────────────────────────────────────


def _key_is_sound(host: Host, key: bytes, schemes: Sequence[int]) -> bool:
    return host.key_is_sound(key, frozenset(Scheme(scheme) for scheme in schemes))


def _digest(host: Host, data: bytes) -> bytes:
    host.charge(len(data) * DIGEST_BYTE_GAS)
    return sm3(Tag.CONTRACT_DATA, data)


def _of_governance(host: Host) -> None:
    # Any company can have a contract voted in; who votes is decided by one contract alone.
    if host.contract != GOVERNANCE:
        raise Failure(Code.NOT_GOVERNANCE)


def _wire(kind: type[W], value: Wire) -> W:
    try:
        return decode(kind, encode(value))
    except PeerError as error:
        raise Failure(Code.OUT_OF_RANGE) from error


def _given(terms: Terms) -> Wire:
    """Terms in the class that programs know them by."""
    return decode(_NATIVE_CLASSES[NATIVES.classes.index(Terms)], encode(terms))


def _present_terms(host: Host) -> Wire:
    _of_governance(host)
    return _given(host.timeline[-1])


def _is_known_node_key(host: Host, node_key: bytes) -> bool:
    _of_governance(host)
    return any(node_key in terms.node_keys for terms in host.timeline)


def _decide(host: Host, members: Sequence[Wire], observers: Sequence[Wire], parameters: Wire) -> Wire:
    _of_governance(host)
    if not VALIDATORS_MIN <= len(members) <= VALIDATORS_MAX or len(observers) > OBSERVERS_MAX:
        raise Failure(Code.OUT_OF_RANGE)
    voting = [_wire(Validator, member) for member in members]
    for each in ([m.name for m in voting], [m.vote_key for m in voting], [m.node_key for m in voting]):
        if len(set(each)) != len(each):  # who is there twice would vote twice
            raise Failure(Code.OUT_OF_RANGE)
    following = [_wire(Observer, observer) for observer in observers]
    return _given(host.decide(host.timeline, voting, following, _wire(Parameters, parameters)))


def _proves_equivocation(host: Host, evidence: Wire) -> bool:
    _of_governance(host)
    return proves_equivocation(host.chain_id, _wire(Equivocation, evidence), host.verify)


def _keep_code(host: Host, number: int, code: bytes, source: str) -> bytes:
    _of_governance(host)
    return keep_code(host, number, code, source)


def _install_code(host: Host, number: int, name: bytes, from_height: int) -> int:
    _of_governance(host)
    return install(host, number, name, from_height)


def _drop_code(host: Host, name: bytes) -> bool:
    _of_governance(host)
    return drop_code(host, name)


def _is_method(host: Host, number: int, name: str) -> bool:
    method = host.methods.get((number, name))
    return method is not None and bool(method.roles)


LENT: tuple[Callable[..., Any], ...] = (
    lambda host: host.caller,
    lambda host: host.company or "",
    lambda host: host.call_id,
    lambda host: host.chain_id,
    lambda host: host.height,
    lambda host: host.now_ms,
    Host.verify,
    _key_is_sound,
    _digest,
    lambda host, company, key: own_key_digest(host.chain_id, company, key),
    lambda host, company, key: vote_key_digest(host.chain_id, company, key),
    lambda host, company, key: node_key_digest(host.chain_id, company, key),
    lambda _, reading: reading_digest(reading),
    lambda _, text: text.encode(),
    lambda _, number: number.to_bytes(1, "big"),
    lambda _, number: number.to_bytes(4, "big"),
    lambda _, number: number.to_bytes(8, "big"),
    lambda _, text: bool(text) and min(text) >= " ",
    _present_terms,
    _is_known_node_key,
    _decide,
    _proves_equivocation,
    _keep_code,
    _install_code,
    _drop_code,
    _is_method,
)
