"""F12: two votes of one key that contradict each other, brought on chain, cut the company's collateral once."""

from typing import Any

from msgspec.structs import replace

from contracts import views
from contracts.genesis import ConsortiumParameters
from contracts.records.money import FINE_DEBTS
from ledger.evidence import Equivocation, Phase
from tests.consortium import Chain, consortium, genesis, key
from tests.membership_kit import VOTERS, accuse, decide, evidence, settle_in, statement, vote_key
from tests.oracles.codes import Code

A, B = bytes([1]) * 32, bytes([2]) * 32


def test_F12_an_equivocation_cuts_the_collateral_once():
    chain = Chain()
    before = chain.book("Teld").collateral_fen
    assert accuse(chain, evidence()) == 0
    book = chain.book("Teld")
    assert book.collateral_fen == before - before // 10
    assert chain.book("Regulator").rewards_fen == before // 10
    assert accuse(chain, evidence()) == Code.FINED_ALREADY
    assert accuse(chain, evidence(height=8), "Lab") == Code.FINED_ALREADY, "once, however often it lied"
    assert chain.book("Teld") == book
    assert views.audit(chain.state) == []


def test_F12_every_phase_that_is_given_once_is_evidence():
    for phase, label in zip(Phase, ("vote Grid", "vote Lab", "vote SGCC", "vote Teld"), strict=True):
        assert accuse(Chain(), evidence(label, phase=phase)) == 0


def test_F12_what_is_no_contradiction_is_refused():
    chain = Chain()
    one, other = statement("vote Teld", A), statement("vote Teld", B)
    for first, second in (
        (one, one),
        (other, one),  # turned round: one contradiction has one form
        (one, statement("vote Teld", B, height=8)),
        (one, statement("vote Teld", B, view=1)),
        (one, statement("vote Teld", B, set_hash=A)),
        (one, statement("vote Teld", B, phase=Phase.COMMIT)),
        (one, statement("vote SGCC", B)),  # another's vote
        (one, statement("vote Teld", B, A)),  # a vote on another chain
        (one, replace(other, signature=bytes(64))),
    ):
        assert accuse(chain, Equivocation(key("vote Teld"), first, second)) == Code.EVIDENCE_INVALID
    assert accuse(chain, evidence("stranger")) == Code.VOTE_KEY_UNKNOWN


def test_F12_a_former_key_is_still_answered_for():
    chain = Chain()
    vote_key(chain, "Teld", "next Teld", "renew_vote_key")
    settle_in(chain)
    assert accuse(chain, evidence()) == 0
    assert accuse(chain, evidence("next Teld")) == 0, "and the new one for itself"


def test_F12_a_key_that_waits_or_never_voted_is_answered_for_by_nobody():
    """Whoever holds a company key registers as many as it likes, and lies with each."""
    chain = Chain()
    before = chain.book("Teld")
    for number in range(3):
        assert vote_key(chain, "Teld", f"key {number}") == 0
        assert accuse(chain, evidence(f"key {number}")) == Code.VOTE_KEY_UNKNOWN
    assert decide(chain, VOTERS, "propose_keys", company="Teld", company_key=key("Teld anew"))[-1] == 0
    for number in range(3):
        assert accuse(chain, evidence(f"key {number}")) == Code.VOTE_KEY_UNKNOWN
    assert chain.book("Teld").collateral_fen == before.collateral_fen
    assert vote_key(chain, "Teld", "key 0", "renew_vote_key", sender="Teld anew") == 0
    assert accuse(chain, evidence("key 0")) == 0, "decided: it may vote"


