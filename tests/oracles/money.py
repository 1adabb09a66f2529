"""Contract 2, money: wallets, payments, escrow, claims between companies, margin and rewards.

No token: every balance is a claim on a company. The books, their accounts and what sums to zero are in
`contracts.books`.

* A wallet is a liability of its home operator. Real money enters by `top_up` and leaves by `withdraw` (the driver
  asks; pending) and `pay_out` (the operator has paid: posted) or `decline` (void).
* A payment between wallets of two operators makes the payer's operator owe the payee's, within its headroom.
* Escrow of a session: `hold`, then `settle`, which posts the bill and returns the rest, or `release`. From hold to
  settle the deposit is reserved in the headroom of the driver's operator and, where it is another, of the pile's
  (which will owe the grid company and the pile's owner out of it): so settling never fails after energy has flowed.

Claims between companies, margin and rewards are the contract's other half, `contracts.margin`.
"""

from msgspec.structs import replace

from contracts.contract import Business, Role
from contracts.host import Host
from contracts.numbers import IDENTITY, MONEY, SESSION
from contracts.records.money import BOOK_FEN_MAX, BOOKS, HOLDS, PAYOUTS, WALLETS, Hold, Payout, Wallet
from ledger.codec import Wire
from ledger.errors import OurError
from ledger.transaction import Branch
from ledger.units import U32, U63, Hash, Name, PublicKey
from tests.oracles.books import Side, book_of, transfer
from tests.oracles.codes import Code
from tests.oracles.contract import Contract, fail
from tests.oracles.identity import OpenWalletArgs

CONTRACT = Contract(MONEY, "money", Business.PAYMENT, Branch.SERVICE)


# ── arguments and events ──────────────────────────────────────────────────────────────────────────────────────────────


class PayArgs(Wire):
    """`money.pay`: from the sender's wallet to another, of whichever operators."""

    to: PublicKey
    amount_fen: U63
    memo: U32
    """The payer's own code for what it is; means nothing to the contract."""


class TopUpArgs(Wire):
    """`money.top_up`: the home operator has received real money for a wallet."""

    account: PublicKey
    amount_fen: U63


class WithdrawArgs(Wire):
    """`money.withdraw`: the sender wants real money."""

    amount_fen: U63


class PayoutArgs(Wire):
    """`money.pay_out`, `money.decline`: the home operator has paid, or cannot."""

    payout: Hash


class HoldArgs(Wire):
    """`money.hold`: escrow of a session."""

    payer: PublicKey
    operator: Name
    amount_fen: U63
    session: Hash
    owner: bytes
    """Account of the pile's private owner, empty if it has none."""


class ReleaseArgs(Wire):
    """`money.release`: the escrow goes back whole."""

    session: Hash


class SettleArgs(Wire):
    """`money.settle`: the bill is posted, the rest goes back."""

    session: Hash
    total_fen: U63
    """At most the escrow."""
    grid: Name
    grid_fen: U63
    """What the pile's operator owes the grid company; with `owner_fen` at most the escrow."""
    owner: bytes
    """Account of the pile's private owner, empty if it has none."""
    owner_fen: U63


class WalletMoved(Wire):
    """Events `money.topped-up`, `money.withdrawal-asked`, `money.paid-out` and `money.payout-declined`."""

    account: PublicKey
    home: Name
    amount_fen: U63


_TOPPED_UP = CONTRACT.event("money.topped-up", WalletMoved)
_WITHDRAWAL_ASKED = CONTRACT.event("money.withdrawal-asked", WalletMoved)
_PAID_OUT = CONTRACT.event("money.paid-out", WalletMoved)
_PAYOUT_DECLINED = CONTRACT.event("money.payout-declined", WalletMoved)


# ── wallets ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@CONTRACT.method(PayArgs, (Role.DRIVER, Role.OWNER))
def pay(host: Host, args: PayArgs) -> None:
    """Whoever has a wallet pays into another. The transaction and its code say it all: no event."""
    amount_fen = args.amount_fen
    payer = host.get(WALLETS, host.caller)
    if payer is None:
        fail(Code.WALLET_UNKNOWN)
    payee = host.get(WALLETS, args.to)
    if payee is None:
        fail(Code.PAYEE_UNKNOWN)
    if args.to == host.caller:
        fail(Code.PAY_SELF)
    if amount_fen == 0:
        fail(Code.AMOUNT_ZERO)
    if payer.balance_fen < amount_fen:
        fail(Code.OVERSPENT)
    if payer.home != payee.home:
        transfer(host, (payer.home, Side.WALLETS), (payee.home, Side.WALLETS), amount_fen)
    host.put(WALLETS, host.caller, Wallet(payer.home, payer.balance_fen - amount_fen))
    host.put(WALLETS, args.to, Wallet(payee.home, payee.balance_fen + amount_fen))


