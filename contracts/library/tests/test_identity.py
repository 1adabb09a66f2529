"""Whose key is whose: a key belongs to one company, one account or one device, and its holder has agreed."""


def test_an_operator_registers_a_driver_whose_wallet_opens(chain):
    new = chain.party("new driver")
    chain.operator.call("register_account", account=new.key, proof=new.proof(chain.operator))
    assert chain.record("ACCOUNTS", new.key).home == "Operator"
    assert chain.record("money.WALLETS", new.key).balance_fen == 0
    chain.other_operator.refused(
        "account-exists", "register_account", account=new.key, proof=new.proof(chain.other_operator)
    )


def test_nobody_registers_a_key_whose_holder_has_not_agreed(chain):
    new = chain.party("new driver")
    stolen = {"account": new.key, "proof": new.proof(chain.operator)}
    chain.other_operator.refused("key-unproven", "register_account", **stolen)
    chain.lab.refused("role-missing", "register_account", **stolen)
    taken = {"account": chain.lab.key, "proof": chain.lab.proof(chain.operator)}
    chain.operator.refused("key-taken", "register_account", **taken)
    pile = {"account": chain.pile.key, "proof": chain.pile.proof(chain.operator)}
    chain.operator.refused("device-key-taken", "register_account", **pile)
    unsound = {"account": b"\1" + bytes(31) + b"\x7f", "proof": bytes(64)}
    chain.operator.refused("key-invalid", "register_account", **unsound)


def test_a_company_s_further_key_acts_within_its_types_of_business(chain):
    clerk = chain.party("clerk")
    fields = {"key": clerk.key, "proof": clerk.proof(chain.operator), "businesses": ("charging", "charging")}
    told = chain.operator.call("add_key", **fields)
    assert told.event("identity.key-added").key == clerk.key
    chain.operator.refused("key-taken", "add_key", **fields)
    fee = {"service_price_e4": 5_000, "occupancy_fen_per_minute": 1, "grace_ms": 0}
    clerk.call("tariff.set_fee", fee=fee)
    new = chain.party("new driver")
    account = {"account": new.key, "proof": new.proof(chain.operator)}
    clerk.refused("business-missing", "register_account", **account)
    chain.operator.call("revoke_key", key=clerk.key)
    clerk.refused("sender-unknown", "tariff.set_fee", fee=fee)


def test_a_company_keeps_a_key_that_may_change_keys(chain):
    clerk = chain.party("clerk")
    chain.lab.refused("key-last", "revoke_key", key=chain.lab.key)
    chain.lab.refused("key-unknown", "revoke_key", key=clerk.key)
    chain.lab.call("add_key", key=clerk.key, proof=clerk.proof(chain.lab), businesses=("verification",))
    chain.lab.refused("key-last", "revoke_key", key=chain.lab.key)
    other = chain.party("other clerk")
    chain.lab.call("add_key", key=other.key, proof=other.proof(chain.lab), businesses=("identity",))
    chain.lab.call("revoke_key", key=chain.lab.key)
    assert chain.record("COMPANIES", "Lab").keys == (clerk.key, other.key)


def test_a_company_has_at_most_64_keys(chain):
    for number in range(63):
        clerk = chain.party(f"clerk {number}")
        chain.grid.call("add_key", key=clerk.key, proof=clerk.proof(chain.grid), businesses=())
    last = chain.party("last")
    chain.grid.refused("key-invalid", "add_key", key=last.key, proof=last.proof(chain.grid), businesses=())


def test_the_regulator_changes_who_may_send_what(chain):
    row = {"contract": 4, "method": "set_fee", "business": "charging"}
    fee = {"service_price_e4": 5_000, "occupancy_fen_per_minute": 1, "grace_ms": 0}
    told = chain.regulator.call("permit", roles=("maintenance", "operator"), **row)
    assert told.event("identity.permission-changed").method == "set_fee"
    chain.maintenance.call("tariff.set_fee", fee=fee)
    chain.regulator.call("permit", roles=(), **row)
    chain.operator.refused("role-missing", "tariff.set_fee", fee=fee)
    chain.regulator.refused("permission-fixed", "permit", roles=(), **row | {"contract": 6, "method": "approve"})
    chain.regulator.refused("permission-fixed", "permit", roles=(), **row | {"contract": 1, "method": "permit"})
    chain.regulator.refused("permission-unknown", "permit", roles=(), **row | {"method": "give_away"})
    chain.operator.refused("role-missing", "permit", roles=(), **row)


def test_an_individual_acts_for_no_company(chain):
    row = {"contract": 1, "method": "register_account", "business": "identity", "roles": ("driver",)}
    chain.regulator.call("permit", **row)
    new = chain.party("new driver")
    account = {"account": new.key, "proof": new.proof(chain.operator)}
    chain.driver.refused("member-unknown", "register_account", **account)


def test_what_other_contracts_are_told(chain):
    registry, tariff, governance = (chain.contract(name) for name in ("registry", "tariff", "governance"))
    assert registry.call("home_of", account=chain.other_driver.key) == "Other"
    registry.refused("account-unknown", "home_of", account=chain.pile.key)
    new = chain.party("Pile-9")
    registry.call("check_device_key", company="Operator", key=new.key, proof=new.proof(chain.operator))
    assert tariff.call("has_role", company="Grid", role="grid")
    assert not tariff.call("has_role", company="Grid", role="lab")
    assert not tariff.call("has_role", company="", role="lab")
    assert not tariff.call("has_role", company="Nobody", role="lab")
    assert [voice.company for voice in governance.call("voices")] == [each.name for each in chain.companies]
    assert governance.call("fine_payee", company="Grid") == "Regulator"
    assert governance.call("fine_payee", company="Regulator") == "Grid"
    assert governance.call("company_key", company="Lab") == chain.lab.key
    governance.call("check_free_key", key=new.key)
    governance.refused("key-taken", "check_free_key", key=chain.driver.key)


def test_companies_join_change_their_keys_and_leave(chain):
    governance = chain.contract("governance")
    new = chain.party("New")
    admit = {"company": "New", "display_name": "新", "roles": ("lab", "lab"), "company_key": new.key}
    governance.refused("roles-invalid", "check_admission", **admit | {"roles": ()})
    governance.refused("roles-invalid", "check_admission", **admit | {"roles": ("driver",)})
    governance.refused("company-exists", "check_admission", **admit | {"company": "Lab"})
    governance.refused("company-name-malformed", "check_admission", **admit | {"company": "N\0ew"})
    governance.refused("key-taken", "check_admission", **admit | {"company_key": chain.lab.key})
    governance.call("admit_company", **admit)
    assert chain.record("COMPANIES", "New").roles == (2,)
    fresh = chain.party("fresh")
    governance.refused("member-unknown", "check_replacement", company="Nobody", company_key=fresh.key)
    governance.call("replace_keys", company="New", company_key=fresh.key)
    assert chain.record("COMPANIES", "New").keys == (fresh.key,)
    assert chain.record("KEYS", new.key) is None
    governance.call("remove_company", company="New")
    governance.refused("member-unknown", "remove_company", company="New")
    governance.refused("company-exists", "check_admission", **admit)
    assert len(governance.call("voices")) == 6


def test_the_home_of_an_account_may_have_left(chain):
    chain.contract("governance").call("remove_company", company="Operator")
    chain.contract("registry").refused("home-left", "home_of", account=chain.driver.key)
