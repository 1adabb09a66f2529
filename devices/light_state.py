"""What a light client remembers, and what survives a power cut. Pure; `devices.light_client` moves it."""

from typing import Annotated

from msgspec import Meta, structs

from ledger.block import SealedHeader
from ledger.codec import Wire, encode
from ledger.errors import PeerError
from ledger.units import U32, U63, Hash, Name
from ledger.validators import ValidatorSet

NEIGHBOURS_MAX = 8
STATE_BYTES_MAX = 256 * 1024
"""Of the encoded state, with 100 members: what a small controller can spare."""


class Standing(Wire):
    """Where a light client stood before it followed a hand-over that only its owner's word can confirm."""

    validators: ValidatorSet
    set_since: U63
    height: U63
    head: SealedHeader | None
    set_changes: U32


class LightState(Wire):
    """All that a light client remembers."""

    chain_id: Hash
    owner_key: Annotated[bytes, Meta(max_length=65)]
    """Key whose signature lifts the long-range rule; empty where the device is provisioned anew instead."""
    validators: ValidatorSet | None = None
    """The set that seals blocks after `set_since`; None on a cold start from the chain's id alone."""
    set_since: U63 = 0
    """Height of the last hand-over followed; 0 for the genesis set."""
    time_ms: U63 = 0
    """Sealed time of the head: the device's clock never reads less."""
    height: U63 = 0
    head: SealedHeader | None = None
    set_changes: U32 = 0
    """Hand-overs followed since the owner's last word."""
    owner_spoke: bool = False
    """Whether the owner has signed any head yet: on a cold start it must, if its key is known."""
    fallback: Standing | None = None
    """Set while the validator set is tentative: nothing but a head with the owner's signature is believed under it."""
    neighbours: Annotated[tuple[Name, ...], Meta(max_length=NEIGHBOURS_MAX)] = ()
    """Addresses (host:port) of brokers to try, the best first."""


def fallen_back(state: LightState, standing: Standing) -> LightState:
    """The state as if no tentative hand-over had been followed."""
    return structs.replace(
        state,
        validators=standing.validators,
        set_since=standing.set_since,
        height=standing.height,
        head=standing.head,
        set_changes=standing.set_changes,
        fallback=None,
    )


def encode_state(state: LightState) -> bytes:
    """Bytes of the state for flash. Raises PeerError `state-too-large` past 256 KiB (keys are bounded, so no member
    list reaches it).
    """
    data = encode(state)
    if len(data) > STATE_BYTES_MAX:
        raise PeerError("state-too-large", f"{len(data)} bytes, at most {STATE_BYTES_MAX}")
    return data
