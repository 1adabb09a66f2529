"""F07: who leaves settles first, keeps its margin locked, and leaves nobody's session without an end."""

from typing import Any

import pytest
from msgspec.structs import replace

from contracts import views
from contracts.codes import Code as HostCode
from contracts.contract import Role
from contracts.genesis import CompanySetup
from contracts.host import SCHEDULE, TIMELINE
from contracts.records.identity import KEYS
from contracts.records.money import BOOKS, FINE_DEBTS, FineDebt
from contracts.records.registry import MeterState, PileKind
from contracts.records.session import State
from contracts.records.tariff import PLANS, REGIONS_MAX, Plan
from ledger.charging import Reading, ReadingReason, SignedReading, reading_digest
from ledger.codec import encode
from ledger.tariff import Tariff
from tests.consortium import HOUR, PERIODS, Chain, consortium, found, genesis, key, pile, proof, signer
from tests.membership_kit import DAY, decide, newcomer, propose, settle_in, vote_key, votes
from tests.oracles.codes import Code
from tests.scenarios.test_F22_session import Session


def business(**wallets_fen: int) -> Chain:
    """A chain with a second grid company, Power, and no pile unverified; wallets hold what is said, else nothing."""
    setup = consortium()
    accounts = [
        replace(account, wallet_fen=wallets_fen.get(f"d{number}", 0)) for number, account in enumerate(setup.accounts)
    ]
    piles = [replace(each, pile=replace(each.pile, meter_state=MeterState.VERIFIED)) for each in setup.piles]
    power = CompanySetup("Power", "Power", (Role.GRID,), key("Power"), 500_000)
    return Chain(
        genesis(replace(setup, companies=(*setup.companies, power), accounts=tuple(accounts), piles=tuple(piles)))
    )


def remove(chain: Chain, company: str) -> int:
    """Four of the other companies decide that it leaves; the code of what came of it."""
    voters = [voter for voter in ("SGCC", "Lab", "StarCharge", "Grid") if voter != company][:3]
    return decide(chain, (*voters, "Regulator"), "propose_remove", company=company)[-1]


def charge(chain: Chain, session: Session, driver: str) -> int:
    """A session of an hour and ten kilowatt-hours, at a pile that nobody has used; what it cost."""
    assert session.open(driver) == "done"
    assert session.start() == "done"
    assert session.stop((chain.now_ms + HOUR, 11_000)) == "done"
    return session.record.closing.total_fen


def pay_claims(chain: Chain) -> None:
    """Everybody pays what it owes."""
    for debtor, creditor, amount_fen in views.claims(chain.state):
        assert chain.call(creditor, "money.confirm_payment", debtor=debtor, amount_fen=amount_fen).code == 0


def give_region(chain: Chain, grid: str) -> None:
    """The regulator gives the region to another grid company, from in three hours on."""
    tariff = Tariff("Shenzhen", grid, chain.now_ms + 3 * HOUR, 480, PERIODS)
    assert chain.call("Regulator", "tariff.publish", tariff=tariff).code == 0


def claim_and_close(chain: Chain, session: Session, end_ms: int, meter_wh: int) -> None:
    """Nobody stops it; the driver brings the pile's last reading."""
    chain.block(after_ms=25 * HOUR)
    raw = encode(Reading(session.id, 1, end_ms, meter_wh, ReadingReason.PERIODIC, bytes(32)))
    signed = SignedReading(raw, signer(session.pile).sign(reading_digest(raw)))
    assert chain.call("d0", "session.claim", session=session.id, signed=signed).code == 0
    assert [receipt.code for receipt in chain.block(after_ms=25 * HOUR)] == [0]


def margin(company: str, collateral_fen: int) -> dict[str, Any]:
    """Arguments of a deposit or release."""
    return {"company": company, "collateral_fen": collateral_fen, "pool_fen": 0, "rewards_fen": 0}


