"""What the clients of a chaos run saw, what the nodes' stores hold afterwards, and whether the two agree."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import Struct

from contracts import views
from ledger.block import Receipt, SealedHeader
from ledger.codec import decode, encode
from ledger.transaction import decode_transaction
from node.storage.reader import LedgerReader, Snapshot


class Executed(Struct, frozen=True):
    """A transaction in the chain: where, and what came of it."""

    height: int
    position: int
    receipt: bytes

    @property
    def code(self) -> int:
        """What its receipt says: 0 if it moved the money."""
        return decode(Receipt, self.receipt).code


@dataclass
class Payment:
    """One transaction and all that its client knows of it."""

    id: bytes
    payer: bytes
    payee: bytes
    amount_fen: int
    submitted_s: float
    """Before it was first sent. On the steady clock, as all times here."""
    code: int = 0
    """That its receipt must have, if it is executed."""
    doubtful: bool = False
    """A node may have taken it: no answer came, or one that promises nothing."""
    refused: str = ""
    """A node's code for why not."""
    acknowledged: Executed | None = None
    """By a sealed receipt whose proof holds."""
    acknowledged_s: float = 0.0
    acknowledged_by: str = ""

    @property
    def outcome(self) -> str:
        """As its client must see it."""
        if self.acknowledged:
            return "acknowledged"
        return "indeterminate" if self.doubtful or not self.refused else "refused"


class Read(Struct, frozen=True):
    """A balance that a node told."""

    node: str
    begun_s: float
    ended_s: float
    account: bytes
    height: int
    balance_fen: int


@dataclass
class History:
    """All that the clients saw."""

    wallets_fen: dict[bytes, int]
    """Account → what it began with."""
    payments: list[Payment] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    sealed: dict[int, bytes] = field(default_factory=dict)
    """Height → header and result that a client has seen sealed there."""
    requests: Counter[str] = field(default_factory=Counter)
    """By how they ended."""
    wrong: list[str] = field(default_factory=list)
    """What clients noticed themselves: proofs that do not hold, answers that never came."""

    def outcomes(self) -> Counter[str]:
        """How many of each."""
        return Counter(payment.outcome for payment in self.payments)

    def saw_sealed(self, height: int, sealed: SealedHeader) -> bool:
        """Note a block whose seal a client has checked; whether nobody has seen another one sealed at this height."""
        block = encode((sealed.header, sealed.result))
        return self.sealed.setdefault(height, block) == block


class Chain(Struct, frozen=True):
    """What one node's store holds."""

    blocks: tuple[bytes, ...]
    """Header and result of each height, from 1."""
    executed: dict[bytes, list[Executed]]
    """Transaction id → every place at which it stands; those that the clients' keys signed."""
    indexed: frozenset[bytes]
    """Ids that the store finds by its index, at their first place."""
    wallets_fen: dict[bytes, int]


def read_chain(ledger: Path, accounts: Collection[bytes]) -> Chain:
    """All of a store whose node has stopped."""
    reader = LedgerReader(ledger)
    try:
        with reader.snapshot() as snapshot:
            executed: dict[bytes, list[Executed]] = defaultdict(list)
            blocks = [_add_block(snapshot, height, executed, accounts) for height in range(1, snapshot.height + 1)]
            indexed = {id_ for id_, at in executed.items() if snapshot.locate(id_) == (at[0].height, at[0].position)}
            wallets = {
                account: wallet.balance_fen for account in accounts if (wallet := views.wallet(snapshot, account))
            }
            return Chain(tuple(blocks), dict(executed), frozenset(indexed), wallets)
    finally:
        reader.close()


def _add_block(
    snapshot: Snapshot, height: int, executed: dict[bytes, list[Executed]], accounts: Collection[bytes]
) -> bytes:
    sealed = snapshot.sealed(height)
    assert sealed is not None
    receipts = snapshot.receipts(height)
    for position, raw in enumerate(snapshot.transactions(height)):
        transaction = decode_transaction(raw)
        if transaction.body.sender in accounts:  # the nodes have business of their own
            executed[transaction.id].append(Executed(height, position, receipts[position]))
    return encode((sealed.header, sealed.result))


def violations(history: History, chains: Mapping[str, Chain]) -> list[str]:
    """What is wrong, in sentences; empty if all that was promised holds."""
    found = list(history.wrong)
    newest = max(chains.values(), key=lambda chain: len(chain.blocks))
    for name, chain in chains.items():
        if chain.blocks != newest.blocks[: len(chain.blocks)]:
            found.append(f"{name} has another chain")
        elif len(chain.blocks) < len(newest.blocks):
            found.append(f"{name} ends at height {len(chain.blocks)}, others at {len(newest.blocks)}")
        # All nodes together may have another history than the one that they proved to clients.
        found += [
            f"{name} has not the block that was sealed at height {height}"
            for height, block in sorted(history.sealed.items())
            if chain.blocks[height - 1 : height] != (block,)
        ]
        found += [f"{name}: {sentence}" for sentence in _wrong_with_payments(history.payments, chain)]
        found += [f"{name}: {sentence}" for sentence in _wrong_with_order(history.payments, chain)]
        found += [f"{name}: {sentence}" for sentence in _wrong_with_wallets(history, chain)]
    return found + _wrong_with_reads(history, newest)


