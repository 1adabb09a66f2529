"""The words of the language: types, and functions that the host or a node stands for."""

from contracts.vm.functions import BY_NAME
from contracts.vm.operators import Op
from contracts.vm.types import Bool, Bytes, Int, Text, Type, Wide
from ledger.units import I64_MAX, SPAN_MS_MAX, U32_MAX

TYPES: dict[str, Type] = {
    "bool": Bool(),
    "U8": Int(0, 255),
    "U32": Int(0, U32_MAX),
    "U63": Int(0, I64_MAX),
    "I64": Int(-(2**63), I64_MAX),
    "Wide": Wide(),
    "Time": Int(0, I64_MAX),
    "Span": Int(1, SPAN_MS_MAX),
    "Name": Text(1, 64),
    "Hash": Bytes(32, 32),
    "PublicKey": Bytes(33, 65),
    "Signature": Bytes(64, 64),
}
"""Names of types. Lengths of texts count characters."""

FACTS = {
    ("call", "caller"): BY_NAME["get_caller"],
    ("call", "company"): BY_NAME["get_company"],
    ("call", "id"): BY_NAME["get_call_id"],
    ("chain", "id"): BY_NAME["get_chain_id"],
    ("block", "height"): BY_NAME["get_height"],
    ("block", "time_ms"): BY_NAME["get_now_ms"],
}
"""What the host knows of the present call."""

LENT = {
    "verify": BY_NAME["verify"],
    "key_is_sound": BY_NAME["key_is_sound"],
    "digest": BY_NAME["digest"],
    "own_key_digest": BY_NAME["own_key_digest"],
    "vote_key_digest": BY_NAME["vote_key_digest"],
    "node_key_digest": BY_NAME["node_key_digest"],
    "reading_digest": BY_NAME["reading_digest"],
    "utf8": BY_NAME["utf8"],
    "big_endian_1": BY_NAME["big_endian_1"],
    "big_endian_4": BY_NAME["big_endian_4"],
    "big_endian_8": BY_NAME["big_endian_8"],
    "is_printable": BY_NAME["is_printable"],
    "present_terms": BY_NAME["present_terms"],
    "is_known_node_key": BY_NAME["is_known_node_key"],
    "decide": BY_NAME["decide"],
    "proves_equivocation": BY_NAME["proves_equivocation"],
    "keep_code": BY_NAME["keep_code"],
    "install_code": BY_NAME["install_code"],
    "drop_code": BY_NAME["drop_code"],
    "is_method": BY_NAME["is_method"],
}
"""Functions of the host."""

ARITHMETIC = {"min": Op.MIN, "max": Op.MAX, "ceil_div": Op.DIV_CEIL, "round_half_up": Op.DIV_HALF_UP}
"""Functions of two numbers."""

STATEMENTS = {"emit", "require", "schedule", "cancel"}
EXPRESSIONS = {"fail", "replace", "decode", "sorted_set", "len", "range", *ARITHMETIC, *LENT}
MARKS = {"Contract", "Struct", "Table", "Cell", "Event", "Codes", "Enum", "Interface", "List", "Annotated", "Range"} | {
    "Size", "table", "cell", "event", "method", "internal", "scheduled", "call", "chain", "block", "Role", "Business",
    "Branch",
}  # fmt: skip
USED = set(TYPES) | STATEMENTS | EXPRESSIONS | {"call", "chain", "block"}
"""Words that stand in functions: no local or parameter is called like one."""
WORDS = set(TYPES) | STATEMENTS | EXPRESSIONS | MARKS
"""All that a text may import from `contracts.language`."""
