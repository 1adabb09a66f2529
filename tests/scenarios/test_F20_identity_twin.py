"""F20: the identity contract in the contract language does what its Python twin does, receipt by receipt and record by
record.
"""

import random
from collections import Counter
from enum import IntEnum
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from contracts.contract import Business, Method, Role
from contracts.digests import own_key_digest
from contracts.genesis import genesis_state
from contracts.host import Failure, Host, StateReader
from contracts.memory import MemoryState
from contracts.numbers import GOVERNANCE, IDENTITY, REGISTRY, TARIFF
from contracts.vm.entry import methods_of
from contracts.vm.generator import functions
from ledger.keys import Scheme, SoftSigner
from tests.consortium import NAMES, T0, Call, Chain, genesis, signer
from tests.oracles import identity
from tests.oracles.catalogue import METHODS
from tests.oracles.codes import describe
from tests.oracles.companies import AdmitArgs, NoArgs, ReplaceKeysArgs
from tests.oracles.identity import AccountArgs, CompanyArgs, DeviceKeyArgs, KeyArgs, RoleArgs
from tests.vm.swap import linked_of, running

Methods = dict[tuple[int, str], Method]
TWIN: Methods = {(IDENTITY, name): method for name, method in identity.CONTRACT.methods.items()}
NEW = [f"n{i}" for i in range(12)]
SIGNERS = {label: signer(label) for label in (*NAMES, "d0", "d1", "Pile-1", *NEW)}
SIGNERS["n0"] = SoftSigner.from_seed(Scheme.SM2, b"n0".ljust(32, b"."))
UNSOUND = [b"\x01" + bytes(32), b"\x09" + bytes(32), b"\x02" + bytes(64), b"\x01" + bytes(64)]
ROWS = [
    (1, "register_account"), (1, "add_key"), (1, "revoke_key"), (1, "permit"), (2, "pay"), (2, "top_up"), (2, "hold"),
    (6, "approve"), (4, "Ü\0"), (9, "pay"),
]  # fmt: skip


@pytest.fixture(scope="module")
def machine() -> Methods:
    """The methods of the contract's text; `voices` gives a list there, which only governance's own text expects."""
    linked = linked_of("identity")
    found = methods_of(linked, functions(linked))
    assert found.keys() == TWIN.keys()
    return found


class Pair:
    """Two chains that execute the same blocks, one by the twin and one by the machine."""

    def __init__(self, machine: Methods) -> None:
        self.twin, self.other = Chain(), Chain()
        self.codes = Counter[str]()

    def block(self, *calls: Call) -> None:
        """Execute one block on both and compare all that is left of it."""
        transactions = [self.twin.transaction(call) for call in calls]
        with running(METHODS):
            ours = self.twin.run(transactions)
        theirs = self.other.run(transactions)
        for call, one, other in zip(calls, ours, theirs, strict=True):
            assert replace(one, gas_used=0) == replace(other, gas_used=0), call
            self.codes[describe(one.code)[0]] += 1
        assert self.twin.state.entries == self.other.state.entries


