"""Arguments that somebody chose badly, of every method: whatever they say, a call is done or fails with a code.

An exception inside a contract would stop all validators alike at the same transaction, so it is the cheapest attack on
a chain there could be. After each bent call the day goes on over whatever state it left: payments, sessions, and what
the schedule holds for the next two days.
"""

from copy import copy
from random import Random
from typing import Any

import pytest
from msgspec import structs

from contracts import digests, views
from contracts.compiler.compiler import compile_source
from contracts.contract import Business, Role
from contracts.memory import MemoryState
from contracts.records.registry import MeterState
from contracts.records.tariff import Caps, ServiceFee
from ledger.charging import BorderReading, Reading, ReadingReason, SignedReading, reading_digest
from ledger.codec import decode, encode
from ledger.evidence import Phase, Statement, equivocation, statement_digest
from ledger.genesis import Parameters
from ledger.tariff import Tariff
from ledger.transaction import Transaction
from node.library import library_abi
from tests.consortium import HOUR, NAMES, PERIODS, Call, Chain, key, pile, proof, signer
from tests.fuzz.engine import inputs, told
from tests.unit.test_contract_language import tutorial

FEEDER = encode(compile_source(tutorial()))
"""A contract's code."""

DAY = 24 * HOUR


class Day:
    """A chain with a session that waits for its start, one that charges, and a pay-out; a valid call of each method."""

    def __init__(self) -> None:
        self.chain = chain = Chain()
        assert chain.call("d1", "registry.share", pile="Home-1", shared=True).code == 0
        waiting = {"pile": "Pile-1", "connector": 1, "deposit_fen": 2_000, "accept_unverified": False}
        charging = {"pile": "Home-1", "connector": 1, "deposit_fen": 2_000, "accept_unverified": False}
        opens = [
            chain.transaction(Call(driver, "session", "open", f)) for driver, f in (("d1", waiting), ("d2", charging))
        ]
        chain.run([*opens, payout := chain.transaction(Call("d0", "money", "withdraw", {"amount_fen": 5}))])
        assert chain.call("d2", "money.pay", to=key("d0"), amount_fen=500, memo=0).code == 0, "so Teld owes SGCC"
        spare: dict[str, Any] = {"key": key("spare"), "businesses": (Business.LOAD,), "proof": proof("spare", "SGCC")}
        assert chain.call("SGCC", "identity.add_key", **spare).code == 0
        proposed = chain.call("Grid", "governance.propose_suspend", company="Teld")
        assert proposed.code == 0
        self.proposal = proposed.call_id
        for voter in ("Lab", "StarCharge"):
            assert chain.call(voter, "governance.approve", proposal=self.proposal).code == 0, "one voice is missing"
        self.opened, self.charging = opens[0].id, opens[1].id
        self.payout = payout.id
        now_ms = chain.now_ms + 1_000
        start: dict[str, Any] = {"session": self.charging, "counter": 1, "time_ms": now_ms, "meter_wh": 1_000}
        assert chain.call("Home-1", "session.start", **start).code == 0
        self.now_ms = chain.now_ms + 2_000
        raw = encode(Reading(self.charging, 1, self.now_ms, 1_010, ReadingReason.PERIODIC, bytes(32)))
        self.signed = SignedReading(raw, signer("Home-1").sign(reading_digest(raw)))
        self.calls = {f"{call.contract}.{call.method}": call for call in self._calls()}

    def _calls(self) -> list[Call]:
        end = BorderReading(self.now_ms, 1_020)
        return [
            Call("SGCC", "identity", "register_account", {"account": key("new"), "proof": proof("new", "SGCC")}),
            Call(
                "SGCC",
                "identity",
                "add_key",
                {"key": key("second"), "businesses": (Business.PAYMENT,), "proof": proof("second", "SGCC")},
            ),
            Call("SGCC", "identity", "revoke_key", {"key": key("spare")}),
            Call(
                "Regulator",
                "identity",
                "permit",
                {"contract": 2, "method": "pay", "business": Business.PAYMENT, "roles": (Role.DRIVER, Role.OWNER)},
            ),
            Call("d0", "money", "pay", {"to": key("d1"), "amount_fen": 100, "memo": 0}),
            Call("SGCC", "money", "top_up", {"account": key("d0"), "amount_fen": 100}),
            Call("d0", "money", "withdraw", {"amount_fen": 100}),
            Call("SGCC", "money", "pay_out", {"payout": self.payout}),
            Call("SGCC", "money", "decline", {"payout": self.payout}),
            Call("SGCC", "money", "confirm_payment", {"debtor": "Teld", "amount_fen": 1}),
            *(
                Call(
                    "Regulator",
                    "money",
                    method,
                    {"company": "Teld", "collateral_fen": 1, "pool_fen": 1, "rewards_fen": 0},
                )
                for method in ("deposit_margin", "release_margin")
            ),
            Call(
                "SGCC",
                "registry",
                "register",
                {
                    "pile": pile("P-9", "SGCC", meter_state=MeterState.UNVERIFIED),
                    "registers_wh": (5, 6),
                    "proof": proof("P-9", "SGCC"),
                },
            ),
            Call(
                "Lab",
                "registry",
                "inspect",
                {"pile": "Pile-2", "meter_state": MeterState.VERIFIED, "registers_wh": (1_000, 2_000)},
            ),
            Call("SGCC", "registry", "set_service", {"pile": "Pile-1", "in_service": False}),
            Call("d1", "registry", "share", {"pile": "Home-1", "shared": False}),
            Call(
                "Grid",
                "tariff",
                "publish",
                {"tariff": Tariff("Shenzhen", "Grid", self.now_ms // DAY * DAY + DAY, 480, PERIODS)},
            ),
            Call("Teld", "tariff", "set_fee", {"fee": ServiceFee(7_000, 60, 0)}),
            Call("Regulator", "tariff", "set_caps", {"caps": Caps(8_000, 100)}),
            Call(
                "d3",
                "session",
                "open",
                {"pile": "Pile-1", "connector": 2, "deposit_fen": 900, "accept_unverified": False},
            ),
            Call(
                "Pile-1",
                "session",
                "start",
                {"session": self.opened, "counter": 1, "time_ms": self.now_ms, "meter_wh": 1_000},
            ),
            Call(
                "Home-1",
                "session",
                "stop",
                {
                    "session": self.charging,
                    "counter": 2,
                    "borders": (end,),
                    "charging_ended_ms": self.now_ms,
                    "readings_count": 2,
                    "readings_root": bytes(32),
                },
            ),
            Call("Home-1", "session", "claim", {"session": self.charging, "signed": self.signed}),
            *self._governance(),
        ]

    def _governance(self) -> list[Call]:
        node, fresh, renewed, liar = (signer(label) for label in ("a node", "fresh", "renewed", "vote Lab"))
        node_key = node.public_key[1:]
        vote_keys = [
            {"vote_key": key.public_key, "proof": key.sign(digests.vote_key_digest(bytes(32), "SGCC", key.public_key))}
            for key in (fresh, renewed)
        ]
        votes = []
        for content in (bytes(32), bytes([1]) * 32):
            unsigned = Statement(Phase.COMMIT, bytes(32), 7, 0, content, bytes(64))
            signature = liar.sign(statement_digest(bytes(32), unsigned))
            votes.append(structs.replace(unsigned, signature=signature))
        newcomer = {"company": "Newco", "roles": (Role.OPERATOR,), "company_key": key("Newco")}
        parameters = structs.replace(Parameters(), block_transactions_max=1_000)
        calls: list[tuple[str, dict[str, Any]]] = [
            ("propose_admit", newcomer | {"display_name": "Newco"}),
            ("propose_vote", {"company": "Teld"}),
            ("propose_suspend", {"company": "Teld"}),
            ("propose_remove", {"company": "Teld"}),
            ("propose_keys", {"company": "Teld", "company_key": key("Teld anew")}),
            ("propose_parameters", {"parameters": parameters}),
            ("propose_contract", {"number": 9, "code": FEEDER, "source": "", "from_height": 0}),
            ("approve", {"proposal": self.proposal}),
            ("register_vote_key", vote_keys[0]),
            ("renew_vote_key", vote_keys[1]),
            ("accuse", {"evidence": equivocation(liar.public_key, votes[0], votes[1])}),
        ]
        proof = node.sign(digests.node_key_digest(bytes(32), "SGCC", node_key))
        calls.append(("set_node", {"node_key": node_key, "address": "here:1", "proof": proof}))
        return [Call("SGCC", "governance", method, fields) for method, fields in calls]

    def before(self, name: str) -> Chain:
        """The chain as it stands before a call, to be changed without a trace."""
        chain = copy(self.chain)
        chain.state = MemoryState(self.chain.state.entries)
        if name == "session.claim":  # what nobody stopped can be claimed after a day
            chain.block(after_ms=25 * HOUR)
        return chain


DAYS = Day()


def with_arguments(transaction: Transaction, args: bytes) -> Transaction:
    """The same call with other arguments."""
    return structs.replace(transaction, body=structs.replace(transaction.body, args=args))


def approve_all(chain: Chain) -> None:
    """Whatever is proposed is decided, if it can be."""
    for proposal in views.proposals(chain.state):
        chain.block(*(Call(voter, "governance", "approve", {"proposal": proposal}) for voter in NAMES))


def test_every_method_has_a_call():
    methods = [method for contract in library_abi().contracts for method in contract.methods if method.roles]
    assert DAYS.calls.keys() == {f"{method.contract}.{method.method}" for method in methods}


@pytest.mark.parametrize("name", DAYS.calls)
def test_no_arguments_stop_a_validator(name):
    call, random = DAYS.calls[name], Random(1)
    sample = library_abi().encode_call(call.contract, call.method, **call.fields).args
    assert DAYS.before(name).block(call)[0].code == 0
    for data in inputs([sample], iterations=100):
        with told(data):
            chain = DAYS.before(name)
            sender = call.sender if random.random() < 0.8 else random.choice(("SGCC", "d1", "Pile-1", "nobody"))
            transaction = with_arguments(chain.transaction(Call(sender, call.contract, call.method, call.fields)), data)
            chain.run([transaction])
            if call.contract == "governance":
                approve_all(chain)
            chain.block(DAYS.calls["money.pay"], DAYS.calls["session.open"], DAYS.calls["session.stop"])
            for after_ms in (61_000, 25 * HOUR, 25 * HOUR):
                chain.block(DAYS.calls["money.pay"], after_ms=after_ms)
            assert views.audit(chain.state) == []
            assert all(decode(type(book), encode(book)) == book for book in views.balances(chain.state).values())
