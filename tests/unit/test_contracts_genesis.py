"""Parameters of a genesis document: whatever is accepted, no session stops the chain; and the audit of its money."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from contracts import views
from contracts.contract import Role
from contracts.genesis import BLOCK_REWARD_FEN_MAX, ConsortiumParameters, consortium_of
from contracts.host import SCHEDULE
from contracts.records.money import BOOKS, DUES, HOLDS, WALLETS, Book, Due, Wallet, due_key
from contracts.records.tariff import Caps
from ledger.charging import BorderReading
from ledger.codec import decode, encode
from ledger.errors import ClientError, PeerError
from ledger.genesis import Genesis, Parameters
from ledger.tariff import PRICE_E4_MAX, borders
from ledger.units import I64_MAX, SPAN_MS_MAX, U32_MAX
from tests.consortium import Call, Chain, consortium, genesis, key

SPANS = ("session_time_out_ms", "claim_window_ms", "clock_error_max_ms", "tariff_notice_ms")


def extreme(most: int) -> st.SearchStrategy[int]:
    """Numbers at and around the ends of what is allowed, and some between."""
    return st.sampled_from((0, 1, 2, most - 1, most, most + 1, I64_MAX)) | st.integers(0, most)


def document(start_max_ms: int, **fields: int) -> Genesis:
    """A genesis document as it is read from a file. Raises PeerError or ClientError if it is refused."""
    caps = Caps(fields.pop("service_price_e4_max", 8_000), fields.pop("occupancy_fen_per_minute_max", 100))
    setup = consortium(parameters=replace(ConsortiumParameters(caps=caps), **fields))
    fees = tuple(
        replace(
            setup_fee,
            fee=replace(
                setup_fee.fee,
                service_price_e4=min(caps.service_price_e4_max, PRICE_E4_MAX),
                occupancy_fen_per_minute=min(caps.occupancy_fen_per_minute_max, U32_MAX),
            ),
        )
        for setup_fee in setup.fees
    )
    made = replace(genesis(replace(setup, fees=fees)), parameters=Parameters(session_start_max_ms=start_max_ms))
    read = decode(Genesis, encode(made))
    consortium_of(read)
    return read


def live(chain: Chain, *, stops: bool) -> None:
    """Blocks with a session from its opening to whatever its times allow; an OurError would stop every validator."""
    fields: dict[str, Any] = {"pile": "Pile-1", "connector": 1, "deposit_fen": 20_000, "accept_unverified": False}
    opening = chain.transaction(Call("d1", "session", "open", fields))
    assert chain.run([opening])[0].code == 0
    session = opening.id
    begin_ms = chain.now_ms
    start = {"session": session, "counter": 1, "time_ms": begin_ms, "meter_wh": 1_000}
    started = chain.call("Pile-1", "session.start", after_ms=1, **start).code == 0
    if started and stops:
        until_ms = begin_ms + 3_600_000
        tariff = views.tariff_of_session(chain.state, chain.session(session))
        assert tariff is not None
        times = [*borders(tariff, begin_ms, until_ms), until_ms]
        stop = {
            "session": session,
            "counter": 2,
            "borders": tuple(BorderReading(time_ms, 1_000 + i) for i, time_ms in enumerate(times)),
            "charging_ended_ms": begin_ms,
            "readings_count": 2,
            "readings_root": bytes(32),
        }
        chain.call("Pile-1", "session.stop", after_ms=3_600_000, **stop)
    for _ in range(4):
        chain.call("d2", "money.pay", after_ms=SPAN_MS_MAX, to=key("d0"), amount_fen=1, memo=0)
    assert not list(SCHEDULE.scan(chain.state))
    assert chain.pile_state("Pile-1").connectors[0].session == b""
    assert views.audit(chain.state) == []


@given(
    st.fixed_dictionaries(
        {
            "start_max_ms": extreme(SPAN_MS_MAX),
            **{name: extreme(SPAN_MS_MAX) for name in SPANS},
            "block_reward_fen": extreme(BLOCK_REWARD_FEN_MAX),
            "service_price_e4_max": extreme(PRICE_E4_MAX),
            "occupancy_fen_per_minute_max": extreme(U32_MAX),
        }
    ),
    st.booleans(),
)
def test_F22_no_accepted_genesis_lets_a_session_stop_the_chain(fields, stops):
    try:
        accepted = document(**fields)
    except (PeerError, ClientError):
        return
    live(Chain(accepted), stops=stops)


@pytest.mark.parametrize("span_ms", [1, SPAN_MS_MAX])
@pytest.mark.parametrize("stops", [False, True])
def test_F22_a_session_lives_at_the_ends_of_what_is_allowed(span_ms, stops):
    fields = dict.fromkeys(SPANS, span_ms) | {
        "block_reward_fen": BLOCK_REWARD_FEN_MAX,
        "service_price_e4_max": PRICE_E4_MAX,
        "occupancy_fen_per_minute_max": U32_MAX,
    }
    live(Chain(document(span_ms, **fields)), stops=stops)


@pytest.mark.parametrize("value", [0, SPAN_MS_MAX + 1])
@pytest.mark.parametrize("name", ["start_max_ms", *SPANS])
def test_F22_a_genesis_with_times_that_would_halt_the_chain_is_refused(name, value):
    with pytest.raises(PeerError) as caught:
        document(**{"start_max_ms": 1} | {name: value})
    assert caught.value.code == "encoding-malformed"


def test_F23_an_audit_names_what_does_not_add_up():
    chain = Chain()
    fields: dict[str, Any] = {"pile": "Pile-1", "connector": 1, "deposit_fen": 500, "accept_unverified": False}
    opening = chain.transaction(Call("d1", "session", "open", fields))
    chain.run([opening, chain.transaction(Call("d0", "money", "withdraw", {"amount_fen": 70}))])
    chain.call("d0", "money.pay", to=key("d1"), amount_fen=9, memo=0)
    assert views.audit(chain.state) == []
    sgcc = chain.book("SGCC")
    broken = {
        WALLETS.key(key("d0")): (Wallet("SGCC", 1), "SGCC: its book says 199921 fen of wallets, their records"),
        HOLDS.key(opening.id): (None, "SGCC: its book says 500 fen of reservations, their records 0"),
        DUES.key(due_key("SGCC", "StarCharge")): (Due(8), "SGCC: its book says 9 fen of debts, their records 8"),
        BOOKS.key(b"SGCC"): (replace(sgcc, cash_fen=sgcc.cash_fen + 1), "all balances sum to 1 fen"),
        BOOKS.key(b"Teld"): (replace(chain.book("Teld"), collateral_fen=0, reserved_fen=5), "its headroom is -5 fen"),
        BOOKS.key(b"Lab"): (Book(cash_fen=-3, earned_fen=2), "Lab: its own accounts sum to -1 fen"),
    }
    for name, (record, sentence) in broken.items():
        state = Chain().state
        state.entries = {k: v for k, v in chain.state.entries.items() if k != name}
        if record is not None:
            state.entries[name] = encode(record)
        assert any(sentence in found for found in views.audit(state)), (sentence, views.audit(state))


def test_F06_a_company_has_no_more_roles_than_its_record_may_hold():
    """The record would be written, and stop whoever reads it."""
    setup = consortium()
    many = replace(setup.companies[0], roles=(Role.GRID,) * 10)
    with pytest.raises(PeerError, match="length <= 9"):
        consortium_of(genesis(replace(setup, companies=(many, *setup.companies[1:]))))
