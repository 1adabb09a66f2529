"""Attacks on light clients, one function each: what a liar says to a device, one message after the other."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import structs

from devices.light_client import AWAY_MS_MAX
from devices.wire import Head, OldBlock, SessionOpen, SetChange, State
from ledger.block import Receipt, SealedHeader, Vote, receipt_leaf, result_digest
from ledger.codec import decode, encode
from ledger.hashing import ZERO_HASH
from ledger.merkle import MerkleProof, merkle_proof
from ledger.state_proof import LEAF_BYTES, StateProof, hash_key, hash_value
from ledger.units import U32_MAX
from ledger.validators import ValidatorSet
from tests.fuzz import engine
from tests.fuzz.liars import Liar, Said, pack
from tests.true_chain import CALLS


def forged_seal(liar: Liar) -> list[Said]:
    """A false block, sealed by less than a quorum of the device's set and every trick there is."""
    made = liar.false_block(liar.later + liar.random.randrange(2), liar.epoch)
    return liar.spoken(made, liar.seal(made, liar.epoch))


def one_short(liar: Liar) -> list[Said]:
    """The same with a quorum but for one."""
    made = liar.false_block(liar.later + 1, liar.epoch)
    return liar.spoken(made, liar.seal(made, liar.epoch, real=liar.chain.sets[liar.epoch].quorum - 1))


def bent_seal(liar: Liar) -> list[Said]:
    """A true block whose seal is short, doubled, out of order, or of another block."""
    chain, random, height = liar.chain, liar.random, liar.later
    true = chain.sealed(height, random)
    votes, quorum = list(true.seal), chain.sets[liar.epoch].quorum
    match random.randrange(5):
        case 0:
            votes = votes[: quorum - 1]
        case 1:
            votes = [*votes[: quorum - 1], votes[0]]
        case 2:
            votes = votes[::-1]
        case 3:
            votes[-1] = Vote(chain.sets[liar.epoch].size + 1, votes[-1].signature)
        case _:
            votes = list(random.choice([v for h, v in enumerate(chain.votes, 1) if h != height]))
    return [Head(SealedHeader(true.header, true.result, tuple(votes)))]


def mixed_parts(liar: Liar) -> list[Said]:
    """Header, result and seal of different true blocks."""
    chain, random = liar.chain, liar.random
    a, b, c = (chain.sealed(random.randint(1, chain.height), random) for _ in range(3))
    return [Head(SealedHeader(a.header, b.result, random.choice((b, c)).seal))]


def other_chain(liar: Liar) -> list[Said]:
    """A block that the device's own set has truly sealed, on another chain."""
    made = liar.false_block(liar.later + 1, liar.epoch, chain_id=liar.random.randbytes(32))
    return liar.spoken(made, made.sealed(liar.chain.vote(made.result_raw, liar.epoch, _all(liar, liar.epoch))))


def mismatch(liar: Liar) -> list[Said]:
    """A quorum's result that is not of the header beside it."""
    made = liar.false_block(liar.later + 1, liar.epoch)
    field = liar.random.choice(("height", "time_ms", "set_hash", "header_hash", "chain_id"))
    value = getattr(made.result, field)
    bent = structs.replace(made.result, **{field: value + 1 if isinstance(value, int) else liar.flip(value)})
    made = structs.replace(made, result=bent, result_raw=encode(bent))
    return liar.spoken(made, made.sealed(liar.chain.vote(made.result_raw, liar.epoch, _all(liar, liar.epoch))))


def _all(liar: Liar, epoch: int) -> range:
    return range(liar.chain.sets[epoch].size)


def retired_set(liar: Liar) -> list[Said]:
    """A full quorum of a set that has handed over, in its own name or in the present set's, about then or now."""
    if not liar.epoch:
        return forged_seal(liar)
    random, old = liar.random, liar.random.randrange(liar.epoch)
    named = random.choice((old, liar.epoch))
    height = random.choice((liar.later + 1, random.randint(1, liar.chain.last_of(old))))
    made = liar.false_block(height, named)
    voters = [voter for voter in _all(liar, old) if voter < liar.chain.sets[named].size]
    return liar.spoken(made, made.sealed(liar.chain.vote(made.result_raw, old, voters)))


def phantom_set(liar: Liar) -> list[Said]:
    """Members that nobody admitted hand over to themselves and seal."""
    if not liar.epoch:
        return one_short(liar)
    phantoms = structs.replace(liar.chain.sets[liar.epoch - 1], epoch=liar.epoch + 1)
    sealing = liar.false_block(liar.later, liar.epoch, next_set_hash=phantoms.hash())
    made = liar.false_block(liar.later + 1, liar.epoch, set_hash=phantoms.hash())
    own = made.sealed(liar.chain.vote(made.result_raw, liar.epoch - 1, _all(liar, liar.epoch - 1)))
    return [SetChange(liar.seal(sealing, liar.epoch), phantoms), *liar.spoken(made, own)]


