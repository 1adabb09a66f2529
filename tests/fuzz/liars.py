"""What a lying gateway can say to a light client: every attack that the threat model names, at random places.

A liar knows the whole chain, all keys of sets older than the device's own, and the keys of its own set and later ones
short of a quorum by one: more than the f that the protocol allows for. The keys of the device's whole set come into its
hands only where the long-range rule speaks: for blocks sealed more than 90 days after the device's head.
"""

from random import Random
from typing import Any

import msgspec
from msgspec import structs

from devices.wire import Head, SessionOpen, State, StateEntry
from ledger.block import (
    BranchHead,
    Receipt,
    SealedHeader,
    Vote,
    branch_table,
    result_digest,
    sort_by_branch,
)
from ledger.codec import encode
from ledger.transaction import Branch
from ledger.units import U32_MAX
from tests.true_chain import CALLS, Made, Message, TrueChain, make

Said = Message | bytes
"""A message, or bytes that may be one."""


class Liar:
    """One gateway that lies to one device, which stands at `height` of the chain."""

    def __init__(self, random: Random, chain: TrueChain, height: int, epoch: int | None = None) -> None:
        self.random = random
        self.chain = chain
        self.height = height
        self.epoch = epoch if epoch is not None else chain.epoch_at(height) if height else 0
        """Of the device's set."""
        self.later = random.randint(max(height, 1), chain.last_of(self.epoch))
        """A height that the device's set seals, its head's or a later one."""

    # ── seals ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def seal(self, made: Made, epoch: int, real: int | None = None) -> SealedHeader:
        """The best seal that a liar can put on a block in a set's name: fewer real votes than a quorum, and tricks."""
        random, members = self.random, self.chain.sets[epoch]
        quorum = members.quorum
        count = random.randrange(quorum) if real is None else real
        voters = sorted(random.sample(range(members.size), count))
        votes = list(self.chain.vote(made.result_raw, epoch, voters))
        others = [voter for voter in range(members.size) if voter not in voters]
        elsewhere = {vote.voter: vote for vote in random.choice(self.chain.votes)}
        match random.randrange(8):
            case 0:  # one who voted, counted again
                votes += [random.choice(votes or [Vote(0, bytes(64))])] * (quorum - count)
            case 1:  # positions past the end of the set
                strangers = self.chain.vote(made.result_raw, epoch, list(range(members.size)))
                votes += [
                    Vote(members.size + n * 2**20 % U32_MAX, strangers[n % members.size].signature)
                    for n in range(quorum - count)
                ]
            case 2:  # signatures of others over other blocks
                votes += [elsewhere.get(voter, Vote(voter, bytes(64))) for voter in others]
            case 3:  # a real signature in another member's name
                votes += [Vote(voter, random.choice(votes).signature if votes else bytes(64)) for voter in others]
            case 4:  # noise
                votes += [Vote(voter, random.randbytes(64)) for voter in others]
            case 5:  # too few
                pass
            case 6:  # the same keys over another set's positions
                other = random.randrange(len(self.chain.sets))
                signers, said = self.chain.signers[other], result_digest(made.result_raw)
                digest = said if other < self.epoch else random.randbytes(32)
                votes += [Vote(voter, signers[voter % len(signers)].sign(digest)) for voter in others]
            case 7:  # one changed bit in each
                votes += [
                    Vote(voter, self.flip(elsewhere[voter].signature if voter in elsewhere else bytes(64)))
                    for voter in others
                ]
        votes = votes[: max(quorum, 100)]
        if random.random() < 0.7:
            votes.sort(key=lambda vote: vote.voter)
        return made.sealed(tuple(votes[:100]))

    def flip(self, data: bytes) -> bytes:
        """One bit of it changed."""
        changed = bytearray(data)
        changed[self.random.randrange(len(changed))] ^= 1 << self.random.randrange(8)
        return bytes(changed)

    # ── false blocks ──────────────────────────────────────────────────────────────────────────────────────────────────

    def false_block(self, height: int, epoch: int, **changes: Any) -> Made:
        """A block that never was, in a set's name, with a false transaction, receipt and state, all well made."""
        random, true = self.random, self.chain.at(min(max(height, 1), self.chain.height))
        transactions = sort_by_branch([random.choice(CALLS), *true.transactions[:3]])
        rows, root = branch_table([(tx.body.branch, tx.leaf) for tx in transactions], dict[Branch, BranchHead]())
        fields: dict[str, Any] = {
            "height": height,
            "time_ms": true.header.time_ms + random.randrange(2),
            "tx_root": root,
            "tx_count": len(transactions),
            "branches": rows,
            "set_hash": self.chain.sets[epoch].hash(),
        }
        next_set_hash = changes.pop("next_set_hash", self.chain.sets[epoch].hash())
        header = structs.replace(true.header, **(fields | changes))
        receipts = tuple(encode(Receipt(tx.id, 0, 1, b"paid", ())) for tx in transactions)
        state = dict.fromkeys(random.sample(sorted(true.state), min(3, len(true.state))), b"a liar's") | {b"k": b"v"}
        return make(header, receipts, state, transactions, next_set_hash, true.result.history_root)

    def spoken(self, made: Made, sealed: SealedHeader) -> list[Said]:
        """One claim that rests on a false block."""
        random = self.random
        match random.randrange(3):
            case 0:
                return [Head(sealed)]
            case 1:
                return [made.open(random.randrange(len(made.transactions)), sealed)]
            case _:
                return [State(sealed, (made.entry(random.choice([*made.state, b"absent"])),))]

    # ── true claims to bend ───────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> SessionOpen | None:
        """A true receipt that the device would believe."""
        chain, random = self.chain, self.random
        first = chain.last_of(self.epoch - 1) + 1 if self.epoch else 1
        heights = [h for h in chain.with_transactions() if h <= self.later]
        if not heights:
            return None
        height = random.choice(heights)
        newer = self.later if height < first or (height < self.later and random.random() < 0.5) else height
        return chain.open(height, random.randrange(len(chain.at(height).transactions)), newer, random)

    def entry(self, height: int, absent: bool) -> StateEntry:
        """What the state holds, or that it holds nothing."""
        made, random = self.chain.at(height), self.random
        gone = [key for key in (b"key %d" % n for n in range(60)) if key not in made.state]
        return made.entry(random.choice(gone if absent or not made.state else sorted(made.state)))

    def true_message(self) -> Message:
        """Any true message of the chain."""
        chain, random = self.chain, self.random
        match random.randrange(4):
            case 0:
                return chain.head(random.randint(1, chain.height), random)
            case 1:
                return chain.change(random.randrange(len(chain.sets) - 1), random)
            case 2:
                return self.open() or chain.head(chain.height, random)
            case _:
                return State(chain.sealed(self.later, random), (self.entry(self.later, random.random() < 0.5),))


def pack(value: Any, random: Random, left: list[int]) -> bytes:
    """MessagePack of a value with `left[0]` of its parts in a longer form than they need."""
    longer = bool(left[0]) and random.random() < 0.3
    left[0] -= longer
    match value:
        case list():
            head = (
                b"\xdd" + len(value).to_bytes(4, "big")
                if longer
                else msgspec.msgpack.encode([None] * len(value))[: -len(value) or None]
            )
            return head + b"".join(pack(item, random, left) for item in value)
        case bool() | None:
            return msgspec.msgpack.encode(value)
        case int():
            return b"\xcf" + value.to_bytes(8, "big") if longer else msgspec.msgpack.encode(value)
        case bytes():
            return b"\xc6" + len(value).to_bytes(4, "big") + value if longer else msgspec.msgpack.encode(value)
        case _:
            return msgspec.msgpack.encode(value)
