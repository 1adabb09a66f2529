"""Contract 1, identity: companies, their keys, accounts, and the permission table.

A company acts through its keys; each key carries the types of business that the company lets it act in. A driver's or
pile owner's account is a public key with a home operator, which registers it; its wallet is opened in the money
contract at the same time. A key is one company's, one account's or one device's, and whoever registers it shows that
its holder agrees: anybody could otherwise take a key that it has merely seen, and so keep it from its holder for good.

The permission table says which roles may send which method, and in which type of business that is. The executor asks
it before every call; a change takes effect with the next block, so all calls of one block are judged alike.

Companies are those of the genesis document and those that governance admits: they join with one key, have all their
keys replaced by one, and leave. One that left keeps its name, and neither roles nor keys.
"""

from contracts.language import *

CONTRACT = Contract("identity", Business.IDENTITY, Branch.IDENTITY)

IDENTITY_NUMBER = 1
REGISTRY_NUMBER = 3
TARIFF_NUMBER = 4
GOVERNANCE_NUMBER = 6

KEYS_PER_COMPANY_MAX = 64
"""Keys that one company may hold: it is walked when a key is revoked."""
COMPANIES_MAX = 1_000
"""Companies ever, with those that left: decisions walk through all of them, and none may be passed over in silence."""

Roles = Annotated[List[Role], Size(0, 9)]
Businesses = Annotated[List[Business], Size(0, 7)]
Scheme = Annotated[int, Range(1, 2)]
"""Ed25519, SM2: the first byte of a public key."""


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Company(Struct):
    """A member of the consortium. Key: its name."""

    display_name: Name
    """For people, in their own script."""
    roles: Roles
    """Sorted; a company may operate and maintain."""
    keys: Annotated[List[PublicKey], Size(0, KEYS_PER_COMPANY_MAX)]
    """In the order in which they were added."""


class CompanyKey(Struct):
    """What a company's key may do. Key: the public key."""

    company: Name
    businesses: Businesses


class Account(Struct):
    """A driver or pile owner. Key: the public key."""

    home: Name
    """The operator that registered it and keeps its wallet."""


class Permission(Struct):
    """A row of the permission table. Key: contract number and method name."""

    business: Business
    roles: Roles


class Settings(Struct):
    """From genesis."""

    schemes: Annotated[List[Scheme], Size(0, 2)]
    """Signature schemes that accounts, companies and devices may use."""


class Voice(Struct):
    """A company that has not left, for decisions."""

    company: Name
    roles: Roles


COMPANIES: Table[Name, Company] = table("c")
KEYS: Table[PublicKey, CompanyKey] = table("k")
ACCOUNTS: Table[PublicKey, Account] = table("a")
PERMISSIONS: Table[tuple[U32, Name], Permission] = table("p")
SETTINGS: Cell[Settings] = cell("s")


# ── codes and events ──────────────────────────────────────────────────────────────────────────────────────────────────


class Code(Codes):
    """Why a call changed nothing."""

    ACCOUNT_EXISTS = 1, "the account is registered already"
    ACCOUNT_UNKNOWN = 2, "no such account"
    KEY_INVALID = 3, "the public key is malformed, of a scheme that this chain does not allow, or an unsafe point"
    KEY_TAKEN = 4, "the key is in use by a company or an account"
    KEY_UNKNOWN = 5, "the company has no such key"
    KEY_LAST = 6, "the company would be left without a key for identity business"
    PERMISSION_UNKNOWN = 7, "the permission table has no row for this method"
    PERMISSION_FIXED = 8, "who may change the permission table, and who may decide, no single company changes"
    ROLES_INVALID = 9, "a company needs a role, and only roles of companies"
    COMPANY_EXISTS = 10, "a company has or had this name"
    COMPANIES_TOO_MANY = 11, "there are or were as many companies as decisions can walk through"
    KEY_UNPROVEN = 12, "the proof is not the key's own signature for this company; `pilechain keys prove` makes one"
    MEMBER_UNKNOWN = 13, "no such company"
    COMPANY_NAME_MALFORMED = 14, "a name must not hold control characters"
    HOME_LEFT = 15, "the account's home operator has left the consortium"


class AccountRegistered(Struct):
    """An operator has a further account."""

    account: PublicKey
    home: Name


class KeyChanged(Struct):
    """A company has a key more or less."""

    company: Name
    key: PublicKey


class PermissionChanged(Struct):
    """Other roles may send a method."""

    contract: U32
    method: Name
    roles: Roles


ACCOUNT_REGISTERED: Event[AccountRegistered] = event("identity.account-registered")
KEY_ADDED: Event[KeyChanged] = event("identity.key-added")
KEY_REVOKED: Event[KeyChanged] = event("identity.key-revoked")
PERMISSION_CHANGED: Event[PermissionChanged] = event("identity.permission-changed")