class Draw:
    """Calls by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def key(self) -> bytes:
        """Mostly a sound key, new or somebody's."""
        known = self.chance.choice((*NEW, *NEW, *SIGNERS))
        return self.chance.choice(UNSOUND) if self.chance.random() < 0.05 else SIGNERS[known].public_key

    def proof(self, company: str, key: bytes) -> bytes:
        """Mostly what the holder of a key signs for a company."""
        holder = next((each for each in SIGNERS.values() if each.public_key == key), SIGNERS["n1"])
        lie = self.chance.randrange(12)
        if lie == 0:
            return bytes(64)
        if lie == 1:
            holder = SIGNERS[self.chance.choice(NEW)]
        elsewhere = bytes([lie == 2]) * 32
        return holder.sign(own_key_digest(elsewhere, "Grid" if lie == 3 else company, key))

    def some(self, kind: type[IntEnum]) -> tuple[Any, ...]:
        """Some of an enum, in any order, perhaps twice."""
        return tuple(self.chance.choice(list(kind)) for _ in range(self.chance.randrange(len(kind) - 2)))

    def call(self) -> Call:
        """One call of contract 1."""
        what = self.chance.choice(("register_account", "add_key", "add_key", "revoke_key", "permit"))
        sender = self.chance.choice((*4 * NAMES, *NEW, "d0", "Pile-1"))
        company = sender if sender in NAMES else self.chance.choice(NAMES)
        key = self.key()
        fields: dict[str, Any]
        match what:
            case "register_account":
                sender = self.chance.choice((sender, "SGCC", "Teld"))
                company = sender if sender in NAMES else company
                fields = {"account": key, "proof": self.proof(company, key)}
            case "add_key":
                businesses = self.chance.choice((self.some(Business), tuple(Business)))
                fields = {"key": key, "businesses": businesses, "proof": self.proof(company, key)}
            case "revoke_key":
                fields = {"key": self.chance.choice((key, SIGNERS[company].public_key))}
            case _:
                sender = self.chance.choice((sender, "Regulator"))
                contract, method = self.chance.choice(ROWS)
                roles = self.chance.choice((self.some(Role), tuple(Role), *3 * [tuple(Role)[:5]]))
                fields = {"contract": contract, "method": method, "business": self.chance.choice(list(Business))}
                fields["roles"] = roles
        call = Call(sender, "identity", what, fields)
        if self.chance.random() < 0.1:
            call.changes["args"] = self.spoiled(list(fields.values()))
        return call

    def spoiled(self, values: list[Any]) -> bytes:
        """Arguments of which one is odd, one is missing, or there is one more."""
        place = self.chance.randrange(len(values))
        odd = (None, 0, -1, 8, 2**32, True, b"", bytes(66), "", "x" * 65, (), (0,), (1,) * 8, (1,) * 10, (10,), ((1,),))
        match self.chance.randrange(6):
            case 0:
                values.pop(place)
            case 1:
                values.append(self.chance.choice(odd))
            case _:
                values[place] = self.chance.choice(odd)
        return msgspec.msgpack.encode(values)


@pytest.mark.parametrize("seed", range(6))
def test_F20_calls_by_chance_leave_the_same_receipts_and_records(machine, seed):
    draw, codes = Draw(seed), Counter[str]()
    for _ in range(5):
        pair = Pair(machine)
        for _ in range(25):
            pair.block(*[draw.call() for _ in range(8)])
        codes += pair.codes
    seen = {
        "done", "args-malformed", "sender-unknown", "role-missing", "account-exists", "key-invalid", "key-taken",
        "key-unknown", "key-last", "permission-unknown", "permission-fixed", "key-unproven", "device-key-taken",
    }  # fmt: skip
    assert seen <= codes.keys()
    assert codes["done"] > 50


def test_F20_a_company_has_at_most_64_keys_and_revokes_any_of_them(machine):
    pair = Pair(machine)
    for i in range(64):
        key = signer(f"k{i}").public_key
        word = signer(f"k{i}").sign(own_key_digest(bytes(32), "Teld", key))
        businesses = (Business.IDENTITY,) if i == 40 else (Business.LOAD, Business.CHARGING)
        pair.block(Call("Teld", "identity", "add_key", {"key": key, "businesses": businesses, "proof": word}))
    assert pair.codes == {"done": 63, "key-invalid": 1}
    for label in ("k7", "Teld", "k62", "k40"):
        revoked = SIGNERS["Teld"].public_key if label == "Teld" else signer(label).public_key
        pair.block(Call("Teld" if label != "k40" else label, "identity", "revoke_key", {"key": revoked}))
    assert pair.codes == {"done": 65, "key-invalid": 1, "sender-unknown": 1, "key-last": 1}


