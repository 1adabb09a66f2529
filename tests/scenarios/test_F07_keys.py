"""F07: nodes and keys of companies: vote keys by epochs, TLS keys, and company keys that are lost or stolen."""

from typing import Any

import pytest

from contracts import digests, views
from contracts.codes import Code as HostCode
from contracts.records.identity import KEYS
from ledger.terms import DECISION_DELAY
from tests.consortium import NAMES, Call, Chain, found, key, proof, signer
from tests.membership_kit import (
    CHAIN_ID,
    DAY,
    VOTERS,
    admit,
    approve,
    company_keys,
    decide,
    governance,
    newcomer,
    propose,
    set_node,
    settle_in,
    vote_key,
    vote_key_call,
    vote_keys,
)
from tests.oracles.codes import Code

# ── vote keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_F07_every_epoch_takes_the_fresh_keys_that_are_registered():
    chain = Chain()
    for name in ("Grid", "Lab"):
        assert vote_key(chain, name, f"next {name}") == 0
    assert chain.last.timeline[-1].validators.epoch == 0, "a registered key waits"
    assert vote_key(chain, "SGCC", "next SGCC", "renew_vote_key") == 0
    assert [views.next_vote_key(chain.state, name) for name in NAMES] == [None] * len(NAMES)
    settle_in(chain)
    held = {member.name: member.vote_key for member in chain.last.timeline[0].validators.validators}
    assert [held[name] for name in ("Grid", "Lab", "SGCC")] == [key(f"next {n}") for n in ("Grid", "Lab", "SGCC")]
    assert held["Teld"] == key("vote Teld"), "who registers nothing keeps its key: nobody's silence stops a decision"
    assert vote_key(chain, "SGCC", "third SGCC", "renew_vote_key") == Code.RENEWED_LATELY
    chain.block(after_ms=DAY)
    assert vote_key(chain, "SGCC", "third SGCC", "renew_vote_key") == 0


def test_F07_a_vote_key_is_proven_new_and_nobody_elses():
    chain = Chain()
    stolen = signer("stolen")
    proof = stolen.sign(digests.vote_key_digest(CHAIN_ID, "Lab", stolen.public_key))
    fields: dict[str, Any] = {"vote_key": stolen.public_key, "proof": proof}
    assert chain.call("Grid", "governance.register_vote_key", **fields).code == Code.VOTE_KEY_UNPROVEN
    assert vote_key(chain, "Grid", "Teld") == Code.KEY_TAKEN, "a company's key is no vote key"
    assert vote_key(chain, "Grid", "Pile-1") == Code.DEVICE_KEY_TAKEN
    assert chain.call("d0", "governance.register_vote_key", **fields).code == HostCode.SENDER_UNKNOWN
    for used in ("vote Grid", "vote Lab"):
        assert vote_key(chain, "Grid", used) == Code.VOTE_KEY_USED
    assert vote_key(chain, "Grid", "next Grid") == 0
    assert vote_key(chain, "Grid", "next Grid") == 0, "its node may say so again"
    assert vote_key(chain, "Grid", "other Grid") == 0, "another takes its place"
    assert vote_key(chain, "Grid", "next Grid") == 0, "and is as good as new: it has never voted"
    assert views.vote_key(chain.state, key("other Grid")) is None
    assert vote_key(chain, "Grid", "third Grid", "renew_vote_key") == 0
    assert [views.vote_key(chain.state, key(f"{each} Grid")) is None for each in ("next", "third")] == [True, False]


def test_F07_nobody_takes_a_vote_key_away_that_it_saw_on_its_way_to_a_block():
    """The branch of identity runs before that of governance: the registration of an account would come first."""
    chain = Chain()
    account = {"account": key("next Teld"), "proof": proof("StarCharge", "StarCharge")}
    squat = Call("StarCharge", "identity", "register_account", account)
    squatted, registered = chain.block(squat, vote_key_call("Teld", "next Teld"))
    assert (squatted.code, registered.code) == (Code.KEY_UNPROVEN, 0)


