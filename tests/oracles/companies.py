"""Contract 1, identity, its other half: what governance decides about companies. They join with one key, have all their
keys replaced by one, and leave; and whoever decides is told which companies there are.
"""

from contracts.contract import COMPANY_ROLES, Role
from contracts.host import Host
from contracts.numbers import GOVERNANCE
from contracts.records.identity import ALL_BUSINESSES, COMPANIES, COMPANIES_MAX, KEYS, Company, CompanyKey, Roles
from ledger.codec import Wire
from ledger.units import Name, PublicKey
from tests.oracles.codes import Code
from tests.oracles.contract import fail
from tests.oracles.identity import (
    CONTRACT,
    KEY_ADDED,
    KEY_REVOKED,
    CompanyArgs,
    KeyArgs,
    KeyChanged,
    check_new_key,
    company_of,
)

# ── arguments ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class NoArgs(Wire):
    """`identity.voices`."""


class AdmitArgs(Wire):
    """`governance.propose_admit`, `identity.check_admission`, `identity.admit_company`."""

    company: Name
    display_name: Name
    roles: Roles
    company_key: PublicKey


class ReplaceKeysArgs(Wire):
    """`governance.propose_keys`, `identity.check_replacement`, `identity.replace_keys`."""

    company: Name
    company_key: PublicKey


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@CONTRACT.internal(NoArgs, GOVERNANCE)
def voices(host: Host, args: NoArgs) -> dict[str, tuple[Role, ...]]:
    """Every company that has not left, with its roles."""
    found = host.iterate(COMPANIES, b"", COMPANIES_MAX)
    return {name.decode(): company.roles for name, company in found if company.roles}


@CONTRACT.internal(CompanyArgs, GOVERNANCE)
def fine_payee(host: Host, args: CompanyArgs) -> str:
    """Who receives a company's fine: the first regulator by name, or else the first company, that it is not itself."""
    found = host.iterate(COMPANIES, b"", COMPANIES_MAX)
    others = [
        (name.decode(), company.roles) for name, company in found if company.roles and name.decode() != args.company
    ]
    return next((name for name, roles in others if Role.REGULATOR in roles), others[0][0])


@CONTRACT.internal(CompanyArgs, GOVERNANCE)
def company_key(host: Host, args: CompanyArgs) -> bytes:
    """The oldest key of a company that has not left: what stands beside its vote key in a validator set."""
    return _member(host, args.company).keys[0]


@CONTRACT.internal(KeyArgs, GOVERNANCE)
def check_free_key(host: Host, args: KeyArgs) -> None:
    """Whether a vote key is sound, and nobody's key for anything else."""
    check_new_key(host, args.key)


@CONTRACT.internal(AdmitArgs, GOVERNANCE)
def check_admission(host: Host, args: AdmitArgs) -> None:
    """Whether a company may join: with a company's roles, a sound key, and a name that none ever had."""
    if min(args.company) < " ":  # NUL separates names in compound keys of other contracts
        fail(Code.COMPANY_NAME_MALFORMED)
    if not args.roles or not COMPANY_ROLES.issuperset(args.roles):
        fail(Code.ROLES_INVALID)
    if host.get(COMPANIES, args.company.encode()) is not None:
        fail(Code.COMPANY_EXISTS)
    if len(host.iterate(COMPANIES, b"", COMPANIES_MAX)) == COMPANIES_MAX:
        fail(Code.COMPANIES_TOO_MANY)
    check_new_key(host, args.company_key)


@CONTRACT.internal(AdmitArgs, GOVERNANCE)
def admit_company(host: Host, args: AdmitArgs) -> None:
    """A company joins."""
    check_admission(host, args)
    _put_company(host, args.company, args.display_name, tuple(sorted(set(args.roles))), args.company_key)


@CONTRACT.internal(ReplaceKeysArgs, GOVERNANCE)
def check_replacement(host: Host, args: ReplaceKeysArgs) -> None:
    """Whether a company that has not left may have this key."""
    _member(host, args.company)
    check_new_key(host, args.company_key)


@CONTRACT.internal(ReplaceKeysArgs, GOVERNANCE)
def replace_keys(host: Host, args: ReplaceKeysArgs) -> None:
    """One new key in place of all that a company has."""
    check_replacement(host, args)
    company = _member(host, args.company)
    _drop_keys(host, args.company, company)
    _put_company(host, args.company, company.display_name, company.roles, args.company_key)


@CONTRACT.internal(CompanyArgs, GOVERNANCE)
def remove_company(host: Host, args: CompanyArgs) -> None:
    """A company leaves: it keeps its name, and can do nothing."""
    company = _member(host, args.company)
    _drop_keys(host, args.company, company)
    host.put(COMPANIES, args.company.encode(), Company(company.display_name, (), ()))


def _put_company(host: Host, name: str, display_name: str, roles: tuple[Role, ...], key: bytes) -> None:
    """Write a company whose only key may do everything."""
    host.put(KEYS, key, CompanyKey(name, ALL_BUSINESSES))
    host.put(COMPANIES, name.encode(), Company(display_name, roles, (key,)))
    host.emit(KEY_ADDED, KeyChanged(name, key))


def _drop_keys(host: Host, name: str, company: Company) -> None:
    for key in company.keys:
        host.delete(KEYS, key)
        host.emit(KEY_REVOKED, KeyChanged(name, key))


def _member(host: Host, name: str) -> Company:
    """A company that has not left."""
    company = company_of(host, name)
    return company if company.roles else fail(Code.MEMBER_UNKNOWN)
