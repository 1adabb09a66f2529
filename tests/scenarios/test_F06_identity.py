"""F06, basic: accounts, keys of companies, and access by role, business type and method."""

from typing import Any

import pytest
from msgspec.structs import replace

from contracts import views
from contracts.abi import abi_at
from contracts.contract import Business, Role
from contracts.digests import own_key_digest
from ledger.block import Receipt
from ledger.readable import readable
from tests.consortium import Call, Chain, found, key, pile, proof, signer
from tests.oracles.codes import describe


def label(receipt) -> str:
    """Name of a receipt's code."""
    return describe(receipt.code)[0]


def account(home: str, name: str = "new") -> dict[str, Any]:
    """Arguments by which a home operator registers an account."""
    return {"account": key(name), "proof": proof(name, home)}


def add_key(chain: Chain, company: str, name: str, businesses: tuple[Business, ...], sender: str = "") -> Receipt:
    """A company gives itself the key of a name."""
    fields: dict[str, Any] = {"key": key(name), "businesses": businesses, "proof": proof(name, company)}
    return chain.call(sender or company, "identity.add_key", **fields)


def test_F06_an_operator_registers_an_account_and_it_can_be_paid():
    chain = Chain()
    receipt = chain.call("Teld", "identity.register_account", **account("Teld"))
    assert label(receipt) == "done"
    assert found(views.account(chain.state, key("new"))).home == "Teld"
    assert label(chain.call("d0", "money.pay", to=key("new"), amount_fen=5, memo=0)) == "done"
    assert chain.wallet("new").balance_fen == 5


@pytest.mark.parametrize(
    ("sender", "account", "code"),
    [
        ("Grid", key("new"), "role-missing"),
        ("stranger", key("new"), "sender-unknown"),
        ("Teld", key("d0"), "account-exists"),
        ("Teld", key("SGCC"), "key-taken"),
        ("Teld", key("Pile-1"), "device-key-taken"),
        ("Teld", b"\x01" + bytes(32), "key-invalid"),
        ("Teld", b"\x09" + bytes(32), "key-invalid"),
    ],
)
def test_F06_bad_registrations_are_refused(sender, account, code):
    fields: dict[str, Any] = {"account": account, "proof": bytes(64)}
    assert label(Chain().call(sender, "identity.register_account", **fields)) == code


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("identity.register_account", {"account": key("new")}),
        ("identity.add_key", {"key": key("new"), "businesses": ()}),
        ("registry.register", {"pile": pile("new", "SGCC", meter_state=0), "registers_wh": (0, 0)}),
    ],
)
def test_F06_a_key_is_registered_with_its_holders_word_for_this_company_on_this_chain(method, fields):
    chain = Chain()
    elsewhere = signer("new").sign(own_key_digest(bytes([1]) * 32, "SGCC", key("new")))
    anybody_elses = signer("SGCC").sign(own_key_digest(bytes(32), "SGCC", key("new")))
    for word in (bytes(64), proof("new", "Teld"), proof("SGCC", "SGCC"), anybody_elses, elsewhere):
        assert label(chain.call("SGCC", method, **fields, proof=word)) == "key-unproven"
    assert label(chain.call("SGCC", method, **fields, proof=proof("new", "SGCC"))) == "done"


def test_F06_a_key_acts_only_in_its_types_of_business():
    chain = Chain()
    assert label(add_key(chain, "SGCC", "clerk", (Business.PAYMENT,))) == "done"
    assert label(chain.call("clerk", "money.top_up", account=key("d0"), amount_fen=7)) == "done"
    assert label(chain.call("clerk", "identity.register_account", **account("SGCC"))) == "business-missing"
    assert label(chain.call("SGCC", "identity.revoke_key", key=key("clerk"))) == "done"
    assert label(chain.call("clerk", "money.top_up", account=key("d0"), amount_fen=7)) == "sender-unknown"


def test_F06_a_company_changes_its_key_and_keeps_one_that_may_change_keys():
    chain = Chain()
    assert label(chain.call("SGCC", "identity.revoke_key", key=key("SGCC"))) == "key-last"
    assert label(add_key(chain, "SGCC", "clerk", (Business.PAYMENT,))) == "done"
    assert label(chain.call("SGCC", "identity.revoke_key", key=key("SGCC"))) == "key-last"
    assert label(add_key(chain, "SGCC", "new", tuple(Business))) == "done"
    assert label(chain.call("SGCC", "identity.revoke_key", key=key("SGCC"))) == "done"
    assert label(chain.call("SGCC", "money.top_up", account=key("d0"), amount_fen=7)) == "sender-unknown"
    assert label(chain.call("new", "money.top_up", account=key("d0"), amount_fen=7)) == "done"
    assert found(views.company(chain.state, "SGCC")).keys == (key("clerk"), key("new"))
    assert label(chain.call("SGCC", "identity.revoke_key", key=key("new"))) == "sender-unknown"
    assert label(chain.call("new", "identity.revoke_key", key=key("d0"))) == "key-unknown"
    assert label(add_key(chain, "SGCC", "d0", (), "new")) == "key-taken"
    assert label(add_key(chain, "SGCC", "Pile-1", (), "new")) == "device-key-taken"
    record = pile("Pile-9", "SGCC", meter_state=0)
    for taken in ("clerk", "d0"):
        taking = replace(record, public_key=key(taken))
        receipt = chain.call("new", "registry.register", pile=taking, registers_wh=(0, 0), proof=proof(taken, "SGCC"))
        assert label(receipt) == "key-taken"