def _wrong_with_payments(payments: Sequence[Payment], chain: Chain) -> list[str]:
    found = []
    for payment in payments:
        places, told = chain.executed.get(payment.id, []), payment.id.hex()[:12]
        if len(places) > 1:
            found.append(f"{told} was executed {len(places)} times, at {[place.height for place in places]}")
        if places and payment.id not in chain.indexed:
            found.append(f"{told} stands at height {places[0].height} and is not found there")
        if places and places[0].code != payment.code:
            found.append(f"{told} was executed with code {places[0].code}, not {payment.code}")
        if payment.outcome == "refused" and places:
            found.append(f"{told} was refused ({payment.refused}) and executed at height {places[0].height}")
        if payment.acknowledged and not places:
            found.append(f"{told} was acknowledged at height {payment.acknowledged.height} and is lost")
        if payment.acknowledged and places and places[0] != payment.acknowledged:
            found.append(f"{told} was acknowledged otherwise than it was executed at height {places[0].height}")
    strangers = chain.executed.keys() - {payment.id for payment in payments}
    return found + [f"{id_.hex()[:12]} was executed and never submitted" for id_ in sorted(strangers)]


def _wrong_with_order(payments: Sequence[Payment], chain: Chain) -> list[str]:
    """What was submitted after an acknowledgement stands above the height that was acknowledged: that block was
    complete. (Two in one block are in no order that a client could tell.)
    """
    known = sorted((each.acknowledged_s, each.acknowledged.height) for each in payments if each.acknowledged)
    found = []
    newest, at = 0, 0
    for payment in sorted(payments, key=lambda payment: payment.submitted_s):
        while at < len(known) and known[at][0] < payment.submitted_s:
            newest = max(newest, known[at][1])
            at += 1
        found += [
            f"{payment.id.hex()[:12]} stands at height {place.height} and was submitted after {newest} was known"
            for place in chain.executed.get(payment.id, [])
            if place.height <= newest
        ]
    return found


def _moves(payments: Sequence[Payment], chain: Chain) -> list[tuple[int, bytes, int]]:
    """(height, account, fen) of every executed payment, in chain order."""
    moves = []
    for payment in payments:
        for place in chain.executed.get(payment.id, []):
            if place.code == 0:
                moves.append((place.height, payment.payer, -payment.amount_fen))
                moves.append((place.height, payment.payee, payment.amount_fen))
    return sorted(moves, key=lambda move: move[0])


def _wrong_with_wallets(history: History, chain: Chain) -> list[str]:
    expected = Counter(history.wallets_fen)
    for _, account, amount_fen in _moves(history.payments, chain):
        expected[account] += amount_fen
    return [
        f"wallet {account.hex()[:12]} holds {chain.wallets_fen.get(account)} fen, its payments make {expected[account]}"
        for account in history.wallets_fen
        if chain.wallets_fen.get(account) != expected[account]
    ]


def _wrong_with_reads(history: History, chain: Chain) -> list[str]:
    """Reads by height: each tells the balance of the chain at its height; a node's heights never fall; and a node that
    has acknowledged a payment never answers from before it.
    """
    found = []
    balances, moves, at = Counter(history.wallets_fen), _moves(history.payments, chain), 0
    for read in sorted(history.reads, key=lambda read: read.height):
        while at < len(moves) and moves[at][0] <= read.height:
            balances[moves[at][1]] += moves[at][2]
            at += 1
        if read.height > len(chain.blocks):
            found.append(f"{read.node} told of height {read.height}, which there is not")
        elif read.balance_fen != balances[read.account]:
            found.append(
                f"{read.node} told {read.balance_fen} fen of {read.account.hex()[:12]} at height {read.height}, "
                f"where it holds {balances[read.account]}"
            )
    for node in {read.node for read in history.reads}:
        reads = [read for read in history.reads if read.node == node]
        # (time, height): what is known at that time, and must not be forgotten by a read that begins later.
        known = [(read.ended_s, read.height) for read in reads]
        known += [
            (payment.acknowledged_s, payment.acknowledged.height)
            for payment in history.payments
            if payment.acknowledged and payment.acknowledged_by == node
        ]
        known.sort()
        newest, at = 0, 0
        for read in sorted(reads, key=lambda read: read.begun_s):
            while at < len(known) and known[at][0] < read.begun_s:
                newest = max(newest, known[at][1])
                at += 1
            if read.height < newest:
                found.append(f"{node} answered from height {read.height} after {newest} was known from it")
    return found