def forged_hand_over(liar: Liar) -> list[Said]:
    """A true block, or a true hand-over, said to hand over to a set of the liar's own; and blocks of that set."""
    chain, random = liar.chain, liar.random
    own = _own_set(liar)
    height = random.choice((chain.last_of(liar.epoch), liar.later))
    made = liar.false_block(height + 1, liar.epoch, set_hash=own.hash())
    return [SetChange(chain.sealed(height, random), own), Head(liar.seal(made, max(liar.epoch - 1, 0)))]


def _own_set(liar: Liar) -> ValidatorSet:
    members = liar.random.choice(liar.chain.sets)
    return structs.replace(members, epoch=members.epoch + 7)


def hand_over_of_the_past(liar: Liar) -> list[Said]:
    """A retired set hands over again, to somebody else, then or now; or its true hand-over is said again."""
    if not liar.epoch:
        return forged_hand_over(liar)
    random, old = liar.random, liar.random.randrange(liar.epoch)
    if random.random() < 0.3:
        return [liar.chain.change(old, random)]
    own = _own_set(liar)
    height = random.choice((liar.chain.last_of(old), liar.later + 1))
    made = liar.false_block(height, old, next_set_hash=own.hash())
    return [SetChange(made.sealed(liar.chain.vote(made.result_raw, old, _all(liar, old))), own)]


def long_range(liar: Liar) -> list[Said]:
    """Long after, the device's whole set (its members have left) seals a fork, or hands over to one."""
    chain, random, epoch = liar.chain, liar.random, liar.epoch
    now_ms = chain.at(liar.height).header.time_ms if liar.height else chain.document.time_ms
    far_ms = now_ms + AWAY_MS_MAX + random.choice((1, 10**6, 10**12))
    own = structs.replace(chain.sets[epoch], epoch=epoch + 9)
    over = liar.false_block(liar.later + 5, epoch, time_ms=far_ms, next_set_hash=own.hash())
    after = liar.false_block(
        liar.later + 6, epoch, time_ms=random.choice((far_ms + 1, now_ms + 1)), set_hash=own.hash()
    )
    seals = [made.sealed(chain.vote(made.result_raw, epoch, _all(liar, epoch))) for made in (over, after)]
    word = random.choice((b"", random.randbytes(64), chain.signers[0][0].sign(result_digest(after.result_raw))))
    said: list[Said] = [*liar.spoken(over, seals[0]), SetChange(seals[0], own), Head(seals[1], word)]
    return [*said, *liar.spoken(after, seals[1])]


def old_head(liar: Liar) -> list[Said]:
    """A true head that is not newer than the device's."""
    if not liar.height:
        return forged_seal(liar)
    return [liar.chain.head(liar.random.randint(1, liar.height), liar.random, by_owner=liar.random.random() < 0.5)]


def words_of_the_owner(liar: Liar) -> list[Said]:
    """A true word of the owner beside another header than the one that it signed, or said again, to a device that has
    followed a hand-over on trust; or a true head in the owner's name.
    """
    chain, random = liar.chain, liar.random
    if random.random() < 0.3:
        return [Head(chain.sealed(liar.later, random), random.choice((b"", random.randbytes(64))))]
    true = chain.head(random.randint(1, chain.height), random, by_owner=True)
    said: list[Said] = [chain.change(liar.epoch, random)] if liar.epoch < len(chain.sets) - 1 else []
    if random.random() < 0.3:
        return [*said, chain.head(random.randint(1, max(liar.height, 1)), random, by_owner=True)]
    made = chain.at(random.randint(1, chain.height))
    if random.random() < 0.3:
        made = liar.false_block(liar.later + 1, random.randrange(len(chain.sets)))
    return [*said, Head(SealedHeader(made.header_raw, true.sealed.result, true.sealed.seal), true.owner_signature)]


def old_state(liar: Liar) -> list[Said]:
    """The state as it once was."""
    if liar.height < 2:
        return bent_state(liar)
    height = liar.random.randrange(1, liar.height)
    return [State(liar.chain.sealed(height, liar.random), (liar.entry(height, absent=False),))]


