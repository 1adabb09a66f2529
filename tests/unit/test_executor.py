"""The executor: checks before a call, gas, rollback, schedule, counters, branch heads, set schedule; F20's host
interface.
"""

from pathlib import Path

import msgspec
import pytest

from contracts import executor, views
from contracts.codes import Code as HostCode
from contracts.contract import Business, Role
from contracts.host import SCHEDULE, TIMELINE, Decided, Failure, Host, ScheduledCall, Table, schedule_key
from contracts.memory import MemoryState
from contracts.records.tariff import ServiceFee
from contracts.system import branch_heads, failed_turns
from ledger.codec import Wire, decode, encode
from ledger.errors import ClientError, OurError
from ledger.terms import first_timeline
from ledger.transaction import Branch, ExpiryClass
from ledger.units import U63
from ledger.validators import Failure as FailedTurn
from ledger.validators import ValidatorSet
from node.library import codes_page
from tests.consortium import NAMES, Call, Chain, consortium, genesis, key, validators
from tests.oracles.catalogue import METHODS
from tests.oracles.codes import Code, describe
from tests.oracles.contract import Contract, fail
from tests.vm.swap import running

ROOT = Path(__file__).resolve().parents[2]
PAY = {"to": key("d1"), "amount_fen": 100, "memo": 0}


def changed_by_call(chain: Chain) -> set[bytes]:
    """Keys that the last block changed, without reward and branch heads."""
    own = {views.book_key(name) for name in NAMES} | {views.branch_head_key(branch) for branch in Branch}
    return {k for k in chain.last.changes if k not in own and k[4:5] != b"r"}


BAD = {
    "contract-unknown": Call("d0", "money", "pay", PAY, {"contract": 77}),
    "method-unknown": Call("d0", "money", "pay", PAY, {"method": "steal"}),
    "method-internal": Call("d0", "money", "pay", PAY, {"method": "open_wallet", "branch": Branch.SERVICE}),
    "branch-wrong": Call("d0", "money", "pay", PAY, {"branch": Branch.CHARGING}),
    "class-wrong": Call("d0", "money", "pay", PAY, {"expiry_class": ExpiryClass.DEVICE}),
    "args-malformed": Call("d0", "money", "pay", PAY, {"args": b"\x91\x01"}),
    "args-not-canonical": Call("d0", "money", "pay", PAY, {"args": b"\xdc\x00\x03" + encode([key("d1"), 100, 0])[1:]}),
    "out-of-gas": Call("d0", "money", "pay", PAY, {"gas_limit": 20_000}),
    "sender-unknown": Call("d0", "money", "top_up", {"account": key("d0"), "amount_fen": 1}),
    "role-missing": Call("Grid", "money", "top_up", {"account": key("d0"), "amount_fen": 1}),
    "wallet-unknown": Call("nobody", "money", "pay", PAY),
    "overspent": Call("d0", "money", "pay", PAY | {"amount_fen": 10**9}),
}


@pytest.mark.parametrize("label", BAD)
def test_bad_input_has_its_own_code_and_changes_nothing(label):
    chain = Chain()
    before = dict(chain.state.entries)
    transaction = chain.transaction(BAD[label])
    if label == "method-internal":  # its arguments must be readable to get as far
        body = msgspec.structs.replace(transaction.body, args=encode([key("d0"), "SGCC"]))
        transaction = msgspec.structs.replace(transaction, body=body)
    receipt = chain.run([transaction])[0]
    assert describe(receipt.code)[0] == label
    assert receipt.gas_used > 0
    assert receipt.events == ()
    assert changed_by_call(chain) == set()
    wallets = {k: v for k, v in before.items() if k == views.wallet_key(key("d0"))}
    assert all(chain.state.get(k) == v for k, v in wallets.items())


def test_gas_out_of_the_limit_is_all_of_it():
    chain = Chain()
    receipt = chain.run([chain.transaction(BAD["out-of-gas"])])[0]
    assert receipt.gas_used == 20_000


def test_a_limit_of_exactly_the_gas_used_suffices_and_one_less_does_not():
    used = Chain().block(Call("d0", "money", "pay", PAY))[0].gas_used
    # The limit is in the transaction, whose bytes cost gas: keep its length.
    exact = [Chain().block(Call("d0", "money", "pay", PAY, {"gas_limit": limit}))[0] for limit in (used, used - 1)]
    assert [receipt.code for receipt in exact] == [0, HostCode.OUT_OF_GAS]


def test_slices_give_the_same_as_one_run():
    chain = Chain()
    calls = [Call(f"d{i}", "money", "pay", PAY | {"to": key("d5")}) for i in range(4)]
    transactions = tuple(chain.transaction(call) for call in calls)
    block = executor.BlockInput(bytes(32), 1, chain.now_ms, "SGCC", transactions)
    slices = executor.execute_block(chain.state, block)
    count = 0
    try:
        while True:
            next(slices)
            count += 1
    except StopIteration as done:
        sliced = done.value
    assert count == 4
    assert sliced == executor.run(chain.state, block)


