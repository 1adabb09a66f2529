"""Contract 2, money: wallets, payments, escrow, claims between companies, margin and rewards.

No token: every balance is a claim on a company. Each company keeps one **book**, double-entry: signed accounts in fen,
credit positive (the company owes), debit negative (it holds or is owed).

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

from contracts.language import *

CONTRACT = Contract("money", Business.PAYMENT, Branch.SERVICE)

SYSTEM_NUMBER = 0
IDENTITY_NUMBER = 1
SESSION_NUMBER = 5
GOVERNANCE_NUMBER = 6

BOOK_FEN_MAX = 10**15
"""Real money that one book may take in (ten trillion yuan): sums over all companies stay far within 64 bits."""
DEBTS_MAX = 1_000
"""Debts of one company that are paid in one go."""
PPM = 1_000_000

Owner = Annotated[bytes, Size(0, 65)]
"""Account of a private pile's owner; empty if it has none."""


class Side(Enum):
    """The accounts of a book that transfers move."""

    WALLETS = 1
    HELD = 2
    EARNED = 3


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Wallet(Struct):
    """A customer's money. Key: the account's public key."""

    home: Name
    balance_fen: U63


class Book(Struct):
    """A company's accounts (see above) and positions. Key: its name."""

    cash_fen: I64 = 0
    wallets_fen: U63 = 0
    held_fen: U63 = 0
    due_fen: I64 = 0
    earned_fen: I64 = 0
    deposited_fen: I64 = 0
    collateral_fen: U63 = 0
    pool_fen: U63 = 0
    rewards_fen: U63 = 0
    reserved_fen: U63 = 0
    """Not a balance: headroom promised to sessions in progress."""
    owed_fen: U63 = 0
    """Not a balance: sum of the positive pairwise claims on this company."""
    pool_debt_fen: U63 = 0
    """Not a balance: rewards that this company's pool could not pay yet."""
    locked_until_ms: Time = 0
    """Of a company that left; zero of a member. Till then its margin is not released: its former keys might yet prove
    to have lied. Nothing is paid to it or its customers any more but their part in sessions that were in progress.
    """


class Due(Struct):
    """Claim between two companies. Key: both names in order."""

    amount_fen: I64
    """What the first by name owes the second; negative if it is owed."""


class Hold(Struct):
    """Escrow of a session, pending until it is posted or void. Key: the session's id."""

    payer: PublicKey
    home: Name
    operator: Name
    amount_fen: U63


class Payout(Struct):
    """A pay-out that its home operator has yet to make. Key: id of the transaction that asked for it."""

    account: PublicKey
    home: Name
    amount_fen: U63


class PoolDebt(Struct):
    """Reward that a pool could not pay. Key: debtor and creditor."""

    amount_fen: U63


class FineDebt(Struct):
    """A fine that would have taken the headroom below zero: the next deposit pays it. Key: debtor and payee."""

    amount_fen: U63


class Settings(Struct):
    """From genesis."""

    block_reward_fen: U63
    """For keeping the book of one non-empty block."""


WALLETS: Table[PublicKey, Wallet] = table("w")
BOOKS: Table[Name, Book] = table("b")
DUES: Table[tuple[Name, Name], Due] = table("d")
HOLDS: Table[Hash, Hold] = table("h")
PAYOUTS: Table[Hash, Payout] = table("o")
POOL_DEBTS: Table[tuple[Name, Name], PoolDebt] = table("r")
FINE_DEBTS: Table[tuple[Name, Name], FineDebt] = table("f")
SETTINGS: Cell[Settings] = cell("s")


# ── codes and events ──────────────────────────────────────────────────────────────────────────────────────────────────