# ── settling first ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_F07_an_operator_that_did_business_leaves_once_all_is_settled():
    chain = business(d0=50_000, d2=50_000)
    total_fen = charge(chain, Session(chain, pile="Pile-2"), "d0")
    assert remove(chain, "Teld") == Code.NOT_SETTLED, "its own customer has money"
    withdrawn = chain.call("d2", "money.withdraw", amount_fen=50_000)
    assert remove(chain, "Teld") == Code.NOT_SETTLED, "which it has not paid out yet"
    assert chain.call("Teld", "money.pay_out", payout=withdrawn.call_id).code == 0
    assert remove(chain, "Teld") == Code.NOT_SETTLED, "claims"
    pay_claims(chain)
    assert chain.book("Teld").earned_fen > 0
    assert remove(chain, "Teld") == 0
    settle_in(chain)
    assert total_fen > 0
    assert "Teld" not in votes(chain)
    assert chain.last.timeline[0].observers == ()
    assert KEYS.read(chain.state, key("Teld")) is None
    assert chain.call("Teld", "governance.propose_suspend", company="SGCC").code == HostCode.SENDER_UNKNOWN
    assert Session(chain, pile="Pile-2").open("d0") == "company-left", "and its piles serve nobody"
    assert views.audit(chain.state) == []


def test_F07_a_grid_company_that_did_business_leaves_once_all_is_settled():
    chain = business(d0=50_000)
    charge(chain, Session(chain), "d0")
    assert remove(chain, "Grid") == Code.GRID_COMPANY_NEEDED
    give_region(chain, "Power")
    assert remove(chain, "Grid") == Code.GRID_COMPANY_NEEDED, "until the new prices are in force"
    chain.block(after_ms=3 * HOUR)
    assert remove(chain, "Power") == Code.GRID_COMPANY_NEEDED
    assert remove(chain, "Grid") == Code.NOT_SETTLED
    pay_claims(chain)
    assert chain.book("Grid").earned_fen > 0
    assert remove(chain, "Grid") == 0
    assert views.audit(chain.state) == []


@pytest.mark.parametrize(
    "open_position",
    [
        {"wallets_fen": 5, "cash_fen": -5},
        {"held_fen": 5, "cash_fen": -5},
        {"due_fen": -5, "earned_fen": 5},
        {"owed_fen": 5},  # owes one as much as another owes it
        {"reserved_fen": 5},
        {"pool_debt_fen": 5},
    ],
)
def test_F07_nobody_leaves_with_anything_open(open_position):
    chain = business()
    chain.state.entries[BOOKS.key(b"Teld")] = encode(replace(chain.book("Teld"), **open_position))
    assert remove(chain, "Teld") == Code.NOT_SETTLED
    assert found(views.company(chain.state, "Teld")).roles


@pytest.mark.parametrize(("debt_fen", "code"), [(500_001, Code.NOT_SETTLED), (499_999, 0)])
def test_F07_fines_are_paid_before_a_company_leaves(debt_fen, code):
    chain = business()
    chain.state.entries[FINE_DEBTS.key(b"Teld\0Regulator")] = encode(FineDebt(debt_fen))
    assert remove(chain, "Teld") == code
    assert chain.book("Teld").collateral_fen == (500_000 if code else 1)


def test_F07_the_margin_of_who_left_stays_locked_and_its_name_its_own():
    chain = business()
    assert vote_key(chain, "Teld", "next Teld") == 0
    assert remove(chain, "Teld") == 0
    assert views.next_vote_key(chain.state, "Teld") is None
    assert chain.call("Regulator", "money.release_margin", **margin("Teld", 500_000)).code == Code.MARGIN_LOCKED
    chain.block(after_ms=90 * DAY)
    assert chain.call("Regulator", "money.release_margin", **margin("Teld", 500_000)).code == 0
    again = newcomer("Teld", company_key=key("Teld again"))
    assert propose(chain, "SGCC", "propose_admit", **again).code == Code.COMPANY_EXISTS
    anew = {"company": "Teld", "company_key": key("Teld again")}
    assert propose(chain, "SGCC", "propose_keys", **anew).code == Code.MEMBER_UNKNOWN
    assert propose(chain, "SGCC", "propose_remove", company="Teld").code == Code.MEMBER_UNKNOWN


def test_F07_a_company_without_a_node_leaves_too():
    chain = business()
    timeline = chain.state.entries[TIMELINE.key()]
    assert remove(chain, "Power") == 0
    assert chain.state.entries[TIMELINE.key()] == timeline


def test_F07_nothing_is_paid_to_the_customers_of_a_company_that_left():
    chain = business(d0=1_000)
    assert remove(chain, "Teld") == 0
    assert chain.call("d0", "money.pay", to=key("d2"), amount_fen=5, memo=0).code == Code.COMPANY_LEFT
    assert views.audit(chain.state) == []


