"""Records of contract 2, money, as the node reads them: wallets, and one double-entry book for each company.

The accounts of a book and what sums to zero are said in `contracts/library/money.py`.
"""

from contracts.host import Table
from contracts.numbers import MONEY
from ledger.codec import Wire
from ledger.units import I64, U63, Hash, Name, PublicKey

BOOK_FEN_MAX = 10**15
"""Real money that one book may take in (ten trillion yuan): sums over all companies stay far within 64 bits."""


class Wallet(Wire):
    """A customer's money. Key: the account's public key."""

    home: Name
    balance_fen: U63


class Book(Wire):
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
    locked_until_ms: U63 = 0
    """Of a company that left; zero of a member. Till then its margin is not released: its former keys might yet prove
    to have lied. Nothing is paid to it or its customers any more but their part in sessions that were in progress.
    """

    @property
    def headroom_fen(self) -> int:
        """What the company may still come to owe."""
        return self.collateral_fen - self.reserved_fen - self.owed_fen

    @property
    def own_fen(self) -> int:
        """Sum of the first five accounts: zero in every book."""
        return self.cash_fen + self.wallets_fen + self.held_fen + self.due_fen + self.earned_fen

    @property
    def balances_fen(self) -> int:
        """Sum of the signed balances; zero over all companies."""
        return self.own_fen + self.deposited_fen + self.collateral_fen + self.pool_fen + self.rewards_fen


class Due(Wire):
    """Claim between two companies. Key: both names in order, NUL between."""

    amount_fen: I64
    """What the first by name owes the second; negative if it is owed."""


class Hold(Wire):
    """Escrow of a session, pending until it is posted or void. Key: the session's id."""

    payer: PublicKey
    home: Name
    operator: Name
    amount_fen: U63


class Payout(Wire):
    """A pay-out that its home operator has yet to make. Key: id of the transaction that asked for it."""

    account: PublicKey
    home: Name
    amount_fen: U63


class PoolDebt(Wire):
    """Reward that a pool could not pay. Key: debtor, NUL, creditor."""

    amount_fen: U63


class FineDebt(Wire):
    """A fine that would have taken the headroom below zero: the next deposit pays it. Key: debtor, NUL, payee."""

    amount_fen: U63


class Settings(Wire):
    """From genesis."""

    block_reward_fen: U63
    """For keeping the book of one non-empty block."""


WALLETS = Table(MONEY, b"w", Wallet, PublicKey)
BOOKS = Table(MONEY, b"b", Book, Name)
DUES = Table(MONEY, b"d", Due, Name, Name)
HOLDS = Table(MONEY, b"h", Hold, Hash)
PAYOUTS = Table(MONEY, b"o", Payout, Hash)
POOL_DEBTS = Table(MONEY, b"r", PoolDebt, Name, Name)
FINE_DEBTS = Table(MONEY, b"f", FineDebt, Name, Name)
SETTINGS = Table(MONEY, b"s", Settings)


def due_key(first: str, second: str) -> bytes:
    """Own key of the claim between two companies, `first` before `second` by name."""
    return first.encode() + b"\0" + second.encode()