# ── other contracts ───────────────────────────────────────────────────────────────────────────────────────────────────


class Money(Interface):
    """What identity asks of the money contract."""

    def open_wallet(self, account: PublicKey, home: Name) -> None:
        """An account was registered."""


class Registry(Interface):
    """What identity asks of the registry."""

    def check_no_device(self, key: PublicKey) -> None:
        """Whether a key is no device's."""


MONEY = Money(2)
REGISTRY = Registry(REGISTRY_NUMBER)


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@method(Role.OPERATOR)
def register_account(account: PublicKey, proof: Signature) -> None:
    """An operator registers a driver or pile owner whose home it will be, and opens the wallet.

    The proof is by the account's key, over `own_key_digest`.
    """
    home = sender()
    require(account not in ACCOUNTS, Code.ACCOUNT_EXISTS)
    check_new_key(account)
    check_proof(home, account, proof)
    ACCOUNTS[account] = Account(home)
    MONEY.open_wallet(account, home)
    emit(ACCOUNT_REGISTERED, AccountRegistered(account, home))


@method(Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR)
def add_key(key: PublicKey, businesses: Businesses, proof: Signature) -> None:
    """A company gives itself a further key, for some types of business.

    The proof is by the key itself, over `own_key_digest`.
    """
    name = sender()
    company = company_of(name)
    require(len(company.keys) < KEYS_PER_COMPANY_MAX, Code.KEY_INVALID)
    check_new_key(key)
    check_proof(name, key, proof)
    KEYS[key] = CompanyKey(name, sorted_set(businesses))
    company.keys.append(key)
    COMPANIES[name] = company
    emit(KEY_ADDED, KeyChanged(name, key))


@method(Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR)
def revoke_key(key: PublicKey) -> None:
    """A company takes a key out of use; one that may change keys must remain."""
    name = sender()
    company = company_of(name)
    require(key in company.keys, Code.KEY_UNKNOWN)
    left: Annotated[List[PublicKey], Size(0, KEYS_PER_COMPANY_MAX)] = []
    may_change_keys = False
    for each in company.keys:
        if each != key:
            left.append(each)
            may_change_keys = may_change_keys or Business.IDENTITY in KEYS[each].businesses
    require(may_change_keys, Code.KEY_LAST)
    del KEYS[key]
    COMPANIES[name] = replace(company, keys=left)
    emit(KEY_REVOKED, KeyChanged(name, key))


@method(Role.REGULATOR)
def permit(contract: U32, method: Name, business: Business, roles: Roles) -> None:
    """The regulator changes a row of the permission table; it rules from the next block on."""
    require(contract != GOVERNANCE_NUMBER, Code.PERMISSION_FIXED)
    require(contract != IDENTITY_NUMBER or method != "permit", Code.PERMISSION_FIXED)
    known = (contract, method) in PERMISSIONS or is_method(contract, method)  # an installed one has no row at first
    require(known, Code.PERMISSION_UNKNOWN)
    allowed = sorted_set(roles)
    PERMISSIONS[contract, method] = Permission(business, allowed)
    emit(PERMISSION_CHANGED, PermissionChanged(contract, method, allowed))


# ── what other contracts ask ──────────────────────────────────────────────────────────────────────────────────────────


@internal(REGISTRY_NUMBER)
def home_of(account: PublicKey) -> Name:
    """The home operator of an account, for the registry, whose private piles have owners."""
    home = (ACCOUNTS.get(account) or fail(Code.ACCOUNT_UNKNOWN)).home
    require(len(company_of(home).roles) > 0, Code.HOME_LEFT)
    return home


@internal(REGISTRY_NUMBER)
def check_device_key(company: Name, key: PublicKey, proof: Signature) -> None:
    """Whether a device may have this key: sound, neither a company's nor an account's, and proven.

    The company is who registers it.
    """
    check_key(key)
    check_proof(company, key, proof)


@internal(TARIFF_NUMBER)
def has_role(company: Annotated[str, Size(0, 64)], role: Role) -> bool:
    """Whether there is such a company and it has the role. The name is empty if nobody is asked about."""
    if company == "":
        return False
    found = COMPANIES.get(company)
    return found is not None and role in found.roles


# ── what governance decides about companies ───────────────────────────────────────────────────────────────────────────


@internal(GOVERNANCE_NUMBER)
def voices() -> Annotated[List[Voice], Size(0, COMPANIES_MAX)]:
    """Every company that has not left, with its roles."""
    found: Annotated[List[Voice], Size(0, COMPANIES_MAX)] = []
    for name, company in COMPANIES.items(limit=COMPANIES_MAX):
        if len(company.roles) > 0:
            found.append(Voice(name, company.roles))
    return found


