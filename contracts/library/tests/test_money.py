"""What the money contract owes the companies: no fen appears or vanishes, and nobody owes beyond its headroom."""


def test_a_payment_within_one_operator_moves_money_between_two_wallets(chain):
    chain.driver.call("pay", to=chain.owner.key, amount_fen=500, memo=7)
    assert chain.record("WALLETS", chain.driver.key).balance_fen == 99_500
    assert chain.record("WALLETS", chain.owner.key).balance_fen == 100_500


def test_a_payment_to_another_operator_s_customer_makes_the_payer_s_operator_owe(chain):
    chain.driver.call("pay", to=chain.other_driver.key, amount_fen=500, memo=0)
    assert chain.record("DUES", "Operator", "Other").amount_fen == 500
    assert chain.record("BOOKS", "Operator").owed_fen == 500
    chain.other_driver.call("pay", to=chain.driver.key, amount_fen=700, memo=0)
    assert chain.record("DUES", "Operator", "Other").amount_fen == -200, "now it is owed"
    assert chain.record("BOOKS", "Operator").owed_fen == 0


def test_what_a_payment_needs(chain):
    pay = {"to": chain.owner.key, "amount_fen": 1, "memo": 0}
    chain.party("stranger").refused("wallet-unknown", "pay", **pay)
    chain.driver.refused("payee-unknown", "pay", **pay | {"to": chain.party("stranger").key})
    chain.driver.refused("pay-self", "pay", **pay | {"to": chain.driver.key})
    chain.driver.refused("amount-zero", "pay", **pay | {"amount_fen": 0})
    chain.driver.refused("overspent", "pay", **pay | {"amount_fen": 100_001})


def test_nobody_owes_beyond_its_headroom(chain):
    chain.regulator.call("release_margin", company="Operator", collateral_fen=999_500, pool_fen=0, rewards_fen=0)
    pay = {"to": chain.other_driver.key, "memo": 0}
    chain.driver.refused("no-headroom", "pay", amount_fen=501, **pay)
    chain.driver.call("pay", amount_fen=500, **pay)
    chain.driver.refused("no-headroom", "pay", amount_fen=1, **pay)
    chain.other_operator.call("confirm_payment", debtor="Operator", amount_fen=200)
    chain.driver.call("pay", amount_fen=200, **pay)


def test_real_money_comes_in_and_goes_out(chain):
    chain.operator.call("top_up", account=chain.driver.key, amount_fen=50)
    asked = chain.driver.call("withdraw", amount_fen=150)
    assert chain.record("BOOKS", "Operator").held_fen == 150
    chain.other_operator.refused("not-home-operator", "pay_out", payout=asked.id)
    chain.operator.call("pay_out", payout=asked.id)
    chain.operator.refused("payout-unknown", "pay_out", payout=asked.id)
    again = chain.driver.call("withdraw", amount_fen=100)
    told = chain.operator.call("decline", payout=again.id)
    assert told.event("money.payout-declined").amount_fen == 100
    assert chain.record("WALLETS", chain.driver.key).balance_fen == 99_900
    assert chain.record("BOOKS", "Operator").held_fen == 0


def test_what_topping_up_and_withdrawing_need(chain):
    top_up = {"account": chain.driver.key, "amount_fen": 1}
    chain.other_operator.refused("not-home-operator", "top_up", **top_up)
    chain.operator.refused("payee-unknown", "top_up", account=chain.party("stranger").key, amount_fen=1)
    chain.operator.refused("amount-zero", "top_up", **top_up | {"amount_fen": 0})
    chain.operator.refused("amount-too-large", "top_up", **top_up | {"amount_fen": 10**15})
    chain.party("stranger").refused("wallet-unknown", "withdraw", amount_fen=1)
    chain.driver.refused("amount-zero", "withdraw", amount_fen=0)
    chain.driver.refused("overspent", "withdraw", amount_fen=100_001)


def test_an_escrow_is_posted_or_void(chain):
    session = chain.contract("session")
    hold = {"payer": chain.driver.key, "operator": "Other", "amount_fen": 1_000, "owner": b""}
    assert session.call("hold", session=b"1" * 32, **hold) == "Operator"
    assert chain.record("BOOKS", "Operator").reserved_fen == chain.record("BOOKS", "Other").reserved_fen == 1_000
    session.call("release", session=b"1" * 32)
    assert chain.record("WALLETS", chain.driver.key).balance_fen == 100_000
    session.call("hold", session=b"2" * 32, **hold | {"owner": chain.owner.key})
    settle = {"session": b"2" * 32, "total_fen": 600, "grid": "Grid", "owner": chain.owner.key}
    session.refused("overspent", "settle", grid_fen=900, owner_fen=101, **settle)
    session.call("settle", grid_fen=300, owner_fen=100, **settle)
    assert chain.record("WALLETS", chain.driver.key).balance_fen == 99_400
    assert chain.record("WALLETS", chain.owner.key).balance_fen == 100_100
    assert chain.record("DUES", "Operator", "Other").amount_fen == 600 - 100
    assert chain.record("DUES", "Grid", "Other").amount_fen == -300
    assert chain.record("BOOKS", "Other").reserved_fen == 0
    session.refused("value-missing", "release", session=b"2" * 32)