def test_F20_individuals_whom_the_permission_table_lets_in_act_for_no_company(machine):
    pair = Pair(machine)
    for method in ("register_account", "add_key", "revoke_key"):
        row = {"contract": IDENTITY, "method": method, "business": Business.IDENTITY, "roles": tuple(Role)}
        pair.block(Call("Regulator", "identity", "permit", row))
    key = SIGNERS["n1"].public_key
    proof = SIGNERS["n1"].sign(own_key_digest(bytes(32), "", key))
    for sender in ("d0", "n2"):
        pair.block(
            Call(sender, "identity", "register_account", {"account": key, "proof": proof}),
            Call(sender, "identity", "add_key", {"key": key, "businesses": (), "proof": proof}),
            Call(sender, "identity", "revoke_key", {"key": key}),
        )
    assert pair.codes == {"done": 3, "member-unknown": 6}


def asked(
    state: StateReader, methods: Methods, caller: int, method: str, args: Any
) -> tuple[int, Any, list[Any], dict[bytes, bytes | None]]:
    """What another contract is told by contract 1: code, result, events, changes."""
    host = Host(state, METHODS | methods, bytes(32), 1, T0)
    host.begin(bytes(32), b"", 10**9)
    host.contract = caller
    code, result = 0, None
    try:
        result = host.call(IDENTITY, method, args)
    except Failure as failure:
        code = failure.code
        host.roll_back()
    return code, result, host.events, host.changes()


@pytest.mark.parametrize("seed", range(3))
def test_F20_other_contracts_are_told_the_same(machine, seed):
    draw = Draw(seed)
    chance = draw.chance
    names = (*NAMES, *NAMES, "New", "Newer", "Nobody", "Co\0", "桩链", " ")
    state = MemoryState(genesis_state(genesis()))
    codes = Counter[str]()
    for _ in range(1_500):
        company, key = chance.choice(names), draw.key()
        admit = AdmitArgs(
            company, "显示", chance.choice((draw.some(Role), (Role.REGULATOR, Role.LAB, Role.REGULATOR))), key
        )
        caller, method, args = chance.choice(
            (
                (REGISTRY, "home_of", AccountArgs(chance.choice((key, SIGNERS["d0"].public_key)))),
                (REGISTRY, "check_device_key", DeviceKeyArgs(company, key, draw.proof(company, key))),
                (TARIFF, "has_role", RoleArgs(chance.choice((company, "")), chance.choice(list(Role)))),
                (GOVERNANCE, "fine_payee", CompanyArgs(company)),
                (GOVERNANCE, "company_key", CompanyArgs(company)),
                (GOVERNANCE, "check_free_key", KeyArgs(key)),
                (GOVERNANCE, "check_admission", admit),
                (GOVERNANCE, "admit_company", admit),
                (GOVERNANCE, "check_replacement", ReplaceKeysArgs(company, key)),
                (GOVERNANCE, "replace_keys", ReplaceKeysArgs(company, key)),
                (GOVERNANCE, "remove_company", CompanyArgs(company)),
            )
        )
        if method == "remove_company" and len(asked(state, TWIN, GOVERNANCE, "voices", NoArgs())[1]) < 4:
            continue
        ours, theirs = (asked(state, methods, caller, method, args) for methods in (TWIN, machine))
        assert ours == theirs, (method, args)
        codes[describe(ours[0])[0]] += 1
        state.apply(ours[3])
        voices = asked(state, machine, GOVERNANCE, "voices", NoArgs())[1]
        by_name = asked(state, TWIN, GOVERNANCE, "voices", NoArgs())[1]
        assert [(voice.a0, voice.a1) for voice in voices] == list(by_name.items())
    assert {
        "done", "account-unknown", "key-invalid", "key-taken", "device-key-taken", "key-unproven", "member-unknown",
        "company-name-malformed", "roles-invalid", "company-exists",
    } <= codes.keys()  # fmt: skip
