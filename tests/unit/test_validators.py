"""Validator sets: quorum for every n, keys counted, rotation and passing over."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ClientError, PeerError
from ledger.genesis import Profile
from ledger.keys import Scheme
from ledger.units import energy_cost_fen
from ledger.validators import (
    PASS_OVER_HEIGHTS,
    PASS_OVER_HEIGHTS_MAX,
    Failure,
    ValidatorSet,
    fault_limit,
    proposer,
    quorum,
    rotation,
)
from tests import chain

MIXED = Profile.MIXED.schemes


@given(st.integers(4, 100))
def test_trap_1_any_two_quorums_share_an_honest_member_and_the_honest_reach_one(n: int) -> None:
    f = fault_limit(n)
    assert quorum(n) == -(-(n + f + 1) // 2)
    assert 2 * quorum(n) - n >= f + 1
    assert quorum(n) <= n - f


def test_set_of_four_to_thirteen() -> None:
    assert [(n, chain.validator_set(n).quorum, chain.validator_set(n).weak_quorum) for n in (4, 5, 6, 7, 8, 13)] == [
        (4, 3, 2),
        (5, 4, 2),
        (6, 4, 2),
        (7, 5, 3),
        (8, 6, 3),
        (13, 9, 5),
    ]


def test_the_hash_names_every_member_key_and_the_epoch() -> None:
    members = chain.validator_set(4)
    seen = {members.hash(), msgspec.structs.replace(members, epoch=1).hash(), chain.validator_set(5).hash()}
    for field in ("name", "company_key", "vote_key", "node_key"):
        value = "Another" if field == "name" else getattr(members.validators[1], field)
        first = msgspec.structs.replace(members.validators[0], **{field: value})
        seen.add(ValidatorSet(0, (first, *members.validators[1:])).hash())
    assert len(seen) == 7


def test_a_sound_set_passes_and_knows_its_members() -> None:
    members = chain.validator_set(4)
    members.check(MIXED)
    assert members.index_of("Company 02") == 2
    assert members.index_of("Nobody") is None


@pytest.mark.parametrize("field", ["vote_key", "node_key"])
def test_trap_2_one_key_under_two_names_is_refused(field: str) -> None:
    members = chain.validator_set(4).validators
    doubled = msgspec.structs.replace(members[3], **{field: getattr(members[0], field)})
    with pytest.raises(ClientError) as caught:
        ValidatorSet(0, (*members[:3], doubled)).check(MIXED)
    assert caught.value.code == "validator-set-invalid"


def test_unsorted_or_doubled_names_are_refused() -> None:
    members = chain.validator_set(4).validators
    for order in ((1, 0, 2, 3), (0, 0, 1, 2)):
        with pytest.raises(ClientError):
            ValidatorSet(0, tuple(members[i] for i in order)).check(MIXED)


def test_F05_a_scheme_that_the_profile_does_not_allow_is_refused() -> None:
    chain.validator_set(4, Scheme.SM2).check(Profile.GM.schemes)
    for profile in (Profile.GM, Profile.INTL):
        wrong = Scheme.ED25519 if profile is Profile.GM else Scheme.SM2
        with pytest.raises(PeerError) as caught:
            chain.validator_set(4, wrong).check(profile.schemes)
        assert caught.value.code == "key-scheme"


def test_F04_the_book_rotates_by_name_and_turns_with_the_view() -> None:
    turns = rotation(4, 1, {})
    assert [proposer(turns, height, 0) for height in range(8)] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert [proposer(turns, 5, view) for view in range(5)] == [1, 2, 3, 0, 1]


def test_F04_a_member_whose_turn_failed_is_passed_over_from_the_next_height_on() -> None:
    failures = {2: Failure(100, "C", PASS_OVER_HEIGHTS)}
    last = 100 + PASS_OVER_HEIGHTS
    assert rotation(4, 101, failures) == rotation(4, last, failures) == (0, 1, 3)
    assert rotation(4, last + 1, failures) == (0, 1, 2, 3)


def test_F04_each_further_failure_counts_twice_as_long_until_one_is_forgotten() -> None:
    failure, spans = Failure(100, "C", PASS_OVER_HEIGHTS), []
    for _ in range(8):
        assert failure.is_remembered(failure.height + 2 * failure.heights)
        assert not failure.is_remembered(failure.height + 2 * failure.heights + 1)
        failure = failure.repeated(failure.height + failure.heights + 1)
        spans.append(failure.heights)
    assert spans == [128, 256, 512, 1024, *[PASS_OVER_HEIGHTS_MAX] * 4]


@given(
    st.integers(4, 20),
    st.dictionaries(st.integers(0, 19), st.tuples(st.integers(0, 200), st.integers(1, 100)), max_size=20),
    st.integers(1, 300),
)
def test_F04_a_quorum_always_stays_in_the_rotation(n: int, failed: dict[int, tuple[int, int]], height: int) -> None:
    known = {member: Failure(at, "A", heights) for member, (at, heights) in failed.items() if member < n}
    turns = rotation(n, height, known)
    assert len(turns) >= quorum(n)
    assert list(turns) == sorted(set(turns))
    assert turns == rotation(n, height, dict(reversed(known.items())))
    assert all(known[member].passes_over(height) for member in set(range(n)) - set(turns))


def test_those_who_failed_longest_ago_come_back_first() -> None:
    # n = 4 can spare one: of two that failed, the later one stays out.
    earlier, later = Failure(100, "A", 64), Failure(105, "B", 64)
    assert rotation(4, 120, {0: earlier, 3: later}) == (0, 1, 2)
    assert rotation(4, 120, {0: later, 3: earlier}) == (1, 2, 3)


@pytest.mark.parametrize(
    ("energy_wh", "price_e4", "fen"),
    [(0, 8500, 0), (1000, 8500, 85), (1, 5000, 0), (10, 5000, 1), (9, 5555, 0), (9, 5556, 1), (12_345, 13_000, 1605)],
)
def test_energy_times_price_is_rounded_half_up(energy_wh: int, price_e4: int, fen: int) -> None:
    assert energy_cost_fen(energy_wh, price_e4) == fen


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_rounding_is_never_off_by_more_than_half_a_fen(energy_wh: int, price_e4: int) -> None:
    doubled_error = 2 * (energy_cost_fen(energy_wh, price_e4) * 100_000 - energy_wh * price_e4)
    assert -100_000 < doubled_error <= 100_000
