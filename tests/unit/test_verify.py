"""Re-checking a chain: a device's record that was sealed again is found at its first place, and is no fraud."""

import pytest

from contracts.codes import Code
from ledger.block import Receipt
from ledger.codec import decode
from ledger.errors import ClientError
from ledger.transaction import ExpiryClass, decode_transaction
from node.cli.verify import verify_chain
from tests.device_chain import DeviceChain
from tests.pile_bench import PileBench

MINUTE = 60_000


def device_record(chain: DeviceChain):
    """The newest device's record of a chain, with its place."""
    for height in range(chain.height, 0, -1):
        with chain.store.snapshot() as snapshot:
            for raw in snapshot.transactions(height):
                tx = decode_transaction(raw)
                if tx.body.expiry_class is ExpiryClass.DEVICE:
                    return tx, snapshot.locate(tx.id)
    raise LookupError


@pytest.fixture
def chain(tmp_path):
    """A chain on which a pile began a session."""
    bench = PileBench(tmp_path)
    bench.chain.seal()
    bench.tick(MINUTE)
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.tick(MINUTE, 7_000)
    yield bench.chain
    bench.chain.close()


def test_F07_a_device_record_that_is_sealed_again_keeps_its_first_place_and_receipt(chain):
    """Anybody may replay its public bytes once the replay window has forgotten it."""
    tx, first = device_record(chain)
    [receipt, *_] = chain.seal(tx, at_ms=chain.now_ms + 11 * MINUTE)
    assert receipt.code == Code.COUNTER_STALE
    with chain.store.snapshot() as snapshot:
        place = snapshot.locate(tx.id)
        assert place == first
        assert decode(Receipt, snapshot.receipts(place.height)[place.position]).code == 0
    height = chain.height
    chain.close()
    assert verify_chain(chain.path, chain.genesis, lambda *_: None).height == height


def test_F04_any_other_transaction_that_ran_before_is_a_fraud(chain):
    payment = chain.open("d1", "Pile-1")
    chain.seal(payment)
    chain.seal(payment)
    chain.close()
    with pytest.raises(ClientError, match="ran before"):
        verify_chain(chain.path, chain.genesis, lambda *_: None)