class Code(Codes):
    """Why a call changed nothing."""

    WALLET_UNKNOWN = 1, "the sender has no wallet"
    PAYEE_UNKNOWN = 2, "the payee has no wallet"
    OVERSPENT = 3, "the wallet holds less than the amount"
    NO_HEADROOM = (
        4,
        "the operator that would owe has no headroom: its collateral is taken up by what it owes and reserves",
    )
    PILE_OPERATOR_NO_HEADROOM = 5, "the pile's operator has no headroom for the energy that it would owe"
    AMOUNT_ZERO = 6, "the amount must be positive"
    NOT_HOME_OPERATOR = 7, "only the wallet's home operator may do this"
    PAYOUT_UNKNOWN = 8, "no such pay-out waits"
    AMOUNT_TOO_LARGE = 9, "the amount would take a company's books over their limit"
    CLAIM_TOO_SMALL = 10, "the debtor owes less than the amount"
    COMPANY_UNKNOWN = 11, "no such company"
    MARGIN_TOO_SMALL = 12, "the margin holds less, or the rest would not cover what the company owes and reserves"
    PAY_SELF = 13, "payer and payee are the same wallet"
    MARGIN_LOCKED = 14, "the company has left; its margin is locked for some time"
    NOT_SETTLED = 15, "the company has wallets, claims, reservations or debts that must be settled first"
    COMPANY_LEFT = 16, "a company that keeps a wallet of this, or operates the pile, has left the consortium"


class WalletMoved(Struct):
    """Real money into a wallet or out of it."""

    account: PublicKey
    home: Name
    amount_fen: U63


class ClaimPaid(Struct):
    """Real money between two companies."""

    debtor: Name
    creditor: Name
    amount_fen: U63


class MarginChanged(Struct):
    """The margin after a change."""

    company: Name
    collateral_fen: U63
    pool_fen: U63
    rewards_fen: U63


TOPPED_UP: Event[WalletMoved] = event("money.topped-up")
WITHDRAWAL_ASKED: Event[WalletMoved] = event("money.withdrawal-asked")
PAID_OUT: Event[WalletMoved] = event("money.paid-out")
PAYOUT_DECLINED: Event[WalletMoved] = event("money.payout-declined")
CLAIM_PAID: Event[ClaimPaid] = event("money.claim-paid")
MARGIN_CHANGED: Event[MarginChanged] = event("money.margin-changed")


# ── wallets ───────────────────────────────────────────────────────────────────────────────────────────────────────────
# A wallet is a liability of its home operator. Real money enters by `top_up` and leaves by `withdraw` (the driver asks;
# pending) and `pay_out` (the operator has paid: posted) or `decline` (void). A payment between wallets of two operators
# makes the payer's operator owe the payee's, within its headroom.


@method(Role.DRIVER, Role.OWNER)
def pay(to: PublicKey, amount_fen: U63, memo: U32) -> None:
    """Whoever has a wallet pays into another. The transaction and its code say it all: no event.

    The memo is the payer's own code for what it is; it means nothing to the contract.
    """
    sender: PublicKey = call.caller
    payer = WALLETS.get(sender) or fail(Code.WALLET_UNKNOWN)
    payee = WALLETS.get(to) or fail(Code.PAYEE_UNKNOWN)
    require(to != sender, Code.PAY_SELF)
    require(amount_fen > 0, Code.AMOUNT_ZERO)
    require(payer.balance_fen >= amount_fen, Code.OVERSPENT)
    if payer.home != payee.home:
        transfer(payer.home, Side.WALLETS, payee.home, Side.WALLETS, amount_fen, False)
    WALLETS[sender] = Wallet(payer.home, payer.balance_fen - amount_fen)
    WALLETS[to] = Wallet(payee.home, payee.balance_fen + amount_fen)


@method(Role.OPERATOR)
def top_up(account: PublicKey, amount_fen: U63) -> None:
    """The home operator credits a wallet with real money that it received."""
    wallet = WALLETS.get(account) or fail(Code.PAYEE_UNKNOWN)
    require(wallet.home == call.company, Code.NOT_HOME_OPERATOR)
    require(amount_fen > 0, Code.AMOUNT_ZERO)
    book = book_of(wallet.home)
    require(amount_fen - book.cash_fen <= BOOK_FEN_MAX, Code.AMOUNT_TOO_LARGE)
    book.cash_fen -= amount_fen
    book.wallets_fen += amount_fen
    BOOKS[wallet.home] = book
    WALLETS[account] = Wallet(wallet.home, wallet.balance_fen + amount_fen)
    emit(TOPPED_UP, WalletMoved(account, wallet.home, amount_fen))