def test_F06_the_permission_table_is_state_and_rules_from_the_next_block():
    chain = Chain()
    row: dict[str, Any] = {"contract": 2, "method": "top_up", "business": Business.PAYMENT, "roles": (Role.GRID,)}
    top_up: dict[str, Any] = {"account": key("d0"), "amount_fen": 7}
    same_block = chain.block(
        Call("Regulator", "identity", "permit", row), Call("SGCC", "money", "top_up", top_up)
    )  # fmt: skip
    assert [label(receipt) for receipt in same_block] == ["done", "done"]
    assert label(chain.call("SGCC", "money.top_up", **top_up)) == "role-missing"
    assert label(chain.call("Grid", "money.top_up", **top_up)) == "not-home-operator"
    assert label(chain.call("SGCC", "identity.permit", **row)) == "role-missing"
    assert label(chain.call("Regulator", "identity.permit", **row | {"method": "hold"})) == "permission-unknown"


@pytest.mark.parametrize("roles", [(), (Role.DRIVER,), (Role.REGULATOR, Role.DRIVER), (Role.OPERATOR,)])
def test_F06_nobody_locks_the_permission_table_or_opens_it_to_all(roles):
    chain = Chain()
    row: dict[str, Any] = {"contract": 1, "method": "permit", "business": Business.IDENTITY, "roles": roles}
    assert label(chain.call("Regulator", "identity.permit", **row)) == "permission-fixed"
    row = {"contract": 2, "method": "pay", "business": Business.PAYMENT, "roles": ()}
    assert label(chain.call("Regulator", "identity.permit", **row)) == "done"


def test_F06_drivers_can_be_shut_out_of_a_method():
    chain = Chain()
    row: dict[str, Any] = {"contract": 2, "method": "pay", "business": Business.PAYMENT, "roles": ()}
    assert label(chain.call("Regulator", "identity.permit", **row)) == "done"
    assert label(chain.call("d0", "money.pay", to=key("d1"), amount_fen=1, memo=0)) == "role-missing"


def test_F06_only_companies_with_the_role_and_the_owner_touch_a_pile():
    chain = Chain()
    lab: dict[str, Any] = {"pile": "Pile-2", "meter_state": 1, "registers_wh": (5, 6)}
    assert label(chain.call("SGCC", "registry.inspect", **lab)) == "role-missing"
    assert label(chain.call("Lab", "registry.inspect", **lab)) == "done"
    assert [c.register_wh for c in chain.pile_state("Pile-2").connectors] == [5, 6]
    assert label(chain.call("SGCC", "registry.set_service", pile="Pile-2", in_service=False)) == "not-pile-operator"
    assert label(chain.call("Teld", "registry.set_service", pile="Pile-2", in_service=False)) == "done"
    assert not chain.pile_state("Pile-2").in_service
    assert label(chain.call("d0", "registry.share", pile="Home-1", shared=True)) == "not-pile-owner"
    assert label(chain.call("d1", "registry.share", pile="Home-1", shared=True)) == "done"


def test_F06_an_operator_registers_a_pile():
    chain = Chain()
    record = pile("Pile-9", "SGCC", meter_state=0)
    fields: dict[str, Any] = {"pile": record, "registers_wh": (0, 0), "proof": proof("Pile-9", "SGCC")}
    assert label(chain.call("Teld", "registry.register", **fields)) == "not-pile-operator"
    assert label(chain.call("SGCC", "registry.register", **fields | {"registers_wh": (0,)})) == "pile-malformed"
    receipt = chain.call("SGCC", "registry.register", **fields)
    assert label(receipt) == "done"
    assert views.pile_of_key(chain.state, key("Pile-9")) == "Pile-9"
    assert not chain.pile_state("Pile-9").in_service
    assert label(chain.call("SGCC", "registry.register", **fields)) == "pile-exists"
    again = pile("Pile-10", "SGCC", meter_state=0, public_key=key("Pile-9"))
    assert label(chain.call("SGCC", "registry.register", **fields | {"pile": again})) == "device-key-taken"
    named = pile("Pile\x0010", "SGCC", meter_state=0, public_key=key("x"))
    assert label(chain.call("SGCC", "registry.register", **fields | {"pile": named})) == "pile-name-malformed"


def test_F06_contracts_are_described():
    chain = Chain()
    abi = abi_at(chain.state, 1)
    methods = [method for contract in abi.contracts for method in contract.methods]
    assert all(method.summary for method in methods)
    sent = {(method.contract, method.method) for method in methods if method.roles}
    assert {("money", "pay"), ("session", "open"), ("identity", "permit")} <= sent
    assert ("money", "hold") not in sent
    event = chain.call("Teld", "identity.register_account", **account("Teld")).events[0]
    assert readable(abi.decode_event(event)) == {"account": key("new").hex(), "home": "Teld"}
    call = abi.encode_call("money", "pay", to=key("d0"), amount_fen=3, memo=1)
    args = abi.decode_args(call.contract, call.method, call.args)
    assert readable(args) == {"to": key("d0").hex(), "amount_fen": 3, "memo": 1}
    permit = {"contract": 2, "method": "pay", "business": Business.PAYMENT, "roles": (Role.DRIVER, Role.OWNER)}
    call = abi.encode_call("identity", "permit", **permit)
    shown = readable(abi.decode_args(call.contract, call.method, call.args))
    assert (shown["business"], shown["roles"]) == ("payment", ["driver", "owner"])