def test_F12_what_the_headroom_does_not_cover_is_paid_by_the_next_deposit():
    chain = Chain(genesis(consortium(collateral_fen=1_000, parameters=ConsortiumParameters(block_reward_fen=0))))
    deposit: dict[str, Any] = {"pile": "Pile-1", "connector": 1, "deposit_fen": 950, "accept_unverified": False}
    opened = chain.call("d0", "session.open", **deposit)
    assert opened.code == 0
    reserved = chain.book("SGCC")
    assert reserved.headroom_fen == 50
    assert accuse(chain, evidence("vote SGCC"), "Lab") == 0
    book = chain.book("SGCC")
    assert (book.collateral_fen, book.headroom_fen) == (950, 0), "never below what it owes and reserves"
    assert [debt.amount_fen for _, debt in FINE_DEBTS.scan(chain.state)] == [50]
    margin: dict[str, Any] = {"company": "SGCC", "collateral_fen": 30, "pool_fen": 0, "rewards_fen": 0}
    assert chain.call("Regulator", "money.deposit_margin", **margin).code == 0
    assert [debt.amount_fen for _, debt in FINE_DEBTS.scan(chain.state)] == [20]
    assert chain.call("Regulator", "money.deposit_margin", **margin).code == 0
    assert list(FINE_DEBTS.scan(chain.state)) == []
    book = chain.book("SGCC")
    assert (book.collateral_fen, chain.book("Regulator").rewards_fen) == (960, 100)
    assert views.audit(chain.state) == []


def test_F12_fines_of_two_keys_add_up():
    chain = Chain(genesis(consortium(collateral_fen=1_000, parameters=ConsortiumParameters(block_reward_fen=0))))
    deposit: dict[str, Any] = {"pile": "Pile-1", "connector": 1, "deposit_fen": 950, "accept_unverified": False}
    assert chain.call("d0", "session.open", **deposit).code == 0
    assert vote_key(chain, "SGCC", "next SGCC", "renew_vote_key") == 0
    assert accuse(chain, evidence("vote SGCC"), "Lab") == accuse(chain, evidence("next SGCC"), "Lab") == 0
    assert [debt.amount_fen for _, debt in FINE_DEBTS.scan(chain.state)] == [50 + 95]


def test_F12_a_company_that_left_answers_with_its_margin():
    chain = Chain(genesis(consortium(wallet_fen=0)))
    assert decide(chain, VOTERS, "propose_remove", company="Teld")[-1] == 0
    assert accuse(chain, evidence()) == 0
    assert chain.book("Teld").collateral_fen == 500_000 - 50_000


def test_F12_a_regulator_pays_somebody_else():
    chain = Chain()
    assert accuse(chain, evidence("vote Regulator")) == 0
    assert chain.book("Grid").rewards_fen > 0


def test_F12_who_gets_hold_of_a_former_key_has_its_company_fined_once():
    """Its statements may name sets and heights that never were."""
    chain = Chain()
    assert accuse(chain, evidence(set_hash=A)) == 0
    for changes in ({"set_hash": B}, {"height": 9}, {"view": 3}, {"phase": Phase.COMMIT}):
        assert accuse(chain, evidence(**changes)) == Code.FINED_ALREADY
    assert chain.book("Teld").collateral_fen == 500_000 - 50_000


def test_F12_no_margin_goes_back_before_a_fine_is_paid():
    chain = Chain(genesis(consortium(collateral_fen=1_000, parameters=ConsortiumParameters(block_reward_fen=0))))
    deposit: dict[str, Any] = {"pile": "Pile-1", "connector": 1, "deposit_fen": 950, "accept_unverified": False}
    assert chain.call("d0", "session.open", **deposit).code == 0
    assert accuse(chain, evidence("vote SGCC"), "Lab") == 0
    chain.block(after_ms=3_600_000)  # it is never started: the reservation ends by schedule
    margin: dict[str, Any] = {"company": "SGCC", "collateral_fen": 950, "pool_fen": 0, "rewards_fen": 0}
    assert chain.call("Regulator", "money.release_margin", **margin).code == Code.MARGIN_TOO_SMALL
    assert chain.call("Regulator", "money.release_margin", **margin | {"collateral_fen": 900}).code == 0
    assert list(FINE_DEBTS.scan(chain.state)) == []
