"""What a contract consists of: a number, a name, and methods with who may call them.

Each method reads: who may call, checks, changes, events, in that order. The roles written here are the rows of the
permission table (role × business type × method) at genesis; from then on the table in the identity contract's state
decides.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from msgspec import Struct

from contracts.host import Host
from ledger.codec import Wire
from ledger.transaction import Branch, ExpiryClass


class Role(IntEnum):
    """Parties of the consortium. The first five are held by companies."""

    OPERATOR = 1
    LAB = 2
    MAINTENANCE = 3
    GRID = 4
    REGULATOR = 5
    DRIVER = 6
    OWNER = 7
    """A private pile's owner."""
    PILE = 8
    BOX = 9
    """A field test box."""


COMPANY_ROLES = frozenset({Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR})
"""Roles that a key gets through its company. Who holds one of the others, the called contract's own records say."""


class Business(IntEnum):
    """Types of business; a company gives each of its keys the types that it may act in."""

    CHARGING = 1
    PAYMENT = 2
    VERIFICATION = 3
    MAINTENANCE = 4
    SUBSIDY = 5
    LOAD = 6
    IDENTITY = 7


class Method(Struct, frozen=True):
    """One method of a contract."""

    contract: int
    name: str
    args: type[Wire]
    branch: Branch
    expiry_class: ExpiryClass
    business: Business
    roles: tuple[Role, ...]
    """Who may send it as a transaction, at genesis; empty if nobody may."""
    callers: tuple[int, ...]
    """Contracts that may call it."""
    run: Callable[[Host, Any], Any]
    result: type[Wire] | None = None
    """Struct around what it returns, by which another contract's expectation is held."""
    counter: str = "counter"
    """Attribute of the arguments that holds a device's counter, in a method of device class."""
