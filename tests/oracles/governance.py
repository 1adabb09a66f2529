"""Contract 6, governance, its second part: how the companies decide together.

Whoever proposes approves; two thirds of the companies and a regulator decide, and the decision rules from K + 1 blocks
on. A company that a suspension, a removal or new keys are about has no voice in it. A suspension needs no single
company's consent, so not the regulator's either. Suspended companies keep their business and have no voice. Where no
other regulator can be asked, two thirds give a regulator its vote back, and all other companies together its keys. What
is not approved in time lapses by schedule. What can be decided, and what that does, is `contracts.changes`.
"""

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from contracts.contract import Role
from contracts.host import Host
from contracts.installing import drop_code, keep_code
from contracts.numbers import IDENTITY
from contracts.records.governance import (
    OPEN,
    PROPOSALS,
    PROPOSALS_MAX,
    REPLACED,
    SEATS,
    Admission,
    Change,
    Installation,
    Kind,
    NewKey,
    OpenProposals,
    Proposal,
)
from ledger.codec import Wire
from ledger.genesis import Parameters
from ledger.units import U32, U63, Hash, Name
from tests.oracles.changes import check, enact
from tests.oracles.codes import Code
from tests.oracles.companies import AdmitArgs, NoArgs, ReplaceKeysArgs
from tests.oracles.contract import fail
from tests.oracles.identity import CompanyArgs
from tests.oracles.seats import COMPANIES_MAY, CONTRACT, sender, settings_of

LAPSE_GAS = 2_000_000
"""A proposal is read and deleted: never the limit."""


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


# ── arguments and events ──────────────────────────────────────────────────────────────────────────────────────────────


class ProposalArgs(Wire):
    """`governance.approve`, `governance.lapse`."""

    proposal: Hash


class ParametersArgs(Wire):
    """`governance.propose_parameters`."""

    parameters: Parameters


class ContractArgs(Wire):
    """`governance.propose_contract`."""

    number: U32
    code: Annotated[bytes, Meta(min_length=1, max_length=60_000)]
    source: Annotated[str, Meta(max_length=60_000)]
    from_height: U63


class Proposed(Wire):
    """Events `governance.proposed`, `governance.decided` and `governance.lapsed`."""

    proposal: Hash
    company: Name
    """Who proposed it."""


class Approved(Wire):
    """Event `governance.approved`."""

    proposal: Hash
    company: Name


_PROPOSED = CONTRACT.event("governance.proposed", Proposed)
_DECIDED = CONTRACT.event("governance.decided", Proposed)
_LAPSED = CONTRACT.event("governance.lapsed", Proposed)
_APPROVED = CONTRACT.event("governance.approved", Approved)


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@CONTRACT.method(AdmitArgs, COMPANIES_MAY)
def propose_admit(host: Host, args: AdmitArgs) -> None:
    """Propose that a company joins."""
    _propose(host, Change(Kind.ADMIT, args.company, Admission(args.display_name, args.roles, args.company_key)))


@CONTRACT.method(CompanyArgs, COMPANIES_MAY)
def propose_vote(host: Host, args: CompanyArgs) -> None:
    """Propose that a company with a node votes, for the first time or again."""
    _propose(host, Change(Kind.GIVE_VOTE, args.company))


@CONTRACT.method(CompanyArgs, COMPANIES_MAY)
def propose_suspend(host: Host, args: CompanyArgs) -> None:
    """Propose that a company votes no more."""
    _propose(host, Change(Kind.SUSPEND, args.company))


@CONTRACT.method(CompanyArgs, COMPANIES_MAY)
def propose_remove(host: Host, args: CompanyArgs) -> None:
    """Propose that a company leaves."""
    _propose(host, Change(Kind.REMOVE, args.company))


@CONTRACT.method(ReplaceKeysArgs, COMPANIES_MAY)
def propose_keys(host: Host, args: ReplaceKeysArgs) -> None:
    """Propose a new key for a company in place of all that it has."""
    _propose(host, Change(Kind.REPLACE_KEYS, args.company, key=NewKey(args.company_key)))


@CONTRACT.method(ParametersArgs, COMPANIES_MAY)
def propose_parameters(host: Host, args: ParametersArgs) -> None:
    """Propose other limits of blocks, of their times and of idle time."""
    _propose(host, Change(Kind.SET_PARAMETERS, "", parameters=args.parameters))


@CONTRACT.method(ContractArgs, COMPANIES_MAY)
def propose_contract(host: Host, args: ContractArgs) -> None:
    """Propose that a contract's code, made of this text, rules under a number from a height on."""
    code_hash = keep_code(host, args.number, args.code, args.source)
    _propose(host, Change(Kind.INSTALL, "", installation=Installation(args.number, code_hash, args.from_height)))


@CONTRACT.method(ProposalArgs, COMPANIES_MAY)
def approve(host: Host, args: ProposalArgs) -> None:
    """A company approves a proposal; the one that makes it two thirds decides it."""
    proposal = host.get(PROPOSALS, args.proposal)
    if proposal is None:
        fail(Code.PROPOSAL_UNKNOWN)
    _approve(host, args.proposal, proposal)


