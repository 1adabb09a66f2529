"""How the companies decide together: two thirds of them and a regulator, and nobody about itself."""


def approve(chain, proposed, without=()):
    """All companies but these and the proposer approve in turn, until it is decided; the last call's outcome."""
    for company in chain.companies:
        if company is not chain.operator and company.name not in without:
            done = company.call("approve", proposal=proposed.id)
            if any(name == "governance.decided" for name, _ in done.events):
                return done
    return done


def decide(chain, method, without=(), **fields):
    """The operator proposes, the others approve: the deciding call's outcome."""
    done = approve(chain, chain.operator.call(method, **fields), without)
    assert done.event("governance.decided").company == "Operator"
    return done


def node(chain, company, label, name=""):
    """A company, by one of its keys, says which node is its own; the outcome."""
    machine = chain.party(label)
    proof = machine.node_proof(name or company)
    return company.call("set_node", node_key=machine.key[1:], address="here:26656", proof=proof)


def vote_key(chain, company, label, method="register_vote_key"):
    """A company names a vote key; the outcome."""
    voter = chain.party(label)
    return company.call(method, vote_key=voter.key, proof=voter.vote_proof(company))


def admitted(chain):
    """A seventh company, with a node and a vote key."""
    new = chain.party("Newco")
    fields = {"company": "Newco", "display_name": "新", "roles": ("operator",), "company_key": new.key}
    decide(chain, "propose_admit", **fields)
    node(chain, new, "node of Newco")
    vote_key(chain, new, "vote of Newco")
    return new


def test_two_thirds_and_a_regulator_decide(chain):
    proposed = chain.operator.call("propose_suspend", company="Other")
    chain.operator.refused("approved-already", "approve", proposal=proposed.id)
    chain.other_operator.refused("no-voice", "approve", proposal=proposed.id)
    chain.grid.call("approve", proposal=proposed.id)
    chain.lab.call("approve", proposal=proposed.id)
    done = chain.maintenance.call("approve", proposal=proposed.id)
    assert done.event("governance.terms-decided").validators == 5, "a suspension needs no regulator"
    chain.lab.refused("proposal-unknown", "approve", proposal=proposed.id)
    again = chain.operator.call("propose_admit", **admission(chain))
    for voter in (chain.grid, chain.lab, chain.maintenance):
        voter.call("approve", proposal=again.id)
    chain.other_operator.refused("no-voice", "approve", proposal=again.id)
    assert chain.regulator.call("approve", proposal=again.id).event("governance.decided").company == "Operator"


def admission(chain, **changes):
    """Arguments of a proposal to admit a company."""
    fields = {"company": "Newco", "display_name": "新", "roles": ("lab",), "company_key": chain.party("Newco").key}
    return fields | changes


def test_a_proposal_lapses(chain):
    chain.operator.call("propose_admit", **admission(chain))
    done = chain.wait(8 * chain.DAY_MS)
    assert done[0].event("governance.lapsed").company == "Operator"
    assert chain.record("OPEN", "Operator") is None


def test_a_company_has_at_most_eight_proposals(chain):
    for _ in range(8):
        chain.operator.call("propose_suspend", company="Lab")
    chain.operator.refused("proposals-too-many", "propose_suspend", company="Lab")
    chain.wait(8 * chain.DAY_MS)
    chain.operator.call("propose_suspend", company="Lab")


def test_a_company_joins_with_a_node_votes_is_suspended_and_votes_again(chain):
    new = admitted(chain)
    done = decide(chain, "propose_vote", company="Newco")
    assert done.event("governance.terms-decided").validators == 7
    decide(chain, "propose_suspend", company="Newco")
    assert chain.record("SEATS", "Newco").suspended
    vote_key(chain, new, "another vote of Newco")
    done = decide(chain, "propose_vote", company="Newco")
    assert done.event("governance.terms-decided").epoch == 3
    assert not chain.record("SEATS", "Newco").suspended


def test_what_voting_needs(chain):
    asked = chain.operator.call("propose_vote", company="Lab")
    approve(chain, asked, without=("Regulator",))
    chain.regulator.refused("votes-already", "approve", proposal=asked.id)
    decide(chain, "propose_admit", **admission(chain))
    new = chain.party("Newco")
    asked = chain.operator.call("propose_vote", company="Newco")
    approve(chain, asked, without=("Regulator",))
    chain.regulator.refused("node-unknown", "approve", proposal=asked.id)
    node(chain, new, "node of Newco")
    chain.regulator.refused("vote-key-missing", "approve", proposal=asked.id)
    suspended = chain.operator.call("propose_suspend", company="Newco")
    approve(chain, suspended, without=("Maintenance", "Other", "Regulator"))
    chain.regulator.refused("no-validator", "approve", proposal=suspended.id)


