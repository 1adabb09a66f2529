"""What the host lends to contracts: functions with fixed types, by position. Their bodies are methods of
`contracts.host.Host` of the same name.
"""

from msgspec import Struct

from contracts.vm.native import NATIVES, Native
from contracts.vm.types import Bool, Bytes, Int, List, Text, Type
from ledger.evidence import Equivocation
from ledger.genesis import Parameters
from ledger.terms import OBSERVERS_MAX, Observer, Terms
from ledger.units import I64_MAX, U32_MAX
from ledger.validators import VALIDATORS_MAX, VALIDATORS_MIN, Validator

KEY = Bytes(33, 65)
HASH = Bytes(32, 32)
SIGNATURE = Bytes(64, 64)
NAME = Text(1, 64)
QUANTITY = Int(0, I64_MAX)
DIGEST_BYTES_MAX = 16 * 1024
CODE = Bytes(1, 60_000)
SOURCE = Text(0, 60_000)
"""Both within a transaction."""
TERMS = Native(NATIVES.type(Terms))
VALIDATORS = Native(List(NATIVES.type(Validator), VALIDATORS_MIN, VALIDATORS_MAX))
OBSERVERS = Native(List(NATIVES.type(Observer), 0, OBSERVERS_MAX))
PARAMETERS = Native(NATIVES.type(Parameters))


class HostFunction(Struct, frozen=True):
    """One of them."""

    name: str
    params: tuple[Type | Native, ...]
    result: Type | Native
    gas: int
    """At the entry of the block that it stands in; what depends on sizes, the host charges at the call."""


HOST_FUNCTIONS: tuple[HostFunction, ...] = (
    HostFunction("get_caller", (), Bytes(4, 65), 20),
    HostFunction("get_company", (), Text(0, 64), 20),
    HostFunction("get_call_id", (), Bytes(0, 32), 20),
    HostFunction("get_chain_id", (), HASH, 20),
    HostFunction("get_height", (), QUANTITY, 20),
    HostFunction("get_now_ms", (), QUANTITY, 20),
    HostFunction("verify", (KEY, HASH, SIGNATURE), Bool(), 200),
    HostFunction("key_is_sound", (KEY, List(Int(1, 2), 0, 2)), Bool(), 200),
    HostFunction("digest", (Bytes(0, DIGEST_BYTES_MAX),), HASH, 1_000),
    HostFunction("own_key_digest", (NAME, KEY), HASH, 2_000),
    HostFunction("vote_key_digest", (NAME, KEY), HASH, 2_000),
    HostFunction("node_key_digest", (NAME, HASH), HASH, 2_000),
    HostFunction("reading_digest", (Bytes(0, 256),), HASH, 1_500),
    HostFunction("utf8", (Text(0, 1_000),), Bytes(0, 4_000), 150),
    HostFunction("big_endian_1", (Int(0, 2**8 - 1),), Bytes(1, 1), 100),
    HostFunction("big_endian_4", (Int(0, 2**32 - 1),), Bytes(4, 4), 100),
    HostFunction("big_endian_8", (QUANTITY,), Bytes(8, 8), 100),
    HostFunction("is_printable", (Text(0, 1_000),), Bool(), 200),
    HostFunction("present_terms", (), TERMS, 20_000),
    HostFunction("is_known_node_key", (HASH,), Bool(), 20_000),
    HostFunction("decide", (VALIDATORS, OBSERVERS, PARAMETERS), TERMS, 50_000),
    HostFunction("proves_equivocation", (Native(NATIVES.type(Equivocation)),), Bool(), 20_000),
    HostFunction("keep_code", (Int(0, U32_MAX), CODE, SOURCE), HASH, 5_000),
    HostFunction("install_code", (Int(0, U32_MAX), HASH, QUANTITY), QUANTITY, 5_000),
    HostFunction("drop_code", (HASH,), Bool(), 5_000),
    HostFunction("is_method", (Int(0, U32_MAX), NAME), Bool(), 200),
)
"""By position; new ones are added at the end, for programs that are on a chain name them by it. Those of terms,
evidence and codes are for governance alone.
"""

BY_NAME = {function.name: position for position, function in enumerate(HOST_FUNCTIONS)}
