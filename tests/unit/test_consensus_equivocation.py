"""F12: a member that contradicts itself is found out, with evidence that proves itself, and nothing else changes."""

from msgspec.structs import replace

from consensus.effects import Accuse
from consensus.messages import CommitCertificate, CommittedBlock, SealedBlocks, Shown, Status
from ledger.block import Vote, result_digest
from ledger.evidence import Equivocation, Phase, contradicts, proves_equivocation
from tests.sim.signing import verify
from tests.unit.consensus_kit import (
    CHAIN,
    GENESIS,
    NAMES,
    Bench,
    certificate,
    checkpoint,
    commit,
    committed_bench,
    make_header,
    make_transaction,
    new_view,
    pre_prepare,
    prepare,
    requests,
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


def test_F12_what_is_shown_of_another_height_says_nothing():
    bench = Bench()
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


def test_F12_a_request_inside_a_new_view_that_differs_from_the_one_we_got_is_evidence():
    """How a liar would tell the next primary another story than the others."""
    bench = proposed()
    bench.hear("Dianneng", view_change("Dianneng", 1))
    shown = view_change("Dianneng", 1, certificate(A, backups=("Chengdian", "Dianneng")))
    told = [view_change("Bohui", 1), view_change("Chengdian", 1), shown]
    bench.hear("Chengdian", new_view(told, pre_prepare(A, TX, view=1)))
    assert accusations(bench) == [("Dianneng", Phase.VIEW_CHANGE)]
    assert bench.engine.status().view == 1, "what it showed binds the new view all the same"


def test_F12_a_second_new_view_with_another_block_is_evidence():
    bench = proposed()
    first, second = make_header(TX, view=1), make_header(OTHER, view=1)
    bench.hear("Chengdian", new_view(requests(), pre_prepare(first, TX, view=1)))
    bench.hear("Chengdian", new_view(requests(), pre_prepare(first, TX, view=1)))
    assert accusations(bench) == []
    bench.hear("Chengdian", new_view(requests(), pre_prepare(second, OTHER, view=1)))
    assert accusations(bench) == [("Chengdian", Phase.PRE_PREPARE)]


def test_F12_a_commit_in_a_peers_tail_that_differs_from_the_one_we_got_is_evidence():
    bench = proposed()
    bench.hear("Dianneng", commit("Dianneng", B))
    bench.hear("Chengdian", Status(0, 1, 0))
    bench.tick(600)
    votes = tuple(Vote(NAMES.index(name), commit(name, A).signature) for name in NAMES[1:])
    tail = (CommittedBlock(A, CommitCertificate(0, votes), (TX.raw,)),)
    bench.hear("Chengdian", SealedBlocks((), tail))
    assert bench.state.tip.height == 1
    assert accusations(bench) == [("Dianneng", Phase.COMMIT)]


def test_a_member_whose_result_differs_from_ours_is_named():
    """The others cannot propose to suspend whom they do not hear of."""
    before = committed_bench()
    before.hear("Dianneng", checkpoint("Dianneng", bytes(32)))
    assert before.charges == [], "we do not know better yet"
    before.execute()
    after = committed_bench()
    after.execute()
    after.hear("Bohui", checkpoint("Bohui", result_digest(after.state.entries[1].result)))
    for _ in range(2):
        after.hear("Dianneng", checkpoint("Dianneng", bytes(32)))
    assert before.charges == after.charges == ["result-differs"]
    assert not after.engine.status().halted, "one member is no quorum"


def test_F12_evidence_has_one_form():
    bench = proposed()
    bench.hear("Dianneng", prepare("Dianneng", A))
    bench.hear("Dianneng", prepare("Dianneng", B))
    [found] = [effect.evidence for effect in bench.effects if isinstance(effect, Accuse)]
    assert contradicts(found)
    assert not contradicts(Equivocation(found.vote_key, found.second, found.first))
