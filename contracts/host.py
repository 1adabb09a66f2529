"""The host: all that a contract can see and do.

Gas is a limit on resources, not money: one unit is about a nanosecond of the work on the machine that the schedule
was measured on. Every call of the host charges before it works; a call that fails keeps nothing but its receipt, and
its gas stays charged.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from contracts.codes import Code
from ledger.block import Event
from ledger.codec import Wire, decode, encode
from ledger.errors import OurError, PeerError
from ledger.genesis import Parameters
from ledger.keys import Scheme, check_public_key, verify
from ledger.terms import DECISION_DELAY, Observer, Terms, Timeline, terms_at
from ledger.validators import Validator, ValidatorSet

if TYPE_CHECKING:
    from contracts.contract import Method

TRANSACTION_GAS = 5_000
"""Decoding, checks and receipt of one call."""
TRANSACTION_BYTE_GAS = 5
"""Per byte of a signed transaction."""
GET_GAS = 1_000
PUT_GAS = 20_000
"""A changed key costs the state tree more than the contract: about 20 µs per leaf."""
BYTE_GAS = 5
"""Per byte of a value read or written, or of an event."""
EMIT_GAS = 500
CALL_GAS = 1_000
SCHEDULE_GAS = 1_000
VERIFY_GAS = 300_000
"""One SM2 verification, the slower scheme."""

CALL_DEPTH_MAX = 8
"""Contracts on the stack; deeper chains are a design mistake."""
ITERATE_MAX = 1_000
"""Entries of one iteration: bounds a call's time (about a millisecond)."""
SYSTEM = 0
"""Number of the executor's own key space: branch heads, validator sets, scheduled calls, device counters."""

V = TypeVar("V", bound=Wire)
_ABSENT: Any = object()


class StateReader(Protocol):
    """The state before the block."""

    def get(self, key: bytes) -> bytes | None:
        """Value of a key, None if it is absent."""

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Pairs whose key begins with `prefix` and is greater than `after`, in key order."""


class Failure(Exception):  # noqa: N818 - a failed call is an outcome, not an error of this program
    """A call that changes nothing; carries the numeric code of its receipt."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {int(code)}")
        self.code = int(code)


class Table(Generic[V]):
    """A map in one contract's key space, as a contract declares it: key bytes → struct.

    The key in the state is the contract's number (4 bytes, big-endian), the table's tag (1 byte), and the entry's own
    key.
    """

    __slots__ = ("contract", "decode", "key_parts", "kind", "prefix")

    def __init__(self, contract: int, tag: bytes, kind: type[V], *key_parts: Any) -> None:
        """`key_parts` are the types that an entry's own key is made of."""
        self.contract = contract
        self.kind = kind
        self.key_parts = key_parts
        self.prefix = contract.to_bytes(4, "big") + tag
        self.decode: Callable[[bytes], V] = msgspec.msgpack.Decoder(kind).decode

    def key(self, key: bytes = b"") -> bytes:
        """The key in the state: what a state proof is asked for."""
        return self.prefix + key

    def read(self, state: StateReader, key: bytes = b"") -> V | None:
        """Entry in a given state, for views."""
        raw = state.get(self.prefix + key)
        return None if raw is None else self.decode(raw)

    def scan(self, state: StateReader, prefix: bytes = b"") -> Iterator[tuple[bytes, V]]:
        """Entries (own key, struct) of a given state in key order, for views; the caller bounds it."""
        skip = len(self.prefix)
        for key, raw in state.scan(self.prefix + prefix):
            yield key[skip:], self.decode(raw)


class ScheduledCall(Wire):
    """A call that the chain itself will make."""

    method: str
    args: bytes
    gas_limit: int


SCHEDULE = Table(SYSTEM, b"s", ScheduledCall)
"""Key: due time (8 bytes) ‖ contract (4 bytes) ‖ id that the contract chose: sorted as they run."""


def schedule_key(due_ms: int, contract: int, call_id: bytes) -> bytes:
    """Own key of a scheduled call."""
    return due_ms.to_bytes(8, "big") + contract.to_bytes(4, "big") + call_id


class Decided(Wire):
    """What rules, and what is decided."""

    timeline: Timeline


TIMELINE = Table(SYSTEM, b"v", Decided)
"""One entry, under the empty key: who votes on the next blocks, and within which limits."""


def _as(value: Wire, kind: type[V], code: Code) -> V:
    """A value in another contract's type of it: from the caller's words, not from the one that it is told by. Fails
    with `code` if it is none.
    """
    try:
        return decode(kind, encode(value))
    except PeerError as error:
        raise Failure(code) from error


