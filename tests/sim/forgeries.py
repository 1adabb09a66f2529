"""Forgeries of Byzantine members: proposals that no honest member may accept, certificates that prove nothing, blocks
that were never agreed on.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace

from consensus.messages import (
    BLOCKS_MAX,
    Bodies,
    Commit,
    CommitCertificate,
    CommittedBlock,
    FetchBlocks,
    FetchBodies,
    Message,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    SealedBlock,
    SealedBlocks,
    Status,
    Transactions,
    ViewChange,
    split_leaves,
)
from consensus.proposal import build
from ledger.block import Header, Result, SealedHeader, Vote, branch_table, header_hash, result_digest
from ledger.codec import decode, encode
from ledger.hashing import Tag
from ledger.transaction import Branch, Transaction, decode_transaction, sign_transaction
from tests.sim.lies import Trick

if TYPE_CHECKING:
    from tests.sim.liar import Liar
    from tests.sim.plan import Lie

OPENING = "forge-opening"
HOUR_MS = 3_600_000
TOO_MANY_MAX = 20
"""Where blocks hold fewer transactions than this, proposals with too many, and too large ones, are made."""


def make_header(liar: "Liar", in_view: int, transactions: Sequence[Transaction], **changes: object) -> bytes:
    """A header of the open height as a primary would make it, but for the changes."""
    state = liar.node.state
    parent = state.round.parent
    rows, root = branch_table([(tx.body.branch, tx.leaf) for tx in transactions], parent.branch_heads)
    honest = build(state, in_view).header
    return encode(replace(replace(honest, branches=rows, tx_root=root, tx_count=len(transactions)), **changes))


class BadProposal(Trick):
    """Proposes what must be refused, and hands out the bodies to whoever asks."""

    def __init__(self, liar: "Liar", lie: "Lie") -> None:
        super().__init__(liar, lie)
        self._made: dict[int, PrePrepare] = {}

    def says(self, receiver: str, message: Message) -> list[Message]:
        """One bad block for everybody, in place of the good one."""
        if not isinstance(message, PrePrepare):
            return [message]
        height = decode(Header, message.header).height
        if height != self.liar.node.state.round.height:
            return [message]
        if height not in self._made:
            self._made = {height: self._make(message)}
        return [self._made[height]]

    def hears(self, sender: str, message: Message) -> bool:
        """Answer for the bodies that only the liar knows."""
        bodies = self.liar.conspiracy.bodies
        if isinstance(message, FetchBodies):
            raws = [bodies[leaf] for leaf in split_leaves(message.leaves) if leaf in bodies]
            if raws:
                self.liar.send(sender, Bodies(message.header_hash, b"", tuple(raws)))
                return False
        return True

    def _make(self, message: PrePrepare) -> PrePrepare:
        liar, random = self.liar, self.random
        now_ms = liar.node.state.round.parent.time_ms
        client = next(iter(liar.conspiracy.signers.values()))

        def transaction(**changes: object) -> Transaction:
            return liar.transaction(random, client, now_ms, **changes)

        def repeated() -> list[Transaction]:
            blocks = [block for block in liar.node.store.blocks[-40:] if block.transactions]
            return [random.choice(random.choice(blocks).transactions)] if blocks else [transaction()]

        good = transaction()
        other = transaction(branch=Branch.SERVICE)
        unsigned = decode_transaction(good.raw[:-1] + bytes([good.raw[-1] ^ 1]))
        limit = liar.conspiracy.genesis.parameters
        makers: tuple[Callable[[], tuple[list[Transaction], dict[str, object]]], ...] = (
            lambda: (repeated(), {}),
            lambda: (repeated(), {}),
            lambda: ([good, decode_transaction(sign_transaction(good.body, client))], {}),
            lambda: ([transaction(valid_until_ms=now_ms)], {}),
            lambda: ([transaction(valid_until_ms=now_ms + limit.expiry_max_ms + HOUR_MS)], {}),
            lambda: ([transaction(chain_id=bytes(32))], {}),
            lambda: ([transaction(gas_limit=limit.block_gas_max), good], {}),
            lambda: ([unsigned], {}),
            lambda: ([good], {"tx_root": bytes(32)}),
            lambda: ([good], {"tx_count": 2}),
            lambda: ([good], {"time_ms": now_ms}),
            lambda: ([good], {"time_ms": now_ms + HOUR_MS}),
            lambda: ([good], {"parent": bytes(32)}),
            lambda: ([good], {"set_hash": bytes(32)}),
            lambda: ([good], {"chain_id": bytes(32)}),
            lambda: ([good], {"proposer": random.choice(liar.peers)}),
            lambda: ([good], {"view": message.view + 1}),
            lambda: (self._wrong_branch(other), {}),
        )
        if limit.block_transactions_max < TOO_MANY_MAX:
            makers += (
                lambda: ([transaction() for _ in range(limit.block_transactions_max + 1)], {}),
                lambda: ([transaction(args=bytes(limit.block_bytes_max // 2)) for _ in range(2)], {}),
            )
        transactions, changes = random.choice(makers)()
        raw = make_header(liar, message.view, transactions, **changes)
        for each in transactions:
            liar.conspiracy.bodies[each.leaf] = each.raw
        leaves = b"".join(each.leaf for each in transactions)
        return cast(PrePrepare, liar.sign_again(replace(message, header=raw, leaves=leaves)))

    @staticmethod
    def _wrong_branch(honest: Transaction) -> list[Transaction]:
        """The header's table will say another branch than the body."""
        moved = Transaction(
            honest.raw, replace(honest.body, branch=Branch.CHARGING), honest.signature, honest.id, honest.leaf
        )
        return [moved]