def bent_path(liar: Liar) -> list[Said]:
    """A true receipt with one of its paths cut, stretched, swapped, shifted or counted otherwise."""
    said = liar.open()
    if said is None:
        return bent_state(liar)
    proof = said.proof
    match liar.random.randrange(4):
        case 0:
            proof = structs.replace(proof, receipt_path=_bend(liar, proof.receipt_path))
        case 1:
            path = _bend(liar, proof.transaction.path)
            proof = structs.replace(proof, transaction=structs.replace(proof.transaction, path=path))
        case 2:  # one more or less: often the same hashes lead to the same root
            near = max(0, proof.transaction.path.count + liar.random.choice((-1, 1)))
            path = structs.replace(proof.transaction.path, count=near)
            proof = structs.replace(proof, transaction=structs.replace(proof.transaction, path=path))
        case _ if proof.old:
            path_ = _bend_hashes(liar, proof.old.proof.path)
            proof = structs.replace(
                proof, old=structs.replace(proof.old, proof=structs.replace(proof.old.proof, path=path_))
            )
        case _:
            proof = structs.replace(
                proof, old=OldBlock(proof.sealed.header, proof.sealed.result, liar.chain.history(1, 2))
            )
    return [structs.replace(said, proof=proof)]


def _bend(liar: Liar, proof: MerkleProof) -> MerkleProof:
    random = liar.random
    match random.randrange(4):
        case 0:
            return structs.replace(proof, index=random.choice((proof.index ^ 1, proof.index + 1, proof.count, U32_MAX)))
        case 1:
            return structs.replace(
                proof, count=random.choice((proof.count + 1, max(proof.count, 1) * 2, U32_MAX, 1, 0))
            )
        case 2:  # one level less, or more: an inner node as a leaf, a leaf as an inner node
            path = (*proof.path, random.randbytes(32)) if random.random() < 0.5 else proof.path[1:]
            at = (
                (proof.index >> 1, (proof.count + 1) >> 1)
                if len(path) < len(proof.path)
                else (proof.index, proof.count * 2)
            )
            return MerkleProof(*at, path)
        case _:
            return structs.replace(proof, path=_bend_hashes(liar, proof.path))


def _bend_hashes(liar: Liar, path: tuple[bytes, ...]) -> tuple[bytes, ...]:
    random = liar.random
    bent = list(path)
    match random.randrange(5):
        case 0 if bent:
            bent.pop(random.randrange(len(bent)))
        case 1 if bent:
            at = random.randrange(len(bent))
            bent[at] = random.choice((ZERO_HASH, liar.flip(bent[at]), random.choice(bent)))
        case 2 if len(bent) > 1:
            bent.reverse()
        case 3:
            bent.insert(random.randrange(len(bent) + 1), random.randbytes(32))
        case _:
            bent = bent * 2 or [ZERO_HASH]
    return tuple(bent[:32])


def other_things_proof(liar: Liar) -> list[Said]:
    """Transaction, receipt, place or block of another true receipt; a scheduled call's receipt for a transaction's."""
    said, other = liar.open(), liar.open()
    if said is None or other is None:
        return forged_seal(liar)
    random, proof = liar.random, said.proof
    match random.randrange(7):
        case 0:
            return [SessionOpen(other.transaction, proof)]
        case 1:
            return [SessionOpen(random.choice(CALLS).raw, proof)]
        case 2:
            return [SessionOpen(said.transaction, structs.replace(proof, receipt=other.proof.receipt))]
        case 3:
            pair = {"receipt": other.proof.receipt, "receipt_path": other.proof.receipt_path}
            return [SessionOpen(said.transaction, structs.replace(proof, **pair))]
        case 4:
            return [SessionOpen(said.transaction, structs.replace(proof, transaction=other.proof.transaction))]
        case 5:
            return [
                SessionOpen(said.transaction, structs.replace(proof, sealed=other.proof.sealed, old=other.proof.old))
            ]
        case _:
            made = liar.chain.at(liar.later)
            if not made.transactions:
                return [SessionOpen(said.transaction, structs.replace(proof, old=None))]
            here = made.open(random.randrange(len(made.transactions)), liar.chain.sealed(liar.later, random))
            at = random.randrange(len(made.receipts))
            path = merkle_proof([receipt_leaf(raw) for raw in made.receipts], at)
            return [
                structs.replace(here, proof=structs.replace(here.proof, receipt=made.receipts[at], receipt_path=path))
            ]


def false_receipt(liar: Liar) -> list[Said]:
    """The true transaction with another outcome."""
    said = liar.open()
    if said is None:
        return one_short(liar)
    true = decode(Receipt, said.proof.receipt)
    false = structs.replace(true, code=liar.random.choice((true.code ^ 7, 1)), result=b"refund")
    node_pair = (
        said.proof.receipt_path.path[0] + receipt_leaf(said.proof.receipt) if said.proof.receipt_path.path else b""
    )
    raw = liar.random.choice((encode(false), encode(false), node_pair, said.proof.receipt + b"\0"))
    return [structs.replace(said, proof=structs.replace(said.proof, receipt=raw))]