@CONTRACT.internal(ProposalArgs)
def lapse(host: Host, args: ProposalArgs) -> None:
    """The schedule: time is over for a proposal."""
    proposal = host.get(PROPOSALS, args.proposal)
    if proposal is not None:
        _close(host, args.proposal, proposal)
        if proposal.change.installation is not None:
            drop_code(host, proposal.change.installation.code_hash)
        host.emit(_LAPSED, Proposed(args.proposal, proposal.proposer))


# ── deciding ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Electorate(Struct, frozen=True):
    """Who decides a change."""

    voices: frozenset[str]
    needed: int
    """So many of them must approve."""
    regulators: frozenset[str] | None
    """One of these among them; None if none is asked."""


def _propose(host: Host, change: Change) -> None:
    name = sender(host)
    check(host, change)
    already = host.get(OPEN, name.encode())
    count = already.count if already else 0
    if count >= PROPOSALS_MAX:
        fail(Code.PROPOSALS_TOO_MANY)
    ends_ms = host.now_ms + settings_of(host).proposal_ms
    host.put(OPEN, name.encode(), OpenProposals(count + 1))
    host.schedule(ends_ms, host.call_id, "lapse", ProposalArgs(host.call_id), LAPSE_GAS)
    host.emit(_PROPOSED, Proposed(host.call_id, name))
    _approve(host, host.call_id, Proposal(name, change, ends_ms, ()))


def _approve(host: Host, proposal_id: bytes, proposal: Proposal) -> None:
    """Count the sender's approval, and decide if it is the last that is needed."""
    name, change = sender(host), proposal.change
    if host.now_ms >= proposal.ends_ms:
        fail(Code.PROPOSAL_UNKNOWN)
    electorate = _electorate(host, change)
    made_ms = proposal.ends_ms - settings_of(host).proposal_ms
    if name not in electorate.voices or _was_replaced(host, name, made_ms):
        fail(Code.NO_VOICE)
    again = name in proposal.approved
    approved = tuple(sorted({*proposal.approved, name}))
    if not again:
        host.emit(_APPROVED, Approved(proposal_id, name))
    # Whoever has been suspended or has got new keys since has no voice.
    counted = {each for each in electorate.voices.intersection(approved) if not _was_replaced(host, each, made_ms)}
    asked = electorate.regulators is None or not electorate.regulators.isdisjoint(counted)
    if len(counted) >= electorate.needed and asked:
        _close(host, proposal_id, proposal)
        host.cancel(proposal.ends_ms, proposal_id)
        enact(host, change)
        host.emit(_DECIDED, Proposed(proposal_id, proposal.proposer))
    elif again:  # not before: the voices that decide may have become fewer since it approved
        fail(Code.APPROVED_ALREADY)
    else:
        host.put(PROPOSALS, proposal_id, replace(proposal, approved=approved))


def _was_replaced(host: Host, company: str, made_ms: int) -> bool:
    """Whether a company's keys were replaced since a proposal was made, or in its block: what it said on it may be the
    word of a thief. So many voices as before are needed all the same.
    """
    replaced = host.get(REPLACED, company.encode())
    return replaced is not None and made_ms <= replaced.at_ms


def _electorate(host: Host, change: Change) -> Electorate:
    companies: dict[str, tuple[Role, ...]] = host.call(IDENTITY, "voices", NoArgs())
    concerned = change.company if change.kind in (Kind.SUSPEND, Kind.REMOVE, Kind.REPLACE_KEYS) else None
    others = [company for company in companies if company != concerned]
    seats = {company: host.get(SEATS, company.encode()) for company in others}
    voices = frozenset(company for company, seat in seats.items() if seat is None or not seat.suspended)
    regulators = frozenset(company for company in voices if Role.REGULATOR in companies[company])
    two_thirds = -(-2 * len(voices) // 3)
    if change.kind is Kind.SUSPEND:
        return Electorate(voices, two_thirds, None)
    if change.kind in (Kind.GIVE_VOTE, Kind.REPLACE_KEYS) and not regulators:
        of_regulator = Role.REGULATOR in companies.get(change.company, ())
        if of_regulator and change.kind is Kind.GIVE_VOTE:
            return Electorate(voices, two_thirds, None)
        if of_regulator:
            # Two thirds, who may suspend any dissenter, would take the regulator's voice by a key of their own.
            return Electorate(frozenset(others), len(others), None)
    return Electorate(voices, two_thirds, regulators)


def _close(host: Host, proposal_id: bytes, proposal: Proposal) -> None:
    host.delete(PROPOSALS, proposal_id)
    already = host.get(OPEN, proposal.proposer.encode())
    if already is not None and already.count > 1:
        host.put(OPEN, proposal.proposer.encode(), OpenProposals(already.count - 1))
    else:
        host.delete(OPEN, proposal.proposer.encode())
