"""Contract 1, identity: companies, their keys, accounts, and the permission table.

A company acts through its keys; each key carries the types of business that the company lets it act in. A driver's or
pile owner's account is a public key with a home operator, which registers it; its wallet is opened in the money
contract at the same time. A key is one company's, one account's or one device's.

The permission table says which roles may send which method, and in which type of business that is. The executor asks
it before every call; a change takes effect with the next block, so all calls of one block are judged alike.

Companies are those of the genesis document and those that governance admits (contract 6); one that left keeps its
name, and neither roles nor keys.
"""

from typing import Annotated

from msgspec import Meta

from contracts.codes import Code
from contracts.contract import COMPANY_ROLES, Business, Contract, Role, name_bytes
from contracts.host import ITERATE_MAX, Host, Table
from contracts.numbers import GOVERNANCE, IDENTITY, MONEY, REGISTRY, TARIFF
from ledger.codec import Wire
from ledger.keys import Scheme
from ledger.transaction import Branch
from ledger.units import U32, Name, PublicKey

CONTRACT = Contract(IDENTITY, "identity", Business.IDENTITY, Branch.IDENTITY)

ALL_BUSINESSES = tuple(Business)
KEYS_PER_COMPANY_MAX = 64
"""Keys that one company may hold: it is walked when a key is revoked."""
COMPANIES_MAX = ITERATE_MAX
"""Companies ever, with those that left: decisions walk through all of them, and none may be passed over in silence."""


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Company(Wire):
    """A member of the consortium. Key: its name."""

    display_name: Name
    """For people, in their own script."""
    roles: tuple[Role, ...]
    """Sorted; a company may operate and maintain."""
    keys: Annotated[tuple[PublicKey, ...], Meta(max_length=KEYS_PER_COMPANY_MAX)]
    """In the order in which they were added."""


class CompanyKey(Wire):
    """What a company's key may do. Key: the public key."""

    company: Name
    businesses: tuple[Business, ...]


class Account(Wire):
    """A driver or pile owner. Key: the public key."""

    home: Name
    """The operator that registered it and keeps its wallet."""


class Permission(Wire):
    """A row of the permission table. Key: contract number (4 bytes) ‖ method name."""

    business: Business
    roles: tuple[Role, ...]


class Settings(Wire):
    """From genesis."""

    schemes: tuple[Scheme, ...]
    """Signature schemes that accounts, companies and devices may use."""


COMPANIES = Table(IDENTITY, b"c", Company)
KEYS = Table(IDENTITY, b"k", CompanyKey)
ACCOUNTS = Table(IDENTITY, b"a", Account)
PERMISSIONS = Table(IDENTITY, b"p", Permission)
SETTINGS = Table(IDENTITY, b"s", Settings)


def permission_key(contract: int, method: str) -> bytes:
    """Own key of a row of the permission table."""
    return contract.to_bytes(4, "big") + method.encode()


# ── arguments and events ──────────────────────────────────────────────────────────────────────────────────────────────


class AccountArgs(Wire):
    """`identity.register_account`, `identity.home_of`."""

    account: PublicKey


class AddKeyArgs(Wire):
    """`identity.add_key`: one more key for the sender's company."""

    key: PublicKey
    businesses: tuple[Business, ...]


class KeyArgs(Wire):
    """`identity.revoke_key`, `identity.check_device_key`."""

    key: PublicKey


class RoleArgs(Wire):
    """`identity.has_role`."""

    company: str
    role: Role


class PermitArgs(Wire):
    """`identity.permit`: who may send a method from the next block on."""

    contract: U32
    method: Name
    business: Business
    roles: tuple[Role, ...]


class NoArgs(Wire):
    """`identity.voices`."""


class CompanyArgs(Wire):
    """A company by name: methods of governance, and what it asks of others."""

    company: Name


CompanyRoles = Annotated[tuple[Role, ...], Meta(max_length=len(Role))]


