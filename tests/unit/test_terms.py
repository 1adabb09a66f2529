"""The timeline of who votes and who connects."""

import pytest

from ledger.errors import OurError
from ledger.terms import Observer, Terms, advance, first_timeline, terms_at
from tests import chain

DOCUMENT = chain.genesis()
LATER = Terms(10, chain.validator_set(7), (Observer("Newcomer", bytes(32)),), DOCUMENT.parameters)
TIMELINE = (*first_timeline(DOCUMENT), LATER)


def test_terms_rule_from_their_height_on():
    assert terms_at(TIMELINE, 9).validators == DOCUMENT.validators
    assert terms_at(TIMELINE, 10) == terms_at(TIMELINE, 10**6) == LATER


def test_terms_that_no_longer_rule_are_forgotten_and_not_guessed():
    assert advance(TIMELINE, 9) == TIMELINE
    assert advance(TIMELINE, 10) == (LATER,)
    with pytest.raises(OurError, match="terms-past"):
        terms_at((LATER,), 9)


def test_whoever_votes_or_observes_may_connect():
    keys = LATER.node_keys
    assert keys[bytes(32)] == "Newcomer"
    assert set(keys.values()) == {"Newcomer", *chain.names(7)}
