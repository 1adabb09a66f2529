"""The check of a chaos run sees each lie: what is lost, run twice, moved, forged or forgotten."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as with_fields

from ledger.block import Receipt, SealedHeader, Vote
from ledger.codec import encode
from tests.chaos.history import Chain, Executed, History, Payment, Read, violations

ANNE, BOB = b"A" * 32, b"B" * 32
IDS = [bytes([number]) * 32 for number in range(5)]
DONE, SENT_TWICE, FAILED, DOUBTFUL, REFUSED = IDS


def executed(id_: bytes, height: int, code: int = 0) -> Executed:
    """A place in the chain."""
    return Executed(height, 0, encode(Receipt(id_, code, 1, b"", ())))


PLACES = {
    DONE: [executed(DONE, 1)],
    SENT_TWICE: [executed(SENT_TWICE, 2)],
    FAILED: [executed(FAILED, 3, code=7)],
    DOUBTFUL: [executed(DOUBTFUL, 4)],
}
CHAIN = Chain((b"1", b"2", b"3", b"4"), PLACES, frozenset(PLACES), {ANNE: 100 - 1 - 2 - 4, BOB: 1 + 2 + 4})


def payments() -> list[Payment]:
    """Of 1, 2, 3, 4 and 5 fen; the last two without a receipt."""
    made = [Payment(id_, ANNE, BOB, amount, 0.0) for amount, id_ in enumerate(IDS, 1)]
    for payment in made[:3]:
        payment.acknowledged = PLACES[payment.id][0]
        payment.acknowledged_s, payment.acknowledged_by = float(payment.acknowledged.height), "SGCC"
        payment.submitted_s = payment.acknowledged_s - 0.5
    made[2].code = 7
    made[3].doubtful = True
    made[4].refused = "transaction-expired"
    return made


READS = [Read("SGCC", 1.5, 1.6, ANNE, 1, 99), Read("Teld", 1.5, 1.6, BOB, 4, 7), Read("SGCC", 5.0, 5.1, BOB, 3, 3)]


def history(**changes) -> History:
    """What honest nodes give."""
    seen = {height: CHAIN.blocks[height - 1] for height in (1, 2, 3)}
    return replace(History({ANNE: 100, BOB: 0}, payments(), list(READS), seen), **changes)


def chain(**changes) -> Chain:
    """Their chain, perhaps with a lie."""
    return with_fields(CHAIN, **changes)


def both(lie: Chain) -> dict[str, Chain]:
    """Two nodes, of which one lies."""
    return {"SGCC": CHAIN, "Teld": lie}


def without(id_: bytes) -> dict[bytes, list[Executed]]:
    """The places but of one transaction."""
    return {each: places for each, places in PLACES.items() if each != id_}


def test_an_honest_chain_has_no_violation():
    assert history().outcomes() == {"acknowledged": 3, "indeterminate": 1, "refused": 1}
    assert violations(history(), both(CHAIN)) == []
    unlucky = chain(executed=without(DOUBTFUL), wallets_fen={ANNE: 97, BOB: 3})
    assert violations(history(reads=[]), {"SGCC": unlucky}) == [], "an indeterminate one need not have run"


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (chain(executed=without(DONE)), "was acknowledged at height 1 and is lost"),
        (chain(executed=PLACES | {DONE: [executed(DONE, 1), executed(DONE, 3)]}), "was executed 2 times"),
        (chain(executed=PLACES | {DOUBTFUL: [executed(DOUBTFUL, 4)] * 2}), "was executed 2 times"),
        (chain(executed=PLACES | {DONE: [executed(DONE, 2)]}), "acknowledged otherwise"),
        (chain(executed=PLACES | {FAILED: [executed(FAILED, 3)]}), "acknowledged otherwise"),
        (chain(executed=PLACES | {REFUSED: [executed(REFUSED, 4, 7)]}), "was refused (transaction-expired) and"),
        (chain(executed=PLACES | {b"X" * 32: [executed(b"X" * 32, 4, 7)]}), "never submitted"),
        (chain(executed=PLACES | {DOUBTFUL: [executed(DOUBTFUL, 4, 7)]}), "was executed with code 7, not 0"),
        (chain(executed=PLACES | {FAILED: [executed(FAILED, 3)]}), "was executed with code 0, not 7"),
        (chain(indexed=frozenset()), "is not found there"),
        (chain(wallets_fen={ANNE: 93, BOB: 8}), "holds 8 fen, its payments make 7"),
        (chain(blocks=(b"1", b"2", b"3")), "ends at height 3, others at 4"),
        (chain(blocks=(b"1", b"2", b"3", b"!")), "has another chain"),
        (chain(blocks=(b"1", b"2")), "has not the block that was sealed at height 3"),
    ],
)
def test_a_store_that_differs_is_named(lie, told):
    found = violations(history(), both(lie))
    assert any(told in sentence and sentence.startswith("Teld") for sentence in found), found


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (Read("Teld", 9.0, 9.1, BOB, 4, 6), "told 6 fen"),
        (Read("Teld", 9.0, 9.1, BOB, 5, 7), "which there is not"),
        (Read("Teld", 9.0, 9.1, BOB, 3, 3), "answered from height 3 after 4"),
        (Read("SGCC", 3.5, 9.1, BOB, 2, 3), "answered from height 2 after 3"),
    ],
)
def test_a_read_that_does_not_fit_the_chain_is_named(read, told):
    assert any(told in sentence for sentence in violations(history(reads=[*READS, read]), both(CHAIN)))


def test_a_chain_that_all_nodes_replaced_after_they_had_sealed_it_is_named():
    lie = chain(blocks=(b"1", b"!", b"!", b"!"))
    found = violations(history(), {"SGCC": lie, "Teld": lie})
    assert found == [
        f"{name} has not the block that was sealed at height {height}" for name in ("SGCC", "Teld") for height in (2, 3)
    ]


@pytest.mark.parametrize(("submitted_s", "known"), [(1.9, ""), (2.1, "after 2 was known"), (3.1, "after 3 was known")])
def test_what_was_submitted_after_an_acknowledgement_stands_above_it(submitted_s, known):
    late = payments()
    late[0].submitted_s, late[0].acknowledged_s = submitted_s, submitted_s + 1
    found = violations(history(payments=late, reads=[]), {"SGCC": CHAIN})
    told = f"SGCC: {DONE.hex()[:12]} stands at height 1 and was submitted {known}"
    assert found == ([told] if known else [])


def test_two_blocks_that_were_sealed_at_one_height_are_noticed():
    seen = history(sealed={})
    assert seen.saw_sealed(1, SealedHeader(b"header", b"result", ()))
    assert seen.saw_sealed(1, SealedHeader(b"header", b"result", (Vote(1, b"signature"),)))
    assert not seen.saw_sealed(1, SealedHeader(b"header", b"another", ()))
