"""Contract 6, governance, its other half: what the companies decide together.

Whoever proposes approves; two thirds of the companies and a regulator decide, and the decision rules from K + 1 blocks
on. A company that a suspension, a removal or new keys are about has no voice in it. A suspension needs no single
company's consent, so not the regulator's either. Suspended companies keep their business and have no voice. Where no
other regulator can be asked, two thirds give a regulator its vote back, and all other companies together its keys. What
is not approved in time lapses by schedule.
"""

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from contracts.codes import Code
from contracts.companies import AdmitArgs, CompanyRoles, NoArgs, ReplaceKeysArgs
from contracts.contract import Role
from contracts.host import Host, Table
from contracts.identity import CompanyArgs
from contracts.margin import CloseArgs
from contracts.numbers import GOVERNANCE, IDENTITY, MONEY, TARIFF
from contracts.seats import (
    COMPANIES_MAY,
    CONTRACT,
    SEATS,
    decide,
    drop_next_key,
    is_voting,
    next_keys,
    sender,
    settings_of,
)
from ledger.codec import Wire
from ledger.genesis import Parameters
from ledger.terms import Observer
from ledger.transaction import TRANSACTION_BYTES_MAX
from ledger.units import U63, Hash, Name, PublicKey
from ledger.validators import Validator

PROPOSALS_MAX = 8
"""Of one company at a time."""
LAPSE_GAS = 2_000_000
"""A proposal is read and deleted: never the limit."""
BLOCK_GAS_MIN = 100_000_000
"""Ten times what a call of governance may take."""
FIXED = ("expiry_max_ms", "device_expiry_max_ms", "session_start_max_ms")
"""Parameters that no vote changes."""


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Admit(Wire, tag=1):
    """A company joins: with a voice and its business, not yet with a node (`governance.set_node`) or a vote."""

    company: Name
    display_name: Name
    roles: CompanyRoles
    company_key: PublicKey


class GiveVote(Wire, tag=2):
    """An observer, or a suspended company, votes from now on, with the vote key that it has registered."""

    company: Name


class Suspend(Wire, tag=3):
    """A company votes no more until it is given its vote again; its node may follow the chain."""

    company: Name


class Remove(Wire, tag=4):
    """A company that has settled everything leaves; its margin stays locked for a while."""

    company: Name


class ReplaceKeys(Wire, tag=5):
    """A company's keys are lost or stolen: this one takes the place of all of them."""

    company: Name
    company_key: PublicKey


class SetParameters(Wire, tag=6):
    """Other limits."""

    parameters: Parameters


Change = Admit | GiveVote | Suspend | Remove | ReplaceKeys | SetParameters


class Proposal(Wire):
    """What waits for approval. Key: id of the transaction that proposed it."""

    proposer: Name
    change: Change
    ends_ms: U63
    approved: tuple[Name, ...]
    """Sorted."""


class OpenProposals(Wire):
    """How many proposals of a company wait. Key: its name."""

    count: Annotated[int, Meta(ge=1, le=PROPOSALS_MAX)]


PROPOSALS = Table(GOVERNANCE, b"o", Proposal)
OPEN = Table(GOVERNANCE, b"c", OpenProposals)


# ── arguments and events ──────────────────────────────────────────────────────────────────────────────────────────────


class ProposalArgs(Wire):
    """`governance.approve`, `governance.lapse`."""

    proposal: Hash


class ParametersArgs(Wire):
    """`governance.propose_parameters`."""

    parameters: Parameters


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
    _propose(host, Admit(args.company, args.display_name, args.roles, args.company_key))


@CONTRACT.method(CompanyArgs, COMPANIES_MAY)
def propose_vote(host: Host, args: CompanyArgs) -> None:
    """Propose that a company with a node votes, for the first time or again."""
    _propose(host, GiveVote(args.company))


@CONTRACT.method(CompanyArgs, COMPANIES_MAY)
def propose_suspend(host: Host, args: CompanyArgs) -> None:
    """Propose that a company votes no more."""
    _propose(host, Suspend(args.company))


@CONTRACT.method(CompanyArgs, COMPANIES_MAY)
def propose_remove(host: Host, args: CompanyArgs) -> None:
    """Propose that a company leaves."""
    _propose(host, Remove(args.company))


