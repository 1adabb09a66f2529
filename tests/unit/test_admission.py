"""The door: good transactions pass once, bad ones cost little, each client hears what was wrong, peers are charged."""

import asyncio

import pytest

from ledger import keys
from ledger.codec import encode
from ledger.errors import ClientError
from node.core import admission as admission_module
from node.core.admission import Admission
from node.core.stages import Stages
from node.effects import Admitted
from tests import chain

GOOD = [chain.transaction(f"good {n}") for n in range(300)]


def forged(tx):
    """The bytes of a transaction with a bit of its signature turned."""
    return tx.raw[:-1] + bytes([tx.raw[-1] ^ 1])


class Door:
    """An admission with its ear to the ground."""

    def __init__(self, precheck=lambda tx: None):
        self.admitted: list[Admitted] = []
        self.pool: set[bytes] = set()
        self.is_stuck = False
        self.charges: list[tuple[str, ...]] = []
        self.verified = 0
        self.admission = Admission(
            precheck, self.pool.__contains__, self.admit, lambda *charge: self.charges.append(charge), Stages()
        )

    def admit(self, batch):
        self.admitted.append(batch)
        if not self.is_stuck:
            asyncio.get_running_loop().call_soon(self.handle, batch)

    def handle(self, batch):
        """What the engine does with a batch: all go into the pool but what `precheck` refuses by now."""
        for tx in batch.transactions:
            try:
                self.admission._precheck(tx)
            except ClientError:
                continue
            self.pool.add(tx.leaf)
        self.admission.handled(batch)

    async def settle(self):
        while self.admission.waiting:  # noqa: ASYNC110 - threads are at work
            await asyncio.sleep(0.005)


@pytest.fixture
def counted(monkeypatch):
    """How many signatures were verified."""
    counts = []

    def verify_many(items):
        counts.append(len(items))
        return keys.verify_many(items)

    monkeypatch.setattr(admission_module, "verify_many", verify_many)
    return counts


async def test_F01_good_transactions_pass_in_batches(counted):
    door = Door()
    assert await door.admission.submit([tx.raw for tx in GOOD]) == [("", "")] * 300
    passed = [tx for batch in door.admitted for tx in batch.transactions]
    assert sorted(tx.id for tx in passed) == sorted(tx.id for tx in GOOD)
    assert {batch.source for batch in door.admitted} == {None}
    assert (sum(counted), max(counted) <= admission_module.BATCH_MAX, len(counted) >= 3) == (300, True, True)


async def test_F40_each_bad_transaction_gets_its_own_code(counted):
    def precheck(tx):
        if tx.id == GOOD[1].id:
            raise ClientError("transaction-seen", "it is sealed already")

    door = Door(precheck)
    wrong = [GOOD[1].raw, forged(GOOD[2]), b"\x93", b"x" * 70_000, noncanonical(GOOD[3])]
    codes = [code for code, _ in await door.admission.submit([*wrong, GOOD[4].raw])]
    assert codes == [
        "transaction-seen",
        "signature-invalid",
        "encoding-malformed",
        "transaction-too-large",
        "encoding-not-canonical",
        "",
    ]
    assert door.charges == []
    assert sum(counted) == 2


def noncanonical(tx):
    """The same transaction with the length of its body written in a longer form."""
    assert tx.raw[1] == 0xC4  # bin 8
    return tx.raw[:1] + b"\xc5\0" + tx.raw[2:]


async def test_F40_known_bad_bytes_are_not_verified_again_and_do_not_block_the_good_copy(counted):
    door = Door()
    bad = forged(GOOD[0])
    for _ in range(3):
        assert (await door.admission.submit([bad]))[0][0] == "signature-invalid"
    assert sum(counted) == 1
    assert await door.admission.submit([GOOD[0].raw]) == [("", "")]


async def test_F40_a_peer_is_charged_for_bad_gossip_and_its_good_ones_pass_without_the_doors_quota():
    def precheck(tx):
        raise ClientError("pool-full", "a proposal may need it nevertheless")

    door = Door(precheck)
    door.admission.verify([forged(GOOD[0]), GOOD[2].raw, encode([b"", b""])], "Teld")
    await door.settle()
    assert [(peer, code) for peer, code, _ in door.charges] == [
        ("Teld", "encoding-malformed"),
        ("Teld", "signature-invalid"),
    ]
    assert [(batch.source, [tx.id for tx in batch.transactions]) for batch in door.admitted] == [("Teld", [GOOD[2].id])]


async def test_F01_copies_under_way_are_verified_once(counted):
    door = Door()
    door.admission.verify([GOOD[0].raw], "Teld")
    answers = await asyncio.gather(*(door.admission.submit([GOOD[0].raw] * 2) for _ in range(3)))
    assert answers == [[("", "")] * 2] * 3
    assert sum(counted) == 1
    assert len(door.admitted) == 1


async def test_F40_a_flood_is_refused_and_another_source_still_gets_its_turn(monkeypatch):
    monkeypatch.setattr(admission_module, "WAITING_MAX", 1_000)
    door = Door()
    flood = asyncio.ensure_future(
        door.admission.submit([encode([b"junk", n.to_bytes(64, "big")]) for n in range(5_000)])
    )
    door.admission.verify([GOOD[0].raw], "Teld")
    codes = [code for code, _ in await flood]
    assert codes.count("busy") == 4_000
    await door.settle()
    assert [tx.id for batch in door.admitted for tx in batch.transactions] == [GOOD[0].id]


async def test_F40_what_the_pool_refuses_after_its_verification_is_not_called_accepted():
    """The pool filled up, or the transaction expired, while its signature was verified."""
    full = False

    def precheck(tx):
        if full:
            raise ClientError("pool-full", "too many transactions wait")

    door = Door(precheck)
    door.is_stuck = True
    answers = asyncio.ensure_future(door.admission.submit([GOOD[0].raw]))
    while not door.admitted:  # noqa: ASYNC110 - threads are at work
        await asyncio.sleep(0.005)
    assert not answers.done()
    full = True
    door.handle(door.admitted[0])
    assert [code for code, _ in await answers] == ["pool-full"]


async def test_F40_an_engine_that_stands_still_lets_nothing_more_in(monkeypatch):
    """A disk without room holds the engine up: what it has not taken up must not grow."""
    monkeypatch.setattr(admission_module, "BATCH_MAX", 4)
    door = Door()
    door.is_stuck = True
    answers = asyncio.ensure_future(door.admission.submit([tx.raw for tx in GOOD]))
    await asyncio.sleep(0.2)
    assert len(door.admitted) == admission_module.BATCHES_MAX
    assert sum(len(batch.transactions) for batch in door.admitted) == 4 * admission_module.BATCHES_MAX
    door.is_stuck = False
    for batch in door.admitted[:]:
        door.handle(batch)
    assert await answers == [("", "")] * 300