@internal(GOVERNANCE_NUMBER)
def fine_payee(company: Name) -> Name:
    """Who receives a company's fine: the first regulator by name, or else the first company, that it is not itself."""
    payee: Annotated[str, Size(0, 64)] = ""
    for name, other in COMPANIES.items(limit=COMPANIES_MAX):
        if len(other.roles) > 0 and name != company:
            if Role.REGULATOR in other.roles:
                payee = name
                break
            if payee == "":
                payee = name
    return payee


@internal(GOVERNANCE_NUMBER)
def company_key(company: Name) -> PublicKey:
    """The oldest key of a company that has not left: what stands beside its vote key in a validator set."""
    return member(company).keys[0]


@internal(GOVERNANCE_NUMBER)
def check_free_key(key: PublicKey) -> None:
    """Whether a vote key is sound, and nobody's key for anything else."""
    check_new_key(key)


@internal(GOVERNANCE_NUMBER)
def check_admission(company: Name, display_name: Name, roles: Roles, company_key: PublicKey) -> None:
    """Whether a company may join: with a company's roles, a sound key, and a name that none ever had."""
    require(is_printable(company), Code.COMPANY_NAME_MALFORMED)  # NUL separates names in keys of other contracts
    require(len(roles) > 0, Code.ROLES_INVALID)
    for role in roles:
        require(role <= Role.REGULATOR, Code.ROLES_INVALID)  # the first five are those of companies
    require(company not in COMPANIES, Code.COMPANY_EXISTS)
    count = 0
    for _, _ in COMPANIES.items(limit=COMPANIES_MAX):
        count += 1
    require(count < COMPANIES_MAX, Code.COMPANIES_TOO_MANY)
    check_new_key(company_key)


@internal(GOVERNANCE_NUMBER)
def admit_company(company: Name, display_name: Name, roles: Roles, company_key: PublicKey) -> None:
    """A company joins."""
    check_admission(company, display_name, roles, company_key)
    put_company(company, display_name, sorted_set(roles), company_key)


@internal(GOVERNANCE_NUMBER)
def check_replacement(company: Name, company_key: PublicKey) -> None:
    """Whether a company that has not left may have this key."""
    member(company)
    check_new_key(company_key)


@internal(GOVERNANCE_NUMBER)
def replace_keys(company: Name, company_key: PublicKey) -> None:
    """One new key in place of all that a company has."""
    check_replacement(company, company_key)
    before = member(company)
    drop_keys(company, before)
    put_company(company, before.display_name, before.roles, company_key)


@internal(GOVERNANCE_NUMBER)
def remove_company(company: Name) -> None:
    """A company leaves: it keeps its name, and can do nothing."""
    before = member(company)
    drop_keys(company, before)
    COMPANIES[company] = Company(before.display_name, [], [])


# ── parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def sender() -> Name:
    """The company that calls. The permission table may let individuals call, who act for none."""
    require(call.company != "", Code.MEMBER_UNKNOWN)
    return call.company


def company_of(name: Name) -> Company:
    """A company that is or was a member."""
    return COMPANIES.get(name) or fail(Code.MEMBER_UNKNOWN)


def member(name: Name) -> Company:
    """A company that has not left."""
    company = company_of(name)
    require(len(company.roles) > 0, Code.MEMBER_UNKNOWN)
    return company


def check_new_key(key: PublicKey) -> None:
    """Whether a company or account may have this key: sound, and nobody's, devices included."""
    check_key(key)
    REGISTRY.check_no_device(key)


def check_proof(company: Name, key: PublicKey, proof: Signature) -> None:
    """Whether the key's holder agrees that this company registers it."""
    # A thief of one company key could otherwise register every key that is proposed in place of it, and one operator
    # the key of whoever is to be admitted: the last approval would find it taken, every time.
    require(verify(key, own_key_digest(company, key), proof), Code.KEY_UNPROVEN)


def check_key(key: PublicKey) -> None:
    """Whether a key is sound, and no company's or account's."""
    require(key not in KEYS and key not in ACCOUNTS, Code.KEY_TAKEN)
    require(key_is_sound(key, SETTINGS.read().schemes), Code.KEY_INVALID)


def put_company(name: Name, display_name: Name, roles: Roles, key: PublicKey) -> None:
    """Write a company whose only key may do everything."""
    everything: Businesses = [
        Business.CHARGING, Business.PAYMENT, Business.VERIFICATION, Business.MAINTENANCE, Business.SUBSIDY,
        Business.LOAD, Business.IDENTITY,
    ]  # fmt: skip
    KEYS[key] = CompanyKey(name, everything)
    COMPANIES[name] = Company(display_name, roles, [key])
    emit(KEY_ADDED, KeyChanged(name, key))


def drop_keys(name: Name, company: Company) -> None:
    """Delete what a company's keys may do."""
    for key in company.keys:
        del KEYS[key]
        emit(KEY_REVOKED, KeyChanged(name, key))