def test_what_an_escrow_needs(chain):
    session = chain.contract("session")
    hold = {"payer": chain.driver.key, "operator": "Other", "amount_fen": 1, "session": b"1" * 32, "owner": b""}
    session.refused("wallet-unknown", "hold", **hold | {"payer": chain.pile.key})
    session.refused("payee-unknown", "hold", **hold | {"owner": chain.pile.key})
    session.refused("amount-zero", "hold", **hold | {"amount_fen": 0})
    session.refused("overspent", "hold", **hold | {"amount_fen": 100_001})
    margin = {"collateral_fen": 1_000_000, "pool_fen": 0, "rewards_fen": 0}
    chain.regulator.call("release_margin", company="Other", **margin)
    session.refused("pile-operator-no-headroom", "hold", **hold)
    chain.regulator.call("release_margin", company="Operator", **margin)
    session.refused("no-headroom", "hold", **hold)
    chain.contract("identity").refused("method-internal", "hold", **hold)


def test_a_session_within_one_operator_owes_nobody(chain):
    session = chain.contract("session")
    session.call("hold", payer=chain.driver.key, operator="Operator", amount_fen=100, session=b"1" * 32, owner=b"")
    settle = {"session": b"1" * 32, "total_fen": 100, "grid": "Grid", "grid_fen": 0, "owner": b"", "owner_fen": 0}
    session.call("settle", **settle)
    assert chain.record("BOOKS", "Operator").earned_fen == 100
    assert chain.record("BOOKS", "Operator").owed_fen == 0


def test_only_the_payee_confirms_that_it_was_paid(chain):
    chain.driver.call("pay", to=chain.other_driver.key, amount_fen=500, memo=0)
    chain.other_operator.refused("claim-too-small", "confirm_payment", debtor="Operator", amount_fen=501)
    chain.operator.refused("claim-too-small", "confirm_payment", debtor="Other", amount_fen=1)
    chain.other_operator.refused("amount-zero", "confirm_payment", debtor="Operator", amount_fen=0)
    chain.other_operator.refused("company-unknown", "confirm_payment", debtor="Nobody", amount_fen=1)
    chain.other_operator.refused("amount-too-large", "confirm_payment", debtor="Operator", amount_fen=10**15)
    told = chain.other_operator.call("confirm_payment", debtor="Operator", amount_fen=500)
    assert told.event("money.claim-paid").creditor == "Other"


def test_the_trustee_s_word_moves_margin(chain):
    margin = {"company": "Operator", "collateral_fen": 100, "pool_fen": 50, "rewards_fen": 0}
    told = chain.regulator.call("deposit_margin", **margin).event("money.margin-changed")
    assert told.collateral_fen == 1_000_100
    nothing = {"collateral_fen": 0, "pool_fen": 0}
    chain.regulator.refused("amount-zero", "deposit_margin", **margin | nothing)
    chain.regulator.refused("amount-zero", "deposit_margin", **margin | {"rewards_fen": 1})
    chain.regulator.refused("amount-too-large", "deposit_margin", **margin | {"pool_fen": 10**15})
    chain.regulator.refused("company-unknown", "deposit_margin", **margin | {"company": "Nobody"})
    chain.regulator.refused("company-unknown", "release_margin", **margin | {"company": "Nobody"})
    chain.regulator.refused("amount-zero", "release_margin", **margin | nothing)
    chain.regulator.refused("margin-too-small", "release_margin", **margin | {"collateral_fen": 1_000_101})
    chain.regulator.refused("margin-too-small", "release_margin", **margin | {"pool_fen": 10_000})
    chain.regulator.refused("margin-too-small", "release_margin", **margin | {"rewards_fen": 10_000})
    chain.regulator.call("release_margin", **margin)
    chain.operator.refused("role-missing", "deposit_margin", **margin)


