"""The light client: what a device believes of the chain, and why.

Pure. It is given sealed headers and proofs by gateways that it does not trust, and answers true, false, or "need more"
and what. It keeps the validator set, its newest sealed head, and its neighbours' addresses; nothing else, and all of
that survives a power cut as `LightState` (what still waits for a proof, its user knows). It skips from a head to any
later one under the same set; it follows a change of the set by the sealed block of the hand-over; it reaches blocks of
earlier sets through the mountain range over the chain's history.

Keys of companies that left may one day sign a false fork (the long-range attack on any chain whose signers change). So
the newest head never goes back, and a device that was away for too long also wants a head signed by its owner.
"""

from collections import OrderedDict
from enum import Enum

from msgspec import Struct, structs

from devices.light_state import LightState, Standing, fallen_back
from devices.wire import OldBlock, ReceiptProof
from ledger.block import (
    Header,
    Receipt,
    Result,
    SealedHeader,
    check_sealed,
    header_hash,
    history_leaf,
    result_digest,
    verify_receipt,
    verify_transaction,
)
from ledger.codec import decode
from ledger.errors import PeerError
from ledger.genesis import GenesisSummary
from ledger.keys import verify
from ledger.mmr import verify_mmr
from ledger.state_proof import StateProof, verify_state
from ledger.transaction import decode_transaction
from ledger.validators import ValidatorSet

AWAY_MS_MAX = 90 * 24 * 60 * 60 * 1000
"""Sealed time between two heads beyond which members may have left with their margin paid back, and nothing holds
them to the truth.
"""
SET_CHANGES_MAX = 32
"""Hand-overs followed without the owner's word: 64 KiB of a 4G link at 2 KiB each."""
SEALS_KEPT = 16
"""Seals whose verification is remembered: the head, and the blocks of the session under way."""


class Answer(Enum):
    """What the light client says to a claim."""

    TRUE = "true"
    FALSE = "false"
    MORE = "need more"


class Verdict(Struct, frozen=True):
    """An answer with its reason."""

    answer: Answer
    code: str = ""
    """Why not: a stable code. With MORE, what is needed: `genesis`, `set-change`, `history` or `owner-head`."""
    height: int = 0
    """With MORE: after which height, or for which."""

    @property
    def true(self) -> bool:
        """Whether the claim is proven."""
        return self.answer is Answer.TRUE


PROVEN = Verdict(Answer.TRUE)


class SealCache:
    """Remembers seals that verified, by content: a head is verified once, however often it is spoken of.

    Keyed by every byte of the sealed header, the set and the chain, so it can be shared between the devices of one
    process. The last refusal is remembered too: all entries of one State message rest on one seal, and a forged one
    costs no more than a true one.
    """

    def __init__(self, entries_max: int = SEALS_KEPT) -> None:
        """Keep at most `entries_max` seals, the latest used."""
        self._entries_max = entries_max
        self._seen: OrderedDict[tuple[SealedHeader, bytes, bytes], tuple[Header, Result]] = OrderedDict()
        self._refused: tuple[tuple[SealedHeader, bytes, bytes], PeerError] | None = None

    def check(
        self, sealed: SealedHeader, validators: ValidatorSet, set_hash: bytes, chain_id: bytes
    ) -> tuple[Header, Result]:
        """Header and result of a seal that holds. Raises PeerError as `ledger.block.check_sealed` does."""
        key = (sealed, set_hash, chain_id)
        found = self._seen.get(key)
        if found is None:
            if self._refused and self._refused[0] == key:
                raise PeerError(self._refused[1].code, self._refused[1].message)
            try:
                found = check_sealed(sealed, validators, chain_id)
            except PeerError as error:
                self._refused = (key, error)
                raise
            self._seen[key] = found
            if len(self._seen) > self._entries_max:
                self._seen.popitem(last=False)
        self._seen.move_to_end(key)
        return found


class _More(Exception):  # noqa: N818  # no error: a question
    """Unwinds a check that cannot be decided yet."""

    def __init__(self, code: str, height: int) -> None:
        super().__init__(code)
        self.verdict = Verdict(Answer.MORE, code, height)


