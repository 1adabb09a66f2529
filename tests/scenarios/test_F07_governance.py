"""F07: companies join, vote, are suspended and leave by vote; every decision rules from K + 1 blocks on."""

from typing import Any

import pytest
from msgspec.structs import replace

from contracts import seats, views
from contracts.codes import Code
from contracts.contract import Business, Role
from contracts.governance import PROPOSALS
from contracts.host import SCHEDULE
from contracts.identity import COMPANIES, KEYS
from ledger.block import Receipt
from ledger.genesis import Parameters
from ledger.terms import DECISION_DELAY, Observer
from ledger.validators import quorum
from tests.consortium import HOUR, NAMES, Call, Chain, consortium, genesis, key, signer

DAY = 24 * HOUR
CHAIN_ID = bytes(32)


def decide(chain: Chain, voters: tuple[str, ...], method: str, **fields: Any) -> list[Receipt]:
    """Have the first propose and the others approve; returns all receipts."""
    receipts = [chain.call(voters[0], f"governance.{method}", **fields)]
    proposal = receipts[0].call_id
    receipts += [chain.call(voter, "governance.approve", proposal=proposal) for voter in voters[1:]]
    return receipts


def codes(receipts: list[Receipt]) -> list[int]:
    """What came of them."""
    return [receipt.code for receipt in receipts]


def vote_key(chain: Chain, company: str, label: str, method: str = "register_vote_key", sender: str = "") -> Receipt:
    """Register a vote key, as its node would."""
    holder = signer(label)
    proof = holder.sign(seats.vote_key_digest(CHAIN_ID, company, holder.public_key))
    return chain.call(sender or company, f"governance.{method}", vote_key=holder.public_key, proof=proof)


def settle_in(chain: Chain) -> None:
    """Let K + 1 blocks pass: what was decided rules."""
    for _ in range(DECISION_DELAY):
        chain.block()


def votes(chain: Chain) -> list[str]:
    """Who votes on the next block."""
    return [member.name for member in chain.last.timeline[0].validators.validators]


def newcomer(name: str) -> dict[str, Any]:
    """Arguments of a proposal to admit a company."""
    return {"company": name, "display_name": name, "roles": (Role.OPERATOR,), "company_key": key(name)}


def set_node(chain: Chain, company: str, label: str, address: str = "here:26656") -> Receipt:
    """A company names its node, with the node's own word."""
    holder = signer(label)
    node_key = holder.public_key[1:]
    proof = holder.sign(seats.node_key_digest(CHAIN_ID, company, node_key))
    return chain.call(company, "governance.set_node", node_key=node_key, address=address, proof=proof)


def admit(chain: Chain, name: str = "Newco") -> None:
    """A company joins, says which node is its own, and registers a vote key."""
    fields: dict[str, Any] = {
        "company": name,
        "display_name": name,
        "roles": (Role.OPERATOR,),
        "company_key": key(name),
    }
    assert codes(decide(chain, ("SGCC", "Grid", "Lab", "Regulator"), "propose_admit", **fields)) == [0] * 4
    assert set_node(chain, name, f"node {name}").code == 0
    assert vote_key(chain, name, f"vote {name}").code == 0


def test_F07_a_company_joins_follows_and_then_votes():
    chain = Chain()
    admit(chain)
    decided_at = chain.height - 1
    terms = chain.last.timeline[-1]
    assert (terms.height, terms.observers) == (decided_at + DECISION_DELAY, (Observer("Newco", key("node Newco")[1:]),))
    assert chain.last.timeline[0].observers == (), "not yet"
    settle_in(chain)
    assert chain.last.timeline == (terms,), "it may connect, and does not vote"

    assert codes(decide(chain, ("SGCC", "Grid", "Lab", "Teld", "Regulator"), "propose_vote", company="Newco"))[-1] == 0
    assert votes(chain) == sorted(NAMES)
    settle_in(chain)
    assert votes(chain) == sorted((*NAMES, "Newco"))
    terms = chain.last.timeline[0]
    member = terms.validators.validators[terms.validators.index_of("Newco") or 0]
    assert (member.vote_key, member.node_key) == (key("vote Newco"), key("node Newco")[1:])
    assert (terms.validators.epoch, terms.observers) == (1, ())


def test_F07_two_thirds_and_the_regulator_decide():
    chain = Chain()
    fields: dict[str, Any] = {
        "company": "Newco",
        "display_name": "N",
        "roles": (Role.OPERATOR,),
        "company_key": key("Newco"),
    }
    receipts = decide(chain, ("SGCC", "Grid", "Lab", "Teld", "StarCharge"), "propose_admit", **fields)
    assert codes(receipts) == [0] * 5
    assert COMPANIES.read(chain.state, b"Newco") is None, "five of six, and no regulator"
    assert chain.call("Regulator", "governance.approve", proposal=receipts[0].call_id).code == 0
    assert COMPANIES.read(chain.state, b"Newco") is not None

    receipts = decide(chain, ("Regulator", "Grid", "Lab", "Teld"), "propose_admit", **newcomer("Other"))
    assert COMPANIES.read(chain.state, b"Other") is None, "four of now seven"