@method(Role.DRIVER, Role.OWNER)
def withdraw(amount_fen: U63) -> None:
    """Whoever has a wallet asks its home operator for real money; the amount is pending until the operator has paid."""
    sender: PublicKey = call.caller
    wallet = WALLETS.get(sender) or fail(Code.WALLET_UNKNOWN)
    require(amount_fen > 0, Code.AMOUNT_ZERO)
    require(wallet.balance_fen >= amount_fen, Code.OVERSPENT)
    book = book_of(wallet.home)
    require(book.locked_until_ms == 0, Code.COMPANY_LEFT)  # which has no key left to pay it out by, or to decline
    book.wallets_fen -= amount_fen
    book.held_fen += amount_fen
    BOOKS[wallet.home] = book
    WALLETS[sender] = Wallet(wallet.home, wallet.balance_fen - amount_fen)
    PAYOUTS[call.id] = Payout(sender, wallet.home, amount_fen)
    emit(WITHDRAWAL_ASKED, WalletMoved(sender, wallet.home, amount_fen))


@method(Role.OPERATOR)
def pay_out(payout: Hash) -> None:
    """The home operator has paid real money for a pending pay-out."""
    asked = own_payout(payout)
    book = book_of(asked.home)
    book.held_fen -= asked.amount_fen
    book.cash_fen += asked.amount_fen
    BOOKS[asked.home] = book
    del PAYOUTS[payout]
    emit(PAID_OUT, WalletMoved(asked.account, asked.home, asked.amount_fen))


@method(Role.OPERATOR)
def decline(payout: Hash) -> None:
    """The home operator cannot pay a pending pay-out (a bank refused it): back into the wallet."""
    asked = own_payout(payout)
    refund(asked.account, asked.home, asked.amount_fen)
    del PAYOUTS[payout]
    emit(PAYOUT_DECLINED, WalletMoved(asked.account, asked.home, asked.amount_fen))


@internal(IDENTITY_NUMBER)
def open_wallet(account: PublicKey, home: Name) -> None:
    """An account was registered."""
    require(home in BOOKS, Code.COMPANY_UNKNOWN)
    WALLETS[account] = Wallet(home, 0)


def own_payout(payout: Hash) -> Payout:
    """A pay-out that waits for the company that calls."""
    asked = PAYOUTS.get(payout) or fail(Code.PAYOUT_UNKNOWN)
    require(asked.home == call.company, Code.NOT_HOME_OPERATOR)
    return asked


# ── escrow of sessions ────────────────────────────────────────────────────────────────────────────────────────────────
# `hold`, then `settle`, which posts the bill and returns the rest, or `release`. From hold to settle the deposit is
# reserved in the headroom of the driver's operator and, where it is another, of the pile's (which will owe the grid
# company and the pile's owner out of it): so settling never fails after energy has flowed.


@internal(SESSION_NUMBER)
def hold(payer: PublicKey, operator: Name, amount_fen: U63, session: Hash, owner: Owner) -> Name:
    """Take a session's deposit into escrow and reserve headroom; returns the home operator."""
    wallet = WALLETS.get(payer) or fail(Code.WALLET_UNKNOWN)
    require(amount_fen > 0, Code.AMOUNT_ZERO)
    require(wallet.balance_fen >= amount_fen, Code.OVERSPENT)
    if owner != b"":  # its part of the bill would reach nobody if its home had left
        require(book_of(owner_wallet(owner).home).locked_until_ms == 0, Code.COMPANY_LEFT)
    require(reserve(wallet.home, amount_fen), Code.NO_HEADROOM)
    if operator != wallet.home:
        require(reserve(operator, amount_fen), Code.PILE_OPERATOR_NO_HEADROOM)
    WALLETS[payer] = Wallet(wallet.home, wallet.balance_fen - amount_fen)
    move(wallet.home, Side.WALLETS, Side.HELD, amount_fen)
    HOLDS[session] = Hold(payer, wallet.home, operator, amount_fen)
    return wallet.home


@internal(SESSION_NUMBER)
def release(session: Hash) -> None:
    """Void an escrow: all of it goes back."""
    held = take_hold(session)
    refund(held.payer, held.home, held.amount_fen)


@internal(SESSION_NUMBER)
def settle(session: Hash, total_fen: U63, grid: Name, grid_fen: U63, owner: Owner, owner_fen: U63) -> None:
    """Post an escrow: the bill to the pile's operator, its shares onward, the rest back. The energy has flowed, so it
    never fails: a payee that has left since the session opened has a claim.

    The grid company's and the owner's part together are at most the escrow, and so is the total: the session contract
    sees to it.
    """
    held = take_hold(session)
    require(total_fen <= held.amount_fen and grid_fen + owner_fen <= held.amount_fen, Code.OVERSPENT)
    transfer(held.home, Side.HELD, held.operator, Side.EARNED, total_fen, False)
    refund(held.payer, held.home, held.amount_fen - total_fen)
    transfer(held.operator, Side.EARNED, grid, Side.EARNED, grid_fen, True)
    if owner_fen > 0:
        wallet = owner_wallet(owner)
        transfer(held.operator, Side.EARNED, wallet.home, Side.WALLETS, owner_fen, True)
        WALLETS[owner] = Wallet(wallet.home, wallet.balance_fen + owner_fen)


