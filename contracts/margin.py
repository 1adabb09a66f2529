"""Contract 2, money, its other half: claims between companies, margin, and rewards for keeping the book.

* Claims between companies are pairwise accounts. Whoever received real money on a claim says so by `confirm_payment`:
  only the payee can know. Netting over all of them comes with clearing.
* Margin lies with the trustee, the regulator's bank, so a regulator's key records deposits and releases. Collateral
  and reward pool are separate accounts of each company.
* Block h is paid by the pool of the ((h // n) mod n)-th of the n bookkeepers by name, so each pays each in turn. What
  a pool cannot pay is recorded as its debt; its next deposit pays that first, creditors by name.
"""

from msgspec.structs import replace

from contracts.books import BOOK_FEN_MAX, BOOKS, POOL_DEBTS, SETTINGS, PoolDebt, book_of, settle_claim
from contracts.codes import Code
from contracts.contract import Role
from contracts.host import ITERATE_MAX, SYSTEM, Host
from contracts.money import CONTRACT
from ledger.codec import Wire
from ledger.units import U63, Name


class ConfirmArgs(Wire):
    """`money.confirm_payment`: the sender's company has received real money on its claim."""

    debtor: Name
    amount_fen: U63


class MarginArgs(Wire):
    """`money.deposit_margin`, `money.release_margin`: real money in or out of the trustee's bank, by purpose."""

    company: Name
    collateral_fen: U63
    pool_fen: U63
    rewards_fen: U63
    """Rewards paid out; zero in a deposit."""


class RewardArgs(Wire):
    """`money.reward`: a non-empty block is done."""

    bookkeeper: Name
    payer: Name


class ClaimPaid(Wire):
    """Event `money.claim-paid`."""

    debtor: Name
    creditor: Name
    amount_fen: U63


class MarginChanged(Wire):
    """Event `money.margin-changed`: the margin after it."""

    company: Name
    collateral_fen: U63
    pool_fen: U63
    rewards_fen: U63


_CLAIM_PAID = CONTRACT.event("money.claim-paid", ClaimPaid)
_MARGIN_CHANGED = CONTRACT.event("money.margin-changed", MarginChanged)


@CONTRACT.method(ConfirmArgs, (Role.OPERATOR, Role.GRID))
def confirm_payment(host: Host, args: ConfirmArgs) -> None:
    """A company confirms real money received on its claim; the debtor gets that much headroom back."""
    creditor = host.company or ""
    if args.amount_fen == 0:
        host.fail(Code.AMOUNT_ZERO)
    book_of(host, args.debtor)
    if args.amount_fen - book_of(host, creditor).cash_fen > BOOK_FEN_MAX:
        host.fail(Code.AMOUNT_TOO_LARGE)
    settle_claim(host, args.debtor, creditor, args.amount_fen)
    host.emit(_CLAIM_PAID, ClaimPaid(args.debtor, creditor, args.amount_fen))


@CONTRACT.method(MarginArgs, (Role.REGULATOR,))
def deposit_margin(host: Host, args: MarginArgs) -> None:
    """The trustee has received margin of a company; the pool's part pays its debts first."""
    amount_fen = args.collateral_fen + args.pool_fen
    book = book_of(host, args.company)
    if amount_fen == 0 or args.rewards_fen:
        host.fail(Code.AMOUNT_ZERO)
    if amount_fen - book.deposited_fen > BOOK_FEN_MAX:
        host.fail(Code.AMOUNT_TOO_LARGE)
    book = replace(
        book,
        deposited_fen=book.deposited_fen - amount_fen,
        collateral_fen=book.collateral_fen + args.collateral_fen,
        pool_fen=book.pool_fen + args.pool_fen,
    )
    host.put(BOOKS, args.company.encode(), book)
    if book.pool_debt_fen:
        _pay_debts(host, args.company)
    _emit_margin(host, args.company)


@CONTRACT.method(MarginArgs, (Role.REGULATOR,))
def release_margin(host: Host, args: MarginArgs) -> None:
    """The trustee has paid margin or rewards back to a company, which stays covered."""
    book = book_of(host, args.company)
    amount_fen = args.collateral_fen + args.pool_fen + args.rewards_fen
    if amount_fen == 0:
        host.fail(Code.AMOUNT_ZERO)
    if (
        args.collateral_fen > max(book.headroom_fen, 0)
        or args.pool_fen > book.pool_fen
        or args.rewards_fen > book.rewards_fen
    ):
        host.fail(Code.MARGIN_TOO_SMALL)
    book = replace(
        book,
        deposited_fen=book.deposited_fen + amount_fen,
        collateral_fen=book.collateral_fen - args.collateral_fen,
        pool_fen=book.pool_fen - args.pool_fen,
        rewards_fen=book.rewards_fen - args.rewards_fen,
    )
    host.put(BOOKS, args.company.encode(), book)
    _emit_margin(host, args.company)


@CONTRACT.internal(RewardArgs, SYSTEM)
def reward(host: Host, args: RewardArgs) -> None:
    """The executor, after a non-empty block: the paying pool rewards the bookkeeper, or owes it."""
    settings = host.get(SETTINGS)
    amount_fen = settings.block_reward_fen if settings else 0
    book = book_of(host, args.payer)
    paid_fen = min(amount_fen, book.pool_fen)
    _move_reward(host, args.payer, args.bookkeeper, paid_fen)
    owed_fen = amount_fen - paid_fen
    if owed_fen:
        book = book_of(host, args.payer)
        host.put(BOOKS, args.payer.encode(), replace(book, pool_debt_fen=book.pool_debt_fen + owed_fen))
        key = args.payer.encode() + b"\0" + args.bookkeeper.encode()
        debt = host.get(POOL_DEBTS, key)
        host.put(POOL_DEBTS, key, PoolDebt(owed_fen + (debt.amount_fen if debt else 0)))


def _move_reward(host: Host, payer: str, bookkeeper: str, amount_fen: int) -> None:
    book = book_of(host, payer)
    host.put(BOOKS, payer.encode(), replace(book, pool_fen=book.pool_fen - amount_fen))
    book = book_of(host, bookkeeper)
    host.put(BOOKS, bookkeeper.encode(), replace(book, rewards_fen=book.rewards_fen + amount_fen))


def _pay_debts(host: Host, company: str) -> None:
    """Pay what the pool owes, creditors by name, as far as it goes."""
    for key, debt in host.iterate(POOL_DEBTS, company.encode() + b"\0", ITERATE_MAX):
        book = book_of(host, company)
        paid_fen = min(debt.amount_fen, book.pool_fen)
        if paid_fen == 0:
            break
        host.put(BOOKS, company.encode(), replace(book, pool_debt_fen=book.pool_debt_fen - paid_fen))
        _move_reward(host, company, key.split(b"\0")[1].decode(), paid_fen)
        if paid_fen == debt.amount_fen:
            host.delete(POOL_DEBTS, key)
        else:
            host.put(POOL_DEBTS, key, PoolDebt(debt.amount_fen - paid_fen))


def _emit_margin(host: Host, company: str) -> None:
    book = book_of(host, company)
    changed = MarginChanged(company, book.collateral_fen, book.pool_fen, book.rewards_fen)
    host.emit(_MARGIN_CHANGED, changed)