def test_F07_vote_keys_are_of_companies_with_a_node_and_renewed_by_those_that_vote():
    chain = Chain()
    decide(chain, VOTERS, "propose_admit", **newcomer())
    assert vote_key(chain, "Newco", "vote Newco") == Code.NODE_UNKNOWN
    assert vote_key(chain, "Newco", "vote Newco", "renew_vote_key") == Code.NO_VALIDATOR
    assert set_node(chain, "Newco", "node Newco") == 0
    assert vote_key(chain, "Newco", "vote Newco", "renew_vote_key") == Code.NO_VALIDATOR


def test_F07_two_decisions_of_one_block_are_one_epoch():
    chain = Chain()
    chain.block(*(vote_key_call(name, f"next {name}", "renew_vote_key") for name in ("SGCC", "Teld")))
    assert len(chain.last.timeline) == 2
    held = vote_keys(chain)
    assert chain.last.timeline[-1].validators.epoch == 1
    assert (held["SGCC"], held["Teld"]) == (key("next SGCC"), key("next Teld"))


def test_F07_a_decision_in_every_block_never_overfills_the_timeline():
    chain = Chain()
    for number in range(3 * DECISION_DELAY):
        name = NAMES[number % len(NAMES)]
        chain.block(after_ms=DAY)
        assert vote_key(chain, name, f"key {number}", "renew_vote_key") == 0
        assert len(chain.last.timeline) <= DECISION_DELAY + 1
    settle_in(chain)
    assert chain.last.timeline[0].validators.epoch == 3 * DECISION_DELAY


# ── TLS keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("taken", ["node Lab", "node Teld"])
def test_F07_a_node_key_is_one_nodes(taken):
    assert set_node(Chain(), "SGCC", taken) == Code.NODE_KEY_TAKEN


def test_F07_a_validator_changes_its_node_key_in_a_new_epoch_once_a_day():
    """Every epoch costs every pile: nobody makes one block for block."""
    chain = Chain()
    assert set_node(chain, "SGCC", "other node") == 0
    settle_in(chain)
    terms = chain.last.timeline[0]
    assert terms.node_keys[key("other node")[1:]] == "SGCC"
    assert key("node SGCC")[1:] not in terms.node_keys
    assert terms.validators.epoch == 1
    assert set_node(chain, "SGCC", "third node") == Code.RENEWED_LATELY
    assert vote_key(chain, "SGCC", "next SGCC", "renew_vote_key") == Code.RENEWED_LATELY
    chain.block(after_ms=DAY)
    assert set_node(chain, "SGCC", "third node") == 0


def test_F07_an_observer_changes_its_node_once_a_day_too():
    chain = Chain()
    admit(chain)
    assert set_node(chain, "Newco", "other node") == Code.RENEWED_LATELY
    chain.block(after_ms=DAY)
    assert set_node(chain, "Newco", "other node") == 0
    assert [observer.node_key for observer in chain.last.timeline[-1].observers] == [key("other node")[1:]]


def test_F07_a_node_is_named_with_its_own_word_and_nobody_elses():
    chain = Chain()
    proof = signer("other").sign(bytes(32))
    wrong = governance("SGCC", "set_node", node_key=key("node Newco")[1:], address="", proof=proof)
    assert chain.block(wrong)[0].code == Code.NODE_KEY_UNPROVEN
    assert set_node(chain, "SGCC", "second node SGCC") == 0
    assert set_node(chain, "Teld", "node SGCC") == Code.NODE_KEY_TAKEN, "in force for some blocks yet"
    timeline = chain.last.timeline
    assert set_node(chain, "SGCC", "second node SGCC", "elsewhere:1") == 0, "a new address is no epoch"
    assert found(views.seat(chain.state, "SGCC")).address == "elsewhere:1"
    assert chain.last.timeline == timeline


# ── company keys ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_F07_lost_keys_are_replaced_by_the_others():
    chain = Chain()
    assert decide(chain, VOTERS, "propose_keys", company="Teld", company_key=key("Teld anew"))[-1] == 0
    assert chain.call("Teld", "governance.propose_suspend", company="SGCC").code == HostCode.SENDER_UNKNOWN
    assert KEYS.read(chain.state, key("Teld")) is None
    assert vote_key(chain, "Teld", "anew", sender="Teld anew") == 0