def test_a_company_leaves_when_it_has_settled(chain):
    asked = chain.operator.call("propose_remove", company="Other")
    approve(chain, asked, without=("Other", "Regulator"))
    chain.regulator.refused("not-settled", "approve", proposal=asked.id)
    done = decide(chain, "propose_remove", without=("Maintenance",), company="Maintenance")
    assert done.event("governance.terms-decided").validators == 5
    assert chain.record("identity.COMPANIES", "Maintenance").roles == ()
    assert chain.record("SEATS", "Maintenance") is None
    chain.operator.refused("member-unknown", "propose_suspend", company="Maintenance")
    decide(chain, "propose_remove", without=("Lab", "Maintenance"), company="Lab")
    fewer = chain.operator.call("propose_suspend", company="Grid")
    chain.other_operator.refused("set-size", "approve", proposal=fewer.id)


def test_who_never_had_a_node_leaves_too(chain):
    decide(chain, "propose_admit", **admission(chain))
    done = decide(chain, "propose_remove", company="Newco")
    assert [name for name, _ in done.events if name == "governance.terms-decided"] == []


def test_an_observer_that_leaves_takes_its_waiting_vote_key_along(chain):
    admitted(chain)
    waiting = chain.party("vote of Newco").key
    assert chain.record("VOTE_KEYS", waiting).company == "Newco"
    decide(chain, "propose_remove", company="Newco")
    assert chain.record("VOTE_KEYS", waiting) is None


def test_new_keys_take_all_that_a_thief_has_prepared_away(chain):
    stolen = chain.grid.call("propose_suspend", company="Other")
    vote_key(chain, chain.lab, "a thief's vote")
    chain.lab.call("approve", proposal=stolen.id)
    fresh = chain.party("fresh")
    done = decide(chain, "propose_keys", without=("Lab",), company="Lab", company_key=fresh.key)
    assert done.event("governance.terms-decided").epoch == 1
    assert chain.record("VOTE_KEYS", chain.party("a thief's vote").key) is None
    fresh.refused("no-voice", "approve", proposal=stolen.id)
    chain.lab.refused("sender-unknown", "approve", proposal=stolen.id)
    chain.operator.call("approve", proposal=stolen.id)
    chain.maintenance.call("approve", proposal=stolen.id)
    assert chain.record("PROPOSALS", stolen.id) is not None, "the thief's approval does not count"


def test_a_company_without_a_vote_gets_new_keys(chain):
    decide(chain, "propose_admit", without=(), **admission(chain))
    newer = chain.party("newer")
    done = decide(chain, "propose_keys", company="Newco", company_key=newer.key)
    assert [name for name, _ in done.events if name == "governance.terms-decided"] == []
    node(chain, newer, "node of Newco", "Newco")
    newest = chain.party("newest")
    done = decide(chain, "propose_keys", company="Newco", company_key=newest.key)
    assert [name for name, _ in done.events if name == "governance.terms-decided"] == []
    assert chain.record("SEATS", "Newco").renewed_ms == 0


def test_a_code_is_kept_while_its_proposal_waits(chain):
    refused = {"number": 9, "code": b"no code", "source": "", "from_height": 0}
    chain.operator.refused("code-refused", "propose_contract", **refused)
    text, code = chain.library("money")
    fields = {"number": 9, "code": code, "source": text, "from_height": 100}
    done = decide(chain, "propose_contract", **fields)
    assert done.event("governance.installed").from_height == 100
    chain.lab.refused("text-differs", "propose_contract", **fields | {"number": 10, "source": "# harmless"})
    chain.operator.call("propose_contract", **fields | {"number": 10})
    assert chain.wait(8 * chain.DAY_MS)[0].event("governance.lapsed").company == "Operator"


def test_the_only_regulator_gets_new_keys_by_all_others_and_its_vote_by_two_thirds(chain):
    decide(chain, "propose_suspend", without=("Regulator",), company="Regulator")
    vote_key(chain, chain.regulator, "the regulator's next")
    decide(chain, "propose_vote", without=("Regulator",), company="Regulator")
    fresh = chain.party("fresh")
    proposed = chain.operator.call("propose_keys", company="Regulator", company_key=fresh.key)
    approve(chain, proposed, without=("Other", "Regulator"))
    done = chain.other_operator.call("approve", proposal=proposed.id)
    assert done.event("governance.decided").company == "Operator"


