"""How to talk to the contracts: for the API's documentation, the command line, and everybody who builds or reads a
transaction.
"""

from typing import Any

import msgspec

from contracts.catalogue import BY_NAME, BY_NUMBER, CONTRACTS, METHODS
from contracts.contract import Business, Contract, Method, Role
from contracts.numbers import GOVERNANCE
from ledger.block import Event
from ledger.codec import Wire, decode, encode
from ledger.errors import ClientError
from ledger.transaction import Body, Branch, ExpiryClass

GAS_LIMIT = 1_000_000
"""Enough for every method but those of governance; a block's gas is that of a full block of such calls."""
GOVERNANCE_GAS_LIMIT = 10_000_000
"""Of calls that rewrite the timeline: with a hundred validators and nine decisions pending they take half of it."""


class MethodDescription(msgspec.Struct, frozen=True):
    """One method as people and programs need it."""

    contract: str
    number: int
    method: str
    summary: str
    args: type[Wire]
    branch: Branch
    expiry_class: ExpiryClass
    business: Business
    roles: tuple[Role, ...]
    """At genesis; the permission table in the state decides."""


class EventDescription(msgspec.Struct, frozen=True):
    """One event."""

    contract: str
    number: int
    name: str
    data: type[Wire]


class EncodedCall(msgspec.Struct, frozen=True):
    """The part of a transaction's body that says what is called."""

    contract: int
    method: str
    branch: Branch
    expiry_class: ExpiryClass
    args: bytes
    gas_limit: int

    def body(self, chain_id: bytes, sender: bytes, valid_until_ms: int, salt: bytes) -> Body:
        """The body of the transaction that makes the call. Its salt (8 bytes) sets it apart from one like it."""
        return Body(
            chain_id=chain_id,
            sender=sender,
            branch=self.branch,
            expiry_class=self.expiry_class,
            contract=self.contract,
            method=self.method,
            args=self.args,
            gas_limit=self.gas_limit,
            valid_until_ms=valid_until_ms,
            salt=salt,
        )


def describe() -> list[MethodDescription]:
    """All methods that transactions can call."""
    return [
        MethodDescription(
            contract.name,
            contract.number,
            method.name,
            method.summary,
            method.args,
            method.branch,
            method.expiry_class,
            method.business,
            method.roles,
        )
        for contract in CONTRACTS
        for method in contract.methods.values()
        if method.roles
    ]


def events() -> list[EventDescription]:
    """All events."""
    return [
        EventDescription(contract.name, contract.number, name, data)
        for contract in CONTRACTS
        for name, data in contract.events.items()
    ]


def encode_call(contract: str, method: str, /, **fields: Any) -> EncodedCall:
    """A call by names; fields are those of the argument struct.

    Raises ClientError `contract-unknown`, `method-unknown`, `args-malformed`.
    """
    found = _find(contract, method)
    try:
        args = msgspec.convert(found.args(**fields), found.args, from_attributes=True)
    except (TypeError, msgspec.ValidationError) as error:
        raise ClientError("args-malformed", f"{contract}.{method}: {error}") from error
    return encode_args(contract, method, args)


def encode_args(contract: str, method: str, args: Wire) -> EncodedCall:
    """A call whose argument struct is at hand."""
    found = _find(contract, method)
    gas_limit = GOVERNANCE_GAS_LIMIT if found.contract == GOVERNANCE else GAS_LIMIT
    return EncodedCall(found.contract, found.name, found.branch, found.expiry_class, encode(args), gas_limit)


def encode_described(method: MethodDescription, args: Wire) -> EncodedCall:
    """A call of a method that is described, of whichever contract."""
    gas_limit = GOVERNANCE_GAS_LIMIT if method.number == GOVERNANCE else GAS_LIMIT
    return EncodedCall(method.number, method.method, method.branch, method.expiry_class, encode(args), gas_limit)


def decode_args(contract: int, method: str, args: bytes) -> Wire:
    """Argument struct of a transaction.

    Raises ClientError `method-unknown`, PeerError `encoding-malformed` or `encoding-not-canonical`.
    """
    found = METHODS.get((contract, method))
    if found is None:
        raise ClientError("method-unknown", f"contract {contract} has no method {method}")
    return decode(found.args, args)


def decode_event(event: Event) -> Wire:
    """Struct of an event. Raises ClientError `event-unknown`, PeerError `encoding-malformed`."""
    contract = BY_NUMBER.get(event.contract)
    data = contract.events.get(event.name) if contract else None
    if data is None:
        raise ClientError("event-unknown", f"contract {event.contract} has no event {event.name}")
    return decode(data, event.data)


def _find(contract: str, method: str) -> Method:
    found: Contract | None = BY_NAME.get(contract)
    if found is None:
        raise ClientError("contract-unknown", f"no contract {contract}; there are {', '.join(sorted(BY_NAME))}")
    if method not in found.methods or not found.methods[method].roles:
        known = ", ".join(sorted(name for name, each in found.methods.items() if each.roles))
        raise ClientError("method-unknown", f"{contract} has no method {method}; it has {known}")
    return found.methods[method]