@pytest.mark.parametrize("name", ["Teld", "Regulator"])
def test_F07_a_thief_does_not_keep_its_keys_by_registering_those_that_are_to_replace_them(name):
    chain = Chain()
    voters = [voter for voter in NAMES if voter != name]
    squat: dict[str, Any] = {"key": key("anew"), "businesses": (), "proof": proof("the thief's", name)}
    proposed = propose(chain, voters[0], "propose_keys", company=name, company_key=key("anew"))
    assert chain.call(name, "identity.add_key", **squat).code == Code.KEY_UNPROVEN
    # The thief's try stands before the last approvals in their block: the branch of identity comes first.
    approvals = [governance(voter, "approve", proposal=proposed.call_id) for voter in voters[1:]]
    codes = [receipt.code for receipt in chain.block(Call(name, "identity", "add_key", squat), *approvals)]
    assert codes[0] == Code.KEY_UNPROVEN
    assert company_keys(chain, name) == (key("anew"),)
    assert chain.call(name, "identity.add_key", **squat).code == HostCode.SENDER_UNKNOWN


def test_F07_the_vote_keys_that_a_thief_registered_go_with_the_stolen_keys():
    chain = Chain()
    assert vote_key(chain, "Teld", "first of the thief", "renew_vote_key") == 0
    assert vote_key(chain, "Teld", "second of the thief") == 0
    assert decide(chain, VOTERS, "propose_keys", company="Teld", company_key=key("Teld anew"))[-1] == 0
    assert views.next_vote_key(chain.state, "Teld") is None
    assert vote_keys(chain)["Teld"] == key("first of the thief"), "until the company names its own"
    assert vote_key(chain, "Teld", "own vote", "renew_vote_key", sender="Teld anew") == 0, "at once"
    settle_in(chain)
    validators = chain.last.timeline[0].validators
    member = validators.validators[validators.index_of("Teld") or 0]
    assert (member.company_key, member.vote_key) == (key("Teld anew"), key("own vote"))


@pytest.mark.parametrize("proposer", ["Teld", "SGCC"])
def test_F07_what_was_approved_with_keys_that_were_replaced_since_is_void(proposer):
    chain = Chain()
    proposed = propose(chain, proposer, "propose_admit", **newcomer())
    assert approve(chain, "SGCC" if proposer == "Teld" else "Teld", proposed) == 0
    assert decide(chain, VOTERS, "propose_keys", company="Teld", company_key=key("Teld anew"))[-1] == 0
    assert approve(chain, "Teld anew", proposed) == Code.NO_VOICE
    assert approve(chain, "Grid", proposed) == approve(chain, "Regulator", proposed) == 0
    assert views.company(chain.state, "Newco") is None, "three of six"
    again = ("Teld anew", "SGCC", "Grid", "Regulator")
    assert decide(chain, again, "propose_admit", **newcomer("Other")) == [0] * 4
    assert views.company(chain.state, "Other") is not None, "what it proposes now is its own word"


def test_F07_a_proposal_of_the_very_block_in_which_keys_were_replaced_may_be_a_thiefs():
    chain = Chain()
    proposed = propose(chain, "SGCC", "propose_keys", company="Teld", company_key=key("Teld anew"))
    assert [approve(chain, voter, proposed) for voter in VOTERS[1:-1]] == [0, 0]
    last = governance(VOTERS[-1], "approve", proposal=proposed.call_id)
    evil = chain.transaction(governance("Teld", "propose_admit", **newcomer("Evil")))
    assert [receipt.code for receipt in chain.run([evil, chain.transaction(last)])] == [0, 0]
    for voter in ("SGCC", "Grid", "Regulator"):
        assert chain.block(governance(voter, "approve", proposal=evil.id))[0].code == 0
    assert views.company(chain.state, "Evil") is None


def test_F07_keys_are_replaced_of_companies_that_do_not_vote_too():
    chain = Chain()
    decide(chain, VOTERS, "propose_admit", **newcomer())
    decide(chain, ("SGCC", "Grid", "Lab", "Teld", "Regulator"), "propose_admit", **newcomer("Watcher"))
    assert set_node(chain, "Watcher", "node Watcher") == 0
    timeline = chain.last.timeline
    for name in ("Newco", "Watcher"):
        voters = ("SGCC", "Grid", "Lab", "Teld", "Regulator")
        assert decide(chain, voters, "propose_keys", company=name, company_key=key(f"{name} anew"))[-1] == 0
        assert company_keys(chain, name) == (key(f"{name} anew"),)
    assert chain.last.timeline[-1] == timeline[-1], "no epoch"
