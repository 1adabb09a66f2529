"""The executor: a block and the state before it in, changes and receipts out. Pure, and alike on every validator.

Order: due scheduled calls (by time, contract, id; the rest carried over when their gas is used up), transactions in
block order, the bookkeeper's reward, branch heads, failed turns. A call that fails leaves its receipt and nothing else.
An unexpected exception inside a contract is our own bug: it stops the process as `OurError`, because a receipt made of
it could differ from machine to machine.
"""

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from contracts.codes import Code
from contracts.compiled import methods_at
from contracts.contract import COMPANY_ROLES, Business, Method
from contracts.host import (
    SCHEDULE,
    SYSTEM,
    TIMELINE,
    TRANSACTION_BYTE_GAS,
    TRANSACTION_GAS,
    Decided,
    Failure,
    Host,
    ScheduledCall,
    StateReader,
)
from contracts.numbers import IDENTITY, MONEY
from contracts.records.identity import COMPANIES, KEYS, PERMISSIONS, permission_key
from contracts.system import BRANCH_HEADS, COUNTERS, FAILED_TURNS, DeviceCounter, FailedTurns, branch_key
from ledger.block import BranchHead, Receipt
from ledger.codec import Wire, decode, encode
from ledger.errors import OurError, PeerError
from ledger.hashing import Tag, sm3
from ledger.terms import Timeline, advance, terms_at
from ledger.transaction import ExpiryClass, Transaction
from ledger.units import Name
from ledger.validators import Failure as FailedTurn

SCHEDULED_GAS_MAX = 400_000_000
"""Gas limits of the scheduled calls of one block: a fifth of a block, so that they never crowd out its transactions."""
REWARD_GAS = 10_000_000
"""For the executor's own call of the money contract: never the limit."""


class BlockInput(Struct, frozen=True):
    """What is executed."""

    chain_id: bytes
    height: int
    time_ms: int
    proposer: str
    """The bookkeeper's company name."""
    transactions: tuple[Transaction, ...]
    failures: tuple[FailedTurn, ...] = ()
    """Turns up to this block that may still pass a member over."""


class BlockOutcome(Struct, frozen=True):
    """What came of it."""

    changes: dict[bytes, bytes | None]
    """State changes in key order; None where a key is deleted (which the state may not have had)."""
    receipts: tuple[bytes, ...]
    """Of the transactions in block order, then of the scheduled calls."""
    timeline: Timeline
    """The terms of the next block, and all that are decided."""


class RewardArgs(Wire):
    """`money.reward`."""

    bookkeeper: Name
    payer: Name


class Row(Struct, frozen=True):
    """A row of the permission table as the block uses it."""

    business: Business
    individuals: bool
    """Whether drivers, owners or devices may call: the contract itself knows which."""
    companies: frozenset[int]


Methods = Mapping[tuple[int, str], Method]


def execute_block(
    state: StateReader, block: BlockInput, methods: Methods | None = None
) -> Generator[None, None, BlockOutcome]:
    """Execute a block; yields after each call, so that whoever runs it can see to other things. Returns the outcome.

    `methods` is for tools: what runs in place of the state's own contracts.
    """
    methods = methods_at(state, block.height) if methods is None else methods
    host = Host(state, methods, block.chain_id, block.height, block.time_ms)
    table: dict[tuple[int, str], Row] = {}
    scheduled = []
    for key, call in list(_due_calls(state, block.time_ms)):
        receipt = _run_scheduled(host, key, call)
        if receipt is not None:
            scheduled.append(receipt)
        yield
    receipts = []
    for transaction in block.transactions:
        receipts.append(_run_transaction(host, state, table, transaction))
        yield
    if block.transactions:
        _reward(host, block)
        _move_branch_heads(host, block)
    _note_failed_turns(host, block)
    timeline = _move_timeline(host, block.height + 1)
    return BlockOutcome(host.changes(), (*receipts, *scheduled), timeline)


def run(state: StateReader, block: BlockInput, methods: Methods | None = None) -> BlockOutcome:
    """Execute a block in one go."""
    slices = execute_block(state, block, methods)
    while True:
        try:
            next(slices)
        except StopIteration as done:
            outcome: BlockOutcome = done.value
            return outcome


