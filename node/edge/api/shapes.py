"""Shapes of the API's answers. Bytes are lower-case hex, money in fen, energy in Wh, time in ms since 1970."""

from typing import Any, Literal

from msgspec import Struct

from node.edge.api.parameters import SessionState


class Shape(Struct):
    """Base of answers."""


class Accepted(Shape):
    """The transaction is in the pool, or still on its way."""

    id: str
    status: Literal["pending"] = "pending"


class Simulation(Shape):
    """What a transaction would do in the block after `height`, were it there alone."""

    height: int
    """Of the newest sealed block: whose state it ran on."""
    code: int
    code_name: str
    gas_used: int
    changed_keys: int
    events: list[dict[str, Any]]


class Proof(Shape):
    """All that a light client needs to check a transaction and its receipt (canonical encodings, in hex)."""

    sealed_header: str
    """SealedHeader: header, result, seal."""
    transaction_proof: str
    """TransactionProof under the header's branch row."""
    receipt_proof: str
    """MerkleProof under the result's receipts root."""


class SealedTransaction(Shape):
    """A transaction with its outcome."""

    id: str
    status: Literal["sealed"]
    height: int
    index: int
    time_ms: int
    code: int
    """0: done."""
    code_name: str
    raw: str
    """The transaction as signed."""
    transaction: dict[str, Any]
    """Its fields."""
    receipt_raw: str
    receipt: dict[str, Any]
    events: list[dict[str, Any]]
    """The receipt's events, decoded."""
    proof: Proof


class TransactionRow(Shape):
    """A sealed transaction in a list."""

    id: str
    cursor: str
    time_ms: int
    contract: str
    method: str
    code: int
    code_name: str


class TransactionPage(Shape):
    """Transactions, newest first."""

    transactions: list[TransactionRow]
    next_before: str | None


class Status(Shape):
    """Where this node stands."""

    company: str
    chain_id: str
    chain_name: str
    version: str
    height: int
    time_ms: int
    """Of the newest sealed block."""
    state_root: str
    """After the newest sealed block."""
    core_connected: bool
    indexed_height: int
    """Up to here sessions, piles and bills are in the read model."""
    consensus: dict[str, Any]
    """What core says of itself; empty while it is not connected."""


class NetworkNode(Shape):
    """One validator as this node sees it."""

    name: str
    roles: list[str]
    self: bool
    """This very node."""
    connected: bool
    height: int | None
    """Sealed height that it announced."""
    agreed_height: int | None
    """Newest height whose result, state root included, it signed exactly as this node has it."""
    books: int
    """Non-empty blocks that it kept the book of."""


class Network(Shape):
    """The validators."""

    height: int
    state_root: str
    nodes: list[NetworkNode]


class BlockSummary(Shape):
    """A block in a list or stream."""

    height: int
    hash: str
    time_ms: int
    proposer: str
    view: int
    transactions: int
    state_root: str
    voters: list[str]
    """Whose signatures make the seal."""


class BlockPage(Shape):
    """Blocks, newest first."""

    blocks: list[BlockSummary]
    next_before: int | None
    """Give as `before` for the next page."""


class BlockDetail(Shape):
    """A block with what it did."""

    summary: BlockSummary
    failed: int
    """Transactions and scheduled calls that changed nothing."""
    header: dict[str, Any]
    result: dict[str, Any]
    transactions: list[dict[str, Any]]
    """id, contract, method, sender and outcome of each."""


class SealedHeaderView(Shape):
    """A sealed header, for light clients."""

    height: int
    raw: str
    """Canonical encoding of the SealedHeader."""
    header: dict[str, Any]
    result: dict[str, Any]
    seal: list[dict[str, Any]]


class StateEntry(Shape):
    """What the state holds under a key, with the proof against the sealed state root."""

    contract: int
    key: str
    value: str | None
    """None: nothing, and the proof shows that."""
    height: int
    state_root: str
    proof: str
    """Canonical encoding of the StateProof for contract number (4 bytes, big-endian) followed by the key."""
    sealed_header: str