@CONTRACT.method(ReplaceKeysArgs, COMPANIES_MAY)
def propose_keys(host: Host, args: ReplaceKeysArgs) -> None:
    """Propose a new key for a company in place of all that it has."""
    _propose(host, ReplaceKeys(args.company, args.company_key))


@CONTRACT.method(ParametersArgs, COMPANIES_MAY)
def propose_parameters(host: Host, args: ParametersArgs) -> None:
    """Propose other limits of blocks, of their times and of idle time."""
    _propose(host, SetParameters(args.parameters))


@CONTRACT.method(ProposalArgs, COMPANIES_MAY)
def approve(host: Host, args: ProposalArgs) -> None:
    """A company approves a proposal; the one that makes it two thirds decides it."""
    proposal = host.get(PROPOSALS, args.proposal)
    if proposal is None:
        host.fail(Code.PROPOSAL_UNKNOWN)
    _approve(host, args.proposal, proposal)


@CONTRACT.internal(ProposalArgs)
def lapse(host: Host, args: ProposalArgs) -> None:
    """The schedule: time is over for a proposal."""
    proposal = host.get(PROPOSALS, args.proposal)
    if proposal is not None:
        _close(host, args.proposal, proposal)
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
    _check(host, change)
    already = host.get(OPEN, name.encode())
    count = already.count if already else 0
    if count >= PROPOSALS_MAX:
        host.fail(Code.PROPOSALS_TOO_MANY)
    ends_ms = host.now_ms + settings_of(host).proposal_ms
    host.put(OPEN, name.encode(), OpenProposals(count + 1))
    host.schedule(ends_ms, host.call_id, "lapse", ProposalArgs(host.call_id), LAPSE_GAS)
    host.emit(_PROPOSED, Proposed(host.call_id, name))
    _approve(host, host.call_id, Proposal(name, change, ends_ms, ()))


def _approve(host: Host, proposal_id: bytes, proposal: Proposal) -> None:
    """Count the sender's approval, and decide if it is the last that is needed."""
    name, change = sender(host), proposal.change
    if host.now_ms >= proposal.ends_ms:
        host.fail(Code.PROPOSAL_UNKNOWN)
    electorate = _electorate(host, change)
    if name not in electorate.voices:
        host.fail(Code.NO_VOICE)
    if name in proposal.approved:
        host.fail(Code.APPROVED_ALREADY)
    approved = tuple(sorted((*proposal.approved, name)))
    host.emit(_APPROVED, Approved(proposal_id, name))
    counted = electorate.voices.intersection(approved)  # whoever has been suspended since has no voice
    asked = electorate.regulators is None or not electorate.regulators.isdisjoint(counted)
    if len(counted) >= electorate.needed and asked:
        _close(host, proposal_id, proposal)
        host.cancel(proposal.ends_ms, proposal_id)
        _enact(host, change)
        host.emit(_DECIDED, Proposed(proposal_id, proposal.proposer))
    else:
        host.put(PROPOSALS, proposal_id, replace(proposal, approved=approved))


