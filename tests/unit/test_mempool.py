"""The pool of waiting transactions."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from consensus.messages import Transactions
from ledger.errors import ClientError
from ledger.genesis import Parameters
from ledger.transaction import ExpiryClass, Transaction
from node.effects import Verify
from node.mempool import Mempool, MempoolLimits
from tests.unit.consensus_kit import CLIENT, T0, Bench, make_transaction

NOW = T0 + 1_000


def pool_of(*transactions: Transaction, parameters: Parameters | None = None, **limits: int) -> Mempool:
    """A pool with these transactions."""
    pool = Mempool(parameters or Parameters(), MempoolLimits(**limits))
    for transaction in transactions:
        pool.admit(transaction, NOW, T0)
    return pool


def by(sender: int, salt: int, **changes: Any) -> Transaction:
    """A transaction of a sender; nobody here looks at signatures."""
    return make_transaction(salt, sender=CLIENT.public_key[:-1] + bytes([sender]), **changes)


REFUSED: dict[str, dict[str, Any]] = {
    "transaction-expired": {"valid_until_ms": NOW},
    "transaction-too-far": {"valid_until_ms": T0 + 600_001},
    "transaction-gas": {"gas_limit": 2_000_000_001},
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_no_block_could_hold_is_refused(code):
    pool = pool_of()
    with pytest.raises(ClientError, match=f"^{code}"):
        pool.admit(make_transaction(1, **REFUSED[code]), NOW, T0)
    assert (len(pool), pool.size_bytes) == (0, 0)


def test_records_of_devices_may_be_older():
    later = make_transaction(1, expiry_class=ExpiryClass.DEVICE, valid_until_ms=T0 + 86_400_000)
    assert len(pool_of(later)) == 1


def test_one_id_waits_once_whatever_its_signature():
    first = make_transaction(1)
    pool = pool_of(first)
    signed_again = replace(first, leaf=bytes(32), signature=bytes(64))
    with pytest.raises(ClientError, match="transaction-seen"):
        pool.admit(signed_again, NOW, T0)
    pool.remove([signed_again])
    assert len(pool) == 0
    assert pool.get(first.leaf) is None


def test_a_sender_has_a_quota():
    pool = pool_of(*(by(1, salt) for salt in range(3)), sender_max=3)
    with pytest.raises(ClientError, match="sender-quota"):
        pool.admit(by(1, 9), NOW, T0)
    pool.admit(by(2, 9), NOW, T0)


def test_the_pool_is_bounded_by_count_and_bytes():
    pool = pool_of(*(by(salt, salt) for salt in range(3)), count_max=3)
    with pytest.raises(ClientError, match="pool-full"):
        pool.admit(by(9, 9), NOW, T0)
    small = pool_of(by(1, 1), bytes_max=100)
    with pytest.raises(ClientError, match="pool-full"):
        small.admit(by(2, 2), NOW, T0)


def test_a_flood_of_one_sender_delays_nobody_else():
    flood = [by(1, salt) for salt in range(50)]
    other = by(2, 99)
    pool = pool_of(*flood, other, parameters=Parameters(block_transactions_max=4))
    chosen = pool.select(NOW, T0)
    assert other in chosen
    assert len(chosen) == 4
    assert [tx for tx in chosen if tx is not other] == flood[:3], "each sender's own are in the order of their coming"


def test_senders_take_turns_from_block_to_block():
    senders = [by(sender, 10 * sender + salt) for sender in range(1, 4) for salt in range(2)]
    pool = pool_of(*senders, parameters=Parameters(block_transactions_max=2))
    first = pool.select(NOW, T0)
    pool.remove(first)
    second = pool.select(NOW, T0)
    assert [tx.body.sender[-1] for tx in first] == [1, 2]
    assert [tx.body.sender[-1] for tx in second] == [3, 1]


def test_a_block_keeps_its_limits():
    transactions = [by(sender, sender, gas_limit=400) for sender in range(5)]
    size = len(transactions[0].raw)
    by_gas = pool_of(*transactions, parameters=Parameters(block_gas_max=1_000))
    by_bytes = pool_of(*transactions, parameters=Parameters(block_bytes_max=3 * size + 5))
    assert len(by_gas.select(NOW, T0)) == 2
    assert len(by_bytes.select(NOW, T0)) == 3
    assert by_bytes.has_full_block()


def test_expired_transactions_are_dropped():
    pool = pool_of(by(1, 1, valid_until_ms=NOW + 10), by(1, 2))
    assert len(pool.select(NOW + 11, T0)) == 1
    assert pool.expire(NOW + 10) == 1
    assert len(pool) == 1


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 30), st.booleans()), max_size=60))
def test_what_is_counted_is_what_waits(steps):
    pool = pool_of(count_max=20)
    waiting: dict[bytes, Transaction] = {}
    for sender, salt, arrives in steps:
        transaction = by(sender, salt)
        if arrives and transaction.id not in waiting and len(waiting) < 20:
            pool.admit(transaction, NOW, T0)
            waiting[transaction.id] = transaction
        elif not arrives:
            pool.remove([transaction])
            waiting.pop(transaction.id, None)
    assert len(pool) == len(waiting)
    assert pool.size_bytes == sum(len(transaction.raw) for transaction in waiting.values())
    assert {transaction.id for transaction in pool.select(NOW, T0)} == set(waiting)
    assert all(pool.get(transaction.leaf) is not None for transaction in waiting.values())


def test_a_few_senders_that_fill_the_pool_keep_nobody_out():
    floods = [[by(sender, 100 * sender + salt) for salt in range(5)] for sender in range(1, 5)]
    pool = pool_of(*(transaction for flood in floods for transaction in flood), count_max=20, sender_max=5)
    honest = [by(9, 900 + salt) for salt in range(4)]
    for transaction in honest:
        pool.check(transaction, NOW, T0)
        pool.admit(transaction, NOW, T0)
    assert len(pool) == 20
    assert pool.size_bytes == sum(len(transaction.raw) for transaction in pool.oldest(20))
    assert all(pool.get(transaction.leaf) for transaction in honest)
    kept = [[transaction for transaction in flood if pool.get(transaction.leaf)] for flood in floods]
    assert kept == [flood[:4] for flood in floods], "each lost its newest, none more than another"
    with pytest.raises(ClientError, match="pool-full"):
        pool.admit(by(9, 999), NOW, T0)  # it would have more than they: they would push each other out in turn


def test_a_large_transaction_takes_the_room_of_several():
    small = [by(1, salt) for salt in range(6)]
    large = by(2, 9, args=bytes(2 * len(small[0].raw)))
    size = sum(len(transaction.raw) for transaction in small)
    pool = pool_of(*small, bytes_max=size)
    pool.admit(large, NOW, T0)
    assert pool.get(large.leaf)
    assert pool.size_bytes <= size + len(large.raw)


@given(st.lists(st.integers(1, 6), max_size=80))
def test_a_full_pool_shares_its_room_evenly(senders):
    pool = pool_of(count_max=12)
    wanted: dict[int, int] = {}
    for salt, sender in enumerate(senders):
        wanted[sender] = wanted.get(sender, 0) + 1
        with suppress(ClientError):
            pool.admit(by(sender, salt), NOW, T0)
    held = {sender: len([tx for tx in pool.oldest(12) if tx.body.sender[-1] == sender]) for sender in wanted}
    assert len(pool) == min(12, len(senders))
    if sum(wanted.values()) > 12:
        most = max(held.values())
        last = senders[-1]
        assert held[last] >= min(wanted[last], most - 1) or held[last] + 1 >= most


def test_an_expectation_ends_so_that_another_copy_is_verified():
    pool = pool_of()
    transaction = by(1, 1)
    assert pool.expect(transaction.leaf, 0)
    assert not pool.expect(transaction.leaf, 999)
    assert pool.expect(transaction.leaf, 1_000)
    pool.arrived([transaction])
    assert not pool.expects(transaction.leaf)


def test_gossip_that_verification_dropped_is_verified_again():
    bench = Bench()
    gossip = Transactions((by(1, 1).raw,))

    def asked() -> int:
        return len([effect for effect in bench.effects if isinstance(effect, Verify)])

    bench.hear("Bohui", gossip)
    bench.hear("Chengdian", gossip)
    assert asked() == 1
    bench.tick(1_000)
    bench.hear("Chengdian", gossip)
    assert asked() == 2


def test_F07_what_no_block_may_hold_under_new_limits_leaves_the_pool():
    """It would keep the timer running, and every honest primary would be suspected in turn."""
    parameters = Parameters()
    small, thirsty, long = make_transaction(1), make_transaction(2, gas_limit=500_000_000), make_transaction(3)
    large = make_transaction(4, args=bytes(2_000))
    pool = pool_of(small, thirsty, long, large, parameters=parameters)
    pool.limit(replace(parameters))
    assert len(pool) == 4
    pool.limit(replace(parameters, block_gas_max=400_000_000, block_bytes_max=1_000))
    assert [transaction.id for transaction in pool.oldest(9)] == [small.id, long.id]
    assert pool.size_bytes == len(small.raw) + len(long.raw)