class ForgeCertificate(Trick):
    """Asks for views with certificates that prove nothing, and opens views with requests that do not bind it."""

    def __init__(self, liar: "Liar", lie: "Lie") -> None:
        super().__init__(liar, lie)
        self._opened: dict[tuple[int, int], NewView] = {}
        """The newest place that it opened, and how: alike for everybody, or nobody would follow."""

    def says(self, receiver: str, message: Message) -> list[Message]:
        """Forged requests and openings in place of its own."""
        if isinstance(message, ViewChange):
            return [self._view_change(message.height, message.view)]
        if isinstance(message, NewView):
            place = message.height, message.view
            if place not in self._opened:
                self._opened = {place: self._new_view(message)}
            forged = self._opened[place]
            digest = header_hash(forged.proposal.header)
            return [forged, self.liar.vote(Commit, message.height, message.view, digest)]
        return [message]

    def acts(self) -> None:
        """Ask for the next views."""
        liar = self.liar
        round_ = liar.node.state.round
        asked = self._view_change(round_.height, round_.view + self.random.choice((1, 1, 1, 2)))
        for peer in liar.peers:
            liar.send(peer, asked)

    def _view_change(self, height: int, view: int) -> Message:
        certificate = self._certificate(height, max(0, view - self.random.choice((1, 1, 1, 2, 0))))
        return self.liar.sign_again(ViewChange(height, view, self.liar.voter(), certificate, bytes(64)))

    def _certificate(self, height: int, view: int) -> PreparedCertificate | None:
        """For a block of ours, with votes of conspirators and whatever else is at hand."""
        liar, random = self.liar, self.random
        state = liar.node.state
        if height != state.round.height:
            return None
        names = list(liar.conspiracy.signers)
        primary = state.round.primary_name(view)
        signer = primary if primary in names else liar.name
        known = liar.conspiracy.headers.get((height, view), [])
        raw = random.choice((*known[-1:], make_header(liar, view, (), proposer=primary)))
        place, digest = liar.scope(height), header_hash(raw)
        heard = [m for m in liar.conspiracy.heard if isinstance(m, Prepare) and m.height == height]
        proposal = liar.sign(place.vote_digest(Tag.PRE_PREPARE, view, digest), signer)
        votes = {
            name: Vote(liar.voter(name), liar.sign(place.vote_digest(Tag.PREPARE, view, digest), name))
            for name in names
        }
        own = [votes[name] for name in names]
        need = state.round.validators.quorum - 1
        others = [each for each in range(state.round.validators.size) if each != state.round.primary(view)]
        chosen = random.choice(
            (
                own,
                (own * need)[:need],
                [Vote(place_, own[0].signature) for place_ in others[:need]],
                [Vote(m.voter, m.signature) for m in heard],
                [*own, *(Vote(m.voter, m.signature) for m in heard if m.header_hash == digest)],
                [],
            )
        )
        if random.random() < 0.7:
            chosen = sorted(chosen, key=lambda vote: vote.voter)
        return PreparedCertificate(view, raw, proposal, tuple(chosen))

    def _new_view(self, message: NewView) -> NewView:
        liar, random = self.liar, self.random
        asked = message.view_changes
        blank = tuple(replace(change, certificate=None) if change.voter != liar.voter() else change for change in asked)
        bare = [change for change in asked if change.certificate is None]
        fresh = make_header(liar, message.view, (), time_ms=liar.node.state.round.parent.time_ms + 7)
        header = decode(Header, message.proposal.header)
        later = encode(replace(header, time_ms=header.time_ms + 1))
        again = encode(replace(header, view=message.view, proposer=liar.name))
        requests, raw = random.choice(
            (
                (asked, fresh),
                (blank, fresh),
                (tuple(bare), fresh),
                ((*bare, *bare), fresh),
                (asked[:-1], message.proposal.header),
                (asked[::-1], message.proposal.header),
                (asked, later),
                (asked, again),
                (tuple(replace(change, view=message.view - 1) for change in asked), fresh),
            )
        )
        proposal = replace(message.proposal, header=raw)
        if raw is fresh:
            proposal = replace(proposal, leaves=b"")
        proposal = cast(PrePrepare, liar.sign_again(proposal))
        return cast(NewView, liar.sign_again(NewView(message.height, message.view, requests, proposal, bytes(64))))


