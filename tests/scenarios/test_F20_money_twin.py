"""F20: the money contract in the contract language does what its Python twin does, receipt by receipt and record by
record: random days of payments, top-ups, pay-outs, claims, margin, sessions, and what other contracts ask of it.
"""

import pytest

from contracts import views
from contracts.codes import Code as HostCode
from contracts.contract import Business, Role
from contracts.numbers import GOVERNANCE, IDENTITY, MONEY, SESSION
from contracts.records import money as records
from ledger.codec import Wire
from ledger.errors import OurError
from tests.consortium import Call, key
from tests.oracles import margin, money
from tests.oracles.codes import Code, describe
from tests.oracles.identity import CompanyArgs, OpenWalletArgs
from tests.vm.money_days import LINKED, MACHINE, TWIN, Day, Pair, asked
from tests.vm.swap import running

DAYS = 8
STEPS = 1_500


@pytest.fixture(scope="module")
def days() -> Pair:
    """All that random days came to."""
    total = Pair()
    for seed in range(DAYS):
        day = Day(seed)
        for _ in range(STEPS):
            day.step()
        assert views.balances_sum_fen(day.chain.state) == 0
        total.codes += day.pair.codes
        total.events |= day.pair.events
    return total


def test_F20_money_does_what_its_twin_does(days):
    assert days.codes.total() > 15_000


def test_F20_every_method_of_money_has_succeeded(days):
    done = {method for method, label in days.codes if label == "done"}
    assert {name for _, name in TWIN} | {"open", "start", "stop"} <= done
    assert set(money.CONTRACT.events) <= days.events