class AdmitArgs(Wire):
    """`governance.propose_admit`, `identity.check_admission`, `identity.admit_company`."""

    company: Name
    display_name: Name
    roles: CompanyRoles
    company_key: PublicKey


class ReplaceKeysArgs(Wire):
    """`governance.propose_keys`, `identity.check_replacement`, `identity.replace_keys`."""

    company: Name
    company_key: PublicKey


class OpenWalletArgs(Wire):
    """`money.open_wallet`."""

    account: PublicKey
    home: Name


class AccountRegistered(Wire):
    """Event `identity.account-registered`."""

    account: PublicKey
    home: Name


class KeyChanged(Wire):
    """Events `identity.key-added` and `identity.key-revoked`."""

    company: Name
    key: PublicKey


class PermissionChanged(Wire):
    """Event `identity.permission-changed`."""

    contract: U32
    method: Name
    roles: tuple[Role, ...]


_ACCOUNT_REGISTERED = CONTRACT.event("identity.account-registered", AccountRegistered)
_KEY_ADDED = CONTRACT.event("identity.key-added", KeyChanged)
_KEY_REVOKED = CONTRACT.event("identity.key-revoked", KeyChanged)
_PERMISSION_CHANGED = CONTRACT.event("identity.permission-changed", PermissionChanged)


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@CONTRACT.method(AccountArgs, (Role.OPERATOR,))
def register_account(host: Host, args: AccountArgs) -> None:
    """An operator registers a driver or pile owner whose home it will be, and opens the wallet."""
    home = host.company or ""
    if host.get(ACCOUNTS, args.account) is not None:
        host.fail(Code.ACCOUNT_EXISTS)
    _check_new_key(host, args.account)
    host.put(ACCOUNTS, args.account, Account(home))
    host.call(MONEY, "open_wallet", OpenWalletArgs(args.account, home))
    host.emit(_ACCOUNT_REGISTERED, AccountRegistered(args.account, home))


@CONTRACT.method(AddKeyArgs, tuple(sorted(COMPANY_ROLES)))
def add_key(host: Host, args: AddKeyArgs) -> None:
    """A company gives itself a further key, for some types of business."""
    name = host.company or ""
    company = _company(host, name)
    if len(company.keys) >= KEYS_PER_COMPANY_MAX:
        host.fail(Code.KEY_INVALID)
    _check_new_key(host, args.key)
    host.put(KEYS, args.key, CompanyKey(name, tuple(sorted(set(args.businesses)))))
    host.put(COMPANIES, name.encode(), Company(company.display_name, company.roles, (*company.keys, args.key)))
    host.emit(_KEY_ADDED, KeyChanged(name, args.key))


@CONTRACT.method(KeyArgs, tuple(sorted(COMPANY_ROLES)))
def revoke_key(host: Host, args: KeyArgs) -> None:
    """A company takes a key out of use; one that may change keys must remain."""
    name = host.company or ""
    company = _company(host, name)
    if args.key not in company.keys:
        host.fail(Code.KEY_UNKNOWN)
    left = tuple(key for key in company.keys if key != args.key)
    records = [host.get(KEYS, key) for key in left]
    if not any(record is not None and Business.IDENTITY in record.businesses for record in records):
        host.fail(Code.KEY_LAST)
    host.delete(KEYS, args.key)
    host.put(COMPANIES, name.encode(), Company(company.display_name, company.roles, left))
    host.emit(_KEY_REVOKED, KeyChanged(name, args.key))


@CONTRACT.method(PermitArgs, (Role.REGULATOR,))
def permit(host: Host, args: PermitArgs) -> None:
    """The regulator changes a row of the permission table; it rules from the next block on."""
    key = permission_key(args.contract, args.method)
    if args.contract == GOVERNANCE or key == permission_key(IDENTITY, "permit"):
        host.fail(Code.PERMISSION_FIXED)
    if host.get(PERMISSIONS, key) is None:
        host.fail(Code.PERMISSION_UNKNOWN)
    roles = tuple(sorted(set(args.roles)))
    host.put(PERMISSIONS, key, Permission(args.business, roles))
    host.emit(_PERMISSION_CHANGED, PermissionChanged(args.contract, args.method, roles))