def test_F07_a_suspension_needs_no_single_members_consent():
    chain = Chain()
    for suspended, others in (("Teld", ("SGCC", "Grid", "Lab", "StarCharge")), ("Regulator", ("SGCC", "Grid", "Lab"))):
        receipts = decide(chain, others, "propose_suspend", company=suspended)
        assert codes(receipts) == [0] * len(others)
        settle_in(chain)
        assert suspended not in votes(chain)
        assert suspended in [observer.name for observer in chain.last.timeline[0].observers], "it may follow"
    assert votes(chain) == ["Grid", "Lab", "SGCC", "StarCharge"]


def test_F07_the_concerned_and_the_suspended_have_no_voice():
    chain = Chain()
    assert chain.call("Teld", "governance.propose_suspend", company="Teld").code == Code.NO_VOICE
    decide(chain, ("SGCC", "Grid", "Lab", "StarCharge"), "propose_suspend", company="Teld")
    assert chain.call("Teld", "governance.propose_suspend", company="SGCC").code == Code.NO_VOICE


def test_F07_the_suspended_votes_again_with_a_fresh_key():
    chain = Chain()
    decide(chain, ("SGCC", "Grid", "Lab", "StarCharge"), "propose_suspend", company="Teld")
    settle_in(chain)
    back = ("SGCC", "Grid", "Lab", "Regulator")
    assert codes(decide(chain, back, "propose_vote", company="Teld"))[-1] == Code.VOTE_KEY_MISSING
    assert vote_key(chain, "Teld", "vote Teld").code == Code.VOTE_KEY_USED
    assert vote_key(chain, "Teld", "second vote Teld").code == 0
    assert codes(decide(chain, back, "propose_vote", company="Teld"))[-1] == 0
    settle_in(chain)
    members = {member.name: member.vote_key for member in chain.last.timeline[0].validators.validators}
    assert members["Teld"] == key("second vote Teld")


def test_F07_a_regulator_gets_its_voice_back_without_a_regulator():
    chain = Chain()
    others = ("SGCC", "Grid", "Lab", "StarCharge")
    decide(chain, others, "propose_suspend", company="Regulator")
    vote_key(chain, "Regulator", "second vote Regulator")
    assert codes(decide(chain, others, "propose_vote", company="Regulator"))[-1] == 0
    settle_in(chain)
    assert "Regulator" in votes(chain)


def test_F07_every_epoch_takes_the_fresh_keys_that_are_registered():
    chain = Chain()
    for name in ("Grid", "Lab"):
        assert vote_key(chain, name, f"next {name}").code == 0
    assert chain.last.timeline[-1].validators.epoch == 0, "a registered key waits"
    assert vote_key(chain, "SGCC", "next SGCC", "renew_vote_key").code == 0
    settle_in(chain)
    held = {member.name: member.vote_key for member in chain.last.timeline[0].validators.validators}
    assert [held[name] for name in ("Grid", "Lab", "SGCC")] == [key(f"next {n}") for n in ("Grid", "Lab", "SGCC")]
    assert held["Teld"] == key("vote Teld"), "who registers nothing keeps its key: nobody's silence stops a decision"
    assert vote_key(chain, "SGCC", "third SGCC", "renew_vote_key").code == Code.RENEWED_LATELY
    chain.block(after_ms=DAY)
    assert vote_key(chain, "SGCC", "third SGCC", "renew_vote_key").code == 0


def test_F07_a_vote_key_is_proven_and_nobody_elses():
    chain = Chain()
    stolen = signer("stolen")
    proof = stolen.sign(seats.vote_key_digest(CHAIN_ID, "Lab", stolen.public_key))
    fields: dict[str, Any] = {"vote_key": stolen.public_key, "proof": proof}
    assert chain.call("Grid", "governance.register_vote_key", **fields).code == Code.VOTE_KEY_UNPROVEN
    assert vote_key(chain, "Grid", "Teld").code == Code.KEY_TAKEN, "a company's key is no vote key"
    assert vote_key(chain, "Grid", "Pile-1").code == Code.DEVICE_KEY_TAKEN
    assert chain.call("d0", "governance.register_vote_key", **fields).code == Code.SENDER_UNKNOWN