class ForgeOpening(ForgeCertificate):
    """Forges its openings alone: whoever breaks more rules is cut off, or passed over, before it may open a view."""

    def says(self, receiver: str, message: Message) -> list[Message]:
        """Its own words, but for an opening."""
        return super().says(receiver, message) if isinstance(message, NewView) else [message]

    def acts(self) -> None:
        """Wait for its turn."""


class LyingDonor(Trick):
    """Claims to be ahead, and sends blocks that nobody agreed on, or half of those that were."""

    def says(self, receiver: str, message: Message) -> list[Message]:
        """Worse blocks, a higher position, other bodies."""
        random = self.random
        if isinstance(message, Status):
            ahead = random.choice((0, 1, 2, 9))
            return [Status(message.sealed + ahead, message.committed + ahead, message.view)]
        if isinstance(message, Bodies):
            return [Bodies(message.header_hash, message.leaves[::-1], message.raws[::-1][1:])]
        if isinstance(message, SealedBlocks):
            blocks = tuple(self._worse(block) for block in message.blocks)
            tail = tuple(self._uncommitted(block) for block in message.tail)
            worse = ((blocks, tail), (blocks[1:], tail), (blocks[::-1], ()), (message.blocks[:1] * BLOCKS_MAX, tail))
            return [SealedBlocks(*random.choice(worse))] * random.choice((1, 1, 3))
        return [message]

    def hears(self, sender: str, message: Message) -> bool:
        """Answer with a block of its own where there is none yet."""
        if isinstance(message, FetchBlocks):
            invented = self._invent(message.first)
            if invented is not None:
                self.liar.send(sender, invented)
                return False
        return True

    def _worse(self, block: SealedBlock) -> SealedBlock:
        """The block with another body, a shorter or a forged seal, another header."""
        liar, sealed = self.liar, block.sealed
        own = tuple(Vote(liar.voter(), vote.signature) for vote in sealed.seal)
        mixed = tuple(Vote(vote.voter, sealed.seal[0].signature) for vote in sealed.seal)
        header = decode(Header, sealed.header)
        later = encode(replace(header, time_ms=header.time_ms + 1))
        body = (*block.transactions[1:], *self._strange())
        return self.random.choice(
            (
                SealedBlock(sealed, body),
                SealedBlock(sealed, block.transactions[:-1]),
                SealedBlock(replace(sealed, seal=sealed.seal[1:]), block.transactions),
                SealedBlock(replace(sealed, seal=own), block.transactions),
                SealedBlock(replace(sealed, seal=mixed), block.transactions),
                SealedBlock(replace(sealed, header=later), block.transactions),
                SealedBlock(replace(sealed, result=sealed.result[:-1] + b"\0"), block.transactions),
                block,
            )
        )

    def _uncommitted(self, block: CommittedBlock) -> CommittedBlock:
        commits = block.certificate.commits
        return self.random.choice(
            (
                replace(block, certificate=CommitCertificate(block.certificate.view, commits[1:])),
                replace(block, certificate=CommitCertificate(block.certificate.view, commits[:1] * len(commits))),
                replace(block, transactions=(*block.transactions[1:], *self._strange())),
                block,
            )
        )

    def _strange(self) -> list[bytes]:
        """A transaction of another block."""
        made = list(self.liar.conspiracy.bodies.values())
        stored = [raw.raw for block in self.liar.node.store.blocks[-3:] for raw in block.transactions]
        return [self.random.choice([*made, *stored])] if made or stored else []

    def _invent(self, height: int) -> SealedBlocks | None:
        """An empty block on the tip, committed or sealed by conspirators alone."""
        liar, random = self.liar, self.random
        state = liar.node.state
        if height > state.tip.height + 1 or height <= state.stored:
            return None
        first = state.tip.height + 1
        view = random.choice((0, 0, 1))
        raw = make_header(liar, view, (), time_ms=state.round.parent.time_ms + 3)
        digest, need = header_hash(raw), state.round.validators.quorum
        votes = [
            liar.vote(Commit, first, view, digest, name)
            for name in sorted(liar.conspiracy.signers, key=lambda name: liar.voter(name))
        ]
        commits = [Vote(vote.voter, vote.signature) for vote in votes]
        chosen = random.choice(
            (commits, (commits * need)[:need], [Vote(at, commits[0].signature) for at in range(need)])
        )
        own = [
            CommittedBlock(entry.block.header_raw, entry.certificate, tuple(tx.raw for tx in entry.block.transactions))
            for at, entry in sorted(state.entries.items())
            if at >= height and entry.certificate is not None
        ]
        if random.random() < 0.5 or not liar.node.store.blocks:
            return SealedBlocks((), (*own, CommittedBlock(raw, CommitCertificate(view, tuple(chosen)), ())))
        last = decode(Result, liar.node.store.blocks[-1].sealed.result)
        result = encode(replace(last, header_hash=digest, height=first, time_ms=decode(Header, raw).time_ms))
        sealing = [(liar.voter(name), liar.sign(result_digest(result), name)) for name in liar.conspiracy.signers]
        seals = [Vote(*each) for each in sorted(sealing)]
        seal = random.choice((seals, (seals * need)[:need], [Vote(at, seals[0].signature) for at in range(need)]))
        return SealedBlocks((SealedBlock(SealedHeader(raw, result, tuple(seal)), ()),), ())


class LateCopies(Trick):
    """Keeps transactions from others: tells them only as a proposal's bodies, or never."""

    def says(self, receiver: str, message: Message) -> list[Message]:
        """No gossip, no bodies for one half."""
        if isinstance(message, Transactions | Bodies) and (
            isinstance(message, Transactions) or self.is_other(receiver)
        ):
            return []
        return [message]


FORGERIES: dict[str, type[Trick]] = {
    "bad-proposal": BadProposal,
    "forge-certificate": ForgeCertificate,
    OPENING: ForgeOpening,
    "lying-donor": LyingDonor,
    "late-copies": LateCopies,
}
