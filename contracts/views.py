"""What people ask of a state: read functions for API, command line, light clients and demos, and the keys for proofs.

Everything works on any state reader (a store's snapshot, memory). Functions ending in `_key` give the full key in the
state, whose value decodes to the struct named.
"""

from collections import Counter
from collections.abc import Iterator

from contracts.deployment import CODES, Deployment, StoredCode, deployments_of
from contracts.host import StateReader
from contracts.records import governance, identity, money, registry, session, tariff
from contracts.records.governance import Proposal, Seat, VoteKey
from contracts.records.identity import Account, Company
from contracts.records.money import Book, Wallet
from contracts.records.registry import Pile, PileState
from contracts.records.session import Session
from contracts.records.tariff import ServiceFee
from contracts.system import BRANCH_HEADS, branch_key
from ledger.tariff import Tariff
from ledger.transaction import Branch


def contract_versions(state: StateReader, number: int) -> list[Deployment]:
    """All versions of a contract, oldest first: the last whose height is reached rules."""
    return [each for each in deployments_of(state) if each.number == number]


def contract_code(state: StateReader, code_hash: bytes) -> StoredCode | None:
    """A code that is kept, with its text."""
    return CODES.read(state, code_hash)


def wallet_key(account: bytes) -> bytes:
    """State key of a wallet (`money.Wallet`)."""
    return money.WALLETS.key(account)


def book_key(company: str) -> bytes:
    """State key of a company's book (`money.Book`)."""
    return money.BOOKS.key(company.encode())


def pile_key(pile: str) -> bytes:
    """State key of a pile's record (`registry.Pile`)."""
    return registry.PILES.key(pile.encode())


def branch_head_key(branch: Branch) -> bytes:
    """State key of a branch's head (`ledger.block.BranchHead`)."""
    return BRANCH_HEADS.key(branch_key(branch))


def wallet(state: StateReader, account: bytes) -> Wallet | None:
    """An account's money and home operator."""
    return money.WALLETS.read(state, account)


def account(state: StateReader, key: bytes) -> Account | None:
    """A driver or pile owner."""
    return identity.ACCOUNTS.read(state, key)


def company(state: StateReader, name: str) -> Company | None:
    """A member."""
    return identity.COMPANIES.read(state, name.encode())


def companies(state: StateReader) -> dict[str, Company]:
    """All members by name."""
    return {key.decode(): record for key, record in identity.COMPANIES.scan(state)}


def seat(state: StateReader, name: str) -> Seat | None:
    """A company's node: its TLS key, its address, whether it is suspended."""
    return governance.SEATS.read(state, name.encode())


def next_vote_key(state: StateReader, name: str) -> bytes | None:
    """The vote key that a company has registered for the next epoch."""
    waiting = governance.NEXT_KEYS.read(state)
    return next((key.vote_key for key in waiting.keys if key.company == name), None) if waiting else None


def vote_key(state: StateReader, key: bytes) -> VoteKey | None:
    """Whose vote key it is or was, and whether it is fined; None if it neither waits, votes nor has voted."""
    return governance.VOTE_KEYS.read(state, key)


def proposals(state: StateReader) -> dict[bytes, Proposal]:
    """What waits for approval, by id: at most eight of each company."""
    return dict(governance.PROPOSALS.scan(state))


def book(state: StateReader, name: str) -> Book | None:
    """A company's accounts and positions."""
    return money.BOOKS.read(state, name.encode())


def balances(state: StateReader) -> dict[str, Book]:
    """Every company's book by name."""
    return {key.decode(): record for key, record in money.BOOKS.scan(state)}


def balances_sum_fen(state: StateReader) -> int:
    """Sum of all signed balances: zero, or money was made or lost. One record per company."""
    return sum(record.balances_fen for _, record in money.BOOKS.scan(state))


