"""F07: companies join, vote and are suspended by vote; every decision rules from K + 1 blocks on."""

from typing import Any

import pytest
from msgspec.structs import replace

from contracts import views
from contracts.contract import Business, Role
from contracts.host import SCHEDULE, TIMELINE, Decided
from contracts.records.governance import OPEN, PROPOSALS, PROPOSALS_MAX
from contracts.records.identity import COMPANIES, COMPANIES_MAX, Company
from ledger.codec import encode
from ledger.errors import ClientError
from ledger.genesis import Parameters
from ledger.terms import DECISION_DELAY, OBSERVERS_MAX, Observer
from ledger.validators import VALIDATORS_MAX, Validator, ValidatorSet, quorum
from tests.consortium import NAMES, Chain, consortium, genesis, key, proof
from tests.membership_kit import (
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
    vote_keys,
    votes,
)
from tests.oracles.codes import Code

OTHERS = ("SGCC", "Grid", "Lab", "StarCharge")
"""Two thirds of the companies beside Teld or the regulator."""


def regulated_twice() -> Chain:
    """A chain whose lab is a regulator too, by the name of Bureau."""
    setup = consortium()
    companies = tuple(
        replace(company, roles=(Role.LAB, Role.REGULATOR)) if company.name == "Lab" else company
        for company in setup.companies
    )
    return Chain(genesis(replace(setup, companies=companies)))


def crowded(voting: int, observing: int) -> Chain:
    """A chain with so many members, most of them made up."""
    chain = Chain()
    chain.block()
    terms = chain.last.timeline[0]
    names = [f"Member{number:03}" for number in range(voting + observing - len(NAMES))]
    more = tuple(Validator(name, key("c" + name), key("v" + name), key("n" + name)[1:]) for name in names)
    voters = tuple(sorted((*terms.validators.validators, *more[: voting - len(NAMES)]), key=lambda m: m.name))
    observers = tuple(Observer(member.name, member.node_key) for member in more[voting - len(NAMES) :])
    full = replace(terms, validators=ValidatorSet(0, voters), observers=observers)
    chain.state.entries[TIMELINE.key()] = encode(Decided((full,)))
    return chain


def waiting(chain: Chain) -> int:
    """How many proposals wait, with the counts of companies that have some."""
    return len(list(PROPOSALS.scan(chain.state))) + len(list(OPEN.scan(chain.state)))


# ── joining and voting ────────────────────────────────────────────────────────────────────────────────────────────────


def test_F07_a_company_joins_follows_and_then_votes():
    chain = Chain()
    admit(chain)
    decided_at = chain.height - 1
    terms = chain.last.timeline[-1]
    assert (terms.height, terms.observers) == (decided_at + DECISION_DELAY, (Observer("Newco", key("node Newco")[1:]),))
    assert chain.last.timeline[0].observers == (), "not yet"
    settle_in(chain)
    assert chain.last.timeline == (terms,), "it may connect, and does not vote"

    assert decide(chain, (*VOTERS, "Teld"), "propose_vote", company="Newco")[-1] == 0
    assert votes(chain) == sorted(NAMES)
    settle_in(chain)
    assert votes(chain) == sorted((*NAMES, "Newco"))
    terms = chain.last.timeline[0]
    member = terms.validators.validators[terms.validators.index_of("Newco") or 0]
    assert (member.company_key, member.vote_key, member.node_key) == (
        key("Newco"),
        key("vote Newco"),
        key("node Newco")[1:],
    )
    assert (terms.validators.epoch, terms.observers) == (1, ())
    assert views.next_vote_key(chain.state, "Newco") is None, "its key waits no more"


def test_F07_a_company_that_joined_has_a_book_and_a_margin():
    chain = Chain()
    admit(chain)
    margin: dict[str, Any] = {"company": "Newco", "collateral_fen": 7, "pool_fen": 0, "rewards_fen": 0}
    assert chain.call("Regulator", "money.deposit_margin", **margin).code == 0
    assert chain.book("Newco").headroom_fen == 7
    assert (
        chain.call(
            "Newco", "identity.register_account", account=key("d of Newco"), proof=proof("d of Newco", "Newco")
        ).code
        == 0
    )


