"""Double-entry books: the records of the money contract, and the one function that moves money.

Each company keeps one **book**: signed accounts in fen, credit positive (the company owes), debit negative (it holds
or is owed).

| account | sign | what |
|---|---|---|
| cash | any | real money that the company holds, as a debit: of its customers, and what it earned |
| wallets | ≥ 0 | control account of its customers' wallets |
| held | ≥ 0 | control account of what is pending out of those wallets (escrow of sessions, pay-outs under way) |
| due | any | control account of the pairwise claims: what the company owes all others less what they owe it |
| earned | any | revenue less purchases |
| deposited | ≤ 0 | real money that the trustee, the regulator's bank, holds from this company |
| collateral | ≥ 0 | its part behind the headroom |
| pool | ≥ 0 | its part of the reward pools |
| rewards | ≥ 0 | what it earned by keeping the book |

The first five of one book sum to zero, for every company; the last four sum to zero over all companies. So the sum of
all signed balances is zero, readable from one record per company. A movement between the books of two companies
always passes through their pairwise claim.

    headroom = collateral − reserved − owed,   owed = Σ over the others of max(0, pairwise claim)

and no movement may leave the company that it makes owe more with a negative headroom.
"""

from enum import StrEnum

from msgspec.structs import replace

from contracts.host import Host
from contracts.records.money import (
    BOOKS,
    DUES,
    Book,
    Due,
    due_key,
)
from tests.oracles.codes import Code
from tests.oracles.contract import fail


class Side(StrEnum):
    """The accounts that transfers move: fields of Book."""

    WALLETS = "wallets_fen"
    HELD = "held_fen"
    EARNED = "earned_fen"


def book_of(host: Host, company: str) -> Book:
    """A company's book. Fails with COMPANY_UNKNOWN."""
    book = host.get(BOOKS, company.encode())
    if book is None:
        fail(Code.COMPANY_UNKNOWN)
    return book


def transfer(
    host: Host, debit: tuple[str, Side], credit: tuple[str, Side], amount_fen: int, *, to_left: bool = False
) -> None:
    """Move money from one account to another, each a (company, account of its book) pair.

    Between two books the debited company comes to owe the other the amount. Fails with NO_HEADROOM if it may not, with
    COMPANY_LEFT if either has left; `to_left` lets the other come to have a claim all the same. Within one book nothing
    is asked: what is held there goes back to a wallet whoever has left.
    """
    debtor_name, debit_side = debit
    creditor_name, credit_side = credit
    if amount_fen == 0:
        return
    debtor = book_of(host, debtor_name)
    if debtor_name == creditor_name:
        if debit_side is not credit_side:
            moved = {
                debit_side.value: getattr(debtor, debit_side) - amount_fen,
                credit_side.value: getattr(debtor, credit_side) + amount_fen,
            }
            host.put(BOOKS, debtor_name.encode(), replace(debtor, **moved))
        return
    creditor = book_of(host, creditor_name)
    if debtor.locked_until_ms or (creditor.locked_until_ms and not to_left):
        fail(Code.COMPANY_LEFT)
    before = _add_due(host, debtor_name, creditor_name, amount_fen)
    after = before + amount_fen
    debtor = replace(
        debtor,
        due_fen=debtor.due_fen + amount_fen,
        owed_fen=debtor.owed_fen + max(after, 0) - max(before, 0),
        **{debit_side.value: getattr(debtor, debit_side) - amount_fen},
    )
    if debtor.headroom_fen < 0:
        fail(Code.NO_HEADROOM)
    creditor = replace(
        creditor,
        due_fen=creditor.due_fen - amount_fen,
        owed_fen=creditor.owed_fen + max(-after, 0) - max(-before, 0),
        **{credit_side.value: getattr(creditor, credit_side) + amount_fen},
    )
    host.put(BOOKS, debtor_name.encode(), debtor)
    host.put(BOOKS, creditor_name.encode(), creditor)


def due_between(host: Host, debtor: str, creditor: str) -> int:
    """What `debtor` owes `creditor`; negative if it is the other way round."""
    sign, key = (1, due_key(debtor, creditor)) if debtor < creditor else (-1, due_key(creditor, debtor))
    due = host.get(DUES, key)
    return sign * due.amount_fen if due else 0


def _add_due(host: Host, debtor: str, creditor: str, amount_fen: int) -> int:
    """Let `debtor` owe `creditor` so much more; returns what it owed before."""
    sign, key = (1, due_key(debtor, creditor)) if debtor < creditor else (-1, due_key(creditor, debtor))
    due = host.get(DUES, key)
    before = due.amount_fen if due else 0
    host.put(DUES, key, Due(before + sign * amount_fen))
    return sign * before


def settle_claim(host: Host, debtor: str, creditor: str, amount_fen: int) -> None:
    """Write down that `debtor` paid `creditor` real money on their claim, at most what it owes. Fails with
    CLAIM_TOO_SMALL.
    """
    owed = due_between(host, debtor, creditor)
    if owed < amount_fen:
        fail(Code.CLAIM_TOO_SMALL)
    payer, payee = book_of(host, debtor), book_of(host, creditor)
    _add_due(host, debtor, creditor, -amount_fen)
    payer = replace(
        payer,
        cash_fen=payer.cash_fen + amount_fen,
        due_fen=payer.due_fen - amount_fen,
        owed_fen=payer.owed_fen - amount_fen,
    )
    payee = replace(payee, cash_fen=payee.cash_fen - amount_fen, due_fen=payee.due_fen + amount_fen)
    host.put(BOOKS, debtor.encode(), payer)
    host.put(BOOKS, creditor.encode(), payee)