def owner_wallet(owner: Owner) -> Wallet:
    """The wallet of a private pile's owner."""
    return WALLETS.get(owner) or fail(Code.PAYEE_UNKNOWN)


def reserve(company: Name, amount_fen: U63) -> bool:
    """Reserve headroom; tells whether there was enough."""
    book = book_of(company)
    require(book.locked_until_ms == 0, Code.COMPANY_LEFT)
    enough = headroom(book) >= amount_fen
    book.reserved_fen += amount_fen
    BOOKS[company] = book
    return enough


def take_hold(session: Hash) -> Hold:
    """End an escrow and its reservations; what it held is still in the held account."""
    held = HOLDS[session]
    del HOLDS[session]
    unreserve(held.home, held.amount_fen)
    if held.operator != held.home:
        unreserve(held.operator, held.amount_fen)
    return held


def unreserve(company: Name, amount_fen: U63) -> None:
    """Give reserved headroom back."""
    book = book_of(company)
    book.reserved_fen -= amount_fen
    BOOKS[company] = book


def refund(account: PublicKey, home: Name, amount_fen: U63) -> None:
    """From the held account back into a wallet."""
    wallet = WALLETS[account]
    move(home, Side.HELD, Side.WALLETS, amount_fen)
    WALLETS[account] = Wallet(home, wallet.balance_fen + amount_fen)


# ── claims between companies ──────────────────────────────────────────────────────────────────────────────────────────
# Claims are pairwise accounts. Whoever received real money on a claim says so by `confirm_payment`: only the payee can
# know. Netting over all of them comes with clearing.


@method(Role.OPERATOR, Role.GRID)
def confirm_payment(debtor: Name, amount_fen: U63) -> None:
    """A company confirms real money received on its claim; the debtor gets that much headroom back."""
    require(amount_fen > 0, Code.AMOUNT_ZERO)
    require(call.company != "", Code.COMPANY_UNKNOWN)  # the permission table may let individuals call
    creditor: Name = call.company
    payer = book_of(debtor)
    payee = book_of(creditor)
    require(amount_fen - payee.cash_fen <= BOOK_FEN_MAX, Code.AMOUNT_TOO_LARGE)
    owed_fen = due_between(debtor, creditor)
    require(owed_fen >= amount_fen, Code.CLAIM_TOO_SMALL)
    put_due(debtor, creditor, owed_fen - amount_fen)
    payer.cash_fen += amount_fen
    payer.due_fen -= amount_fen
    payer.owed_fen -= amount_fen
    BOOKS[debtor] = payer
    payee.cash_fen -= amount_fen
    payee.due_fen += amount_fen
    BOOKS[creditor] = payee
    emit(CLAIM_PAID, ClaimPaid(debtor, creditor, amount_fen))


# ── margin and rewards ────────────────────────────────────────────────────────────────────────────────────────────────
# Margin lies with the trustee, the regulator's bank, so a regulator's key records deposits and releases. Collateral and
# reward pool are separate accounts of each company. Block h is paid by the pool of the ((h // n) mod n)-th of the n
# bookkeepers by name, so each pays each in turn. What a pool cannot pay is recorded as its debt; its next deposit pays
# that first, creditors by name.


@method(Role.REGULATOR)
def deposit_margin(company: Name, collateral_fen: U63, pool_fen: U63, rewards_fen: U63) -> None:
    """The trustee has received margin of a company; the pool's part pays its debts first. Rewards are zero."""
    amount_fen: Wide = collateral_fen + pool_fen
    book = book_of(company)
    require(amount_fen > 0 and rewards_fen == 0, Code.AMOUNT_ZERO)
    require(amount_fen - book.deposited_fen <= BOOK_FEN_MAX, Code.AMOUNT_TOO_LARGE)
    book.deposited_fen -= amount_fen
    book.collateral_fen += collateral_fen
    book.pool_fen += pool_fen
    BOOKS[company] = book
    if book.pool_debt_fen > 0:
        pay_pool_debts(company)
    pay_fines(company)
    tell_margin(company)