class Account(Shape):
    """A driver's account."""

    key: str
    home_operator: str
    wallet_fen: int
    """What can be spent; what open sessions hold in escrow is not in it."""
    height: int


class Company(Shape):
    """A company's money and trade."""

    name: str
    display_name: str
    roles: list[str]
    cash_fen: int
    """The accounts of its book (credit positive): real money held for the others of the book, as a debit,"""
    wallets_fen: int
    """its customers' wallets,"""
    held_fen: int
    """what is pending out of them (escrow of open sessions),"""
    due_fen: int
    """what it owes all others less what they owe it,"""
    earned_fen: int
    """revenue less purchases;"""
    deposited_fen: int
    """real money that the trustee holds from it, as a debit,"""
    collateral_fen: int
    """its part behind the headroom,"""
    pool_fen: int
    """its part of the reward pools,"""
    rewards_fen: int
    """and what it earned by keeping the book."""
    reserved_fen: int
    """Headroom promised to open sessions."""
    owed_fen: int
    """Sum of the claims on it."""
    pool_debt_fen: int
    locked_until_ms: int
    headroom_fen: int
    """collateral − reserved − owed: what it may still come to owe."""
    sessions: int
    """Settled at its piles."""
    energy_wh: int
    revenue_fen: int


class Claim(Shape):
    """What one company owes another now."""

    debtor: str
    creditor: str
    amount_fen: int


class Companies(Shape):
    """All companies."""

    height: int
    balances_sum_fen: int
    """Sum of all signed balances of the chain: zero, always."""
    companies: list[Company]
    claims: list[Claim]
    """Largest first."""


class Pile(Shape):
    """A charging pile."""

    name: str
    operator: str
    kind: str
    region: str
    latitude_e7: int
    longitude_e7: int
    power_w: int
    connectors: int
    meter_state: str
    state: Literal["free", "opened", "charging", "claim"]
    """`opened`: reserved by a session that has not started. `claim`: taken by one that timed out."""
    sessions: int
    energy_wh: int


class PilePage(Shape):
    """Piles by name."""

    piles: list[Pile]
    next_after: str | None


class Session(Shape):
    """A charging session."""

    id: str
    cursor: str
    """Its place in the chain."""
    state: SessionState
    pile: str
    connector: int
    driver: str
    operator: str
    home_operator: str | None
    opened_ms: int
    started_ms: int | None
    settled_ms: int | None
    deposit_fen: int
    energy_wh: int
    total_fen: int
    refund_fen: int


class SessionPage(Shape):
    """Sessions, newest first."""

    height: int
    """Up to this block the page is complete: an event of a later one is not in it yet."""
    sessions: list[Session]
    next_before: str | None


class Line(Shape):
    """A bill line."""

    begin_ms: int
    end_ms: int
    energy_wh: int
    energy_price_e4: int
    service_price_e4: int
    energy_fen: int
    service_fen: int


class SessionDetail(Shape):
    """A session with its bill."""

    session: Session
    lines: list[Line]
    beans_wh: int
    occupancy_fen: int
    grid_fen: int
    owner_fen: int
    previous: str | None
    """The pile's previous session."""
    open_transaction: str
    """Its id is the session's; ask for it to get the proof."""


class SessionEvent(Shape):
    """One step of a session, as the stream tells it."""

    cursor: str
    event: Literal["opened", "started", "timed-out", "settled", "expired"]
    time_ms: int
    data: dict[str, Any]
    """The event's fields."""


class ContractText(Shape):
    """A contract's code and the text that it was made of: compile the text, and the hash is the code's."""

    number: int
    name: str
    code_hash: str
    code: str
    text: str
    versions: list[dict[str, Any]]
    """From which height on which code rules, rules no more, or will rule."""


class Contracts(Shape):
    """Contracts with their methods, argument fields and events."""

    contracts: list[dict[str, Any]]