def test_F07_two_decisions_of_one_block_are_one_epoch():
    chain = Chain()
    chain.run(
        [
            chain.transaction(call)
            for call in (
                _renewal("SGCC", "next SGCC"),
                _renewal("Teld", "next Teld"),
            )
        ]
    )
    assert len(chain.last.timeline) == 2
    terms = chain.last.timeline[-1]
    held = {member.name: member.vote_key for member in terms.validators.validators}
    assert (terms.validators.epoch, held["SGCC"], held["Teld"]) == (1, key("next SGCC"), key("next Teld"))


def _renewal(company: str, label: str) -> Call:
    holder = signer(label)
    proof = holder.sign(seats.vote_key_digest(CHAIN_ID, company, holder.public_key))
    return Call(company, "governance", "renew_vote_key", {"vote_key": holder.public_key, "proof": proof})


def test_F07_a_decision_in_every_block_never_overfills_the_timeline():
    chain = Chain()
    for number in range(3 * DECISION_DELAY):
        name = NAMES[number % len(NAMES)]
        chain.block(after_ms=DAY)
        assert vote_key(chain, name, f"key {number}", "renew_vote_key").code == 0
        assert len(chain.last.timeline) <= DECISION_DELAY + 1
    settle_in(chain)
    assert chain.last.timeline[0].validators.epoch == 3 * DECISION_DELAY


def test_F07_who_leaves_settles_first_and_its_margin_stays_locked():
    chain = Chain(genesis(consortium(drivers=2)))  # of SGCC and StarCharge: Teld has no customers
    others = ("SGCC", "Grid", "Lab", "Regulator")
    assert codes(decide(chain, others, "propose_remove", company="StarCharge"))[-1] == Code.NOT_SETTLED
    assert codes(decide(chain, others, "propose_remove", company="Teld"))[-1] == 0
    settle_in(chain)
    assert "Teld" not in votes(chain)
    assert chain.last.timeline[0].observers == ()
    assert KEYS.read(chain.state, key("Teld")) is None
    assert chain.call("Teld", "governance.propose_suspend", company="SGCC").code == Code.SENDER_UNKNOWN
    margin: dict[str, Any] = {"company": "Teld", "collateral_fen": 500_000, "pool_fen": 0, "rewards_fen": 0}
    assert chain.call("Regulator", "money.release_margin", **margin).code == Code.MARGIN_LOCKED
    chain.block(after_ms=90 * DAY)
    assert chain.call("Regulator", "money.release_margin", **margin).code == 0
    fields: dict[str, Any] = {"pile": "Pile-2", "connector": 1, "deposit_fen": 2_000, "accept_unverified": True}
    assert chain.call("d0", "session.open", **fields).code != 0, "no session at a pile of a company that left"
    again = newcomer("Teld") | {"company_key": key("Teld again")}
    assert codes(decide(chain, others, "propose_admit", **again))[-1] == Code.COMPANY_EXISTS


def test_F07_lost_keys_are_replaced_by_the_others():
    chain = Chain()
    fields: dict[str, Any] = {"company": "Teld", "company_key": key("Teld anew")}
    assert codes(decide(chain, ("SGCC", "Grid", "Lab", "Regulator"), "propose_keys", **fields))[-1] == 0
    assert chain.call("Teld", "governance.propose_suspend", company="SGCC").code == Code.SENDER_UNKNOWN
    assert vote_key(chain, "Teld", "anew", sender="Teld anew").code == 0


def test_F07_parameters_change_but_not_those_of_expiry():
    chain = Chain()
    voters = ("SGCC", "Grid", "Lab", "Regulator")
    wider = replace(Parameters(), block_transactions_max=5_000, idle_interval_ms=10_000)
    assert codes(decide(chain, voters, "propose_parameters", parameters=wider))[-1] == 0
    assert chain.last.timeline[0].parameters == Parameters()
    settle_in(chain)
    assert chain.last.timeline[0].parameters == wider
    assert chain.last.timeline[0].validators.epoch == 0
    for field in ("expiry_max_ms", "device_expiry_max_ms", "session_start_max_ms"):
        other = replace(wider, **{field: 1_000})
        assert codes(decide(chain, voters, "propose_parameters", parameters=other))[-1] == Code.PARAMETER_FIXED


def test_F07_a_set_never_falls_below_four():
    chain = Chain()
    for name, others in (("Teld", ("SGCC", "Grid", "Lab", "StarCharge")), ("StarCharge", ("SGCC", "Grid", "Lab"))):
        assert codes(decide(chain, others, "propose_suspend", company=name))[-1] == 0
    assert codes(decide(chain, ("SGCC", "Grid"), "propose_suspend", company="Lab"))[-1] == Code.SET_SIZE
    assert quorum(4) == 3