@method(Role.REGULATOR)
def release_margin(company: Name, collateral_fen: U63, pool_fen: U63, rewards_fen: U63) -> None:
    """The trustee has paid margin or rewards back to a company, which stays covered and has paid its fines."""
    require(company in BOOKS, Code.COMPANY_UNKNOWN)
    pay_fines(company)
    book = book_of(company)
    amount_fen: Wide = collateral_fen + pool_fen + rewards_fen
    require(amount_fen > 0, Code.AMOUNT_ZERO)
    require(block.time_ms >= book.locked_until_ms, Code.MARGIN_LOCKED)
    require(collateral_fen <= max(headroom(book), 0), Code.MARGIN_TOO_SMALL)
    require(pool_fen <= book.pool_fen and rewards_fen <= book.rewards_fen, Code.MARGIN_TOO_SMALL)
    book.deposited_fen += amount_fen
    book.collateral_fen -= collateral_fen
    book.pool_fen -= pool_fen
    book.rewards_fen -= rewards_fen
    BOOKS[company] = book
    tell_margin(company)


@internal(SYSTEM_NUMBER)
def reward(bookkeeper: Name, payer: Name) -> None:
    """The executor, after a non-empty block: the paying pool rewards the bookkeeper, or owes it."""
    amount_fen = (SETTINGS.get() or Settings(0)).block_reward_fen
    paid_fen: U63 = min(amount_fen, book_of(payer).pool_fen)
    pay_reward(payer, bookkeeper, paid_fen)
    if amount_fen > paid_fen:
        book = book_of(payer)
        book.pool_debt_fen += amount_fen - paid_fen
        BOOKS[payer] = book
        debt = POOL_DEBTS.get(payer, bookkeeper) or PoolDebt(0)
        POOL_DEBTS[payer, bookkeeper] = PoolDebt(debt.amount_fen + amount_fen - paid_fen)


@internal(GOVERNANCE_NUMBER)
def open_book(company: Name) -> None:
    """A company has joined: an empty book, and no headroom until it deposits."""
    BOOKS[company] = Book()


@internal(GOVERNANCE_NUMBER)
def close_book(company: Name, locked_until_ms: Time) -> None:
    """A company leaves: it has settled everything, and its margin is locked for a while."""
    require(company in BOOKS, Code.COMPANY_UNKNOWN)
    pay_fines(company)
    book = book_of(company)
    # Not its cash: with nothing owed either way that is what it earned, and its own.
    require(book.wallets_fen == 0 and book.held_fen == 0 and book.due_fen == 0, Code.NOT_SETTLED)
    require(book.owed_fen == 0 and book.reserved_fen == 0 and book.pool_debt_fen == 0, Code.NOT_SETTLED)
    for _, _ in FINE_DEBTS.items(company, limit=1):
        fail(Code.NOT_SETTLED)
    book.locked_until_ms = locked_until_ms
    BOOKS[company] = book


@internal(GOVERNANCE_NUMBER)
def fine(company: Name, payee: Name, part_ppm: U32) -> U63:
    """Cut a company's collateral, as far as its headroom goes; its next deposit pays the rest. Returns the fine."""
    book = book_of(company)
    amount_fen: U63 = book.collateral_fen * part_ppm // PPM
    paid_fen: U63 = min(amount_fen, max(headroom(book), 0))
    pay_fine(company, payee, paid_fen)
    if amount_fen > paid_fen:
        debt = FINE_DEBTS.get(company, payee) or FineDebt(0)
        FINE_DEBTS[company, payee] = FineDebt(debt.amount_fen + amount_fen - paid_fen)
    tell_margin(company)
    return amount_fen


def pay_fines(company: Name) -> None:
    """Pay what is left of fines, payees by name, as far as the headroom goes."""
    for payee, debt in FINE_DEBTS.items(company, limit=DEBTS_MAX):
        paid_fen: U63 = min(debt.amount_fen, max(headroom(book_of(company)), 0))
        pay_fine(company, payee, paid_fen)
        if paid_fen == debt.amount_fen:
            del FINE_DEBTS[company, payee]
        else:
            FINE_DEBTS[company, payee] = FineDebt(debt.amount_fen - paid_fen)


