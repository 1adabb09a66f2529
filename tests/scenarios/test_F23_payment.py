"""F23 and F24: one wallet for every operator's piles, claims within headroom, margin and rewards."""

from typing import Any

from contracts import views
from contracts.genesis import ConsortiumParameters
from tests.consortium import NAMES, Call, Chain, consortium, genesis, key
from tests.oracles.codes import describe


def label(receipt) -> str:
    """Name of a receipt's code."""
    return describe(receipt.code)[0]


def pay(chain: Chain, payer: str, payee: str, amount_fen: int) -> str:
    """Pay and return the label."""
    return label(chain.call(payer, "money.pay", to=key(payee), amount_fen=amount_fen, memo=0))


def test_F23_a_payment_between_two_operators_customers_makes_one_owe_the_other():
    chain = Chain()  # d0, d3: SGCC; d1, d4: StarCharge; d2, d5: Teld
    assert pay(chain, "d0", "d1", 300) == "done"
    assert chain.wallet("d0").balance_fen == 99_700
    assert chain.wallet("d1").balance_fen == 100_300
    assert views.claims(chain.state) == [("SGCC", "StarCharge", 300)]
    assert pay(chain, "d4", "d3", 500) == "done"
    assert views.claims(chain.state) == [("StarCharge", "SGCC", 200)]
    assert chain.book("SGCC").owed_fen == 0
    assert views.balances_sum_fen(chain.state) == 0


def test_F23_a_payment_within_one_operator_touches_two_keys():
    chain = Chain()
    assert pay(chain, "d0", "d3", 300) == "done"
    wallets = {views.wallet_key(key("d0")), views.wallet_key(key("d3"))}
    heads = {k for k in chain.last.changes if k.startswith(b"\0\0\0\0")}
    margins = {views.book_key(name) for name in NAMES}
    assert set(chain.last.changes) - heads - margins == wallets


def test_F23_headroom_bounds_what_an_operator_may_come_to_owe():
    chain = Chain(genesis(consortium(collateral_fen=1_000)))
    assert pay(chain, "d0", "d1", 1_000) == "done"
    assert pay(chain, "d0", "d2", 1) == "no-headroom"
    assert pay(chain, "d0", "d3", 1) == "done"  # the same operator: nobody owes more
    assert pay(chain, "d1", "d0", 400) == "done"
    assert chain.book("SGCC").headroom_fen == 400
    assert label(chain.call("StarCharge", "money.confirm_payment", debtor="SGCC", amount_fen=601)) == "claim-too-small"
    assert label(chain.call("StarCharge", "money.confirm_payment", debtor="SGCC", amount_fen=600)) == "done"
    assert chain.book("SGCC").headroom_fen == 1_000
    assert views.claims(chain.state) == []


def test_F23_real_money_enters_and_leaves_through_the_home_operator():
    chain = Chain()
    assert label(chain.call("Teld", "money.top_up", account=key("d0"), amount_fen=5)) == "not-home-operator"
    assert label(chain.call("SGCC", "money.top_up", account=key("d0"), amount_fen=5)) == "done"
    too_much: dict[str, Any] = {"account": key("d0"), "amount_fen": 2**62}
    assert label(chain.call("SGCC", "money.top_up", **too_much)) == "amount-too-large"
    transaction = chain.transaction(Call("d0", "money", "withdraw", {"amount_fen": 100_005}))
    assert label(chain.run([transaction])[0]) == "done"
    assert chain.wallet("d0").balance_fen == 0
    assert label(chain.call("Teld", "money.pay_out", payout=transaction.id)) == "not-home-operator"
    assert label(chain.call("SGCC", "money.pay_out", payout=transaction.id)) == "done"
    assert label(chain.call("SGCC", "money.decline", payout=transaction.id)) == "payout-unknown"
    assert chain.book("SGCC").cash_fen == -100_000
    assert views.balances_sum_fen(chain.state) == 0


def test_F24_the_bookkeeper_of_each_non_empty_block_is_rewarded_from_the_pools_in_turn():
    chain = Chain()
    for _ in range(len(NAMES) ** 2):
        assert pay(chain, "d0", "d3", 1) == "done"
        chain.block()  # empty: earns nothing
    rewards = views.rewards_fen(chain.state)
    assert sum(rewards.values()) == 100 * len(NAMES) ** 2
    assert sum(book.pool_fen for book in views.balances(chain.state).values()) == 6_000 - 3_600
    assert views.balances_sum_fen(chain.state) == 0


def test_F24_a_pool_that_cannot_pay_records_a_debt_and_the_next_deposit_pays_it():
    chain = Chain(genesis(consortium(parameters=ConsortiumParameters(block_reward_fen=600))))
    payer = NAMES[1 // len(NAMES)]
    for _ in range(5):  # heights 1…5 are all paid by the first pool, which holds 1000
        assert pay(chain, "d0", "d3", 1) == "done"
    assert chain.book(payer).pool_fen == 0
    assert chain.book(payer).pool_debt_fen == 2_000
    assert sum(views.rewards_fen(chain.state).values()) == 1_000
    fields: dict[str, Any] = {"company": payer, "collateral_fen": 0, "pool_fen": 1_500, "rewards_fen": 0}
    assert label(chain.call("Regulator", "money.deposit_margin", **fields)) == "done"
    assert sum(views.rewards_fen(chain.state).values()) == 2_500 + 600
    assert chain.book(payer).pool_debt_fen == 500
    assert chain.book(payer).pool_fen == 0
    assert views.balances_sum_fen(chain.state) == 0


def test_F24_collateral_leaves_only_while_it_covers_nothing():
    chain = Chain(genesis(consortium(collateral_fen=1_000)))
    assert pay(chain, "d0", "d1", 700) == "done"
    fields: dict[str, Any] = {"company": "SGCC", "collateral_fen": 301, "pool_fen": 0, "rewards_fen": 0}
    assert label(chain.call("SGCC", "money.release_margin", **fields)) == "role-missing"
    assert label(chain.call("Regulator", "money.release_margin", **fields)) == "margin-too-small"
    assert label(chain.call("Regulator", "money.release_margin", **fields | {"collateral_fen": 300})) == "done"
    assert chain.book("SGCC").headroom_fen == 0
    assert pay(chain, "d0", "d1", 1) == "no-headroom"
