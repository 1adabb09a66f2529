"""From genesis to a sealed height by proofs alone: hand-overs of the validator sets, then an offered snapshot. Pure."""

from msgspec import Struct

from consensus.messages import Ancestor, FetchAncestor, HandOver
from ledger.block import Header, check_sealed, header_hash, history_leaf, result_digest
from ledger.codec import decode, encode
from ledger.errors import ClientError, PeerError
from ledger.genesis import Genesis
from ledger.hashing import Tag, sm3
from ledger.mmr import verify_mmr
from ledger.snapshot import Manifest, Place, check_manifest
from ledger.validators import ValidatorSet


class Pin(Struct, frozen=True):
    """A block that the operator knows to be true: against keys of members that left long ago, with which a whole false
    history could be sealed.
    """

    height: int
    header_hash: bytes


class Offer(Struct, frozen=True):
    """A snapshot that is proven, as far as it goes without its chunks."""

    manifest: Manifest
    places: tuple[Place, ...]
    epoch: int
    """Of the set that sealed it."""
    key: bytes
    """Equal for equal snapshots, whoever's votes are in the seal."""

    @property
    def height(self) -> int:
        """Of the snapshot."""
        return self.manifest.header.height


class SetUnknownError(Exception):
    """The set that seals an offer is not reached yet: hand-overs are missing."""


class Trust:
    """The validator sets that are proven so far."""

    def __init__(self, genesis: Genesis, pin: Pin | None = None) -> None:
        self._genesis = genesis
        self._chain_id = genesis.hash()
        self._pin = pin
        self._sets = {genesis.validators.hash(): genesis.validators}
        self.newest = genesis.validators
        """The newest set."""
        self.changes: list[HandOver] = []
        """How it was reached: one for each epoch after the first."""

    @property
    def sets(self) -> list[ValidatorSet]:
        """All proven sets, in order."""
        return list(self._sets.values())

    def follow(self, changes: tuple[HandOver, ...]) -> bool:
        """Take in a peer's hand-overs; whether they lead further than before. Raises PeerError as `check_sealed` does,
        `set-other`.
        """
        before = self.newest.epoch
        for change in changes:
            if change.next_set.epoch <= self.newest.epoch:
                continue  # another peer was faster
            _, result = check_sealed(change.sealed, self.newest, self._chain_id)
            next_hash = change.next_set.hash()
            if result.next_set_hash != next_hash or change.next_set.epoch != self.newest.epoch + 1:
                raise PeerError("set-other", f"height {result.height} does not hand over to that set")
            try:
                change.next_set.check(self._genesis.profile.schemes)
            except ClientError as error:
                raise PeerError(error.code, error.message) from error
            self.newest = self._sets[next_hash] = change.next_set
            self.changes.append(change)
        return self.newest.epoch > before

    def prove(self, manifest: Manifest) -> Offer:
        """The offer that a manifest makes. Raises PeerError if it does not prove, SetUnknownError."""
        validators = self._sets.get(decode(Header, manifest.sealed.header).set_hash)
        if validators is None:
            raise SetUnknownError
        check_sealed(manifest.sealed, validators, self._chain_id)
        places = check_manifest(manifest, self._genesis.parameters.expiry_max_ms)
        proven = (manifest.sealed.result, manifest.history, manifest.window, manifest.shape)
        return Offer(manifest, tuple(places), validators.epoch, sm3(Tag.RESULT, encode(proven)))

    def pinned(self, offer: Offer) -> FetchAncestor | None:
        """What shows that the trusted block is in the history of an offer; None if there is none, or the window shows
        it.

        Raises PeerError `trust-other`, ClientError `trust-later` for an offer that is older than the trusted block.
        """
        pin, manifest = self._pin, offer.manifest
        if pin is None:
            return None
        if pin.height > offer.height:
            raise ClientError("trust-later", f"the snapshot of height {offer.height} is older than block {pin.height}")
        if pin.height < manifest.first:
            return FetchAncestor(pin.height, offer.height)
        self._compare(pin, manifest.digests(pin.height)[0])
        return None

    def check_ancestor(self, offer: Offer, message: Ancestor) -> None:
        """Check what `pinned` asked for. Raises PeerError `trust-other`."""
        pin = self._pin
        if pin is not None:
            digest = header_hash(message.header)
            leaf = history_leaf(digest, result_digest(message.result))
            root, count = offer.manifest.result.history_root, offer.height - 1
            shown = verify_mmr(root, count, pin.height - 1, leaf, message.proof)
            self._compare(pin, digest if shown else b"")

    def _compare(self, pin: Pin, digest: bytes) -> None:
        if digest != pin.header_hash:
            raise PeerError("trust-other", f"block {pin.height} is not the trusted one, or not shown to be")