def test_F20_every_code_of_money_was_seen(days):
    seen = {label for _, label in days.codes}
    wanted = {describe(code)[0] for code in Code if code // 1_000 == MONEY}
    assert not wanted - seen
    assert {"args-malformed", "sender-unknown", "role-missing"} <= seen


def test_F20_whom_the_permission_table_lets_in_is_told_the_same():
    pair = Pair()
    for name in ("pay", "withdraw", "top_up", "pay_out", "decline", "confirm_payment", "deposit_margin"):
        row = {"contract": MONEY, "method": name, "business": Business.PAYMENT, "roles": tuple(Role)}
        pair.block(Call("Regulator", "identity", "permit", row))
    amount = {"amount_fen": 5}
    margins = {"company": "SGCC", "collateral_fen": 1, "pool_fen": 0, "rewards_fen": 0}
    asked_for = pair.twin.transaction(Call("d0", "money", "withdraw", amount))
    for chain, methods in ((pair.twin, TWIN), (pair.other, MACHINE)):
        with running(methods):
            chain.run([asked_for])
    for sender in ("d1", "nobody", "Pile-1", "Teld", "Lab"):
        pair.block(
            Call(sender, "money", "pay", {"to": key("d1"), "memo": 0} | amount),
            Call(sender, "money", "withdraw", amount),
            Call(sender, "money", "top_up", {"account": key("d0")} | amount),
            Call(sender, "money", "pay_out", {"payout": asked_for.id}),
            Call(sender, "money", "decline", {"payout": asked_for.id}),
            Call(sender, "money", "confirm_payment", {"debtor": "SGCC"} | amount),
            Call(sender, "money", "confirm_payment", {"debtor": "SGCC", "amount_fen": 0}),
            Call(sender, "money", "deposit_margin", margins),
        )
    assert pair.codes["confirm_payment", "company-unknown"] == 3
    assert pair.codes["top_up", "not-home-operator"] == pair.codes["pay_out", "not-home-operator"] == 5


def test_F20_of_a_company_that_left_both_tell_the_same():
    pair = Pair()
    owner, home = key("late 1"), "Later-0"
    margins = {"company": home, "collateral_fen": 50, "pool_fen": 0, "rewards_fen": 0}
    pair.ask(GOVERNANCE, "open_book", CompanyArgs(home))
    pair.ask(IDENTITY, "open_wallet", OpenWalletArgs(owner, home))
    pair.block(Call("Regulator", "money", "deposit_margin", margins))
    for number in range(2):
        pair.ask(SESSION, "hold", money.HoldArgs(key("d0"), "Teld", 100, bytes([number]) * 32, owner))
    pair.ask(GOVERNANCE, "close_book", margin.CloseArgs(home, pair.twin.now_ms + 3_000))
    pair.ask(SESSION, "settle", money.SettleArgs(bytes(32), 100, "Grid", 50, owner, 50))
    pair.ask(SESSION, "hold", money.HoldArgs(key("d0"), "Teld", 100, b"2" * 32, owner))
    pair.ask(SESSION, "hold", money.HoldArgs(key("d0"), home, 100, b"2" * 32, b""))
    pair.ask(SESSION, "release", money.ReleaseArgs(b"\x01" * 32))
    pair.block(
        Call("d0", "money", "pay", {"to": owner, "amount_fen": 1, "memo": 0}),
        Call("late 1", "money", "pay", {"to": key("d0"), "amount_fen": 1, "memo": 0}),
        Call("late 1", "money", "withdraw", {"amount_fen": 1}),
        Call("Regulator", "money", "release_margin", margins),
    )
    for _ in range(3):
        pair.block(Call("Regulator", "money", "release_margin", margins))
    left = {(method, n) for (method, label), n in pair.codes.items() if label == "company-left"}
    assert left == {("hold", 2), ("pay", 2), ("withdraw", 1)}
    assert pair.codes["release_margin", "margin-locked"] == 2
    assert pair.codes["release_margin", "done"] == 1


def test_F20_what_no_session_asks_stops_the_twin_and_fails_on_the_machine():
    pair = Pair()
    pair.ask(SESSION, "hold", money.HoldArgs(key("d0"), "Teld", 100, bytes(32), b""))
    wrong: list[tuple[str, Wire, int]] = [
        ("release", money.ReleaseArgs(b"1" * 32), HostCode.VALUE_MISSING),
        ("settle", money.SettleArgs(b"1" * 32, 0, "Grid", 0, b"", 0), HostCode.VALUE_MISSING),
        ("settle", money.SettleArgs(bytes(32), 101, "Grid", 0, b"", 0), Code.OVERSPENT),
        ("settle", money.SettleArgs(bytes(32), 100, "Grid", 50, key("d1"), 51), Code.OVERSPENT),
    ]
    for method, args, code in wrong:
        with pytest.raises(OurError):
            asked(pair.twin, TWIN, SESSION, method, args)
        assert asked(pair.other, MACHINE, SESSION, method, args)[0] == code
    pair.ask(SESSION, "settle", money.SettleArgs(bytes(32), 100, "Grid", 50, key("d1"), 50))


def test_F20_the_machine_s_money_has_the_twin_s_methods():
    assert MACHINE.keys() == TWIN.keys()
    for name, method in MACHINE.items():
        old = TWIN[name]
        ours = (method.branch, method.expiry_class, method.business, method.roles, method.callers)
        theirs = (old.branch, old.expiry_class, old.business, tuple(sorted(old.roles)), tuple(sorted(old.callers)))
        assert ours == theirs, name
        declared = next(each for each in LINKED.program.methods if each.name == name[1])
        assert tuple(param.name for param in declared.params) == old.args.__struct_fields__, name


def test_F20_money_s_codes_tables_and_events_are_the_twin_s():
    program = LINKED.program
    codes = {MONEY * 1_000 + code.number: code.name for code in program.codes}
    assert codes == {int(code): code.name for code in Code if code // 1_000 == MONEY}
    assert {event.name for event in program.events} == set(money.CONTRACT.events)
    for declared in program.tables:
        twin = getattr(records, declared.name)
        assert twin.prefix == MONEY.to_bytes(4, "big") + bytes([declared.tag])
        record = program.structs[declared.value]
        assert tuple(field.name for field in record.fields) == getattr(records, record.name).__struct_fields__
