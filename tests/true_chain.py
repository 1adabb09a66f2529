"""A chain made up from a seed, with the ledger's own code and nothing else, and all that can truly be said of it.

Three or four validator sets of 4 to 10 members (n = 3f + 1 and others) hand over to each other. Blocks hold up to
twelve transactions of several branches, and the receipts of scheduled calls behind those of transactions; the state
changes under them. `TrueChain.true` knows for any message to a device whether every part of it is so, proofs included.
"""

from random import Random

from msgspec import Struct

from devices.light_client import LightClient
from devices.light_state import LightState
from devices.wire import Genesis, Head, OldBlock, ReceiptProof, SessionOpen, SetChange, State, StateEntry
from ledger.block import (
    BranchHead,
    Event,
    Header,
    Receipt,
    Result,
    SealedHeader,
    Vote,
    branch_table,
    header_hash,
    history_leaf,
    next_heads,
    prove_transaction,
    receipt_leaf,
    receipts_root,
    result_digest,
    sort_by_branch,
)
from ledger.codec import decode, encode
from ledger.errors import PeerError
from ledger.genesis import Genesis as Document
from ledger.genesis import Parameters, Profile
from ledger.keys import Scheme, SoftSigner
from ledger.merkle import merkle_proof
from ledger.mmr import Mmr, MmrProof, mmr_proof
from ledger.state_tree import StateTree
from ledger.transaction import Branch, Transaction
from ledger.validators import Validator, ValidatorSet
from tests import chain
from tests.unit.state_model import MemoryTiles

Message = Head | SetChange | SessionOpen | State
"""What a gateway claims of the chain."""
OWNER = chain.signer("owner")
CALLS = [chain.transaction(f"call {n}", branch=branch) for n, branch in enumerate([*Branch, Branch.CHARGING] * 8)]
"""Signed once: a chain draws its transactions from these."""


class Made(Struct):
    """A block with its results, true or not: proofs come from it either way."""

    header: Header
    header_raw: bytes
    result: Result
    result_raw: bytes
    transactions: tuple[Transaction, ...]
    receipts: tuple[bytes, ...]
    """Of the transactions, then of scheduled calls."""
    state: dict[bytes, bytes]
    tree: StateTree

    @property
    def height(self) -> int:
        """Its height."""
        return self.header.height

    def sealed(self, votes: tuple[Vote, ...]) -> SealedHeader:
        """The block with these signatures."""
        return SealedHeader(self.header_raw, self.result_raw, votes)

    def open(self, index: int, sealed: SealedHeader, old: OldBlock | None = None) -> SessionOpen:
        """Transaction number `index` with the proof of its receipt, under a seal."""
        leaves = [tx.leaf for tx in self.transactions]
        path = merkle_proof([receipt_leaf(raw) for raw in self.receipts], index)
        where = prove_transaction(self.header, leaves, index)
        proof = ReceiptProof(sealed, old, where, self.receipts[index], path)
        return SessionOpen(self.transactions[index].raw, proof)

    def entry(self, key: bytes) -> StateEntry:
        """What the state after this block holds under a key."""
        return StateEntry(key, self.state.get(key), self.tree.prove(key))


def make(
    header: Header,
    receipts: tuple[bytes, ...],
    state: dict[bytes, bytes],
    transactions: tuple[Transaction, ...],
    next_set_hash: bytes,
    history_root: bytes,
) -> Made:
    """A block whose result belongs to its header."""
    tiles = MemoryTiles()
    change = StateTree(tiles).apply(state)
    tiles.write(change)
    raw = encode(header)
    leaves = receipts_root([receipt_leaf(receipt) for receipt in receipts])
    result = Result(
        header.chain_id,
        header.height,
        header_hash(raw),
        header.time_ms,
        header.set_hash,
        next_set_hash,
        change.root,
        leaves,
        history_root,
    )
    return Made(header, raw, result, encode(result), transactions, receipts, state, StateTree(tiles, change.root))