SIMULATED_GAS_MAX = 10_000_000
"""Of a simulated call: as much as a transaction of governance may take, some ten milliseconds."""


class Simulated(Struct, frozen=True):
    """What a call would do, were it in the next block alone."""

    receipt: Receipt
    changed_keys: int


def simulate(state: StateReader, chain_id: bytes, height: int, now_ms: int, transaction: Transaction) -> Simulated:
    """Execute a transaction on a state and keep nothing. Its signature and expiry are not looked at, its gas limit is
    cut to SIMULATED_GAS_MAX.
    """
    host = Host(state, methods_at(state, height), chain_id, height, now_ms)
    limit = min(transaction.body.gas_limit, SIMULATED_GAS_MAX)
    limited = replace(transaction, body=replace(transaction.body, gas_limit=limit))
    receipt = decode(Receipt, _run_transaction(host, state, {}, limited))
    return Simulated(receipt, len(host.changes()))


def scheduled_call_id(key: bytes) -> bytes:
    """Id in the receipt of a scheduled call, from its own key in the schedule."""
    return sm3(Tag.SCHEDULED_CALL, key)


# ── transactions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _run_transaction(
    host: Host, state: StateReader, table: dict[tuple[int, str], Row], transaction: Transaction
) -> bytes:
    body = transaction.body
    host.begin(transaction.id, body.sender, body.gas_limit)
    code = 0
    try:
        host.charge(TRANSACTION_GAS + len(transaction.raw) * TRANSACTION_BYTE_GAS)
        method = host.methods.get((body.contract, body.method))
        if method is None:
            known = any(number == body.contract for number, _ in host.methods)
            raise Failure(Code.METHOD_UNKNOWN if known else Code.CONTRACT_UNKNOWN)
        if body.branch is not method.branch:
            raise Failure(Code.BRANCH_WRONG)
        if body.expiry_class is not method.expiry_class:
            raise Failure(Code.CLASS_WRONG)
        args = _arguments(method, body.args)
        _admit(host, state, table, method)
        if method.expiry_class is ExpiryClass.DEVICE:
            _count(host, getattr(args, method.counter))
        host.enter(method, args)
    except Failure as failure:
        host.roll_back()
        code = failure.code
    except Exception as error:
        raise OurError("contract-bug", f"transaction {transaction.id.hex()}: {error!r}") from error
    used = body.gas_limit - host.gas_left if host.gas_left > 0 else body.gas_limit
    return encode(Receipt(transaction.id, code, used, b"", tuple(host.events)))


def _arguments(method: Method, raw: bytes) -> Any:
    try:
        return decode(method.args, raw)
    except PeerError as error:
        malformed = error.code == "encoding-malformed"
        raise Failure(Code.ARGS_MALFORMED if malformed else Code.ARGS_NOT_CANONICAL) from error


def _admit(host: Host, state: StateReader, table: dict[tuple[int, str], Row], method: Method) -> None:
    """Judge the sender by the permission table as it stood before the block: role × business type × method.

    A method for individuals only costs no look-up here: the contract that knows drivers or devices looks at its own
    record of the sender.
    """
    key = (method.contract, method.name)
    row = table.get(key)
    if row is None:
        row = table[key] = _row(state, method)
    if not row.companies:
        if not row.individuals:
            raise Failure(Code.METHOD_INTERNAL if not method.roles else Code.ROLE_MISSING)
        return
    host.contract = IDENTITY
    holder = host.get(KEYS, host.caller)
    if holder is None:
        if row.individuals:
            return
        raise Failure(Code.SENDER_UNKNOWN)
    company = host.get(COMPANIES, holder.company.encode())
    if company is None or row.companies.isdisjoint(company.roles):
        raise Failure(Code.ROLE_MISSING)
    if row.business not in holder.businesses:
        raise Failure(Code.BUSINESS_MISSING)
    host.company = holder.company


def _row(state: StateReader, method: Method) -> Row:
    permission = PERMISSIONS.read(state, permission_key(method.contract, method.name))
    # A method that came by an installation has no row until the regulator changes it.
    business = permission.business if permission else method.business
    roles = frozenset(permission.roles if permission else method.roles)
    return Row(business, bool(roles - COMPANY_ROLES), roles & COMPANY_ROLES)


