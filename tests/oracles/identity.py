"""Contract 1, identity: companies, their keys, accounts, and the permission table.

A company acts through its keys; each key carries the types of business that the company lets it act in. A driver's or
pile owner's account is a public key with a home operator, which registers it; its wallet is opened in the money
contract at the same time. A key is one company's, one account's or one device's, and whoever registers it shows that
its holder agrees: anybody could otherwise take a key that it has merely seen, and so keep it from its holder for good.

The permission table says which roles may send which method, and in which type of business that is. The executor asks
it before every call; a change takes effect with the next block, so all calls of one block are judged alike.

Companies are those of the genesis document and those that governance admits (`contracts.companies`); one that left
keeps its name, and neither roles nor keys.
"""

from typing import Annotated

from msgspec import Meta

from contracts.contract import COMPANY_ROLES, Business, Role
from contracts.digests import own_key_digest
from contracts.host import Host
from contracts.numbers import GOVERNANCE, IDENTITY, MONEY, REGISTRY, TARIFF
from contracts.records.identity import (
    ACCOUNTS,
    COMPANIES,
    KEYS,
    KEYS_PER_COMPANY_MAX,
    PERMISSIONS,
    SETTINGS,
    Account,
    Businesses,
    Company,
    CompanyKey,
    Permission,
    Roles,
    permission_key,
)
from ledger.codec import Wire
from ledger.transaction import Branch
from ledger.units import U32, Name, PublicKey, Signature
from tests.oracles.codes import Code
from tests.oracles.contract import Contract, fail

CONTRACT = Contract(IDENTITY, "identity", Business.IDENTITY, Branch.IDENTITY)


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


# ── arguments and events ──────────────────────────────────────────────────────────────────────────────────────────────


class AccountArgs(Wire):
    """`identity.home_of`."""

    account: PublicKey


class RegisterAccountArgs(Wire):
    """`identity.register_account`: of the sender's company."""

    account: PublicKey
    proof: Signature
    """By the account's key, over `own_key_digest`."""


class AddKeyArgs(Wire):
    """`identity.add_key`: one more key for the sender's company."""

    key: PublicKey
    businesses: Businesses
    proof: Signature
    """By the key itself, over `own_key_digest`."""


class KeyArgs(Wire):
    """`identity.revoke_key`, `identity.check_free_key`, `registry.check_no_device`."""

    key: PublicKey


class DeviceKeyArgs(Wire):
    """`identity.check_device_key`."""

    company: Name
    """Who registers it."""
    key: PublicKey
    proof: Signature


class RoleArgs(Wire):
    """`identity.has_role`."""

    company: Annotated[str, Meta(max_length=64)]
    """Empty if nobody is asked about."""
    role: Role


class PermitArgs(Wire):
    """`identity.permit`: who may send a method from the next block on."""

    contract: U32
    method: Name
    business: Business
    roles: Roles


class CompanyArgs(Wire):
    """A company by name: methods of governance, and what it asks of others."""

    company: Name


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
    roles: Roles


_ACCOUNT_REGISTERED = CONTRACT.event("identity.account-registered", AccountRegistered)
KEY_ADDED = CONTRACT.event("identity.key-added", KeyChanged)
KEY_REVOKED = CONTRACT.event("identity.key-revoked", KeyChanged)
_PERMISSION_CHANGED = CONTRACT.event("identity.permission-changed", PermissionChanged)


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@CONTRACT.method(RegisterAccountArgs, (Role.OPERATOR,))
def register_account(host: Host, args: RegisterAccountArgs) -> None:
    """An operator registers a driver or pile owner whose home it will be, and opens the wallet."""
    home = _sender(host)
    if host.get(ACCOUNTS, args.account) is not None:
        fail(Code.ACCOUNT_EXISTS)
    check_new_key(host, args.account)
    _check_proof(host, home, args.account, args.proof)
    host.put(ACCOUNTS, args.account, Account(home))
    host.call(MONEY, "open_wallet", OpenWalletArgs(args.account, home))
    host.emit(_ACCOUNT_REGISTERED, AccountRegistered(args.account, home))