def test_branch_heads_follow_the_blocks():
    chain = Chain()
    chain.block(Call("d0", "money", "pay", PAY))
    chain.block()
    chain.block(Call("d0", "money", "pay", PAY))
    fee = {"fee": ServiceFee(1, 1, 1)}
    chain.block(Call("SGCC", "tariff", "set_fee", fee), Call("d0", "money", "pay", PAY))
    heads = branch_heads(chain.state)
    assert {branch: (head.number, head.height) for branch, head in heads.items()} == {
        Branch.SERVICE: (3, 4),
        Branch.GOVERNANCE: (1, 4),
    }


def test_an_empty_block_changes_nothing():
    chain = Chain()
    assert chain.block() == []
    assert chain.last.changes == {}


def test_the_timeline_of_the_state_rules_and_what_is_over_leaves_it():
    chain = Chain()
    first = first_timeline(genesis())
    later = msgspec.structs.replace(first[0], height=3, validators=ValidatorSet(1, validators().validators[:4]))
    chain.state.entries[TIMELINE.key()] = encode(Decided((*first, later)))
    chain.block()
    assert chain.last.timeline == (*first, later)
    assert chain.last.changes == {}
    chain.block()
    assert chain.last.timeline == (later,)
    assert chain.last.changes == {TIMELINE.key(): encode(Decided((later,)))}


def test_changes_come_in_key_order():
    chain = Chain()
    chain.block(*(Call(f"d{i}", "money", "pay", PAY | {"to": key("d5")}) for i in (3, 1, 0, 2)))
    assert list(chain.last.changes) == sorted(chain.last.changes)


def test_a_bug_in_a_contract_stops_the_process():
    def broken(host, args):
        raise KeyError("x")

    method = METHODS[2, "pay"]
    broken_method = msgspec.structs.replace(method, run=broken)
    with running({(2, "pay"): broken_method}), pytest.raises(OurError, match="contract-bug"):
        Chain().block(Call("d0", "money", "pay", PAY))


# ── the host, with a contract made for it ─────────────────────────────────────────────────────────────────────────────


class Number(Wire):
    """One integer."""

    value: U63


TEST = Contract(900, "test", Business.CHARGING, Branch.CHARGING)
OTHER = Contract(901, "other", Business.CHARGING, Branch.CHARGING)
ROWS = Table(900, b"t", Number)
OTHER_ROWS = Table(901, b"t", Number)


@TEST.method(Number, (Role.DRIVER,))
def both(host: Host, args: Number) -> None:
    """Write here and there; the other may fail."""
    host.put(ROWS, b"a", Number(args.value + 1_000))
    host.put(ROWS, b"a", args)
    host.emit("test.wrote", args)
    host.call(901, "write", args)


@TEST.method(Number, (Role.DRIVER,))
def trespass(host: Host, args: Number) -> None:
    """Reach into another contract's table."""
    host.get(OTHER_ROWS, b"a")


@TEST.method(Number, (Role.DRIVER,))
def plan(host: Host, args: Number) -> None:
    """Schedule a call."""
    host.schedule(host.now_ms + args.value, host.call_id, "tick", args, 400_000)


@TEST.internal(Number, 901)
def back(host: Host, args: Number) -> None:
    """Called again while it waits."""


@TEST.internal(Number)
def tick(host: Host, args: Number) -> None:
    """What the schedule calls."""
    count = host.get(ROWS, b"ticks") or Number(0)
    host.put(ROWS, b"ticks", Number(count.value + 1))
    host.emit("test.ticked", args)
    if args.value == 13_000:
        fail(Code.OVERSPENT)


@OTHER.internal(Number, 900)
def write(host: Host, args: Number) -> None:
    """Write, then fail or come back if told to."""
    host.put(OTHER_ROWS, b"caller", Number(int.from_bytes(host.caller, "big")))
    if args.value == 13:
        fail(Code.OVERSPENT)
    if args.value == 14:
        host.call(900, "back", args)
    if args.value == 15:
        host.call(2, "reward", args)


MADE = {(each.number, name): method for each in (TEST, OTHER) for name, method in each.methods.items()}


@pytest.fixture
def made(monkeypatch):
    """A chain that knows the two contracts."""
    monkeypatch.setattr(executor, "_row", lambda state, method: executor.Row(method.business, True, frozenset()))
    with running(MADE):
        yield Chain()


def send(chain: Chain, method: str, value: int, after_ms: int = 1_000):
    """Send a call of the made contract."""
    call = Call("d0", "money", "pay", PAY, {})
    transaction = chain.transaction(call)
    found = MADE[900, method]
    body = msgspec.structs.replace(
        transaction.body, contract=900, method=method, args=encode(Number(value)), branch=found.branch
    )
    transaction = msgspec.structs.replace(transaction, body=body)
    return chain.run([transaction], after_ms)


def test_F20_calls_between_contracts_carry_the_caller(made):
    receipt = send(made, "both", 1)[0]
    assert receipt.code == 0
    assert ROWS.read(made.state, b"a") == Number(1)
    assert OTHER_ROWS.read(made.state, b"caller") == Number(900)
    assert [event.name for event in receipt.events] == ["test.wrote"]


