"""Records of contract 1, identity, as the node reads them: companies, their keys, accounts, and the permission table.

What they mean is said in `contracts/library/identity.py`.
"""

from typing import Annotated

from msgspec import Meta

from contracts.contract import Business, Role
from contracts.host import ITERATE_MAX, Table
from contracts.numbers import IDENTITY
from ledger.codec import Wire
from ledger.keys import Scheme
from ledger.units import U32, Name, PublicKey

ALL_BUSINESSES = tuple(Business)
Businesses = Annotated[tuple[Business, ...], Meta(max_length=len(Business))]
Roles = Annotated[tuple[Role, ...], Meta(max_length=len(Role))]
KEYS_PER_COMPANY_MAX = 64
"""Keys that one company may hold: it is walked when a key is revoked."""
COMPANIES_MAX = ITERATE_MAX
"""Companies ever, with those that left: decisions walk through all of them, and none may be passed over in silence."""


class Company(Wire):
    """A member of the consortium. Key: its name."""

    display_name: Name
    """For people, in their own script."""
    roles: Roles
    """Sorted; a company may operate and maintain."""
    keys: Annotated[tuple[PublicKey, ...], Meta(max_length=KEYS_PER_COMPANY_MAX)]
    """In the order in which they were added."""


class CompanyKey(Wire):
    """What a company's key may do. Key: the public key."""

    company: Name
    businesses: Businesses


class Account(Wire):
    """A driver or pile owner. Key: the public key."""

    home: Name
    """The operator that registered it and keeps its wallet."""


class Permission(Wire):
    """A row of the permission table. Key: contract number (4 bytes) ‖ method name."""

    business: Business
    roles: Roles


class Settings(Wire):
    """From genesis."""

    schemes: Annotated[tuple[Scheme, ...], Meta(max_length=len(Scheme))]
    """Signature schemes that accounts, companies and devices may use."""


COMPANIES = Table(IDENTITY, b"c", Company, Name)
KEYS = Table(IDENTITY, b"k", CompanyKey, PublicKey)
ACCOUNTS = Table(IDENTITY, b"a", Account, PublicKey)
PERMISSIONS = Table(IDENTITY, b"p", Permission, U32, Name)
SETTINGS = Table(IDENTITY, b"s", Settings)


def permission_key(contract: int, method: str) -> bytes:
    """Own key of a row of the permission table."""
    return contract.to_bytes(4, "big") + method.encode()
