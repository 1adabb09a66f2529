"""Contract 2, money, its other half: claims between companies, margin, and rewards for keeping the book.

* Claims between companies are pairwise accounts. Whoever received real money on a claim says so by `confirm_payment`:
  only the payee can know. Netting over all of them comes with clearing.
* Margin lies with the trustee, the regulator's bank, so a regulator's key records deposits and releases. Collateral
  and reward pool are separate accounts of each company.
* Block h is paid by the pool of the ((h // n) mod n)-th of the n bookkeepers by name, so each pays each in turn. What
  a pool cannot pay is recorded as its debt; its next deposit pays that first, creditors by name.
"""

from msgspec.structs import replace

from contracts.contract import Role
from contracts.host import ITERATE_MAX, SYSTEM, Host
from contracts.numbers import GOVERNANCE
from contracts.records.money import BOOK_FEN_MAX, BOOKS, FINE_DEBTS, POOL_DEBTS, SETTINGS, Book, FineDebt, PoolDebt
from ledger.codec import Wire
from ledger.units import U32, U63, Name
from tests.oracles.books import book_of, settle_claim
from tests.oracles.codes import Code
from tests.oracles.contract import fail
from tests.oracles.identity import CompanyArgs
from tests.oracles.money import CONTRACT


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


class FineArgs(Wire):
    """`money.fine`: a part of a company's collateral."""

    company: Name
    payee: Name
    part_ppm: U32


class CloseArgs(Wire):
    """`money.close_book`: a company leaves."""

    company: Name
    locked_until_ms: U63


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
        fail(Code.AMOUNT_ZERO)
    book_of(host, args.debtor)
    if args.amount_fen - book_of(host, creditor).cash_fen > BOOK_FEN_MAX:
        fail(Code.AMOUNT_TOO_LARGE)
    settle_claim(host, args.debtor, creditor, args.amount_fen)
    host.emit(_CLAIM_PAID, ClaimPaid(args.debtor, creditor, args.amount_fen))


@CONTRACT.method(MarginArgs, (Role.REGULATOR,))
def deposit_margin(host: Host, args: MarginArgs) -> None:
    """The trustee has received margin of a company; the pool's part pays its debts first."""
    amount_fen = args.collateral_fen + args.pool_fen
    book = book_of(host, args.company)
    if amount_fen == 0 or args.rewards_fen:
        fail(Code.AMOUNT_ZERO)
    if amount_fen - book.deposited_fen > BOOK_FEN_MAX:
        fail(Code.AMOUNT_TOO_LARGE)
    book = replace(
        book,
        deposited_fen=book.deposited_fen - amount_fen,
        collateral_fen=book.collateral_fen + args.collateral_fen,
        pool_fen=book.pool_fen + args.pool_fen,
    )
    host.put(BOOKS, args.company.encode(), book)
    if book.pool_debt_fen:
        _pay_debts(host, args.company)
    _pay_fines(host, args.company)
    _emit_margin(host, args.company)


@CONTRACT.method(MarginArgs, (Role.REGULATOR,))
def release_margin(host: Host, args: MarginArgs) -> None:
    """The trustee has paid margin or rewards back to a company, which stays covered and has paid its fines."""
    _pay_fines(host, args.company)
    book = book_of(host, args.company)
    amount_fen = args.collateral_fen + args.pool_fen + args.rewards_fen
    if amount_fen == 0:
        fail(Code.AMOUNT_ZERO)
    if host.now_ms < book.locked_until_ms:
        fail(Code.MARGIN_LOCKED)
    if (
        args.collateral_fen > max(book.headroom_fen, 0)
        or args.pool_fen > book.pool_fen
        or args.rewards_fen > book.rewards_fen
    ):
        fail(Code.MARGIN_TOO_SMALL)
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


@CONTRACT.internal(CompanyArgs, GOVERNANCE)
def open_book(host: Host, args: CompanyArgs) -> None:
    """A company has joined: an empty book, and no headroom until it deposits."""
    host.put(BOOKS, args.company.encode(), Book())


@CONTRACT.internal(CloseArgs, GOVERNANCE)
def close_book(host: Host, args: CloseArgs) -> None:
    """A company leaves: it has settled everything, and its margin is locked for a while."""
    _pay_fines(host, args.company)
    book = book_of(host, args.company)
    # Not its cash: with nothing owed either way that is what it earned, and its own.
    open_fen = (book.wallets_fen, book.held_fen, book.due_fen, book.owed_fen, book.reserved_fen, book.pool_debt_fen)
    if any(open_fen) or host.iterate(FINE_DEBTS, args.company.encode() + b"\0", 1):
        fail(Code.NOT_SETTLED)
    host.put(BOOKS, args.company.encode(), replace(book, locked_until_ms=args.locked_until_ms))


@CONTRACT.internal(FineArgs, GOVERNANCE)
def fine(host: Host, args: FineArgs) -> int:
    """Cut a company's collateral, as far as its headroom goes; its next deposit pays the rest. Returns the fine."""
    book = book_of(host, args.company)
    amount_fen = book.collateral_fen * args.part_ppm // 1_000_000
    paid_fen = min(amount_fen, max(book.headroom_fen, 0))
    _move_fine(host, args.company, args.payee, paid_fen)
    if amount_fen > paid_fen:
        key = args.company.encode() + b"\0" + args.payee.encode()
        debt = host.get(FINE_DEBTS, key)
        host.put(FINE_DEBTS, key, FineDebt(amount_fen - paid_fen + (debt.amount_fen if debt else 0)))
    _emit_margin(host, args.company)
    return amount_fen


def _pay_fines(host: Host, company: str) -> None:
    """Pay what is left of fines, payees by name, as far as the headroom goes."""
    for key, debt in host.iterate(FINE_DEBTS, company.encode() + b"\0", ITERATE_MAX):
        paid_fen = min(debt.amount_fen, max(book_of(host, company).headroom_fen, 0))
        _move_fine(host, company, key.split(b"\0")[1].decode(), paid_fen)
        if paid_fen == debt.amount_fen:
            host.delete(FINE_DEBTS, key)
        else:
            host.put(FINE_DEBTS, key, FineDebt(debt.amount_fen - paid_fen))


def _move_fine(host: Host, company: str, payee: str, amount_fen: int) -> None:
    book = book_of(host, company)
    host.put(BOOKS, company.encode(), replace(book, collateral_fen=book.collateral_fen - amount_fen))
    book = book_of(host, payee)
    host.put(BOOKS, payee.encode(), replace(book, rewards_fen=book.rewards_fen + amount_fen))


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