@CONTRACT.method(AddKeyArgs, tuple(sorted(COMPANY_ROLES)))
def add_key(host: Host, args: AddKeyArgs) -> None:
    """A company gives itself a further key, for some types of business."""
    name = _sender(host)
    company = company_of(host, name)
    if len(company.keys) >= KEYS_PER_COMPANY_MAX:
        fail(Code.KEY_INVALID)
    check_new_key(host, args.key)
    _check_proof(host, name, args.key, args.proof)
    host.put(KEYS, args.key, CompanyKey(name, tuple(sorted(set(args.businesses)))))
    host.put(COMPANIES, name.encode(), Company(company.display_name, company.roles, (*company.keys, args.key)))
    host.emit(KEY_ADDED, KeyChanged(name, args.key))


@CONTRACT.method(KeyArgs, tuple(sorted(COMPANY_ROLES)))
def revoke_key(host: Host, args: KeyArgs) -> None:
    """A company takes a key out of use; one that may change keys must remain."""
    name = _sender(host)
    company = company_of(host, name)
    if args.key not in company.keys:
        fail(Code.KEY_UNKNOWN)
    left = tuple(key for key in company.keys if key != args.key)
    records = [host.get(KEYS, key) for key in left]
    if not any(record is not None and Business.IDENTITY in record.businesses for record in records):
        fail(Code.KEY_LAST)
    host.delete(KEYS, args.key)
    host.put(COMPANIES, name.encode(), Company(company.display_name, company.roles, left))
    host.emit(KEY_REVOKED, KeyChanged(name, args.key))


@CONTRACT.method(PermitArgs, (Role.REGULATOR,))
def permit(host: Host, args: PermitArgs) -> None:
    """The regulator changes a row of the permission table; it rules from the next block on."""
    key = permission_key(args.contract, args.method)
    if args.contract == GOVERNANCE or key == permission_key(IDENTITY, "permit"):
        fail(Code.PERMISSION_FIXED)
    installed = host.methods.get((args.contract, args.method))  # has no row before its first change
    if host.get(PERMISSIONS, key) is None and not (installed and installed.roles):
        fail(Code.PERMISSION_UNKNOWN)
    roles = tuple(sorted(set(args.roles)))
    host.put(PERMISSIONS, key, Permission(args.business, roles))
    host.emit(_PERMISSION_CHANGED, PermissionChanged(args.contract, args.method, roles))


@CONTRACT.internal(AccountArgs, REGISTRY)
def home_of(host: Host, args: AccountArgs) -> str:
    """The home operator of an account, for the registry, whose private piles have owners."""
    account = host.get(ACCOUNTS, args.account)
    if account is None:
        fail(Code.ACCOUNT_UNKNOWN)
    if not company_of(host, account.home).roles:
        fail(Code.HOME_LEFT)
    return account.home


@CONTRACT.internal(DeviceKeyArgs, REGISTRY)
def check_device_key(host: Host, args: DeviceKeyArgs) -> None:
    """Whether a device may have this key: sound, neither a company's nor an account's, and proven."""
    _check_key(host, args.key)
    _check_proof(host, args.company, args.key, args.proof)


@CONTRACT.internal(RoleArgs, TARIFF)
def has_role(host: Host, args: RoleArgs) -> bool:
    """Whether there is such a company and it has the role."""
    company = host.get(COMPANIES, args.company.encode())
    return company is not None and args.role in company.roles


def company_of(host: Host, name: str) -> Company:
    """A company that is or was a member. Fails with MEMBER_UNKNOWN."""
    company = host.get(COMPANIES, name.encode())
    if company is None:
        fail(Code.MEMBER_UNKNOWN)
    return company


def check_new_key(host: Host, key: bytes) -> None:
    """Whether a company or account may have this key: sound, and nobody's, devices included."""
    _check_key(host, key)
    host.call(REGISTRY, "check_no_device", KeyArgs(key))


def _sender(host: Host) -> str:
    """The company that calls. The permission table may let individuals call, who act for none."""
    return host.company or fail(Code.MEMBER_UNKNOWN)


def _check_proof(host: Host, company: str, key: bytes, proof: bytes) -> None:
    # A thief of one company key could otherwise register every key that is proposed in place of it, and one operator
    # the key of whoever is to be admitted: the last approval would find it taken, every time.
    if not host.verify(key, own_key_digest(host.chain_id, company, key), proof):
        fail(Code.KEY_UNPROVEN)


def _check_key(host: Host, key: bytes) -> None:
    if host.get(KEYS, key) is not None or host.get(ACCOUNTS, key) is not None:
        fail(Code.KEY_TAKEN)
    settings = host.get(SETTINGS)
    schemes = frozenset(settings.schemes) if settings else frozenset()
    if not host.key_is_sound(key, schemes):
        fail(Code.KEY_INVALID)