def test_F07_no_single_company_keeps_another_out_by_registering_its_key():
    chain = Chain()
    proposed = propose(chain, "SGCC", "propose_admit", **newcomer())
    squat: dict[str, Any] = {"account": key("Newco"), "proof": proof("StarCharge", "StarCharge")}
    assert chain.call("StarCharge", "identity.register_account", **squat).code == Code.KEY_UNPROVEN
    assert [approve(chain, voter, proposed) for voter in VOTERS[1:]] == [0] * 3
    assert company_keys(chain, "Newco") == (key("Newco"),)


def test_F07_two_thirds_and_the_regulator_decide():
    chain = Chain()
    proposed = propose(chain, "SGCC", "propose_admit", **newcomer())
    assert [approve(chain, voter, proposed) for voter in ("Grid", "Lab", "Teld", "StarCharge")] == [0] * 4
    assert views.company(chain.state, "Newco") is None, "five of six, and no regulator"
    assert approve(chain, "Regulator", proposed) == 0
    assert views.company(chain.state, "Newco") is not None
    decide(chain, VOTERS, "propose_admit", **newcomer("Other"))
    assert views.company(chain.state, "Other") is None, "four of now seven"


def test_F07_approvals_of_who_was_suspended_since_do_not_count():
    chain = Chain()
    proposed = propose(chain, "Teld", "propose_admit", **newcomer())
    assert approve(chain, "SGCC", proposed) == approve(chain, "Grid", proposed) == 0
    assert decide(chain, OTHERS, "propose_suspend", company="Teld")[-1] == 0
    assert approve(chain, "Regulator", proposed) == 0
    assert views.company(chain.state, "Newco") is None, "three of the five that have a voice"
    assert approve(chain, "Lab", proposed) == 0
    assert views.company(chain.state, "Newco") is not None


@pytest.mark.parametrize(
    ("company", "method", "code"),
    [
        ("SGCC", "propose_vote", Code.VOTES_ALREADY),
        ("Newco", "propose_vote", Code.NODE_UNKNOWN),
        ("Newco", "propose_suspend", Code.NO_VALIDATOR),
        ("Watcher", "propose_vote", Code.VOTE_KEY_MISSING),
        ("Watcher", "propose_suspend", Code.NO_VALIDATOR),
    ],
)
def test_F07_a_vote_is_given_to_a_node_and_taken_from_a_member(company, method, code):
    """Newco has joined without a node; Watcher's only observes."""
    chain = Chain()
    for name in ("Newco", "Watcher"):
        decide(chain, ("SGCC", "Grid", "Lab", "Teld", "Regulator"), "propose_admit", **newcomer(name))
    assert set_node(chain, "Watcher", "node Watcher") == 0
    outcome = decide(chain, ("Teld", "StarCharge", "Grid", "Lab", "Regulator", "SGCC"), method, company=company)
    assert code in outcome, "and nothing stops a node"


def test_F07_a_member_is_never_a_hundred_and_first():
    chain = crowded(VALIDATORS_MAX, 0)
    admit(chain)
    assert decide(chain, (*VOTERS, "Teld"), "propose_vote", company="Newco")[-1] == Code.SET_SIZE


def test_F07_observers_leave_room_for_a_liar_to_be_suspended():
    chain = crowded(10, OBSERVERS_MAX - 10)
    assert decide(chain, OTHERS, "propose_suspend", company="Teld")[-1] == 0
    decide(chain, ("SGCC", "Grid", "Lab", "StarCharge", "Regulator"), "propose_admit", **newcomer())
    assert set_node(chain, "Newco", "node Newco") == Code.OBSERVERS_TOO_MANY


# ── suspending, and the voices ────────────────────────────────────────────────────────────────────────────────────────


def test_F07_a_suspension_needs_no_single_members_consent():
    chain = Chain()
    for suspended, others in (("Teld", OTHERS), ("Regulator", ("SGCC", "Grid", "Lab"))):
        assert decide(chain, others, "propose_suspend", company=suspended) == [0] * len(others)
        settle_in(chain)
        assert suspended not in votes(chain)
        assert suspended in [observer.name for observer in chain.last.timeline[0].observers], "it may follow"
    assert votes(chain) == ["Grid", "Lab", "SGCC", "StarCharge"]