def _count(host: Host, counter: int) -> None:
    """A device's record runs once: its counter must be larger than any before. Undone with the call if that fails."""
    host.contract = SYSTEM
    last = host.get(COUNTERS, host.caller)
    if last is not None and counter <= last.counter:
        raise Failure(Code.COUNTER_STALE)
    host.put(COUNTERS, host.caller, DeviceCounter(counter))


# ── scheduled calls ───────────────────────────────────────────────────────────────────────────────────────────────────


def _due_calls(state: StateReader, now_ms: int) -> Iterator[tuple[bytes, ScheduledCall]]:
    """Calls that are due, in order, as many as the block's gas for them allows."""
    gas = 0
    for key, call in SCHEDULE.scan(state):
        gas += call.gas_limit
        if int.from_bytes(key[:8], "big") > now_ms or gas > SCHEDULED_GAS_MAX:
            return
        yield key, call


def _run_scheduled(host: Host, key: bytes, call: ScheduledCall) -> bytes | None:
    """Make one scheduled call; None if an earlier one of this block took it back."""
    contract = int.from_bytes(key[8:12], "big")
    call_id = scheduled_call_id(key)
    host.begin(call_id, contract.to_bytes(4, "big"), REWARD_GAS)
    if host.get(SCHEDULE, key) is None:
        return None
    host.delete(SCHEDULE, key)
    host.begin(call_id, contract.to_bytes(4, "big"), call.gas_limit)  # from here on a failure keeps the entry deleted
    method = host.methods.get((contract, call.method))
    code = 0
    try:
        host.charge(TRANSACTION_GAS)
        if method is None:
            raise Failure(Code.METHOD_UNKNOWN)  # an upgrade left it out
        host.enter(method, _arguments(method, call.args))
    except Failure as failure:
        host.roll_back()
        code = failure.code
    except Exception as error:
        raise OurError("contract-bug", f"scheduled call {contract}.{call.method}: {error!r}") from error
    used = call.gas_limit - max(host.gas_left, 0)
    return encode(Receipt(call_id, code, used, b"", tuple(host.events)))


# ── after the calls ───────────────────────────────────────────────────────────────────────────────────────────────────


def _reward(host: Host, block: BlockInput) -> None:
    """The bookkeeper of a non-empty block is paid by the members' pools in turn, each for as many blocks as there are
    members.
    """
    host.begin(b"", SYSTEM.to_bytes(4, "big"), REWARD_GAS)
    members = terms_at(host.timeline, block.height).validators.validators
    payer = members[block.height // len(members) % len(members)].name
    reward = host.methods.get((MONEY, "reward"))
    if reward is None:
        return  # a vote has left it out
    try:
        host.enter(reward, _arguments(reward, encode(RewardArgs(block.proposer, payer))))
    except Failure:
        host.roll_back()  # nor may what a vote made of it stop the chain
    except Exception as error:
        raise OurError("contract-bug", f"reward of block {block.height}: {error!r}") from error


def _move_branch_heads(host: Host, block: BlockInput) -> None:
    host.begin(b"", SYSTEM.to_bytes(4, "big"), REWARD_GAS)
    for branch in sorted({transaction.body.branch for transaction in block.transactions}):
        head = host.get(BRANCH_HEADS, branch_key(branch))
        number = head.number if head else 0
        host.put(BRANCH_HEADS, branch_key(branch), BranchHead(number + 1, block.height))


def _move_timeline(host: Host, height: int) -> Timeline:
    """What rules from `height` on; terms whose time is over leave the state."""
    host.begin(b"", SYSTEM.to_bytes(4, "big"), REWARD_GAS)
    found = host.timeline
    timeline = advance(found, height)
    if timeline != found:
        host.put(TIMELINE, b"", Decided(timeline))
    return timeline


def _note_failed_turns(host: Host, block: BlockInput) -> None:
    host.begin(b"", SYSTEM.to_bytes(4, "big"), REWARD_GAS)
    noted = host.get(FAILED_TURNS, b"")
    if block.failures and (noted is None or noted.turns != block.failures):
        host.put(FAILED_TURNS, b"", FailedTurns(block.failures))
    elif noted is not None and not block.failures:
        host.delete(FAILED_TURNS, b"")