def test_companies_change_limits_but_not_those_that_a_replay_rests_on(chain):
    limits = {
        "time_ahead_max_ms": 2_000, "expiry_max_ms": 600_000, "device_expiry_max_ms": 86_400_000,
        "idle_interval_ms": 30_000, "session_start_max_ms": 60_000, "block_transactions_max": 2_000,
        "block_bytes_max": 2 * 1024 * 1024, "block_gas_max": 2_000_000_000,
    }  # fmt: skip
    for fixed in ("expiry_max_ms", "device_expiry_max_ms", "session_start_max_ms"):
        chain.lab.refused("parameter-fixed", "propose_parameters", parameters=limits | {fixed: 1_000})
    for needed in ("block_gas_max", "block_bytes_max"):
        chain.lab.refused("parameter-unfit", "propose_parameters", parameters=limits | {needed: 1_000})
    done = decide(chain, "propose_parameters", parameters=limits | {"block_transactions_max": 1_000})
    assert done.event("governance.terms-decided").epoch == 0


def test_a_node_is_moved_replaced_and_proven(chain):
    here = chain.record("SEATS", "Lab").node_key
    proof = bytes(64)
    done = chain.lab.call("set_node", node_key=here, address="elsewhere:1", proof=proof)
    assert done.events == ()
    chain.lab.refused(
        "node-key-taken", "set_node", node_key=chain.record("SEATS", "Grid").node_key, address="", proof=proof
    )
    other = chain.party("another node")
    chain.lab.refused("node-key-unproven", "set_node", node_key=other.key[1:], address="", proof=proof)
    chain.wait(2 * chain.DAY_MS)
    assert node(chain, chain.lab, "another node").event("governance.terms-decided").epoch == 1
    third = chain.party("third node")
    fields = {"node_key": third.key[1:], "address": "", "proof": third.node_proof(chain.lab)}
    chain.lab.refused("renewed-lately", "set_node", **fields)


def test_a_vote_key_is_fresh_proven_and_waits_for_the_next_epoch(chain):
    voter = chain.party("next")
    fields = {"vote_key": voter.key, "proof": voter.vote_proof(chain.lab)}
    chain.grid.refused("vote-key-unproven", "register_vote_key", **fields)
    chain.lab.call("register_vote_key", **fields)
    chain.lab.call("register_vote_key", **fields)
    chain.grid.refused("vote-key-used", "register_vote_key", **fields)
    vote_key(chain, chain.lab, "next but one")
    assert chain.record("VOTE_KEYS", voter.key) is None
    for company in (chain.grid, chain.regulator, chain.maintenance):
        vote_key(chain, company, f"next of {company.name}")
    chain.wait(2 * chain.DAY_MS)
    done = vote_key(chain, chain.operator, "renewed", method="renew_vote_key")
    assert done.event("governance.terms-decided").epoch == 1
    assert chain.record("NEXT_KEYS").keys == ()
    new = chain.party("Newco")
    decide(chain, "propose_admit", **admission(chain))
    proof = voter.vote_proof(new)
    new.refused("node-unknown", "register_vote_key", vote_key=voter.key, proof=proof)
    new.refused("no-validator", "renew_vote_key", vote_key=voter.key, proof=proof)
    node(chain, new, "node of Newco")
    new.refused("no-validator", "renew_vote_key", vote_key=voter.key, proof=proof)


def test_who_signs_two_votes_is_fined_once(chain):
    liar = chain.party("vote Other")
    told = chain.lab.call("accuse", evidence=liar.equivocation()).event("governance.equivocated")
    assert (told.company, told.fine_fen) == ("Other", 100_000)
    chain.lab.refused("fined-already", "accuse", evidence=liar.equivocation(8))
    chain.lab.refused("vote-key-unknown", "accuse", evidence=chain.party("nobody").equivocation())
    vote_key(chain, chain.grid, "waiting")
    chain.lab.refused("vote-key-unknown", "accuse", evidence=chain.party("waiting").equivocation())


def test_an_individual_decides_nothing(chain):
    chain.driver.refused("sender-unknown", "propose_suspend", company="Lab")