@pytest.mark.parametrize(
    ("method", "more"),
    [("propose_suspend", {}), ("propose_remove", {}), ("propose_keys", {"company_key": key("anew")})],
)
def test_F07_the_concerned_has_no_voice(method, more):
    chain = Chain()
    assert propose(chain, "Teld", method, company="Teld", **more).code == Code.NO_VOICE
    proposed = propose(chain, "SGCC", method, company="Teld", **more)
    assert approve(chain, "Teld", proposed) == Code.NO_VOICE


def test_F07_the_suspended_has_no_voice_until_it_votes_again_with_a_fresh_key():
    chain = Chain()
    decide(chain, OTHERS, "propose_suspend", company="Teld")
    settle_in(chain)
    assert propose(chain, "Teld", "propose_suspend", company="SGCC").code == Code.NO_VOICE
    assert decide(chain, VOTERS, "propose_vote", company="Teld")[-1] == Code.VOTE_KEY_MISSING
    assert vote_key(chain, "Teld", "vote Teld") == Code.VOTE_KEY_USED
    assert vote_key(chain, "Teld", "second vote Teld") == 0
    assert decide(chain, VOTERS, "propose_vote", company="Teld")[-1] == 0
    assert vote_keys(chain)["Teld"] == key("second vote Teld")
    assert propose(chain, "Teld", "propose_suspend", company="SGCC").code == 0


def test_F07_a_regulator_gets_its_voice_back_without_a_regulator():
    chain = Chain()
    decide(chain, OTHERS, "propose_suspend", company="Regulator")
    vote_key(chain, "Regulator", "second vote Regulator")
    assert decide(chain, (*OTHERS, "Teld"), "propose_admit", **newcomer()) == [0] * 5
    assert views.company(chain.state, "Newco") is None, "with no regulator nobody else is let in"
    assert decide(chain, OTHERS, "propose_keys", company="Teld", company_key=key("Teld anew")) == [0] * 4
    assert company_keys(chain, "Teld") == (key("Teld"),), "nor gets anybody else's keys"
    assert decide(chain, OTHERS, "propose_vote", company="Regulator")[-1] == 0
    settle_in(chain)
    assert "Regulator" in votes(chain)
    assert decide(chain, VOTERS, "propose_admit", **newcomer("Other"))[-1] == 0
    assert views.company(chain.state, "Other") is not None, "and its voice is heard"


def test_F07_another_regulator_is_asked_where_there_is_one():
    unregulated, with_lab = ("SGCC", "Grid", "Teld", "StarCharge"), ("SGCC", "Grid", "Teld", "Lab")
    for voters, replaced in ((unregulated, False), (with_lab, True)):
        chain = regulated_twice()
        decide(chain, voters, "propose_keys", company="Regulator", company_key=key("anew"))
        assert (company_keys(chain, "Regulator") == (key("anew"),)) == replaced
        decide(chain, OTHERS, "propose_suspend", company="Regulator")
        vote_key(chain, "Regulator", "second vote Regulator", sender="anew" if replaced else "")
        decide(chain, voters, "propose_vote", company="Regulator")
        assert ("Regulator" in vote_keys(chain)) == replaced


@pytest.mark.parametrize("suspended", [None, "Teld"])
def test_F07_only_all_others_together_replace_the_keys_of_the_one_regulator(suspended):
    """Two thirds would take its voice by a key of their own, and nobody is outvoted by being suspended first."""
    chain = Chain()
    if suspended:
        decide(chain, OTHERS, "propose_suspend", company=suspended)
    proposed = propose(chain, "SGCC", "propose_keys", company="Regulator", company_key=key("ours"))
    assert [approve(chain, voter, proposed) for voter in ("Grid", "Lab", "StarCharge")] == [0] * 3
    assert company_keys(chain, "Regulator") == (key("Regulator"),)
    assert approve(chain, "Teld", proposed) == 0
    assert company_keys(chain, "Regulator") == (key("ours"),)


def test_F07_a_set_never_falls_below_four():
    chain = Chain()
    for name, others in (("Teld", OTHERS), ("StarCharge", ("SGCC", "Grid", "Lab"))):
        assert decide(chain, others, "propose_suspend", company=name)[-1] == 0
    assert decide(chain, ("SGCC", "Grid"), "propose_suspend", company="Lab")[-1] == Code.SET_SIZE
    assert quorum(4) == 3