def test_F07_proposals_are_bounded_and_lapse():
    chain = Chain()
    for _ in range(8):
        assert chain.call("SGCC", "governance.propose_suspend", company="Teld").code == 0
    assert chain.call("SGCC", "governance.propose_suspend", company="Teld").code == Code.PROPOSALS_TOO_MANY
    assert len(list(PROPOSALS.scan(chain.state))) == 8
    chain.block(after_ms=7 * DAY)
    assert list(PROPOSALS.scan(chain.state)) == []
    first = chain.call("SGCC", "governance.propose_suspend", company="Teld")
    assert first.code == 0
    assert chain.call("SGCC", "governance.approve", proposal=first.call_id).code == Code.APPROVED_ALREADY
    assert chain.call("Grid", "governance.approve", proposal=bytes(32)).code == Code.PROPOSAL_UNKNOWN


@pytest.mark.parametrize("taken", ["node Lab", "node Teld"])
def test_F07_a_node_key_is_one_nodes(taken):
    chain = Chain()
    chain.block(after_ms=DAY)
    assert set_node(chain, "SGCC", taken).code == Code.NODE_KEY_TAKEN


def test_F07_a_validator_changes_its_node_key_in_a_new_epoch():
    chain = Chain()
    chain.block(after_ms=DAY)
    assert set_node(chain, "SGCC", "other node").code == 0
    settle_in(chain)
    terms = chain.last.timeline[0]
    assert terms.node_keys[key("other node")[1:]] == "SGCC"
    assert key("node SGCC")[1:] not in terms.node_keys
    assert terms.validators.epoch == 1


def test_F07_a_node_is_named_with_its_own_word_and_nobody_elses():
    chain = Chain()
    chain.block(after_ms=DAY)
    stolen = signer("node Newco")
    fields: dict[str, Any] = {
        "node_key": stolen.public_key[1:],
        "address": "",
        "proof": signer("other").sign(bytes(32)),
    }
    assert chain.call("SGCC", "governance.set_node", **fields).code == Code.NODE_KEY_UNPROVEN
    assert set_node(chain, "SGCC", "second node SGCC").code == 0
    assert set_node(chain, "Teld", "node SGCC").code == Code.NODE_KEY_TAKEN, "in force for some blocks yet"
    timeline = chain.last.timeline
    assert set_node(chain, "SGCC", "second node SGCC", "elsewhere:1").code == 0, "a new address is no epoch"
    assert chain.last.timeline == timeline


def test_F07_no_single_company_changes_who_decides():
    chain = Chain()
    roles = (Role.REGULATOR, Role.DRIVER)
    for method in ("set_node", "approve", "propose_suspend", "accuse"):
        fields: dict[str, Any] = {"contract": 6, "method": method, "business": Business.IDENTITY, "roles": roles}
        assert chain.call("Regulator", "identity.permit", **fields).code == Code.PERMISSION_FIXED


def test_F07_a_proposal_of_any_size_lapses():
    chain = Chain()
    fields = newcomer("Newco") | {"roles": (Role.OPERATOR,) * 9}
    assert chain.call("SGCC", "governance.propose_admit", **fields).code == 0
    more = fields | {"roles": (Role.OPERATOR,) * 10}
    assert chain.call("SGCC", "governance.propose_admit", **more).code == Code.ARGS_MALFORMED
    chain.block(after_ms=7 * DAY)
    assert list(PROPOSALS.scan(chain.state)) == []


def test_F07_a_proposal_is_not_decided_when_its_time_is_over():
    chain = Chain()
    receipts = decide(chain, ("SGCC", "Grid", "Lab"), "propose_suspend", company="Teld")
    chain.state.entries = {k: v for k, v in chain.state.entries.items() if not k.startswith(SCHEDULE.prefix)}
    late = chain.call("StarCharge", "governance.approve", after_ms=7 * DAY, proposal=receipts[0].call_id)
    assert late.code == Code.PROPOSAL_UNKNOWN, "even if the schedule has not come to it"


def test_F07_parameters_never_shut_governance_out():
    chain = Chain()
    voters = ("SGCC", "Grid", "Lab", "Regulator")
    for narrow in ({"block_gas_max": 10_000_000}, {"block_bytes_max": 1_000}):
        unfit = replace(Parameters(), **narrow)
        assert codes(decide(chain, voters, "propose_parameters", parameters=unfit))[-1] == Code.PARAMETER_UNFIT


def test_F07_nothing_is_paid_to_the_customers_of_a_company_that_left():
    chain = Chain(genesis(consortium(drivers=3, wallet_fen=0)))  # d2 is Teld's
    assert chain.call("SGCC", "money.top_up", account=key("d0"), amount_fen=1_000).code == 0
    decide(chain, ("SGCC", "Grid", "Lab", "Regulator"), "propose_remove", company="Teld")
    assert chain.call("d0", "money.pay", to=key("d2"), amount_fen=5, memo=0).code == Code.COMPANY_LEFT
    assert views.audit(chain.state) == []
