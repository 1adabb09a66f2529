"""What piles and gateways say to each other over MQTT.

Upwards every message is an envelope signed by the device, so the broker is only a pipe and a stranger who gets past it
is still a stranger. Downwards nothing is signed by the gateway: the device believes proofs, never a gateway; only the
readings archive signs what it confirms. Topics are
`pilechain/<first 8 hex digits of the chain id>/d/<device>/up` and `…/down`, and `pilechain/<chain>/head` (retained),
all at QoS 1.
"""

from typing import Annotated

from msgspec import Meta

from ledger.block import SealedHeader, TransactionProof
from ledger.charging import SignedReading
from ledger.codec import Wire, decode, encode
from ledger.errors import PeerError
from ledger.genesis import GenesisSummary
from ledger.hashing import Tag, sm3
from ledger.keys import Signer, verify
from ledger.merkle import MerkleProof
from ledger.mmr import MmrProof
from ledger.state_proof import StateProof
from ledger.transaction import TRANSACTION_BYTES_MAX
from ledger.units import U63, Hash, Signature
from ledger.validators import ValidatorSet

UP_BYTES_MAX = TRANSACTION_BYTES_MAX + 1024
"""Longest message of a device: one transaction and its envelope."""
DOWN_BYTES_MAX = 96 * 1024
"""Longest message to a device: a driver's transaction of the longest kind with its proofs, or a set change of 100
members.
"""
READINGS_BATCH_MAX = 64
"""Readings in one message: about 10 KB, a few packets of a 4G modem."""
STATE_KEYS_MAX = 4
"""Keys in one question: a pile's prices rest on three."""
StateKey = Annotated[bytes, Meta(min_length=1, max_length=256)]
"""Never empty: LMDB raises on an empty key or one of more than 511 bytes, so a device could end its gateway."""
DEVICE_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
"""What a device's name may hold: it stands in topics, so `+`, `#` and `/` would widen a subscription or an access
rule.
"""


# ── proofs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class OldBlock(Wire):
    """A block of long ago, without its seal: it is proven to be in the history of a newer sealed block."""

    header: Annotated[bytes, Meta(max_length=4096)]
    result: Annotated[bytes, Meta(max_length=1024)]
    proof: MmrProof
    """Against the newer block's `history_root`."""


class StateEntry(Wire):
    """What the state holds under one key: a value, or nothing."""

    key: StateKey
    value: Annotated[bytes, Meta(max_length=4096)] | None
    proof: StateProof


class ReceiptProof(Wire):
    """That a transaction ran, and what came of it."""

    sealed: SealedHeader
    """The block that holds it; or, with `old`, a newer one."""
    old: OldBlock | None
    """The block that holds it, if its validator set has been replaced since."""
    transaction: TransactionProof
    receipt: Annotated[bytes, Meta(max_length=TRANSACTION_BYTES_MAX)]
    receipt_path: MerkleProof


# ── device to gateway ─────────────────────────────────────────────────────────────────────────────────────────────────


class Hello(Wire, tag=1):
    """The device is (again) there. Answered by what it missed: genesis, set changes, a head, open sessions that wait
    for it.
    """

    height: U63
    """Its newest sealed head; 0 for none."""
    know_set: bool
    """False on a cold start: it holds the chain's id alone and needs the genesis summary."""


class Submit(Wire, tag=2):
    """A signed transaction of the device. Answered by Refused, or by Receipt once it is sealed."""

    transaction: Annotated[bytes, Meta(max_length=TRANSACTION_BYTES_MAX)]


class Readings(Wire, tag=3):
    """Consecutive signed readings of one session. Answered by Archived."""

    session: Hash
    readings: Annotated[tuple[SignedReading, ...], Meta(min_length=1, max_length=READINGS_BATCH_MAX)]


class AskHead(Wire, tag=4):
    """Wants the newest sealed head now."""


class AskReceipt(Wire, tag=5):
    """Wants the receipt of a transaction, with its block proven from a head at least as new as `height`."""

    transaction_id: Hash
    height: U63


class AskState(Wire, tag=6):
    """Wants what the newest state holds under some keys."""

    keys: Annotated[tuple[StateKey, ...], Meta(min_length=1, max_length=STATE_KEYS_MAX)]


class AskSetChanges(Wire, tag=7):
    """Wants every hand-over of the validator set after `height`, oldest first."""

    height: U63


UpPayload = Hello | Submit | Readings | AskHead | AskReceipt | AskState | AskSetChanges


class Up(Wire):
    """Envelope of a device's message."""

    message_id: U63
    """Grows with every message of the device; the gateway does one once."""
    payload: Annotated[bytes, Meta(max_length=UP_BYTES_MAX)]
    signature: Signature


# ── gateway to device ─────────────────────────────────────────────────────────────────────────────────────────────────


class Head(Wire, tag=1):
    """The newest sealed head."""

    sealed: SealedHeader
    owner_signature: Annotated[bytes, Meta(max_length=64)] = b""
    """Owner's signature over the result's digest, for a device that was away for long; mostly empty."""


class Refused(Wire, tag=2):
    """A message was not taken. A hint only: a gateway may lie, so the device's own deadline decides when it gives
    up.
    """

    message_id: U63
    code: Annotated[str, Meta(max_length=64)]
    message: Annotated[str, Meta(max_length=256)]