# ── proposals ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "fields", "code"),
    [
        ("propose_admit", newcomer(roles=()), Code.ROLES_INVALID),
        ("propose_admit", newcomer(roles=(Role.OPERATOR, Role.DRIVER)), Code.ROLES_INVALID),
        ("propose_admit", newcomer("New\0co"), Code.COMPANY_NAME_MALFORMED),
        ("propose_admit", newcomer(company="Teld"), Code.COMPANY_EXISTS),
        ("propose_admit", newcomer(company_key=key("Teld")), Code.KEY_TAKEN),
        ("propose_admit", newcomer(company_key=key("Pile-1")), Code.DEVICE_KEY_TAKEN),
        ("propose_admit", newcomer(company_key=b"\1" + bytes(32)), Code.KEY_INVALID),
        ("propose_vote", {"company": "Nobody"}, Code.MEMBER_UNKNOWN),
        ("propose_suspend", {"company": "Nobody"}, Code.MEMBER_UNKNOWN),
        ("propose_remove", {"company": "Nobody"}, Code.MEMBER_UNKNOWN),
        ("propose_keys", {"company": "Nobody", "company_key": key("anew")}, Code.MEMBER_UNKNOWN),
        ("propose_keys", {"company": "Teld", "company_key": key("d0")}, Code.KEY_TAKEN),
        *(
            ("propose_parameters", {"parameters": replace(Parameters(), **changes)}, code)
            for changes, code in (
                ({"expiry_max_ms": 1_000}, Code.PARAMETER_FIXED),
                ({"device_expiry_max_ms": 1_000}, Code.PARAMETER_FIXED),
                ({"session_start_max_ms": 1_000}, Code.PARAMETER_FIXED),
                ({"block_gas_max": 10_000_000}, Code.PARAMETER_UNFIT),
                ({"block_bytes_max": 1_000}, Code.PARAMETER_UNFIT),
            )
        ),
    ],
)
def test_F07_what_can_never_be_decided_is_not_proposed(method, fields, code):
    chain = Chain()
    assert propose(chain, "SGCC", method, **fields).code == code
    assert not waiting(chain)


def test_F07_what_has_become_impossible_is_not_decided():
    chain = Chain()
    proposed = propose(chain, "SGCC", "propose_admit", **newcomer())
    assert [approve(chain, voter, proposed) for voter in ("Grid", "Lab", "Teld")] == [0] * 3
    assert decide(chain, VOTERS, "propose_admit", **newcomer(company_key=key("first")))[-1] == 0
    assert approve(chain, "Regulator", proposed) == Code.COMPANY_EXISTS
    assert company_keys(chain, "Newco") == (key("first"),)


def test_F07_companies_are_never_more_than_decisions_walk_through():
    """Those that left count: beyond the bound the last by name would lose their voices in silence."""
    chain = Chain()
    for number in range(COMPANIES_MAX - len(NAMES) - 1):
        chain.state.entries[COMPANIES.key(f"A{number:04}".encode())] = encode(Company("left", (), ()))
    assert decide(chain, VOTERS, "propose_admit", **newcomer())[-1] == 0
    assert propose(chain, "SGCC", "propose_admit", **newcomer("Other")).code == Code.COMPANIES_TOO_MANY
    assert propose(chain, "Teld", "propose_suspend", company="SGCC").code == 0, "and the last still has its voice"


def test_F07_companies_that_left_do_not_count():
    chain = Chain(genesis(consortium(wallet_fen=0)))
    for name in ("Teld", "StarCharge"):
        assert decide(chain, VOTERS, "propose_remove", company=name)[-1] == 0
    assert decide(chain, VOTERS[1:], "propose_admit", **newcomer()) == [0] * 3
    assert views.company(chain.state, "Newco") is not None, "three of four"


def test_F07_parameters_change():
    chain = Chain()
    wider = replace(Parameters(), block_transactions_max=5_000, idle_interval_ms=10_000)
    assert decide(chain, VOTERS, "propose_parameters", parameters=wider)[-1] == 0
    assert chain.last.timeline[0].parameters == Parameters()
    settle_in(chain)
    assert chain.last.timeline[0].parameters == wider
    assert chain.last.timeline[0].validators.epoch == 0