def _electorate(host: Host, change: Change) -> Electorate:
    companies: dict[str, tuple[Role, ...]] = host.call(IDENTITY, "voices", NoArgs())
    concerned = change.company if isinstance(change, Suspend | Remove | ReplaceKeys) else None
    others = [company for company in companies if company != concerned]
    seats = {company: host.get(SEATS, company.encode()) for company in others}
    voices = frozenset(company for company, seat in seats.items() if seat is None or not seat.suspended)
    regulators = frozenset(company for company in voices if Role.REGULATOR in companies[company])
    two_thirds = -(-2 * len(voices) // 3)
    if isinstance(change, Suspend):
        return Electorate(voices, two_thirds, None)
    if isinstance(change, GiveVote | ReplaceKeys) and not regulators:
        of_regulator = Role.REGULATOR in companies.get(change.company, ())
        if of_regulator and isinstance(change, GiveVote):
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


def _check(host: Host, change: Change) -> None:
    """Whether a change can be made at all: its last approval would find out too late. What may still come (a vote key,
    a settled claim) only that asks.
    """
    match change:
        case Admit(company, display_name, roles, company_key):
            host.call(IDENTITY, "check_admission", AdmitArgs(company, display_name, roles, company_key))
        case ReplaceKeys(company, company_key):
            host.call(IDENTITY, "check_replacement", ReplaceKeysArgs(company, company_key))
        case SetParameters(parameters):
            _check_parameters(host, parameters)
        case GiveVote(company) | Suspend(company) | Remove(company):
            host.call(IDENTITY, "company_key", CompanyArgs(company))


def _enact(host: Host, change: Change) -> None:
    match change:
        case Admit(company, display_name, roles, company_key):
            host.call(IDENTITY, "admit_company", AdmitArgs(company, display_name, roles, company_key))
            host.call(MONEY, "open_book", CompanyArgs(company))
        case GiveVote(company):
            _give_vote(host, company)
        case Suspend(company):
            _suspend(host, company)
        case Remove(company):
            _remove(host, company)
        case ReplaceKeys(company, company_key):
            _replace_keys(host, company, company_key)
        case SetParameters(parameters):
            timeline = host.timeline
            terms = timeline[-1]
            decide(host, timeline, terms.validators.validators, terms.observers, parameters)


def _give_vote(host: Host, company: str) -> None:
    timeline = host.timeline
    terms = timeline[-1]
    seat = host.get(SEATS, company.encode())
    if seat is None:
        host.fail(Code.NODE_UNKNOWN)
    if is_voting(terms, company):
        host.fail(Code.VOTES_ALREADY)
    vote_key = next_keys(host).get(company)
    if vote_key is None:
        host.fail(Code.VOTE_KEY_MISSING)
    if seat.suspended:
        host.put(SEATS, company.encode(), replace(seat, suspended=False))
    company_key: bytes = host.call(IDENTITY, "company_key", CompanyArgs(company))
    member = Validator(company, company_key, vote_key, seat.node_key)
    observers = [observer for observer in terms.observers if observer.name != company]
    decide(host, timeline, [*terms.validators.validators, member], observers)


def _suspend(host: Host, company: str) -> None:
    timeline = host.timeline
    terms = timeline[-1]
    seat = host.get(SEATS, company.encode())
    if seat is None or not is_voting(terms, company):
        host.fail(Code.NO_VALIDATOR)
    host.put(SEATS, company.encode(), replace(seat, suspended=True))
    members = [member for member in terms.validators.validators if member.name != company]
    decide(host, timeline, members, [*terms.observers, Observer(company, seat.node_key)])


def _remove(host: Host, company: str) -> None:
    timeline = host.timeline
    terms = timeline[-1]
    host.call(TARIFF, "check_no_region", CompanyArgs(company))
    locked_until_ms = host.now_ms + settings_of(host).margin_lock_ms
    host.call(MONEY, "close_book", CloseArgs(company, locked_until_ms))
    host.call(IDENTITY, "remove_company", CompanyArgs(company))
    if host.get(SEATS, company.encode()) is None:
        return
    host.delete(SEATS, company.encode())
    drop_next_key(host, company)
    members = [member for member in terms.validators.validators if member.name != company]
    decide(host, timeline, members, [observer for observer in terms.observers if observer.name != company])


def _replace_keys(host: Host, company: str, company_key: bytes) -> None:
    """What a thief of the former keys has prepared goes with them: its vote key that waits, and the company's own wait
    until it may change the vote and TLS keys that are in force.
    """
    host.call(IDENTITY, "replace_keys", ReplaceKeysArgs(company, company_key))
    seat = host.get(SEATS, company.encode())
    if seat is None:
        return
    host.put(SEATS, company.encode(), replace(seat, renewed_ms=0))
    drop_next_key(host, company)
    timeline = host.timeline
    terms = timeline[-1]
    if is_voting(terms, company):
        members = [
            replace(member, company_key=company_key) if member.name == company else member
            for member in terms.validators.validators
        ]
        decide(host, timeline, members, terms.observers)


def _check_parameters(host: Host, parameters: Parameters) -> None:
    """The replay window rests on the limits of expiry: with other ones a transaction could run twice. The start limit
    of sessions is the session contract's since genesis.
    """
    present = host.timeline[-1].parameters
    for field in FIXED:
        if getattr(parameters, field) != getattr(present, field):
            host.fail(Code.PARAMETER_FIXED)
    # A block that holds no transaction of governance would be for ever.
    if parameters.block_gas_max < BLOCK_GAS_MIN or parameters.block_bytes_max < TRANSACTION_BYTES_MAX:
        host.fail(Code.PARAMETER_UNFIT)
