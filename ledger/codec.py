"""The one canonical encoding of everything that is signed, hashed, stored or sent: MessagePack arrays.

Structs are encoded as arrays of their fields in order; integers, lengths and strings take their shortest MessagePack
form. msgspec's encoder always writes that form, but its decoder (like every MessagePack decoder) also reads longer
ones. Two byte strings for one object would be two hashes for one object, so `decode` encodes again and compares.
"""

from functools import lru_cache
from typing import Any, TypeVar, cast, dataclass_transform

import msgspec

from ledger.errors import PeerError

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
"""Canonical bytes of a wire object: `encode(obj: Wire | int | bytes | str | tuple | list) -> bytes`."""


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Wire(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """Base of every object with a canonical encoding: an array of the fields in their written order, never changed once
    built.

    Frozen and of immutable parts, so no cycle passes through one and the garbage collector need not walk them
    (`gc=False`), which took a tenth of a loaded node's time.
    """


@lru_cache(4_096)  # by type: all that the program has, and those of the contracts that it describes
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


def decode(kind: type[T], data: bytes) -> T:
    """Object of type `kind` from its canonical bytes.

    Raises PeerError `encoding-malformed` if the bytes are not of that type, and `encoding-not-canonical` if they are
    but in another form than ours (a second encoding of one object would get a second hash: the malleability behind
    CVE-2014-8275 and BIP 66).
    """
    value = decode_trusted(kind, data)
    if _encoder.encode(value) != data:
        raise PeerError(
            "encoding-not-canonical", f"{_name(kind)}: bytes differ from the canonical encoding of what they say"
        )
    return value


def decode_trusted(kind: type[T], data: bytes) -> T:
    """The same without the second encoding: for bytes whose canonical form was checked before they were stored."""
    try:
        value: T = _decoder(cast(Any, kind)).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # the last two escape msgspec unwrapped
        raise PeerError("encoding-malformed", f"{_name(kind)}: {error}") from error
    return value


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))
