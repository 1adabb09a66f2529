"""The contracts' records as the API and the read model show them: the one place where the edge looks into a state or
an event.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any

from contracts import views
from contracts.abi import Abi, abi_at
from contracts.host import StateReader
from contracts.numbers import REGISTRY
from contracts.records.money import Book
from contracts.records.registry import Pile
from ledger.block import Event, Receipt
from ledger.errors import ClientError, PeerError
from ledger.readable import readable
from ledger.transaction import Body


def companies(state: StateReader) -> list[dict[str, Any]]:
    """Every company with its roles and the accounts of its book, by name."""
    books = views.balances(state)
    rows = []
    for name, company in sorted(views.companies(state).items()):
        book = books.get(name, Book())
        accounts = {field: getattr(book, field) for field in (*book.__struct_fields__, "headroom_fen")}
        rows.append({"name": name, "display_name": company.display_name, "roles": readable(company.roles)} | accounts)
    return rows


def balances_sum_fen(state: StateReader) -> int:
    """Sum of all signed balances of all books: zero after every block."""
    return views.balances_sum_fen(state)


def claims(state: StateReader) -> list[tuple[str, str, int]]:
    """Who owes whom how much, in fen, largest first."""
    return sorted(views.claims(state), key=lambda claim: (-claim[2], claim))


def roles(state: StateReader) -> dict[str, list[str]]:
    """Roles by company."""
    return {name: readable(company.roles) for name, company in views.companies(state).items()}


def account(state: StateReader, key: bytes) -> dict[str, Any] | None:
    """Home operator and money of an account's wallet."""
    wallet = views.wallet(state, key)
    return None if wallet is None else {"home_operator": wallet.home, "wallet_fen": wallet.balance_fen}


def piles(state: StateReader, after: str, limit: int) -> list[dict[str, Any]]:
    """Up to `limit` registered piles behind a name, by name, as rows of the read model."""
    return [_pile_row(pile) for pile in islice(views.piles(state, after), limit)]


def piles_named(state: StateReader, names: Iterable[str]) -> list[dict[str, Any]]:
    """The registered ones of these piles, as rows of the read model."""
    return [_pile_row(pile) for name in names if (pile := views.pile(state, name))]


def _pile_row(pile: Pile) -> dict[str, Any]:
    return {
        "name": pile.name,
        "operator": pile.operator,
        "kind": pile.kind.name.lower(),
        "region": pile.region,
        "latitude_e7": pile.latitude_e7,
        "longitude_e7": pile.longitude_e7,
        "power_w": pile.power_w,
        "connectors": pile.connectors,
        "meter_state": pile.meter_state.name.lower(),
    }


def piles_touched(abi: Abi, receipts: Iterable[Receipt]) -> set[str]:
    """Names of the piles that a block may have changed in the registry: each of its events names one."""
    events = (event for receipt in receipts for event in receipt.events if event.contract == REGISTRY)
    named = (getattr(abi.decode_event(each), "pile", None) for each in events)
    return {name for name in named if isinstance(name, str)}  # an event of a later version may mean another thing by it


def arguments(abi: Abi, body: Body) -> Any:
    """Arguments of a call with their names; None if they are not of the method's type, which its receipt says too."""
    try:
        return readable(abi.decode_args(body.contract, body.method, body.args))
    except (ClientError, PeerError):
        return None


def event(abi: Abi, emitted: Event) -> dict[str, Any]:
    """An event with its fields."""
    return {
        "contract": abi.contract_name(emitted.contract),
        "name": emitted.name,
        "data": readable(abi.decode_event(emitted)),
    }


def contract(state: StateReader, number: int, height: int) -> dict[str, Any] | None:
    """The version of a contract that rules at a height, with its text, and all its versions; None if there is none."""
    versions = views.contract_versions(state, number)
    present = [each for each in versions if each.from_height <= height]
    stored = views.contract_code(state, present[-1].code_hash) if present else None
    if stored is None:
        return None
    return {
        "number": number,
        "name": abi_at(state, height).contract_name(number),
        "code_hash": present[-1].code_hash.hex(),
        "code": stored.code.hex(),
        "text": stored.source,
        "versions": [{"from_height": each.from_height, "code_hash": each.code_hash.hex()} for each in versions],
    }


def contracts(abi: Abi) -> list[dict[str, Any]]:
    """All contracts with the methods that transactions can call, and the events."""
    return [
        {
            "name": contract.name,
            "number": contract.number,
            "summary": contract.summary,
            "methods": [
                {
                    "name": method.method,
                    "summary": method.summary,
                    "branch": readable(method.branch),
                    "expiry_class": readable(method.expiry_class),
                    "business": readable(method.business),
                    "roles": readable(method.roles),
                    "arguments": list(method.args.__struct_fields__),
                }
                for method in contract.methods
                if method.roles
            ],
            "events": [
                {"name": emitted.name, "fields": list(emitted.data.__struct_fields__)} for emitted in contract.events
            ],
        }
        for contract in abi.contracts
    ]
