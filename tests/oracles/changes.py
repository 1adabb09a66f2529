"""Contract 6, governance, its third part: what the companies can decide, whether it is possible, and what it does."""

from msgspec.structs import replace

from contracts.host import Host
from contracts.installing import install
from contracts.numbers import IDENTITY, MONEY, TARIFF
from contracts.records.governance import REPLACED, SEATS, Admission, Change, Installation, Kind, NewKey, Replaced
from ledger.codec import Wire
from ledger.genesis import Parameters
from ledger.terms import Observer
from ledger.transaction import TRANSACTION_BYTES_MAX
from ledger.units import U32, U63, Hash
from ledger.validators import Validator
from tests.oracles.codes import Code
from tests.oracles.companies import AdmitArgs, ReplaceKeysArgs
from tests.oracles.contract import fail
from tests.oracles.identity import CompanyArgs
from tests.oracles.margin import CloseArgs
from tests.oracles.seats import CONTRACT, decide, drop_next_key, is_voting, next_keys, settings_of

BLOCK_GAS_MIN = 100_000_000
"""Ten times what a call of governance may take."""
FIXED = ("expiry_max_ms", "device_expiry_max_ms", "session_start_max_ms")
"""Parameters that no vote changes."""


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Installed(Wire):
    """Event `governance.installed`: a code will rule."""

    number: U32
    code_hash: Hash
    from_height: U63


INSTALLED = CONTRACT.event("governance.installed", Installed)


# ── making them ───────────────────────────────────────────────────────────────────────────────────────────────────────


def check(host: Host, change: Change) -> None:
    """Whether a change can be made at all: its last approval would find out too late. What may still come (a vote key,
    a settled claim) only that asks.
    """
    match change:
        case Change(Kind.ADMIT, company, Admission(display_name, roles, company_key)):
            host.call(IDENTITY, "check_admission", AdmitArgs(company, display_name, roles, company_key))
        case Change(Kind.REPLACE_KEYS, company, None, NewKey(company_key)):
            host.call(IDENTITY, "check_replacement", ReplaceKeysArgs(company, company_key))
        case Change(Kind.SET_PARAMETERS, parameters=Parameters() as parameters):
            _check_parameters(host, parameters)
        case Change(Kind.INSTALL):
            pass  # the code is judged already
        case Change(_, company):
            host.call(IDENTITY, "company_key", CompanyArgs(company))


def enact(host: Host, change: Change) -> None:
    """Make a change that was decided. Fails where it has become impossible."""
    match change:
        case Change(Kind.ADMIT, company, Admission(display_name, roles, company_key)):
            host.call(IDENTITY, "admit_company", AdmitArgs(company, display_name, roles, company_key))
            host.call(MONEY, "open_book", CompanyArgs(company))
        case Change(Kind.GIVE_VOTE, company):
            _give_vote(host, company)
        case Change(Kind.SUSPEND, company):
            _suspend(host, company)
        case Change(Kind.REMOVE, company):
            _remove(host, company)
        case Change(Kind.REPLACE_KEYS, company, None, NewKey(company_key)):
            _replace_keys(host, company, company_key)
        case Change(Kind.INSTALL, installation=Installation(number, code_hash, from_height)):
            height = install(host, number, code_hash, from_height)
            host.emit(INSTALLED, Installed(number, code_hash, height))
        case Change(Kind.SET_PARAMETERS, parameters=Parameters() as parameters):
            timeline = host.timeline
            terms = timeline[-1]
            decide(host, timeline, terms.validators.validators, terms.observers, parameters)


def _give_vote(host: Host, company: str) -> None:
    timeline = host.timeline
    terms = timeline[-1]
    seat = host.get(SEATS, company.encode())
    if seat is None:
        fail(Code.NODE_UNKNOWN)
    if is_voting(terms, company):
        fail(Code.VOTES_ALREADY)
    vote_key = next_keys(host).get(company)
    if vote_key is None:
        fail(Code.VOTE_KEY_MISSING)
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
        fail(Code.NO_VALIDATOR)
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
    """What a thief of the former keys has prepared goes with them: its approvals, its vote key that waits, and the
    company's own wait until it may change the vote and TLS keys that are in force.
    """
    host.call(IDENTITY, "replace_keys", ReplaceKeysArgs(company, company_key))
    host.put(REPLACED, company.encode(), Replaced(host.now_ms))
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
            fail(Code.PARAMETER_FIXED)
    # A block that holds no transaction of governance would be for ever.
    if parameters.block_gas_max < BLOCK_GAS_MIN or parameters.block_bytes_max < TRANSACTION_BYTES_MAX:
        fail(Code.PARAMETER_UNFIT)