class Host:
    """One block's view of the state, one call at a time. The executor makes it; contracts are handed it."""

    __slots__ = (
        "_stack",
        "_undo",
        "_writes",
        "call_id",
        "caller",
        "chain_id",
        "company",
        "contract",
        "events",
        "gas_left",
        "height",
        "methods",
        "now_ms",
        "state",
    )

    def __init__(
        self,
        state: StateReader,
        methods: "Mapping[tuple[int, str], Method]",
        chain_id: bytes,
        height: int,
        now_ms: int,
    ) -> None:
        self.state = state
        self.methods = methods
        self._writes: dict[bytes, bytes | None] = {}
        self._undo: list[tuple[bytes, Any]] = []
        self._stack: list[int] = []
        self.chain_id = chain_id
        self.height = height
        self.now_ms = now_ms
        """Time of the block: the only clock."""
        self.call_id = b""
        """Id of the transaction or scheduled call: unique for good, so records may be named by it."""
        self.caller = b""
        """Public key of the sender, or the 4-byte number of the calling contract (no key is that short)."""
        self.company: str | None = None
        """The company that the sender's key acts for, None for drivers, owners, devices and contracts."""
        self.contract = SYSTEM
        self.events: list[Event] = []
        self.gas_left = 0

    # ── for the executor ──────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, call_id: bytes, caller: bytes, gas_limit: int) -> None:
        """Begin a call: nothing of the one before is left but what it wrote."""
        self._undo.clear()
        self._stack.clear()
        self.events = []
        self.call_id = call_id
        self.caller = caller
        self.company = None
        self.contract = SYSTEM
        self.gas_left = gas_limit

    def enter(self, method: "Method", args: Any) -> None:
        """Run the method that the call is for."""
        self.contract = method.contract
        self._stack.append(method.contract)
        method.run(self, args)

    def roll_back(self) -> None:
        """Undo all that the present call wrote and said, whichever contract did it."""
        writes = self._writes
        for key, before in reversed(self._undo):
            if before is _ABSENT:
                del writes[key]
            else:
                writes[key] = before
        self._undo.clear()
        self.events = []

    def changes(self) -> dict[bytes, bytes | None]:
        """All writes of the block in key order; None where a key is deleted."""
        return dict(sorted(self._writes.items()))

    # ── for contracts ─────────────────────────────────────────────────────────────────────────────────────────────────

    def charge(self, gas: int) -> None:
        """Take gas. Fails with OUT_OF_GAS."""
        self.gas_left -= gas
        if self.gas_left < 0:
            raise Failure(Code.OUT_OF_GAS)

    def get(self, table: Table[V], key: bytes = b"") -> V | None:
        """Entry of one of the contract's own tables."""
        self.gas_left -= GET_GAS
        if self.gas_left < 0:
            raise Failure(Code.OUT_OF_GAS)
        if table.contract != self.contract:
            raise OurError("contract-key-space", f"contract {self.contract} reached into contract {table.contract}")
        full = table.prefix + key
        raw = self._writes.get(full, _ABSENT)
        if raw is _ABSENT:
            raw = self.state.get(full)
        if raw is None:
            return None
        self.gas_left -= len(raw) * BYTE_GAS
        if self.gas_left < 0:
            raise Failure(Code.OUT_OF_GAS)
        return table.decode(raw)

    def put(self, table: Table[V], key: bytes, value: V) -> None:
        """Write an entry of one of the contract's own tables."""
        raw = encode(value)
        self.gas_left -= PUT_GAS + len(raw) * BYTE_GAS
        if self.gas_left < 0:
            raise Failure(Code.OUT_OF_GAS)
        if table.contract != self.contract:
            raise OurError("contract-key-space", f"contract {self.contract} reached into contract {table.contract}")
        full = table.prefix + key
        writes = self._writes
        self._undo.append((full, writes.get(full, _ABSENT)))
        writes[full] = raw

    def delete(self, table: Table[V], key: bytes) -> None:
        """Remove an entry of one of the contract's own tables; nothing happens if there is none."""
        self.charge(PUT_GAS)
        if table.contract != self.contract:
            raise OurError("contract-key-space", f"contract {self.contract} reached into contract {table.contract}")
        full = table.prefix + key
        self._undo.append((full, self._writes.get(full, _ABSENT)))
        self._writes[full] = None

    def iterate(self, table: Table[V], prefix: bytes, limit: int) -> list[tuple[bytes, V]]:
        """The first `limit` entries (own key, struct) whose key begins with `prefix`, in key order.

        Looks through all writes of the block: for rare methods only, never on the path of a payment or session.
        """
        if not 0 < limit <= ITERATE_MAX:
            raise OurError("contract-iterate", f"limit {limit} is not within 1…{ITERATE_MAX}")
        if table.contract != self.contract:
            raise OurError("contract-key-space", f"contract {self.contract} reached into contract {table.contract}")
        self.charge(GET_GAS)
        full, skip = table.prefix + prefix, len(table.prefix)
        written = {key: raw for key, raw in self._writes.items() if key.startswith(full)}
        found: dict[bytes, bytes] = {key: raw for key, raw in written.items() if raw is not None}
        stored = 0
        for key, raw in self.state.scan(full):
            if stored == limit:
                break
            if key not in written:
                found[key] = raw
                stored += 1
        entries = sorted(found.items())[:limit]
        for _, raw in entries:
            self.charge(GET_GAS + len(raw) * BYTE_GAS)
        return [(key[skip:], table.decode(raw)) for key, raw in entries]

    def emit(self, name: str, data: Wire) -> None:
        """Tell the world: an event of this contract in the call's receipt."""
        raw = encode(data)
        self.charge(EMIT_GAS + len(raw) * BYTE_GAS)
        self.events.append(Event(self.contract, name, raw))

    def call(self, contract: int, method: str, args: Wire, expects: type[Wire] | None = None) -> Any:
        """Call another contract, which sees this one as its caller; returns what the method returns. `expects` is the
        struct around the result that the caller was written for.
        """
        self.charge(CALL_GAS)
        callee = self.methods.get((contract, method))
        if callee is None:
            raise Failure(Code.METHOD_UNKNOWN)
        if len(self._stack) >= CALL_DEPTH_MAX:
            raise Failure(Code.CALL_TOO_DEEP)
        if contract in self._stack:
            raise Failure(Code.CALL_REENTRANT)
        if self.contract not in callee.callers:
            raise Failure(Code.METHOD_INTERNAL)
        saved = self.contract, self.caller, self.company
        self.contract, self.caller, self.company = contract, self.contract.to_bytes(4, "big"), None
        self._stack.append(contract)
        result = callee.run(self, args if type(args) is callee.args else _as(args, callee.args, Code.ARGS_MALFORMED))
        self._stack.pop()
        self.contract, self.caller, self.company = saved
        if expects is None or callee.result is None or callee.result is expects:
            return result
        around = callee.result(result) if callee.result.__struct_fields__ else callee.result()
        return getattr(_as(around, expects, Code.RESULT_MALFORMED), "a0", None)

    def schedule(self, due_ms: int, call_id: bytes, method: str, args: Wire, gas_limit: int) -> None:
        """Have the chain call a method of this contract in the first block at or after `due_ms`, a time in the future.

        `call_id` is the contract's own name for it (32 bytes), used once per due time.
        """
        if due_ms <= self.now_ms:
            raise Failure(Code.SCHEDULE_PAST)
        self.charge(SCHEDULE_GAS)
        entry = ScheduledCall(method, encode(args), gas_limit)
        with self.as_system() as contract:
            self.put(SCHEDULE, schedule_key(due_ms, contract, call_id), entry)

    def cancel(self, due_ms: int, call_id: bytes) -> None:
        """Take back a scheduled call of this contract."""
        with self.as_system() as contract:
            self.delete(SCHEDULE, schedule_key(due_ms, contract, call_id))

    @property
    def timeline(self) -> Timeline:
        """Who votes on this block and the next ones, and within which limits. Costs gas by its size: ask once."""
        with self.as_system():
            decided = self.get(TIMELINE)
        if decided is None:
            raise OurError("timeline-missing", "the state does not say who votes")
        return decided.timeline

    def decide(
        self,
        timeline: Timeline,
        members: Sequence[Validator],
        observers: Sequence[Observer],
        parameters: Parameters,
    ) -> Terms:
        """Change the terms from K + 1 blocks on, given the present timeline; returns them. A second decision of a block
        takes the place of the first, so it must be made from it: `timeline[-1]`.
        """
        height = self.height + DECISION_DELAY
        before = terms_at(timeline, height - 1).validators
        voters = tuple(sorted(members, key=lambda member: member.name))
        validators = before if voters == before.validators else ValidatorSet(before.epoch + 1, voters)
        ordered = tuple(sorted(observers, key=lambda observer: observer.name))
        terms = Terms(height, validators, ordered, parameters)
        kept = tuple(each for each in timeline if each.height < height)
        with self.as_system():
            self.put(TIMELINE, b"", Decided((*kept, terms)))
        return terms

    @contextmanager
    def as_system(self) -> Iterator[int]:
        """Reach into the executor's own key space for the contract that calls, whose number it gives."""
        contract, self.contract = self.contract, SYSTEM
        try:
            yield contract
        finally:
            self.contract = contract

    def verify(self, public_key: bytes, digest: bytes, signature: bytes) -> bool:
        """Whether a signature holds."""
        self.charge(VERIFY_GAS)
        return verify(public_key, digest, signature)

    def key_is_sound(self, public_key: bytes, allowed: frozenset[Scheme]) -> bool:
        """Whether a key may be registered: allowed scheme, canonical point of full order."""
        self.charge(VERIFY_GAS)
        try:
            check_public_key(public_key, allowed)
        except PeerError:
            return False
        return True
