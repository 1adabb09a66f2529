"""The invariants, checked as the run goes: it sees what every honest node commits, stores and sends.

Every check costs the same however long the run is.
"""

from collections.abc import Callable

from consensus.effects import Outcome
from consensus.messages import Checkpoint, Message, Own, PrePrepare, ViewChange
from ledger.block import Block, Header
from ledger.codec import decode
from ledger.genesis import Parameters

SKEW_MS_MAX = 1_000
"""How far ahead a clock may be that counts as right."""


class InvariantError(AssertionError):
    """An invariant does not hold; the message says which, where and when."""


class Checker:
    """What all honest nodes together have done."""

    def __init__(
        self,
        chain_id: bytes,
        parameters: Parameters,
        time_ms: int,
        verify: Callable[[bytes, bytes, bytes], bool],
        right_ms: Callable[[], int] | None,
    ) -> None:
        """`right_ms` says what right clocks show; None where wrong ones may be a quorum."""
        self.hashes: list[bytes] = []
        """Header hash of height 1, 2, …: the one chain."""
        self.roots: list[bytes] = []
        """State roots likewise."""
        self.placed: dict[bytes, int] = {}
        """Transaction id → the height that holds it."""
        self.sealed = 0
        """Highest height that some node's store holds: its transactions are acknowledged."""
        self.late: set[tuple[int, int]] = set()
        """(height, view) pairs that ran out of time somewhere."""
        self._chain_id = chain_id
        self._parameters = parameters
        self.time_ms = time_ms
        """Of the last committed block: the chain's time."""
        self._verify = verify
        self._right_ms = right_ms
        self._voters: list[frozenset[str]] = []
        """Who decided for each block, by the first certificate or seal that was seen."""
        self._said: dict[tuple[str, int, int, type], bytes] = {}
        self._given_up: dict[tuple[str, int], int] = {}
        self._durable: dict[str, set[bytes]] = {}

    def committed(self, node: str, block: Block, voters: frozenset[str]) -> None:
        """I1: no two honest commits differ at a height; if they do, the voters of both certificates say who signed
        twice. I2: no transaction stands in two blocks.
        """
        height = block.header.height
        if height <= len(self.hashes):
            if self.hashes[height - 1] != block.hash:
                raise InvariantError(self._fork(node, height, block.hash, voters))
            return
        if height != len(self.hashes) + 1:
            raise InvariantError(f"I1: {node} committed height {height} after {len(self.hashes)}")
        self.hashes.append(block.hash)
        self._voters.append(voters)
        ids = {transaction.id for transaction in block.transactions}
        if len(ids) != len(block.transactions):
            raise InvariantError(f"I2: height {height} holds a transaction twice")
        for transaction in block.transactions:  # in their order, which clients go by
            if (placed := self.placed.setdefault(transaction.id, height)) != height:
                raise InvariantError(f"I2: height {height} holds a transaction of height {placed}")
        self._check_valid(block)

    def _check_valid(self, block: Block) -> None:
        """I2 as well: nothing is committed that no honest member may accept. Written anew from the rules, not from the
        engine's code.
        """
        parent_ms, self.time_ms = self.time_ms, block.header.time_ms
        where = f"I2: height {block.header.height} holds"
        if block.header.time_ms <= parent_ms:
            raise InvariantError(f"{where} a time that is not later than its parent's")
        if self._right_ms and self.time_ms > self._right_ms() + self._parameters.time_ahead_max_ms + SKEW_MS_MAX:
            raise InvariantError(f"{where} a time that right clocks had not come near")
        branches = [row.branch for row in block.header.branches for _ in range(row.count)]
        if branches != [transaction.body.branch for transaction in block.transactions]:
            raise InvariantError(f"{where} a transaction under another branch")
        if sum(transaction.body.gas_limit for transaction in block.transactions) > self._parameters.block_gas_max:
            raise InvariantError(f"{where} more gas than a block may")
        if len(block.transactions) > self._parameters.block_transactions_max:
            raise InvariantError(f"{where} more transactions than a block may")
        if sum(len(transaction.raw) for transaction in block.transactions) > self._parameters.block_bytes_max:
            raise InvariantError(f"{where} more bytes than a block may")
        for transaction in block.transactions:
            body = transaction.body
            longest_ms = (self._parameters.expiry_max_ms, self._parameters.device_expiry_max_ms)[body.expiry_class]
            if not block.header.time_ms <= body.valid_until_ms <= parent_ms + longest_ms:
                raise InvariantError(f"{where} a transaction whose time is over, or far")
            if body.chain_id != self._chain_id:
                raise InvariantError(f"{where} a transaction of another chain")
            if not self._verify(body.sender, transaction.id, transaction.signature):
                raise InvariantError(f"{where} a transaction that nobody signed")

    def executed(self, node: str, outcome: Outcome, audit: Callable[[], list[str]]) -> None:
        """I3: equal state roots. I4: no audit of a state finds anything; one is enough for all that are equal."""
        if outcome.height == len(self.roots) + 1:
            self.roots.append(outcome.state_root)
            if found := audit():
                raise InvariantError(f"I4: {node} after height {outcome.height}: {'; '.join(found)}")
        elif self.roots[outcome.height - 1] != outcome.state_root:
            raise InvariantError(f"I3: {node} has another state after height {outcome.height}")

    def stored(self, node: str, height: int, digest: bytes) -> None:
        """I2: what is sealed was committed, and stays."""
        if height > len(self.hashes) or self.hashes[height - 1] != digest:
            raise InvariantError(f"I2: {node} stored height {height}, which is not the committed block")
        self.sealed = max(self.sealed, height)

    def persisted(self, node: str, records: list[bytes]) -> None:
        """Note the votes that a node's disk holds, by their signatures, which stand last."""
        self._durable.setdefault(node, set()).update(data[-64:] for data in records if data[1] == 1)

    def sent(self, node: str, message: Message) -> None:
        """I5: no honest key signs two values for one (height, view, phase), none that is not on its disk, and none in a
        view that it gave up.
        """
        if not isinstance(message, Own):
            return
        kind, signature = type(message), message.signature
        height = decode(Header, message.header).height if isinstance(message, PrePrepare) else message.height
        view = 0 if isinstance(message, Checkpoint) else message.view
        where = f"{node} sent a {kind.__name__} of height {height}, view {view}"
        if signature not in self._durable.get(node, ()):
            raise InvariantError(f"I5: {where}, that is not on its disk")
        if self._said.setdefault((node, height, view, kind), signature) != signature:
            raise InvariantError(f"I5: {where}, and before another one")
        if kind is Checkpoint:
            return
        if view < self._given_up.get((node, height), 0):
            raise InvariantError(f"I5: {where}, which it gave up")
        if kind is ViewChange:
            self._given_up[node, height] = view

    def _fork(self, node: str, height: int, digest: bytes, voters: frozenset[str]) -> str:
        """What a fork looks like, and who signed on both sides."""
        named = ", ".join(sorted(voters & self._voters[height - 1]))
        ours = self.hashes[height - 1]
        return (
            f"I1: {node} committed another block at height {height}: {digest.hex()[:8]} beside {ours.hex()[:8]}; "
            f"signed on both sides: {named}"
        )