class TrueChain:
    """The whole story of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.signers: list[list[SoftSigner]] = []
        """Vote keys, by set and position."""
        self.sets = [self._new_set(epoch) for epoch in range(self.random.choice((3, 4)))]
        self.document = Document(
            1, "story", Profile.MIXED, chain.START_MS, Parameters(), self.sets[0], seed.to_bytes(8, "big")
        )
        self.chain_id = self.document.hash()
        self.epochs: list[int] = []
        """Which set seals each block, by height - 1."""
        self.blocks: list[Made] = []
        self.votes: list[tuple[Vote, ...]] = []
        """All members' votes, by height - 1."""
        self._mountains, self._nodes = Mmr(), dict[tuple[int, int], bytes]()
        self._state = {b"key %d" % n: b"value %d" % n for n in range(self.random.randrange(3, 30))}
        self._heads: dict[Branch, BranchHead] = {}
        for epoch in range(len(self.sets)):
            length = self.random.randrange(3, 7)
            for at in range(length):
                following = self.sets[min(epoch + (at == length - 1), len(self.sets) - 1)]
                self._append(epoch, following)

    def _new_set(self, epoch: int) -> ValidatorSet:
        names = chain.names(self.random.choice((4, 5, 6, 7, 8, 10)))
        # One SM2 member in one chain of four: its signatures cost six times as much.
        odd = self.random.randrange(4 * len(names)) if epoch else -1
        scheme = [Scheme.SM2 if at == odd else Scheme.ED25519 for at in range(len(names))]
        signers = [chain.signer(f"vote {name} {epoch}", scheme[at]) for at, name in enumerate(names)]
        self.signers.append(signers)
        members = (
            Validator(name, chain.signer(name).public_key, vote.public_key, chain.signer("node " + name).public_key[1:])
            for name, vote in zip(names, signers, strict=True)
        )
        return ValidatorSet(epoch, tuple(members))

    def _append(self, epoch: int, following: ValidatorSet) -> None:
        random, height = self.random, len(self.blocks) + 1
        transactions = sort_by_branch(random.sample(CALLS, random.choice((0, 1, 2, 4, 12))))
        rows, root = branch_table([(tx.body.branch, tx.leaf) for tx in transactions], self._heads)
        header = Header(
            self.chain_id,
            height,
            0,
            chain.START_MS + height * 1_000,
            header_hash(self.blocks[-1].header_raw) if self.blocks else self.chain_id,
            root,
            len(transactions),
            self.sets[epoch].hash(),
            random.choice(self.sets[epoch].validators).name,
            rows,
        )
        scheduled = [random.randbytes(32) for _ in range(random.randrange(3))]
        receipts = tuple(receipt(call_id, random) for call_id in [*(tx.id for tx in transactions), *scheduled])
        for _ in range(random.randrange(4)):
            key = b"key %d" % random.randrange(40)
            if random.random() < 0.3:
                self._state.pop(key, None)
            else:
                self._state[key] = b"value %d of %d" % (random.randrange(9), height)
        made = make(header, receipts, dict(self._state), transactions, following.hash(), self._mountains.root)
        leaf = history_leaf(header_hash(made.header_raw), result_digest(made.result_raw))
        self._nodes.update(self._mountains.append_nodes(leaf))
        self._mountains = self._mountains.append(leaf)
        self._heads = next_heads(header, self._heads)
        self.epochs.append(epoch)
        self.blocks.append(made)
        self.votes.append(self.vote(made.result_raw, epoch, range(self.sets[epoch].size)))

    def vote(self, result_raw: bytes, epoch: int, voters: "range | list[int]") -> tuple[Vote, ...]:
        """Signatures of members of a set, by their true keys."""
        digest = result_digest(result_raw)
        return tuple(Vote(voter, self.signers[epoch][voter].sign(digest)) for voter in voters)

    # ── what is true ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def height(self) -> int:
        """Of the newest block."""
        return len(self.blocks)

    def at(self, height: int) -> Made:
        """The block at a height."""
        return self.blocks[height - 1]

    def epoch_at(self, height: int) -> int:
        """Number of the set that seals a height."""
        return self.epochs[height - 1]

    def last_of(self, epoch: int) -> int:
        """Height of a set's last block: the hand-over, but for the newest set."""
        return self.height - self.epochs[::-1].index(epoch)

    def sealed(self, height: int, random: Random) -> SealedHeader:
        """A sealed block, by a quorum drawn at random or by all."""
        votes = self.votes[height - 1]
        quorum = self.sets[self.epoch_at(height)].quorum
        voters = sorted(random.sample(range(len(votes)), random.choice((quorum, quorum, len(votes)))))
        return self.at(height).sealed(tuple(votes[voter] for voter in voters))

    def head(self, height: int, random: Random, by_owner: bool = False) -> Head:
        """A head, with the owner's word or without."""
        word = OWNER.sign(result_digest(self.at(height).result_raw)) if by_owner else b""
        return Head(self.sealed(height, random), word)

    def change(self, epoch: int, random: Random) -> SetChange:
        """The hand-over from this set to the next."""
        return SetChange(self.sealed(self.last_of(epoch), random), self.sets[epoch + 1])

    def old(self, height: int, newer: int) -> OldBlock:
        """A block in the history of a newer one."""
        made = self.at(height)
        return OldBlock(made.header_raw, made.result_raw, self.history(height, newer))

    def history(self, height: int, newer: int) -> MmrProof:
        """Proof of a height in the history of a newer block."""
        return mmr_proof(newer - 1, height - 1, lambda level, index: self._nodes[level, index])

    def open(self, height: int, index: int, newer: int, random: Random) -> SessionOpen:
        """A transaction's receipt, proven by its own block or from a newer one's history."""
        old = None if newer == height else self.old(height, newer)
        return self.at(height).open(index, self.sealed(newer, random), old)

    def with_transactions(self) -> list[int]:
        """Heights whose blocks are not empty."""
        return [made.height for made in self.blocks if made.transactions]

    def truly_sealed(self, sealed: SealedHeader) -> bool:
        """Whether a quorum of the right set has sealed just this, votes in their order."""
        try:
            height = decode(Header, sealed.header).height
        except PeerError:
            return False
        if not 1 <= height <= self.height:
            return False
        made, voters = self.at(height), [vote.voter for vote in sealed.seal]
        return (
            (sealed.header, sealed.result) == (made.header_raw, made.result_raw)
            and voters == sorted(set(voters))
            and set(sealed.seal) <= set(self.votes[height - 1])
            and len(voters) >= self.sets[self.epoch_at(height)].quorum
        )

    def true(self, message: Message) -> bool:
        """Whether all that a message says is so, and shown by the one true proof of each thing."""
        sealed = message.proof.sealed if isinstance(message, SessionOpen) else message.sealed
        if not self.truly_sealed(sealed):
            return False
        height = decode(Header, sealed.header).height
        match message:
            case SetChange(_, next_set):
                epoch = self.epoch_at(height)
                return height == self.last_of(epoch) and next_set in self.sets[epoch + 1 : epoch + 2]
            case SessionOpen(_, proof):
                return message in self._opens(proof, height)
            case State(_, entries):
                return all(entry == self.at(height).entry(entry.key) for entry in entries)
        return True

    def _opens(self, proof: ReceiptProof, newer: int) -> list[SessionOpen]:
        height = newer
        if proof.old is not None:
            try:
                height = decode(Header, proof.old.header).height
            except PeerError:
                return []
            if not 1 <= height < newer or proof.old != self.old(height, newer):
                return []
        made = self.at(height)
        return [made.open(index, proof.sealed, proof.old) for index in range(len(made.transactions))]

    # ── devices ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def client(self, height: int, owned: bool = False) -> LightClient:
        """A device that walked to a height; 0 for the genesis set alone. `owned`: by an owner that has spoken."""
        light = LightClient(LightState(self.chain_id, OWNER.public_key if owned else b"", owner_spoke=owned))
        assert light.learn_genesis(self.document.summary()).true
        random = Random(height)
        for epoch in range(self.epoch_at(height) if height else 0):
            assert self.tell(light, self.change(epoch, random))
        if height > light.state.height:
            assert self.tell(light, self.head(height, random))
        return light

    @staticmethod
    def tell(light: LightClient, message: "Message | Genesis") -> bool:
        """Whether a device takes all of a message for proven."""
        match message:
            case Head(sealed, word):
                return light.see_head(sealed, word).true
            case SetChange(sealed, next_set):
                return light.follow(sealed, next_set).true
            case SessionOpen(transaction, proof):
                return light.check_receipt(transaction, proof).true
            case State(sealed, entries):
                return all(light.check_state(sealed, e.key, e.value, e.proof).true for e in entries) and bool(entries)
            case Genesis(summary):
                return light.learn_genesis(summary).true


def receipt(call_id: bytes, random: Random) -> bytes:
    """A receipt of about the usual size."""
    events = tuple(Event(4, "event", random.randbytes(20)) for _ in range(random.randrange(3)))
    return encode(Receipt(call_id, random.choice((0, 0, 7)), random.randrange(100_000), b"", events))