class Receipt(Wire, tag=3):
    """The device's own transaction is sealed."""

    transaction_id: Hash
    proof: ReceiptProof


class State(Wire, tag=4):
    """What the state of one block holds under the keys asked for."""

    sealed: SealedHeader
    entries: Annotated[tuple[StateEntry, ...], Meta(max_length=STATE_KEYS_MAX)]


class SetChange(Wire, tag=5):
    """The last block of a validator set, and the set that follows."""

    sealed: SealedHeader
    next_set: ValidatorSet


class SessionOpen(Wire, tag=6):
    """A driver opened a session at this pile."""

    transaction: Annotated[bytes, Meta(max_length=TRANSACTION_BYTES_MAX)]
    """The driver's signed `session.open`."""
    proof: ReceiptProof


class Genesis(Wire, tag=7):
    """The facts behind the chain's id, for a cold start."""

    summary: GenesisSummary


class Archived(Wire, tag=8):
    """The archive holds the first `count` readings of a session durably, and the pile may forget them.

    The one downward message that is signed, by the archive's key: on a broker's or gateway's bare word a pile would
    destroy the only copy of its evidence.
    """

    session: Hash
    count: U63
    digest: Hash
    """Of reading number `count` - 1, and so of all before it; zero if there is none."""
    signature: Signature


DownPayload = Head | Refused | Receipt | State | SetChange | SessionOpen | Genesis | Archived


def archived_digest(chain_id: bytes, device: str, session: bytes, count: int, digest: bytes) -> bytes:
    """What an archive signs: that it holds these readings of this device on this chain."""
    return sm3(Tag.ARCHIVED, chain_id, encode((device, session, count, digest)))


def sign_archived(chain_id: bytes, device: str, session: bytes, count: int, digest: bytes, signer: Signer) -> Archived:
    """The archive's confirmation."""
    signature = signer.sign(archived_digest(chain_id, device, session, count, digest))
    return Archived(session, count, digest, signature)


def message_digest(chain_id: bytes, device: str, message_id: int, payload: bytes) -> bytes:
    """What a device signs: its name and the chain are in it, so a message passes for no other device's and on no
    other chain.
    """
    return sm3(Tag.DEVICE_MESSAGE, chain_id, encode((device, message_id, payload)))


def seal_up(chain_id: bytes, device: str, message_id: int, message: UpPayload, signer: Signer) -> bytes:
    """Bytes of a device's message in its signed envelope."""
    payload = encode(message)
    return encode(Up(message_id, payload, signer.sign(message_digest(chain_id, device, message_id, payload))))


def open_up(data: bytes) -> Up:
    """Envelope from its bytes; nothing in it is to be believed before `check_up`. Raises PeerError `message-too-
    large` or `encoding-…`.
    """
    if len(data) > UP_BYTES_MAX:
        raise PeerError("message-too-large", f"{len(data)} bytes, at most {UP_BYTES_MAX}")
    return decode(Up, data)


def check_up(up: Up, chain_id: bytes, device: str, public_key: bytes) -> UpPayload:
    """Payload of an envelope that `device` itself has signed. Raises PeerError `message-forged` or `encoding-…`."""
    if not verify(public_key, message_digest(chain_id, device, up.message_id, up.payload), up.signature):
        raise PeerError("message-forged", f"the signature is not that of device {device}")
    payload: UpPayload = decode(UpPayload, up.payload)  # type: ignore[arg-type]  # a union is a type to msgspec
    return payload


def decode_down(data: bytes) -> DownPayload:
    """Message to a device from its bytes. Raises PeerError `message-too-large` or `encoding-…`."""
    if len(data) > DOWN_BYTES_MAX:
        raise PeerError("message-too-large", f"{len(data)} bytes, at most {DOWN_BYTES_MAX}")
    payload: DownPayload = decode(DownPayload, data)  # type: ignore[arg-type]  # a union is a type to msgspec
    return payload


def trim_seal(sealed: SealedHeader, quorum: int) -> SealedHeader:
    """The same with no more signatures than decide: the others would only cost the device bytes."""
    return SealedHeader(sealed.header, sealed.result, sealed.seal[:quorum])


# ── topics ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def topic_root(chain_id: bytes) -> str:
    """Beginning of all topics of a chain."""
    return f"pilechain/{chain_id.hex()[:8]}"


def up_topic(chain_id: bytes, device: str) -> str:
    """Where a device speaks."""
    return f"{topic_root(chain_id)}/d/{device}/up"


def down_topic(chain_id: bytes, device: str) -> str:
    """Where a device listens."""
    return f"{topic_root(chain_id)}/d/{device}/down"


def head_topic(chain_id: bytes) -> str:
    """Where gateways retain the newest head."""
    return f"{topic_root(chain_id)}/head"


def device_of(topic: str) -> str:
    """Name of the device that a topic belongs to; empty if it is none of ours."""
    parts = topic.split("/")
    return parts[3] if len(parts) == 5 and parts[2] == "d" else ""


def is_device_name(name: str) -> bool:
    """Whether a name can stand in a topic (and in a broker's access rule) without meaning more than itself."""
    return 0 < len(name) <= 64 and DEVICE_NAME_CHARACTERS.issuperset(name)