def test_F07_proposals_are_bounded_and_lapse():
    chain = Chain()
    for _ in range(PROPOSALS_MAX):
        assert propose(chain, "SGCC", "propose_suspend", company="Teld").code == 0
    assert propose(chain, "SGCC", "propose_suspend", company="Teld").code == Code.PROPOSALS_TOO_MANY
    assert len(list(PROPOSALS.scan(chain.state))) == PROPOSALS_MAX
    chain.block(after_ms=7 * DAY)
    assert not waiting(chain)
    first = propose(chain, "SGCC", "propose_suspend", company="Teld")
    assert first.code == 0
    assert approve(chain, "SGCC", first) == Code.APPROVED_ALREADY
    assert chain.call("Grid", "governance.approve", proposal=bytes(32)).code == Code.PROPOSAL_UNKNOWN


def test_F07_who_has_approved_decides_once_the_voices_behind_a_proposal_are_enough():
    """Three of six approve it; with two of the others suspended they are three of four."""
    chain = Chain()
    proposed = propose(chain, "SGCC", "propose_admit", **newcomer())
    assert approve(chain, "Grid", proposed) == approve(chain, "Regulator", proposed) == 0
    assert decide(chain, OTHERS, "propose_suspend", company="Teld")[-1] == 0
    assert approve(chain, "Grid", proposed) == Code.APPROVED_ALREADY, "three of five"
    assert decide(chain, ("SGCC", "Grid", "Lab"), "propose_suspend", company="StarCharge")[-1] == 0
    assert approve(chain, "Teld", proposed) == Code.NO_VOICE
    [again] = chain.block(governance("Grid", "approve", proposal=proposed.call_id))
    assert again.code == 0
    assert "governance.approved" not in [event.name for event in again.events], "it has said so before"
    assert views.company(chain.state, "Newco") is not None
    assert not waiting(chain)


def test_F07_a_decided_proposal_makes_room_for_one():
    chain = Chain()
    proposed = [propose(chain, "SGCC", "propose_suspend", company="Teld") for _ in range(PROPOSALS_MAX)]
    assert [approve(chain, voter, proposed[0]) for voter in OTHERS[1:]] == [0] * 3
    assert next(iter(SCHEDULE.scan(chain.state)))[0].endswith(proposed[1].call_id), "it lapses no more"
    assert propose(chain, "SGCC", "propose_suspend", company="Lab").code == 0
    assert propose(chain, "SGCC", "propose_suspend", company="Lab").code == Code.PROPOSALS_TOO_MANY


def test_F07_a_proposal_of_any_size_lapses():
    chain = Chain()
    roles = (Role.OPERATOR,) * len(Role)
    assert propose(chain, "SGCC", "propose_admit", **newcomer(roles=roles)).code == 0
    more = newcomer(roles=(*roles, Role.OPERATOR))
    with pytest.raises(ClientError, match="args-malformed"):
        propose(chain, "SGCC", "propose_admit", **more)
    chain.block(after_ms=7 * DAY)
    assert list(PROPOSALS.scan(chain.state)) == []


def test_F07_a_proposal_is_not_decided_when_its_time_is_over():
    chain = Chain()
    proposed = propose(chain, "SGCC", "propose_suspend", company="Teld")
    assert approve(chain, "Grid", proposed) == approve(chain, "Lab", proposed) == 0
    chain.state.entries = {k: v for k, v in chain.state.entries.items() if not k.startswith(SCHEDULE.prefix)}
    chain.now_ms += 7 * DAY
    assert approve(chain, "StarCharge", proposed) == Code.PROPOSAL_UNKNOWN, "even if the schedule has not come to it"


def test_F07_no_single_company_changes_who_decides():
    chain = Chain()
    roles = (Role.REGULATOR, Role.DRIVER)
    for method in ("set_node", "approve", "propose_suspend", "accuse"):
        fields: dict[str, Any] = {"contract": 6, "method": method, "business": Business.IDENTITY, "roles": roles}
        assert chain.call("Regulator", "identity.permit", **fields).code == Code.PERMISSION_FIXED