# ── sessions that were in progress ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stopped", [True, False])
def test_F07_a_session_ends_though_its_grid_company_has_left(stopped):
    """It opened under the former tariff, and its energy has flowed: the pile or the schedule has the bill posted."""
    chain = business(d0=50_000)
    session = Session(chain)
    assert session.open("d0") == session.start() == "done"
    give_region(chain, "Power")
    chain.block(after_ms=3 * HOUR)
    assert remove(chain, "Grid") == 0
    end_ms = chain.now_ms + HOUR
    if stopped:
        assert session.stop((end_ms, 11_000)) == "done"
    else:
        claim_and_close(chain, session, end_ms, 11_000)
    closing = session.record.closing
    assert session.record.state is State.SETTLED
    assert (closing.energy_wh, chain.wallet("d0").balance_fen) == (10_000, 50_000 - closing.total_fen)
    [(debtor, creditor, amount_fen)] = views.claims(chain.state)
    assert (debtor, creditor, amount_fen > 0) == ("SGCC", "Grid", True)
    assert (chain.book("SGCC").held_fen, chain.book("SGCC").reserved_fen) == (0, 0)
    assert not chain.pile_state("Pile-1").connectors[0].session
    assert list(SCHEDULE.scan(chain.state)) == []
    assert views.audit(chain.state) == []


def test_F07_a_private_pile_whose_owners_company_has_left_ends_its_session_and_opens_none():
    chain = business(d0=50_000)  # Home-1 of Teld belongs to d1, a customer of StarCharge
    assert chain.call("d1", "registry.share", pile="Home-1", shared=True).code == 0
    session = Session(chain, pile="Home-1")
    assert session.open("d0") == session.start() == "done"
    assert remove(chain, "StarCharge") == 0
    assert session.stop((chain.now_ms + HOUR, 11_000)) == "done"
    assert ("Teld", "StarCharge") in [claim[:2] for claim in views.claims(chain.state)]
    assert chain.wallet("d1").balance_fen > 0
    assert chain.call("d1", "money.pay", to=key("d0"), amount_fen=1, memo=0).code == Code.COMPANY_LEFT
    withdraw = chain.call("d1", "money.withdraw", amount_fen=1)
    assert withdraw.code == Code.COMPANY_LEFT, "nobody could pay it out, or decline to"
    assert views.audit(chain.state) == []
    assert Session(chain, pile="Home-1").open("d0") == "company-left"
    another = pile(
        "Home-2", "Teld", kind=PileKind.PRIVATE, owner=key("d1"), meter_state=MeterState.UNVERIFIED, connectors=1
    )
    fields: dict[str, Any] = {"pile": another, "registers_wh": (0,), "proof": proof("Home-2", "Teld")}
    assert chain.call("Teld", "registry.register", **fields).code == Code.HOME_LEFT


def test_F07_who_owes_a_company_that_left_stays_until_there_is_a_clearing():
    chain = business(d0=50_000)
    assert chain.call("d1", "registry.share", pile="Home-1", shared=True).code == 0
    session = Session(chain, pile="Home-1")
    assert session.open("d0") == session.start() == "done"
    assert remove(chain, "StarCharge") == 0
    assert session.stop((chain.now_ms + HOUR, 11_000)) == "done"
    for debtor, creditor, amount_fen in views.claims(chain.state):
        if creditor != "StarCharge":
            assert chain.call(creditor, "money.confirm_payment", debtor=debtor, amount_fen=amount_fen).code == 0
    assert [claim[:2] for claim in views.claims(chain.state)] == [("Teld", "StarCharge")]
    voters = ("SGCC", "Lab", "Grid", "Regulator")
    assert decide(chain, voters, "propose_remove", company="Teld")[-1] == Code.NOT_SETTLED


def test_F07_regions_are_never_more_than_a_departure_looks_through():
    chain = business()
    plan = encode(Plan(chain.now_ms, chain.now_ms))
    for number in range(REGIONS_MAX - 2):
        chain.state.entries[PLANS.key(f"Region{number:03}".encode())] = plan
    for region, code in (("One", 0), ("Two", Code.REGIONS_TOO_MANY), ("Shenzhen", 0)):
        tariff = Tariff(region, "Power", chain.now_ms + 3 * HOUR, 480, PERIODS)
        assert chain.call("Regulator", "tariff.publish", tariff=tariff).code == code