class LightClient:
    """Judges claims about the chain against one `LightState`, and moves that state forwards only."""

    def __init__(self, state: LightState, cache: SealCache | None = None) -> None:
        """Begin with a state as provisioned, or as saved before a power cut."""
        self.state = state
        self._cache = cache or SealCache()
        self._stand(state)

    # Each public method turns what went wrong inside into a verdict; the checks themselves are below.

    def learn_genesis(self, summary: GenesisSummary) -> Verdict:
        """Take the first validator set from the facts behind the chain's id. Does nothing once a set is known."""
        if summary.hash() != self.state.chain_id:
            return Verdict(Answer.FALSE, "genesis-other")
        if self.state.validators is None:
            self._stand(structs.replace(self.state, validators=summary.validators, time_ms=summary.time_ms))
        return PROVEN

    def see_head(self, sealed: SealedHeader, owner_signature: bytes = b"") -> Verdict:
        """Move to a newer sealed head. An older one, or the one held, is FALSE `head-old` and changes nothing."""
        try:
            self._advance(sealed, owner_signature)
        except PeerError as error:
            return Verdict(Answer.FALSE, error.code)
        except _More as more:
            return more.verdict
        return PROVEN

    def follow(self, sealed: SealedHeader, next_set: ValidatorSet) -> Verdict:
        """Follow a hand-over: `sealed` is the last block of the set in force, `next_set` the set that its result
        names.
        """
        try:
            self._hand_over(sealed, next_set)
        except PeerError as error:
            return Verdict(Answer.FALSE, error.code)
        except _More as more:
            return more.verdict
        return PROVEN

    def check_receipt(self, transaction: bytes, proof: ReceiptProof) -> Verdict:
        """Whether a transaction (full bytes) is sealed with the receipt `proof.receipt`."""
        try:
            header, result = self._block_of(proof)
            decoded = decode_transaction(transaction)
            if not verify_transaction(header, decoded.leaf, proof.transaction):
                raise PeerError("proof-transaction", f"the transaction is not in block {header.height}")
            first = sum(row.count for row in header.branches if row.branch < proof.transaction.branch)
            if proof.receipt_path.index != first + proof.transaction.path.index or not verify_receipt(
                result, proof.receipt, proof.receipt_path
            ):
                raise PeerError("proof-receipt", f"the receipt is not the transaction's in block {header.height}")
            if decode(Receipt, proof.receipt).call_id != decoded.id:
                raise PeerError("proof-receipt", "the receipt is of another transaction")
        except PeerError as error:
            return Verdict(Answer.FALSE, error.code)
        except _More as more:
            return more.verdict
        # The seal was checked anyway: if it is newer than the head, it is the head.
        self.see_head(proof.sealed)
        return PROVEN

    def check_state(self, sealed: SealedHeader, key: bytes, value: bytes | None, proof: StateProof) -> Verdict:
        """Whether the state holds `value` (None: nothing) under `key`, at a head no older than the one held.

        An older state would be true of the past only: FALSE `head-old`.
        """
        try:
            header, result = self._evidence(sealed)
            if header.height < self.state.height:
                raise PeerError("head-old", f"state of height {header.height}, the head is at {self.state.height}")
            if header.height > self.state.height:
                self._advance(sealed, b"")
            if not verify_state(result.state_root, key, value, proof):
                raise PeerError("proof-state", f"the state at {header.height} does not say so")
        except PeerError as error:
            return Verdict(Answer.FALSE, error.code)
        except _More as more:
            return more.verdict
        return PROVEN

    # ── checks: raise PeerError (false) or _More ──────────────────────────────────────────────────────────────────────

    def _sealed(self, sealed: SealedHeader) -> tuple[Header, Result]:
        """Header and result of a block sealed by the set in force."""
        state = self.state
        if state.validators is None:
            raise _More("genesis", 0)
        header = decode(Header, sealed.header)
        if header.height <= state.set_since:
            # Only the range over the chain's history speaks for the blocks of earlier sets: their keys may have been
            # sold.
            raise _More("history", header.height)
        if header.set_hash != self._set_hash and header.height > state.height and header.chain_id == state.chain_id:
            raise _More("set-change", state.height)
        header, result = self._cache.check(sealed, state.validators, self._set_hash, state.chain_id)
        if header.height == state.height and state.head is not None and sealed.result != state.head.result:
            raise PeerError("head-fork", f"two results are sealed at height {header.height}: more than f members lie")
        return header, result

    def _evidence(self, sealed: SealedHeader) -> tuple[Header, Result]:
        """The same where the long-range rule does not ask for the owner's word first."""
        header, result = self._sealed(sealed)
        if self._owner_must_speak(header.time_ms):
            raise _More("owner-head", self.state.height)
        return header, result

    def _advance(self, sealed: SealedHeader, owner_signature: bytes) -> None:
        owner_key = self.state.owner_key
        asked = bool(owner_key and owner_signature)
        by_owner = asked and verify(owner_key, result_digest(sealed.result), owner_signature)
        if by_owner:
            self._heed_owner(sealed)
        header, _ = self._sealed(sealed)
        state = self.state
        if header.height <= state.height:
            # An old head replayed must never become the newest again.
            raise PeerError("head-old", f"height {header.height}, the head is at {state.height}")
        if header.time_ms <= state.time_ms:
            raise PeerError("head-time", f"height {header.height} is sealed at an earlier time than the head")
        if not by_owner and self._owner_must_speak(header.time_ms):
            raise _More("owner-head", state.height)
        self.state = structs.replace(
            state,
            head=sealed,
            height=header.height,
            time_ms=header.time_ms,
            set_changes=0 if by_owner else state.set_changes,
            owner_spoke=by_owner or state.owner_spoke,
            fallback=None,
        )

    def _owner_must_speak(self, time_ms: int) -> bool:
        state = self.state
        cold = bool(state.owner_key) and not state.owner_spoke
        away = time_ms - state.time_ms > AWAY_MS_MAX
        return cold or away or state.set_changes > SET_CHANGES_MAX or state.fallback is not None

    def _heed_owner(self, sealed: SealedHeader) -> None:
        """Give up a tentative set if the owner's newer word is not of it: the hand-overs that led there may have been
        forged.
        """
        header, standing = decode(Header, sealed.header), self.state.fallback
        if (
            standing
            # The owner signs results: a liar's own header beside one, or an old word said again, undoes nothing.
            and decode(Result, sealed.result).header_hash == header_hash(sealed.header)
            and header.height > standing.height
            and (header.set_hash != self._set_hash or header.height <= self.state.set_since)
        ):
            self._stand(fallen_back(self.state, standing))

    def _stand(self, state: LightState) -> None:
        self._set_hash = state.validators.hash() if state.validators else b""
        self.state = state

    def _hand_over(self, sealed: SealedHeader, next_set: ValidatorSet) -> None:
        before, standing = self.state, self.state.fallback
        if standing and decode(Header, sealed.header).set_hash == standing.validators.hash():
            # Another way on from the confirmed set: a forged hand-over must not keep the true one out.
            self._stand(fallen_back(before, standing))
        try:
            self._follow(sealed, next_set)
        except (PeerError, _More):
            self._stand(before)  # nor may one that nobody sealed undo what was followed
            raise

    def _follow(self, sealed: SealedHeader, next_set: ValidatorSet) -> None:
        header, result = self._sealed(sealed)
        if header.height < self.state.height:
            raise PeerError("head-old", f"hand-over at {header.height}, the head is at {self.state.height}")
        if result.next_set_hash == self._set_hash or result.next_set_hash != next_set.hash():
            raise PeerError("set-other", f"height {header.height} does not hand over to that set")
        state, fallback, time_ms = self.state, self.state.fallback, header.time_ms
        if time_ms < state.time_ms:
            raise PeerError("head-time", f"height {header.height} is sealed at an earlier time than the head")
        if self._owner_must_speak(time_ms):
            # Long-range attack: members that left long ago may hand over to anybody. Followed tentatively, because the
            # head that the owner signs may lie under a later set.
            if not state.owner_key or state.validators is None:
                raise _More("owner-head", state.height)
            fallback = fallback or Standing(
                state.validators, state.set_since, state.height, state.head, state.set_changes
            )
            time_ms = state.time_ms
        self._stand(
            structs.replace(
                state,
                validators=next_set,
                set_since=header.height,
                height=header.height,
                head=sealed,
                time_ms=time_ms,
                set_changes=state.set_changes + 1,
                fallback=fallback,
            )
        )

    def _block_of(self, proof: ReceiptProof) -> tuple[Header, Result]:
        """Header and result of the block that a proof speaks of, sealed itself or in the history of one that is."""
        header, result = self._evidence(proof.sealed)
        if proof.old is None:
            return header, result
        return self._from_history(header, result, proof.old)

    def _from_history(self, newer: Header, newer_result: Result, old: OldBlock) -> tuple[Header, Result]:
        header, result = decode(Header, old.header), decode(Result, old.result)
        digest = header_hash(old.header)
        leaf = history_leaf(digest, result_digest(old.result))
        count = newer.height - 1
        if (
            result.header_hash != digest
            or header.height != result.height
            or not 1 <= header.height <= count
            or not verify_mmr(newer_result.history_root, count, header.height - 1, leaf, old.proof)
        ):
            raise PeerError("proof-history", f"block {header.height} is not in the history of block {newer.height}")
        return header, result
