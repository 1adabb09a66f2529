"""F12: a member that contradicts itself is found out, with evidence that proves itself, and nothing else changes."""

from msgspec.structs import replace

from consensus.effects import Accuse
from consensus.messages import Shown
from ledger.evidence import Equivocation, Phase, contradicts, proves_equivocation
from tests.sim.signing import verify
from tests.unit.consensus_kit import (
    CHAIN,
    GENESIS,
    NAMES,
    Bench,
    certificate,
    commit,
    make_header,
    make_transaction,
    pre_prepare,
    prepare,
    view_change,
)

TX, OTHER = make_transaction(1), make_transaction(2)
A, B = make_header(TX), make_header(OTHER)
"""Two blocks that the primary of height 1, Bohui, might propose in view 0."""


def accusations(bench: Bench) -> list[tuple[str, Phase]]:
    """(company, phase) of the evidence so far, all of it proven."""
    found = [effect for effect in bench.effects if isinstance(effect, Accuse)]
    for effect in found:
        assert proves_equivocation(CHAIN, effect.evidence, verify[False])
        holder = GENESIS.validators.validators[GENESIS.validators.index_of(effect.company) or 0]
        assert effect.evidence.vote_key == holder.vote_key
    return [(effect.company, effect.evidence.first.phase) for effect in found]


def proposed() -> Bench:
    """Anneng's engine, which has accepted block A."""
    bench = Bench()
    bench.admit(TX, OTHER)
    bench.hear("Bohui", pre_prepare(A, TX))
    return bench


def test_F12_a_second_proposal_of_a_view_is_evidence():
    bench = proposed()
    bench.hear("Bohui", pre_prepare(B, OTHER))
    assert accusations(bench) == [("Bohui", Phase.PRE_PREPARE)]
    assert bench.state.round.proposal is not None
    assert bench.state.round.proposal.header_raw == A


def test_F12_the_same_proposal_again_is_none():
    bench = proposed()
    bench.hear("Bohui", pre_prepare(A, TX))
    bench.hear("Bohui", pre_prepare(B, OTHER, by="Chengdian"))  # not the primary's signature
    assert accusations(bench) == []
    assert bench.charges == ["proposal-forged"]


def test_F12_a_second_vote_of_a_view_is_evidence_and_counts_nothing():
    for kind, phase in ((prepare, Phase.PREPARE), (commit, Phase.COMMIT)):
        bench = proposed()
        bench.hear("Dianneng", kind("Dianneng", A))
        bench.hear("Dianneng", kind("Dianneng", B))
        assert accusations(bench) == [("Dianneng", phase)]
        tally = bench.state.round.prepares if phase is Phase.PREPARE else bench.state.round.commits
        assert tally.get(3, 0) is not None
        assert len(tally.choices()) == 1, "the first stands"
        bench.hear("Dianneng", replace(kind("Dianneng", B), signature=bytes(64)))
        assert bench.charges == [], "one piece of evidence suffices: nothing more is verified"


def test_F12_a_forged_second_vote_is_charged_to_its_sender():
    bench = proposed()
    bench.hear("Dianneng", prepare("Dianneng", A))
    bench.hear("Dianneng", replace(prepare("Dianneng", B), signature=bytes(64)))
    assert (accusations(bench), bench.charges) == ([], ["vote-forged"])


def test_F12_a_peer_that_accepted_another_proposal_is_shown_ours():
    bench = proposed()
    bench.hear("Chengdian", prepare("Chengdian", A))
    assert bench.said(Shown) == []
    bench.hear("Dianneng", prepare("Dianneng", B))
    bench.hear("Dianneng", prepare("Dianneng", B))
    [shown] = bench.said(Shown)
    assert (shown.proposal.header, shown.proposal.leaves, shown.height) == (A, b"", 1)

    other = Bench(me="Dianneng")
    other.admit(TX, OTHER)
    other.hear("Bohui", pre_prepare(B, OTHER))
    other.hear("Anneng", shown)
    assert accusations(other) == [("Bohui", Phase.PRE_PREPARE)]
    other.hear("Anneng", shown)
    assert len(accusations(other)) == 1


def test_F12_what_is_shown_of_another_height_or_before_we_have_a_proposal_says_nothing():
    bench = Bench()
    bench.hear("Dianneng", Shown(pre_prepare(B)))
    bench.hear("Dianneng", Shown(pre_prepare(make_header(OTHER, height=5))))
    bench.hear("Dianneng", Shown(replace(pre_prepare(B), header=b"no header")))
    assert (accusations(bench), bench.charges) == ([], ["encoding-malformed"])


def test_F12_votes_inside_a_certificate_are_compared_with_ours():
    bench = proposed()
    bench.hear("Dianneng", prepare("Dianneng", A))
    shown = certificate(B, backups=("Chengdian", "Dianneng"))
    bench.hear("Chengdian", view_change("Chengdian", 1, shown))
    assert sorted(accusations(bench)) == [("Bohui", Phase.PRE_PREPARE), ("Dianneng", Phase.PREPARE)]
    assert bench.state.round.view_changes[NAMES.index("Chengdian")].certificate == shown


def test_F12_two_requests_for_one_view_that_differ_are_evidence():
    bench = proposed()
    bench.hear("Dianneng", view_change("Dianneng", 1))
    bench.hear("Dianneng", view_change("Dianneng", 1, certificate(A, backups=("Chengdian", "Dianneng"))))
    assert accusations(bench) == [("Dianneng", Phase.VIEW_CHANGE)]
    assert bench.state.round.view_changes[3].certificate is None, "the first stands"
    bench = proposed()
    bench.hear("Dianneng", view_change("Dianneng", 1))
    bench.hear("Dianneng", replace(view_change("Dianneng", 1, certificate(A)), signature=bytes(64)))
    assert (accusations(bench), bench.charges) == ([], ["view-change-forged"])


def test_F12_a_request_for_a_later_view_is_no_contradiction():
    bench = proposed()
    bench.hear("Dianneng", view_change("Dianneng", 1))
    bench.hear("Dianneng", view_change("Dianneng", 2, certificate(A, backups=("Chengdian", "Dianneng"))))
    bench.hear("Dianneng", view_change("Dianneng", 1))
    assert (accusations(bench), bench.charges) == ([], [])


def test_F12_evidence_has_one_form():
    bench = proposed()
    bench.hear("Dianneng", prepare("Dianneng", A))
    bench.hear("Dianneng", prepare("Dianneng", B))
    [found] = [effect.evidence for effect in bench.effects if isinstance(effect, Accuse)]
    assert contradicts(found)
    assert not contradicts(Equivocation(found.vote_key, found.second, found.first))
