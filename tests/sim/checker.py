"""The invariants, checked as the run goes: it sees what every node commits, stores and sends."""

from collections.abc import Callable

from consensus.effects import Outcome
from consensus.messages import Checkpoint, Commit, Message, NewView, Own, Prepare, PrePrepare, ViewChange
from consensus.records import VoteRecord, decode_record
from ledger.block import Block, Header, header_hash
from ledger.codec import decode, encode


class InvariantError(AssertionError):
    """An invariant does not hold; the message says which, where and when."""


class Checker:
    """What all honest nodes together have done."""

    def __init__(self) -> None:
        self.hashes: list[bytes] = []
        """Header hash of height 1, 2, …: the one chain."""
        self.roots: list[bytes] = []
        """State roots likewise."""
        self.placed: dict[bytes, int] = {}
        """Transaction id → the height that holds it."""
        self.sealed = 0
        """Highest height that some node's store holds: its transactions are acknowledged."""
        self._said: dict[tuple[str, int, int, type], bytes] = {}
        self._durable: dict[str, set[tuple[int, int, type, bytes]]] = {}

    def committed(self, node: str, block: Block) -> None:
        """I1: no two honest commits differ at a height. I2: no transaction stands in two blocks."""
        height = block.header.height
        if height <= len(self.hashes):
            if self.hashes[height - 1] != block.hash:
                raise InvariantError(f"I1: {node} committed another block at height {height}")
            return
        if height != len(self.hashes) + 1:
            raise InvariantError(f"I1: {node} committed height {height} after {len(self.hashes)}")
        self.hashes.append(block.hash)
        for transaction in block.transactions:
            if self.placed.setdefault(transaction.id, height) != height:
                raise InvariantError(f"I2: height {height} holds a transaction of height {self.placed[transaction.id]}")
        if len({transaction.id for transaction in block.transactions}) != len(block.transactions):
            raise InvariantError(f"I2: height {height} holds a transaction twice")

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
        """Note the votes that a node's disk holds."""
        durable = self._durable.setdefault(node, set())
        for data in records:
            if data[1] != 1:  # no vote
                continue
            record = decode_record(data)
            if isinstance(record, VoteRecord):
                durable.add(statement(record.message))

    def sent(self, node: str, message: Message) -> None:
        """I5: no honest key signs two values for one (height, view, phase), and none that is not on its disk."""
        if not isinstance(message, Own):
            return
        height, view, kind, value = said = statement(message)
        if said not in self._durable.get(node, ()):
            raise InvariantError(f"I5: {node} sent a {kind.__name__} of height {height} that is not on its disk")
        if self._said.setdefault((node, height, view, kind), value) != value:
            raise InvariantError(f"I5: {node} signed two {kind.__name__}s at height {height}, view {view}")


def statement(message: Own) -> tuple[int, int, type, bytes]:
    """(height, view, phase, value) of a vote."""
    if isinstance(message, PrePrepare):
        return decode(Header, message.header).height, message.view, PrePrepare, header_hash(message.header)
    if isinstance(message, Prepare | Commit):
        return message.height, message.view, type(message), message.header_hash
    if isinstance(message, Checkpoint):
        return message.height, 0, Checkpoint, message.result_digest
    if isinstance(message, ViewChange):
        return message.height, message.view, ViewChange, encode(message.certificate)
    return message.height, message.view, NewView, encode(message.view_changes) + header_hash(message.proposal.header)