def test_who_keeps_the_book_is_rewarded_by_the_others_in_turn(chain):
    for turn in range(80):
        chain.driver.call("pay", to=chain.owner.key, amount_fen=1, memo=turn)
    earned = [chain.record("BOOKS", company.name).rewards_fen for company in chain.companies]
    owed = [chain.record("BOOKS", company.name).pool_debt_fen for company in chain.companies]
    assert sum(earned) == 6 * 1_000, "what the pools held"
    assert sum(owed) == 80 * 100 - 6 * 1_000
    for company in chain.companies:
        chain.regulator.call("deposit_margin", company=company.name, collateral_fen=0, pool_fen=150, rewards_fen=0)
    less = [chain.record("BOOKS", company.name).pool_debt_fen for company in chain.companies]
    assert sum(less) < sum(owed)
    chain.regulator.call("deposit_margin", company="Grid", collateral_fen=0, pool_fen=5_000, rewards_fen=0)
    assert chain.record("BOOKS", "Grid").pool_debt_fen == 0


def test_a_fine_is_paid_as_far_as_the_headroom_goes_and_later_the_rest(chain):
    governance = chain.contract("governance")
    fine = {"company": "Operator", "payee": "Regulator", "part_ppm": 500_000}
    assert governance.call("fine", **fine) == 500_000
    assert chain.record("BOOKS", "Regulator").rewards_fen >= 500_000
    chain.contract("session").call(
        "hold", payer=chain.driver.key, operator="Operator", amount_fen=100_000, session=b"1" * 32, owner=b""
    )
    fine["part_ppm"] = 900_000
    assert governance.call("fine", **fine) == 450_000
    assert chain.record("FINE_DEBTS", "Operator", "Regulator").amount_fen == 50_000
    assert governance.call("fine", **fine) == 90_000, "of what is left"
    deposit = {"company": "Operator", "pool_fen": 0, "rewards_fen": 0}
    chain.regulator.call("deposit_margin", collateral_fen=40_000, **deposit)
    assert chain.record("FINE_DEBTS", "Operator", "Regulator").amount_fen == 100_000
    chain.regulator.call("deposit_margin", collateral_fen=200_000, **deposit)
    assert chain.record("FINE_DEBTS", "Operator", "Regulator") is None


def test_a_company_leaves_when_everything_is_settled(chain):
    governance = chain.contract("governance")
    close = {"company": "Lab", "locked_until_ms": chain.now_ms + chain.DAY_MS}
    governance.refused("company-unknown", "close_book", **close | {"company": "Nobody"})
    governance.refused("not-settled", "close_book", **close | {"company": "Operator"})
    governance.call("close_book", **close)
    release = {"company": "Lab", "collateral_fen": 1_000_000, "pool_fen": 0, "rewards_fen": 0}
    chain.regulator.refused("margin-locked", "release_margin", **release)
    chain.wait(2 * chain.DAY_MS)
    chain.regulator.call("release_margin", **release)
    governance.call("fine", company="Maintenance", payee="Grid", part_ppm=1_000_000)
    governance.call("open_book", company="New")
    assert chain.record("BOOKS", "New").collateral_fen == 0


def test_nobody_leaves_with_a_fine_unpaid(chain):
    governance = chain.contract("governance")
    session = chain.contract("session")
    session.call("hold", payer=chain.driver.key, operator="Other", amount_fen=100_000, session=b"1" * 32, owner=b"")
    governance.call("fine", company="Other", payee="Grid", part_ppm=1_000_000)
    session.call("release", session=b"1" * 32)
    governance.refused("not-settled", "close_book", company="Other", locked_until_ms=0)


def test_nothing_is_paid_through_a_company_that_has_left(chain):
    # Its customers' wallets would have to be empty; `close_book` sees to it, and this is what would happen else.
    chain.driver.call("pay", to=chain.owner.key, amount_fen=100_000, memo=0)
    asked = chain.owner.call("withdraw", amount_fen=200_000)
    chain.operator.call("pay_out", payout=asked.id)
    chain.contract("governance").call("close_book", company="Operator", locked_until_ms=chain.now_ms + chain.DAY_MS)
    chain.other_driver.refused("company-left", "pay", to=chain.driver.key, amount_fen=1, memo=0)
    chain.operator.call("top_up", account=chain.driver.key, amount_fen=10)
    chain.driver.refused("company-left", "withdraw", amount_fen=10)
    session = chain.contract("session")
    hold = {"amount_fen": 1, "session": b"1" * 32}
    session.refused("company-left", "hold", payer=chain.driver.key, operator="Operator", owner=b"", **hold)
    owner = {"owner": chain.owner.key}
    session.refused("company-left", "hold", payer=chain.other_driver.key, operator="Other", **owner, **hold)


def test_a_wallet_opens_with_its_account(chain):
    identity = chain.contract("identity")
    new = chain.party("new driver").key
    identity.refused("company-unknown", "open_wallet", account=new, home="Nobody")
    identity.call("open_wallet", account=new, home="Other")
    assert chain.record("WALLETS", new).balance_fen == 0
