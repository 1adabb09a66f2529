"""The pool of verified transactions that wait for a block.

Each sender's wait in a queue of its own; blocks take from the queues in turn, so a flood of one sender delays nobody
else's. What a sender or the pool may hold is bounded: quota is a matter of the door, never of a block's validity. When
the pool is full, the newest of the sender that has most makes way for those who have fewer: a few keys that fill it
keep nobody out.
"""

from collections.abc import Sequence
from itertools import islice

from msgspec import Struct

from ledger.errors import ClientError
from ledger.genesis import Parameters
from ledger.transaction import Transaction


class MempoolLimits(Struct, frozen=True):
    """Bounds of the pool."""

    count_max: int = 20_000
    """Transactions: some seconds of blocks; who waits longer had better try again."""
    bytes_max: int = 32 * 1024 * 1024
    """Bytes: leaves room in a node of a few hundred MB."""
    sender_max: int = 5_000
    """Transactions of one sender: a quarter of the pool."""
    expect_ms: int = 1_000
    """How long a transaction may be on its way through verification. Then another peer's copy is verified: the first
    was bad, or dropped because too many waited.
    """


class Mempool:
    """Transactions by id and by leaf, and per sender in the order of their coming."""

    def __init__(self, parameters: Parameters, limits: MempoolLimits) -> None:
        self._parameters = parameters
        """Limits of the next block; those of expiry never change."""
        self._limits = limits
        self._by_leaf: dict[bytes, Transaction] = {}
        self._by_id: dict[bytes, Transaction] = {}
        self._queues: dict[bytes, dict[bytes, Transaction]] = {}
        """Sender → id → transaction; the queue whose turn is next stands first."""
        self._longest = b""
        """The sender that has most, unless `_look_again`."""
        self._look_again = False
        """Whether transactions have left since we looked."""
        self._expected: dict[bytes, int] = {}
        """Leaf → steady time until which it is expected."""
        self._bytes = 0
        self._longest_ms = (parameters.expiry_max_ms, parameters.device_expiry_max_ms)
        """By expiry class."""

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def size_bytes(self) -> int:
        """Bytes of all transactions."""
        return self._bytes

    @property
    def is_full(self) -> bool:
        """Whether not one more fits."""
        return len(self._by_id) >= self._limits.count_max or self._bytes >= self._limits.bytes_max

    def has_full_block(self) -> bool:
        """Whether as many wait as a block may hold."""
        parameters = self._parameters
        return len(self._by_id) >= parameters.block_transactions_max or self._bytes >= parameters.block_bytes_max

    def get(self, leaf: bytes) -> Transaction | None:
        """The transaction with this leaf."""
        return self._by_leaf.get(leaf)

    def expects(self, leaf: bytes) -> bool:
        """Whether the transaction with this leaf is being verified."""
        return leaf in self._expected

    def expect(self, leaf: bytes, steady_ms: int) -> bool:
        """Note that the transaction with this leaf goes to be verified; False if it is here or on its way already."""
        expected = self._expected
        if leaf in self._by_leaf or expected.get(leaf, 0) > steady_ms:
            return False
        if len(expected) >= self._limits.count_max:
            expected.clear()  # those whose signatures were bad never came
        expected[leaf] = steady_ms + self._limits.expect_ms
        return True

    def arrived(self, transactions: Sequence[Transaction]) -> None:
        """Note that transactions are verified."""
        for transaction in transactions:
            self._expected.pop(transaction.leaf, None)

    def check(self, transaction: Transaction, now_ms: int, parent_time_ms: int) -> None:
        """Raise ClientError if the pool would refuse it: `transaction-expired`, `-too-far`, `-gas`, `-seen`,
        `sender-quota`, `pool-full`.

        `parent_time_ms` is the time of the last committed block, which a block's expiry check counts from.
        """
        body = transaction.body
        latest_ms = parent_time_ms + self._longest_ms[body.expiry_class]
        if body.valid_until_ms <= max(now_ms, parent_time_ms):
            raise ClientError("transaction-expired", f"valid until {body.valid_until_ms}, chain time is {now_ms}")
        if body.valid_until_ms > latest_ms:
            raise ClientError("transaction-too-far", f"valid until {body.valid_until_ms}, at most {latest_ms} now")
        if not self._fits(transaction):
            raise ClientError("transaction-gas", f"a block holds {self._parameters.block_gas_max} gas at most")
        if transaction.id in self._by_id:
            raise ClientError("transaction-seen", "it waits already")
        if self.is_full and self._gives_way(body.sender) is None:
            raise ClientError("pool-full", "too many transactions wait; try again in a second")
        if len(self._queues.get(body.sender, ())) >= self._limits.sender_max:
            raise ClientError("sender-quota", f"{self._limits.sender_max} transactions of this sender wait already")

    def admit(self, transaction: Transaction, now_ms: int, parent_time_ms: int) -> None:
        """Take a verified transaction in, if need be in the place of others. Raises ClientError as `check` does."""
        self.check(transaction, now_ms, parent_time_ms)
        sender = transaction.body.sender
        while self.is_full:
            newest = self._gives_way(sender)
            if newest is None:  # it is larger than those that made way
                raise ClientError("pool-full", "too many transactions wait; try again in a second")
            self.remove((newest,))
        self._by_leaf[transaction.leaf] = transaction
        self._by_id[transaction.id] = transaction
        queue = self._queues.setdefault(sender, {})
        queue[transaction.id] = transaction
        if len(queue) > len(self._queues.get(self._longest, ())):
            self._longest = sender
        self._bytes += len(transaction.raw)

    def _gives_way(self, sender: bytes) -> Transaction | None:
        """The newest of the sender that has most, unless `sender` would then have more: they would push each other out
        in turn. All queues are looked at only when transactions have left: whoever is refused costs nothing.
        """
        if self._look_again:
            self._longest = max(self._queues, key=lambda each: len(self._queues[each]))
            self._look_again = False
        longest = self._queues[self._longest]
        return next(reversed(longest.values())) if len(longest) > len(self._queues.get(sender, ())) + 1 else None

    def select(self, time_ms: int, parent_time_ms: int) -> Sequence[Transaction]:
        """Transactions for a block of `time_ms` on a parent of `parent_time_ms`: one of each sender in turn, within the
        block's limits.
        """
        parameters = self._parameters
        count, room, gas = parameters.block_transactions_max, parameters.block_bytes_max, parameters.block_gas_max
        chosen: list[Transaction] = []
        queues = [iter(queue.values()) for queue in self._queues.values()]
        while queues and len(chosen) < count:
            still_open = []
            for queue in queues:
                transaction = next(queue, None)
                if transaction is None:
                    continue
                still_open.append(queue)
                body, size = transaction.body, len(transaction.raw)
                latest_ms = parent_time_ms + self._longest_ms[body.expiry_class]
                if not time_ms <= body.valid_until_ms <= latest_ms or body.gas_limit > gas:
                    continue
                if size > room:
                    return chosen
                gas -= body.gas_limit
                room -= size
                chosen.append(transaction)
                if len(chosen) == count:
                    break
            queues = still_open
        return chosen

    def remove(self, transactions: Sequence[Transaction]) -> None:
        """Forget transactions, by their ids: a block may hold one under another signature than ours. Their senders go
        to the end of the line.
        """
        self._look_again = True
        for transaction in transactions:
            ours = self._by_id.pop(transaction.id, None)
            if ours is None:
                continue
            del self._by_leaf[ours.leaf]
            self._bytes -= len(ours.raw)
            queue = self._queues.pop(ours.body.sender)
            del queue[ours.id]
            if queue:
                self._queues[ours.body.sender] = queue

    def limit(self, parameters: Parameters) -> None:
        """Take the limits of the next block, and forget what no block may hold under them: waiting for it would suspect
        honest primaries.
        """
        if parameters != self._parameters:
            self._parameters = parameters
            self.remove([transaction for transaction in self._by_id.values() if not self._fits(transaction)])

    def _fits(self, transaction: Transaction) -> bool:
        limits = self._parameters
        return transaction.body.gas_limit <= limits.block_gas_max and len(transaction.raw) <= limits.block_bytes_max

    def expire(self, now_ms: int) -> int:
        """Forget the transactions that no block may hold any more, and say how many: waiting for them would suspect
        honest primaries.
        """
        expired = [transaction for transaction in self._by_id.values() if transaction.body.valid_until_ms <= now_ms]
        self.remove(expired)
        return len(expired)

    def oldest(self, count: int) -> list[Transaction]:
        """Those that have waited longest."""
        return list(islice(self._by_id.values(), count))