@CONTRACT.method(TopUpArgs, (Role.OPERATOR,))
def top_up(host: Host, args: TopUpArgs) -> None:
    """The home operator credits a wallet with real money that it received."""
    wallet = host.get(WALLETS, args.account)
    if wallet is None:
        fail(Code.PAYEE_UNKNOWN)
    if wallet.home != host.company:
        fail(Code.NOT_HOME_OPERATOR)
    if args.amount_fen == 0:
        fail(Code.AMOUNT_ZERO)
    book = book_of(host, wallet.home)
    if args.amount_fen - book.cash_fen > BOOK_FEN_MAX:
        fail(Code.AMOUNT_TOO_LARGE)
    book = replace(book, cash_fen=book.cash_fen - args.amount_fen, wallets_fen=book.wallets_fen + args.amount_fen)
    host.put(BOOKS, wallet.home.encode(), book)
    host.put(WALLETS, args.account, Wallet(wallet.home, wallet.balance_fen + args.amount_fen))
    host.emit(_TOPPED_UP, WalletMoved(args.account, wallet.home, args.amount_fen))


@CONTRACT.method(WithdrawArgs, (Role.DRIVER, Role.OWNER))
def withdraw(host: Host, args: WithdrawArgs) -> None:
    """Whoever has a wallet asks its home operator for real money; the amount is pending until the operator has paid."""
    wallet = host.get(WALLETS, host.caller)
    if wallet is None:
        fail(Code.WALLET_UNKNOWN)
    if args.amount_fen == 0:
        fail(Code.AMOUNT_ZERO)
    if wallet.balance_fen < args.amount_fen:
        fail(Code.OVERSPENT)
    if book_of(host, wallet.home).locked_until_ms:
        fail(Code.COMPANY_LEFT)  # which has no key left to pay it out by, or to decline
    host.put(WALLETS, host.caller, Wallet(wallet.home, wallet.balance_fen - args.amount_fen))
    transfer(host, (wallet.home, Side.WALLETS), (wallet.home, Side.HELD), args.amount_fen)
    host.put(PAYOUTS, host.call_id, Payout(host.caller, wallet.home, args.amount_fen))
    host.emit(_WITHDRAWAL_ASKED, WalletMoved(host.caller, wallet.home, args.amount_fen))


@CONTRACT.method(PayoutArgs, (Role.OPERATOR,))
def pay_out(host: Host, args: PayoutArgs) -> None:
    """The home operator has paid real money for a pending pay-out."""
    payout = _payout(host, args.payout)
    book = book_of(host, payout.home)
    book = replace(book, held_fen=book.held_fen - payout.amount_fen, cash_fen=book.cash_fen + payout.amount_fen)
    host.put(BOOKS, payout.home.encode(), book)
    host.delete(PAYOUTS, args.payout)
    host.emit(_PAID_OUT, WalletMoved(payout.account, payout.home, payout.amount_fen))


@CONTRACT.method(PayoutArgs, (Role.OPERATOR,))
def decline(host: Host, args: PayoutArgs) -> None:
    """The home operator cannot pay a pending pay-out (a bank refused it): back into the wallet."""
    payout = _payout(host, args.payout)
    _refund(host, payout.account, payout.home, payout.amount_fen)
    host.delete(PAYOUTS, args.payout)
    host.emit(_PAYOUT_DECLINED, WalletMoved(payout.account, payout.home, payout.amount_fen))


# ── for other contracts ───────────────────────────────────────────────────────────────────────────────────────────────


@CONTRACT.internal(OpenWalletArgs, IDENTITY)
def open_wallet(host: Host, args: OpenWalletArgs) -> None:
    """An account was registered."""
    book_of(host, args.home)
    host.put(WALLETS, args.account, Wallet(args.home, 0))