@CONTRACT.internal(AccountArgs, REGISTRY)
def home_of(host: Host, args: AccountArgs) -> str:
    """The home operator of an account, for the registry, whose private piles have owners."""
    account = host.get(ACCOUNTS, args.account)
    if account is None:
        host.fail(Code.ACCOUNT_UNKNOWN)
    if not _company(host, account.home).roles:
        host.fail(Code.COMPANY_LEFT)
    return account.home


@CONTRACT.internal(KeyArgs, REGISTRY)
def check_device_key(host: Host, args: KeyArgs) -> None:
    """Whether a device may have this key: sound, and neither a company's nor an account's."""
    _check_key(host, args.key)


@CONTRACT.internal(RoleArgs, TARIFF)
def has_role(host: Host, args: RoleArgs) -> bool:
    """Whether there is such a company and it has the role."""
    company = host.get(COMPANIES, args.company.encode())
    return company is not None and args.role in company.roles


# ── for governance ────────────────────────────────────────────────────────────────────────────────────────────────────


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
    _check_new_key(host, args.key)


@CONTRACT.internal(AdmitArgs, GOVERNANCE)
def check_admission(host: Host, args: AdmitArgs) -> None:
    """Whether a company may join: with a company's roles, a sound key, and a name that none ever had."""
    name_bytes(host, args.company)
    if not args.roles or not COMPANY_ROLES.issuperset(args.roles):
        host.fail(Code.ROLES_INVALID)
    if host.get(COMPANIES, args.company.encode()) is not None:
        host.fail(Code.COMPANY_EXISTS)
    if len(host.iterate(COMPANIES, b"", COMPANIES_MAX)) == COMPANIES_MAX:
        host.fail(Code.COMPANIES_TOO_MANY)
    _check_new_key(host, args.company_key)


@CONTRACT.internal(AdmitArgs, GOVERNANCE)
def admit_company(host: Host, args: AdmitArgs) -> None:
    """A company joins."""
    check_admission(host, args)
    _put_company(host, args.company, args.display_name, tuple(sorted(set(args.roles))), args.company_key)


@CONTRACT.internal(ReplaceKeysArgs, GOVERNANCE)
def check_replacement(host: Host, args: ReplaceKeysArgs) -> None:
    """Whether a company that has not left may have this key."""
    _member(host, args.company)
    _check_new_key(host, args.company_key)


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
    host.emit(_KEY_ADDED, KeyChanged(name, key))


def _drop_keys(host: Host, name: str, company: Company) -> None:
    for key in company.keys:
        host.delete(KEYS, key)
        host.emit(_KEY_REVOKED, KeyChanged(name, key))


def _company(host: Host, name: str) -> Company:
    company = host.get(COMPANIES, name.encode())
    if company is None:
        host.fail(Code.COMPANY_UNKNOWN)
    return company


def _member(host: Host, name: str) -> Company:
    """A company that has not left."""
    company = _company(host, name)
    return company if company.roles else host.fail(Code.COMPANY_UNKNOWN)


def _check_new_key(host: Host, key: bytes) -> None:
    """Whether a company or account may have this key: sound, and nobody's, devices included."""
    _check_key(host, key)
    host.call(REGISTRY, "check_no_device", KeyArgs(key))


def _check_key(host: Host, key: bytes) -> None:
    if host.get(KEYS, key) is not None or host.get(ACCOUNTS, key) is not None:
        host.fail(Code.KEY_TAKEN)
    settings = host.get(SETTINGS)
    schemes = frozenset(settings.schemes) if settings else frozenset()
    if not host.key_is_sound(key, schemes):
        host.fail(Code.KEY_INVALID)