def audit(state: StateReader) -> list[str]:
    """What is wrong with the money of a state, in sentences; empty if every book agrees with its records and all sums
    to zero. Reads every wallet, escrow, pay-out and claim: for audits, never per block.
    """
    wallets, held, due, owed, reserved = Counter[str](), Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    found = []
    for key, purse in money.WALLETS.scan(state):
        wallets[purse.home] += purse.balance_fen
        if purse.balance_fen < 0:
            found.append(f"wallet {key.hex()} holds {purse.balance_fen} fen")
    for _, hold in money.HOLDS.scan(state):
        held[hold.home] += hold.amount_fen
        for name in {hold.home, hold.operator}:
            reserved[name] += hold.amount_fen
    for _, payout in money.PAYOUTS.scan(state):
        held[payout.home] += payout.amount_fen
    for debtor, creditor, amount_fen in claims(state):
        due[debtor] += amount_fen
        due[creditor] -= amount_fen
        owed[debtor] += amount_fen
    records = balances(state)
    for name in sorted({*records, *wallets, *held, *due, *reserved}):
        record = records.get(name, Book())
        for what, booked_fen, counted_fen in (
            ("wallets", record.wallets_fen, wallets[name]),
            ("escrow and pay-outs", record.held_fen, held[name]),
            ("claims", record.due_fen, due[name]),
            ("debts", record.owed_fen, owed[name]),
            ("reservations", record.reserved_fen, reserved[name]),
        ):
            if booked_fen != counted_fen:
                found.append(f"{name}: its book says {booked_fen} fen of {what}, their records {counted_fen}")
        if record.headroom_fen < 0:
            found.append(f"{name}: its headroom is {record.headroom_fen} fen")
        if record.own_fen:
            found.append(f"{name}: its own accounts sum to {record.own_fen} fen")
    if total_fen := balances_sum_fen(state):
        found.append(f"all balances sum to {total_fen} fen")
    return found


def rewards_fen(state: StateReader) -> dict[str, int]:
    """What each company has earned by keeping the book and not yet been paid out."""
    return {key.decode(): record.rewards_fen for key, record in money.BOOKS.scan(state)}


def claims(state: StateReader) -> list[tuple[str, str, int]]:
    """Who owes whom how much, in fen: (debtor, creditor, amount), zero claims left out."""
    found = []
    for key, due in money.DUES.scan(state):
        first, second = (name.decode() for name in key.split(b"\0"))
        if due.amount_fen > 0:
            found.append((first, second, due.amount_fen))
        elif due.amount_fen < 0:
            found.append((second, first, -due.amount_fen))
    return found


def pile(state: StateReader, name: str) -> Pile | None:
    """A pile's record."""
    return registry.PILES.read(state, name.encode())


def pile_state(state: StateReader, name: str) -> PileState | None:
    """Whether it is in service, its connectors and registers, its newest charging record."""
    return registry.STATES.read(state, name.encode())


def pile_of_key(state: StateReader, public_key: bytes) -> str | None:
    """Name of the pile that a device key belongs to: the gateway's admission."""
    device = registry.DEVICES.read(state, public_key)
    return device.pile if device else None


def piles(state: StateReader, after: str = "") -> Iterator[Pile]:
    """Piles in name order; the caller stops when it has enough."""
    prefix = registry.PILES.prefix
    for _, raw in state.scan(prefix, prefix + after.encode()):
        yield registry.PILES.decode(raw)


def session_record(state: StateReader, session_id: bytes) -> Session | None:
    """A session, in whatever state it is."""
    return session.SESSIONS.read(state, session_id)


def tariff_in_force(state: StateReader, region: str, now_ms: int) -> Tariff | None:
    """Prices of a region at a time not before the newest block's; None if it has none yet."""
    plan = tariff.PLANS.read(state, region.encode())
    if plan is None or (from_ms := tariff.in_force_from(plan, now_ms)) > now_ms:
        return None
    return tariff.TARIFFS.read(state, tariff.tariff_key(region, from_ms))


def tariff_of_session(state: StateReader, record: Session) -> Tariff | None:
    """The tariff that a session is billed by."""
    agreed = record.agreed
    return tariff.TARIFFS.read(state, tariff.tariff_key(agreed.region, agreed.tariff_from_ms))


def service_fee(state: StateReader, operator: str) -> ServiceFee | None:
    """An operator's fees for sessions that open now."""
    return tariff.FEES.read(state, operator.encode())