@CONTRACT.internal(HoldArgs, SESSION)
def hold(host: Host, args: HoldArgs) -> str:
    """Take a session's deposit into escrow and reserve headroom; returns the home operator."""
    wallet = host.get(WALLETS, args.payer)
    if wallet is None:
        fail(Code.WALLET_UNKNOWN)
    if args.amount_fen == 0:
        fail(Code.AMOUNT_ZERO)
    if wallet.balance_fen < args.amount_fen:
        fail(Code.OVERSPENT)
    if args.owner and book_of(host, _owner_wallet(host, args.owner).home).locked_until_ms:
        fail(Code.COMPANY_LEFT)  # its part of the bill would reach nobody
    _reserve(host, wallet.home, args.amount_fen, Code.NO_HEADROOM)
    if args.operator != wallet.home:
        _reserve(host, args.operator, args.amount_fen, Code.PILE_OPERATOR_NO_HEADROOM)
    host.put(WALLETS, args.payer, Wallet(wallet.home, wallet.balance_fen - args.amount_fen))
    transfer(host, (wallet.home, Side.WALLETS), (wallet.home, Side.HELD), args.amount_fen)
    host.put(HOLDS, args.session, Hold(args.payer, wallet.home, args.operator, args.amount_fen))
    return wallet.home


@CONTRACT.internal(ReleaseArgs, SESSION)
def release(host: Host, args: ReleaseArgs) -> None:
    """Void an escrow: all of it goes back."""
    held = _take_hold(host, args.session)
    _refund(host, held.payer, held.home, held.amount_fen)


@CONTRACT.internal(SettleArgs, SESSION)
def settle(host: Host, args: SettleArgs) -> None:
    """Post an escrow: the bill to the pile's operator, its shares onward, the rest back. The energy has flowed, so it
    never fails: a payee that has left since the session opened has a claim.
    """
    held = _take_hold(host, args.session)
    if args.total_fen > held.amount_fen or args.grid_fen + args.owner_fen > held.amount_fen:
        raise OurError("settle-above-escrow", f"session {args.session.hex()} settles more than it holds")
    transfer(host, (held.home, Side.HELD), (held.operator, Side.EARNED), args.total_fen)
    _refund(host, held.payer, held.home, held.amount_fen - args.total_fen)
    transfer(host, (held.operator, Side.EARNED), (args.grid, Side.EARNED), args.grid_fen, to_left=True)
    if args.owner_fen:
        wallet = _owner_wallet(host, args.owner)
        transfer(host, (held.operator, Side.EARNED), (wallet.home, Side.WALLETS), args.owner_fen, to_left=True)
        host.put(WALLETS, args.owner, Wallet(wallet.home, wallet.balance_fen + args.owner_fen))


def _owner_wallet(host: Host, owner: bytes) -> Wallet:
    wallet = host.get(WALLETS, owner)
    return wallet or fail(Code.PAYEE_UNKNOWN)


def _reserve(host: Host, company: str, amount_fen: int, code: Code) -> None:
    book = book_of(host, company)
    if book.locked_until_ms:
        fail(Code.COMPANY_LEFT)
    if book.headroom_fen < amount_fen:
        fail(code)
    host.put(BOOKS, company.encode(), replace(book, reserved_fen=book.reserved_fen + amount_fen))


def _take_hold(host: Host, session: bytes) -> Hold:
    """End an escrow and its reservations; what it held is still in the held account."""
    held = host.get(HOLDS, session)
    if held is None:
        raise OurError("hold-missing", f"session {session.hex()} has no escrow")
    host.delete(HOLDS, session)
    for company in sorted({held.home, held.operator}):
        book = book_of(host, company)
        host.put(BOOKS, company.encode(), replace(book, reserved_fen=book.reserved_fen - held.amount_fen))
    return held


def _refund(host: Host, account: bytes, home: str, amount_fen: int) -> None:
    """From the held account back into a wallet."""
    wallet = host.get(WALLETS, account)
    if wallet is None:
        raise OurError("wallet-missing", f"escrow of {account.hex()} has no wallet to go back to")
    transfer(host, (home, Side.HELD), (home, Side.WALLETS), amount_fen)
    host.put(WALLETS, account, Wallet(home, wallet.balance_fen + amount_fen))


def _payout(host: Host, payout_id: bytes) -> Payout:
    payout = host.get(PAYOUTS, payout_id)
    if payout is None:
        fail(Code.PAYOUT_UNKNOWN)
    if payout.home != host.company:
        fail(Code.NOT_HOME_OPERATOR)
    return payout