def pay_fine(company: Name, payee: Name, amount_fen: U63) -> None:
    """From a company's collateral to another's rewards."""
    book = book_of(company)
    book.collateral_fen -= amount_fen
    BOOKS[company] = book
    earn(payee, amount_fen)


def pay_pool_debts(company: Name) -> None:
    """Pay what the pool owes, creditors by name, as far as it goes."""
    for creditor, debt in POOL_DEBTS.items(company, limit=DEBTS_MAX):
        book = book_of(company)
        paid_fen: U63 = min(debt.amount_fen, book.pool_fen)
        if paid_fen == 0:
            break
        book.pool_debt_fen -= paid_fen
        BOOKS[company] = book
        pay_reward(company, creditor, paid_fen)
        if paid_fen == debt.amount_fen:
            del POOL_DEBTS[company, creditor]
        else:
            POOL_DEBTS[company, creditor] = PoolDebt(debt.amount_fen - paid_fen)


def pay_reward(payer: Name, bookkeeper: Name, amount_fen: U63) -> None:
    """From a company's pool to another's rewards."""
    book = book_of(payer)
    book.pool_fen -= amount_fen
    BOOKS[payer] = book
    earn(bookkeeper, amount_fen)


def earn(company: Name, amount_fen: U63) -> None:
    """A reward or another's fine."""
    book = book_of(company)
    book.rewards_fen += amount_fen
    BOOKS[company] = book


def tell_margin(company: Name) -> None:
    """The margin as it is now."""
    book = book_of(company)
    emit(MARGIN_CHANGED, MarginChanged(company, book.collateral_fen, book.pool_fen, book.rewards_fen))


# ── the books ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def book_of(company: Name) -> Book:
    """A company's book."""
    return BOOKS.get(company) or fail(Code.COMPANY_UNKNOWN)


def headroom(book: Book) -> Wide:
    """What the company may still come to owe."""
    return book.collateral_fen - book.reserved_fen - book.owed_fen


def move(company: Name, debit: Side, credit: Side, amount_fen: U63) -> None:
    """Move money within one book. Nothing is asked: what is held goes back to a wallet whoever has left."""
    if amount_fen > 0:
        BOOKS[company] = added(added(book_of(company), debit, -amount_fen), credit, amount_fen)


def transfer(debtor: Name, debit: Side, creditor: Name, credit: Side, amount_fen: U63, to_left: bool) -> None:
    """Move money from one account to another. Between two books the debtor comes to owe the creditor the amount: it
    fails with NO_HEADROOM if it may not, with COMPANY_LEFT if either has left; `to_left` lets the creditor come to have
    a claim all the same.
    """
    if debtor == creditor:
        move(debtor, debit, credit, amount_fen)
        return
    if amount_fen == 0:
        return
    payer = book_of(debtor)
    payee = book_of(creditor)
    require(payer.locked_until_ms == 0 and (to_left or payee.locked_until_ms == 0), Code.COMPANY_LEFT)
    before = due_between(debtor, creditor)
    after = before + amount_fen
    payer.due_fen += amount_fen
    payer.owed_fen += max(after, 0) - max(before, 0)
    require(headroom(payer) >= 0, Code.NO_HEADROOM)
    payee.due_fen -= amount_fen
    payee.owed_fen += max(-after, 0) - max(-before, 0)
    put_due(debtor, creditor, after)
    BOOKS[debtor] = added(payer, debit, -amount_fen)
    BOOKS[creditor] = added(payee, credit, amount_fen)


def added(book: Book, side: Side, amount_fen: I64) -> Book:
    """A book with so much more in one of its accounts."""
    if side == Side.WALLETS:
        book.wallets_fen += amount_fen
    elif side == Side.HELD:
        book.held_fen += amount_fen
    else:
        book.earned_fen += amount_fen
    return book


def due_between(debtor: Name, creditor: Name) -> I64:
    """What a company owes another; negative if it is the other way round."""
    if debtor < creditor:
        return (DUES.get(debtor, creditor) or Due(0)).amount_fen
    return -(DUES.get(creditor, debtor) or Due(0)).amount_fen


def put_due(debtor: Name, creditor: Name, amount_fen: I64) -> None:
    """Write down what a company owes another."""
    if debtor < creditor:
        DUES[debtor, creditor] = Due(amount_fen)
    else:
        DUES[creditor, debtor] = Due(-amount_fen)