@pytest.mark.parametrize(
    ("value", "code"), [(13, Code.OVERSPENT), (14, HostCode.CALL_REENTRANT), (15, HostCode.METHOD_INTERNAL)]
)
def test_F20_a_failure_rolls_nested_calls_back(made, value, code):
    send(made, "both", 1)
    receipt = send(made, "both", value)[0]
    assert receipt.code == code
    assert receipt.events == ()
    assert ROWS.read(made.state, b"a") == Number(1)
    assert OTHER_ROWS.read(made.state, b"caller") == Number(900)
    assert receipt.gas_used > 40_000


def test_F20_a_failure_keeps_what_earlier_calls_of_the_block_wrote(made):
    good = made.transaction(Call("d0", "money", "pay", PAY))
    bad = made.transaction(Call("d0", "money", "pay", PAY | {"amount_fen": 99_950}))
    receipts = made.run([good, bad])
    assert [receipt.code for receipt in receipts] == [0, Code.OVERSPENT]
    assert made.wallet("d0").balance_fen == 99_900


def test_F20_a_contract_sees_only_its_own_keys(made):
    with pytest.raises(OurError, match="contract-key-space"):
        send(made, "trespass", 1)


def test_F20_scheduled_calls_run_in_order_and_a_failing_one_is_gone(made):
    send(made, "plan", 13_000)
    send(made, "plan", 9_000)
    assert [call.method for _, call in SCHEDULE.scan(made.state)] == ["tick", "tick"]
    assert made.block(after_ms=9_000)[0].code == 0
    failed = made.block(after_ms=10_000)
    assert [receipt.code for receipt in failed] == [Code.OVERSPENT]
    assert ROWS.read(made.state, b"ticks") == Number(1)
    assert list(SCHEDULE.scan(made.state)) == []
    assert made.block() == []


def test_F20_scheduled_calls_are_bounded_by_gas_and_carried_over(made):
    due = made.now_ms + 500
    for i in range(7):
        call = ScheduledCall("tick", encode(Number(i)), executor.SCHEDULED_GAS_MAX // 3)
        made.state.entries[SCHEDULE.key(schedule_key(due, 900, bytes(31) + bytes([i])))] = encode(call)
    values = [[decode(Number, r.events[0].data).value for r in made.block()] for _ in range(4)]
    assert values == [[0, 1, 2], [3, 4, 5], [6], []]


def test_F20_iterate_merges_writes_and_state_in_key_order():
    state = MemoryState({ROWS.key(b"x" + bytes([i])): encode(Number(i)) for i in (1, 3, 5)})
    host = Host(state, METHODS, bytes(32), 1, 1)
    host.begin(b"", b"", 10**7)
    host.contract = 900
    host.put(ROWS, b"x\x02", Number(2))
    host.delete(ROWS, b"x\x03")
    host.put(ROWS, b"y", Number(9))
    assert [number.value for _, number in host.iterate(ROWS, b"x", 10)] == [1, 2, 5]
    assert [number.value for _, number in host.iterate(ROWS, b"x", 2)] == [1, 2]


def test_F20_depth_is_bounded():
    host = Host(MemoryState(), METHODS, bytes(32), 1, 1)
    host.begin(b"", b"", 10**7)
    host._stack[:] = range(100, 108)
    with pytest.raises(Failure) as failed:
        host.call(2, "reward", Number(1))
    assert failed.value.code == HostCode.CALL_TOO_DEEP


# ── codes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_of_codes_is_current():
    assert (ROOT / "docs" / "codes.md").read_text(encoding="utf-8") == codes_page()


def test_codes_are_in_their_contracts_range():
    assert len({code.value for code in Code}) == len(Code)
    assert {code.value // 1_000 for code in Code} == {1, 2, 3, 4, 5, 6}


def test_genesis_refuses_a_consortium_that_contradicts_itself():
    good = consortium()
    stranger = msgspec.structs.replace(good.accounts[0], home="Lab")
    twice = (*good.accounts, good.accounts[0])
    for broken in ({"accounts": (stranger,)}, {"accounts": twice}, {"companies": good.companies[:-1]}, {"tariffs": ()}):
        with pytest.raises(ClientError, match="consortium-invalid"):
            Chain(genesis(msgspec.structs.replace(good, **broken)))


def test_F13_failed_turns_are_in_the_state_for_those_who_join_by_snapshot():
    chain = Chain()
    turns = (FailedTurn(1, "Lab", 64), FailedTurn(1, "SGCC", 64))

    def run(*failures: FailedTurn) -> executor.BlockOutcome:
        block = executor.BlockInput(bytes(32), 2, 2_000, "SGCC", (), failures)
        outcome = executor.run(chain.state, block)
        chain.state.apply(outcome.changes)
        return outcome

    assert run().changes == {}
    run(*turns)
    assert failed_turns(chain.state) == turns
    assert run(*turns).changes == {}
    run(turns[1])
    assert failed_turns(chain.state) == turns[1:]
    assert list(run().changes.values()) == [None]
    assert failed_turns(chain.state) == ()