def false_history(liar: Liar) -> list[Said]:
    """A false block said to be in the true history."""
    chain, random = liar.chain, liar.random
    newer = liar.later
    if newer < 2:
        return forged_seal(liar)
    height = random.randrange(1, newer)
    made = liar.false_block(random.choice((height, height, newer, newer + 1)), random.randrange(liar.epoch + 1))
    proof = chain.history(random.choice((height, random.randrange(1, newer))), newer)
    if random.random() < 0.3:
        proof = structs.replace(proof, path=_bend_hashes(liar, proof.path))
    true = chain.at(height)
    header = random.choice((made.header_raw, made.header_raw, true.header_raw))
    result = random.choice((made.result_raw, true.result_raw))
    old = OldBlock(header, result, proof)
    return [made.open(random.randrange(len(made.transactions)), chain.sealed(newer, random), old)]


def bent_state(liar: Liar) -> list[Said]:
    """A false value, or a bent proof of a true one."""
    random, height = liar.random, liar.later
    entry = liar.entry(height, absent=random.random() < 0.4)
    proof, place = entry.proof, hash_key(entry.key)
    changes: list[Callable[[], dict[str, Any]]] = [
        lambda: {"value": random.choice((None, b"", b"value 0", (entry.value or b"") + b"\0"))},
        lambda: {"key": random.choice((b"key 0", entry.key + b"\0", b"\0" + entry.key))},
        lambda: {
            "proof": structs.replace(
                proof, depth=random.choice((0, max(proof.depth - 1, 0), min(proof.depth + 1, 256), 256))
            )
        },
        lambda: {"proof": structs.replace(proof, present=liar.flip(proof.present or b"\0"))},
        lambda: {"proof": structs.replace(proof, siblings=proof.siblings[random.choice((32, 1)) :])},
        lambda: {"proof": structs.replace(proof, siblings=liar.flip(proof.siblings or bytes(32)))},
        lambda: {
            "proof": structs.replace(proof, siblings=proof.siblings[32:64] + proof.siblings[:32] + proof.siblings[64:])
        },
        lambda: {"proof": structs.replace(proof, other=random.randbytes(LEAF_BYTES)), "value": None},
        # The key's own leaf as the "other" one: absence of a present key.
        lambda: {"proof": structs.replace(proof, other=place + hash_value(entry.value or b"")), "value": None},
        lambda: {"proof": liar.entry(height, absent=False).proof},
        lambda: {"proof": liar.entry(height, absent=True).proof, "value": None},
        lambda: {"proof": StateProof(0, b"", b"", b""), "value": random.choice((None, entry.value))},
        lambda: _an_explicit_zero(proof),
    ]
    return [State(liar.chain.sealed(height, random), (structs.replace(entry, **random.choice(changes)()),))]


def _an_explicit_zero(proof: StateProof) -> dict[str, Any]:
    depth = min(proof.depth + 1, 256)
    present = (int.from_bytes(proof.present, "big") << 1 | 1).to_bytes((depth + 7) // 8 + 1, "big")[
        -((depth + 7) // 8) :
    ]
    return {"proof": StateProof(depth, present, ZERO_HASH + proof.siblings, proof.other)}


def value_of_another_height(liar: Liar) -> list[Said]:
    """What the state held then, under a head of now."""
    random = liar.random
    return [
        State(
            liar.chain.sealed(liar.later, random),
            (liar.entry(random.randint(1, liar.chain.height), random.random() < 0.3),),
        )
    ]


def bent_bytes(liar: Liar) -> list[Said]:
    """Bytes of true messages cut, flipped, spliced and changed in their structure."""
    samples = [encode(liar.true_message()) for _ in range(2)]
    return [engine.mutate(liar.random, samples, engine.MESSAGEPACK)]


def longer_encoding(liar: Liar) -> list[Said]:
    """A true message in another encoding than the canonical one."""
    return [pack(msgspec.msgpack.decode(encode(liar.true_message())), liar.random, [1])]


ATTACKS: tuple[Callable[[Liar], list[Said]], ...] = (
    forged_seal,
    one_short,
    bent_seal,
    mixed_parts,
    other_chain,
    mismatch,
    retired_set,
    phantom_set,
    forged_hand_over,
    hand_over_of_the_past,
    long_range,
    old_head,
    words_of_the_owner,
    old_state,
    bent_path,
    other_things_proof,
    false_receipt,
    false_history,
    bent_state,
    value_of_another_height,
    bent_bytes,
    longer_encoding,
)
