"""F20: programs that the verifier refuses for what stands outside of their functions' bodies: bytes, types, tables,
methods, lists too long, names twice.
"""

import msgspec
import pytest

from contracts.vm import tree
from contracts.vm.program import (
    CODE_BYTES_MAX,
    CodeDef,
    EnumDef,
    EventDef,
    ImportDef,
    MethodDef,
    NamedType,
    Param,
    Program,
    StructDef,
    TableDef,
)
from contracts.vm.verifier import FIELDS_MAX, LISTED_MAX, LOCALS_MAX, NESTING_MAX, SCHEDULED_GAS_MAX, TYPE_BYTES_MAX
from ledger.codec import encode
from tests.vm.kit import (
    DIGIT,
    EMPTY,
    I64,
    OTHER,
    PAIR,
    STRUCTS,
    TABLES,
    Bool,
    Bytes,
    Int,
    List,
    Optional,
    Struct,
    Text,
    Type,
    Wide,
    add,
    function,
    get,
    method,
    num,
    program,
    reason,
)

PLAIN = function()
SOUND = encode(program(function(tree.Do(add(num(7), num(8))), tree.Do(tree.Const("b")))))


def changed(before: bytes, after: bytes) -> bytes:
    """The sound code with some bytes of it changed in one place."""
    assert SOUND.count(before) == 1
    return SOUND.replace(before, after)


def structs(*fields: Type) -> Program:
    """A program with one more struct."""
    named = tuple(NamedType(f"f{place}", each) for place, each in enumerate(fields))
    return program(PLAIN, structs=(*STRUCTS, StructDef("More", named)))


def enums(*declared: EnumDef) -> Program:
    """A program with enums."""
    return program(PLAIN, enums=declared)


def shown(declared: Type, *places: int) -> Program:
    """A program with a field whose numbers are shown as members of the enum Digit."""
    more = StructDef("More", (NamedType("f", declared, places or (0,)),))
    digits = EnumDef("Digit", 0, tuple(f"N{n}" for n in range(10)))
    return program(PLAIN, structs=(*STRUCTS, more), enums=(digits,))


def nest(depth: int, *, listed: bool = False) -> Program:
    """A program with structs within one another."""
    chain = [StructDef("N1", (NamedType("f", Bool()),))]
    for place in range(1, depth):
        inner = Struct(place - 1) if not listed else List(Struct(place - 1), 0, 1)
        chain.append(StructDef(f"N{place + 1}", (NamedType("f", inner),)))
    return program(PLAIN, structs=tuple(chain), tables=(), events=())


def table(*key: Type, value: int = PAIR, **changes: int | str) -> Program:
    """A program with one more table."""
    made = TableDef("MORE", 9, tuple(key), value)
    return program(PLAIN, tables=(*TABLES, msgspec.structs.replace(made, **changes)))


def entry(*types: Type, **changes: object) -> Program:
    """A program whose method takes such parameters."""
    names = [f"p{place}" for place in range(len(types))]
    made = program(function(types=types, params=len(types)), methods=(method(0, names),))
    (declared,) = made.methods
    return msgspec.structs.replace(made, methods=(msgspec.structs.replace(declared, **changes),))


TWO_METHODS = (method(), method())
LONG = {
    "structs": tuple(StructDef(f"S{n}", ()) for n in range(LISTED_MAX + 1)),
    "tables": TABLES * 126,
    "events": tuple(EventDef(f"own.e{n}", 0) for n in range(LISTED_MAX + 1)),
    "codes": tuple(CodeDef(n + 1, f"C{n}", "") for n in range(LISTED_MAX + 1)),
    "imports": tuple(ImportDef(OTHER, f"m{n}", (), ()) for n in range(LISTED_MAX + 1)),
    "functions": tuple(function(name=f"f{n}") for n in range(LISTED_MAX + 1)),
    "methods": tuple(method(name=f"m{n}") for n in range(LISTED_MAX + 1)),
    "enums": tuple(EnumDef(f"E{n}", 1, ("A",)) for n in range(LISTED_MAX + 1)),
}
NINES = Bytes(0, 65_536)

KEYS: dict[str, tuple[Type, ...]] = {
    "negative numbers": (Int(-1, 5),),
    "no number": (Int(5, 4),),
    "no text": (Text(5, 4),),
    "no bytes": (Bytes(5, 4),),
    "bytes of any length in the middle": (Bytes(0, 4), DIGIT),
    "truth values": (Bool(),),
    "128 bits": (Wide(),),
    "structs": (Struct(PAIR),),
    "optional structs": (Optional(PAIR),),
    "lists": (List(DIGIT, 0, 3),),
}
PROGRAMS: dict[str, tuple[Program, str]] = {
    "another language": (program(PLAIN, language=2), "language 2; this release knows 1"),
    "a branch that there is not": (program(PLAIN, branch=99), "no branch 99"),
    **{f"501 {what}": (program(PLAIN, **{what: rows}), "a list of 50") for what, rows in LONG.items()},
    "structs 17 deep": (nest(NESTING_MAX + 1), "structs within structs, 17 deep, at most 16"),
    "lists of structs 17 deep": (nest(NESTING_MAX + 1, listed=True), "structs within structs, 17 deep, at most 16"),
    "33 fields": (structs(*[Bool()] * (FIELDS_MAX + 1)), "struct More: a list of 33, at most 32"),
    "501 parameters of another's": (
        program(PLAIN, imports=(ImportDef(OTHER, "m", (Bool(),) * 501, ()),)),
        "import m: a list of 501",
    ),
    "201 locals": (program(function(types=[Bool()] * (LOCALS_MAX + 1))), "function run: a list of 201, at most 200"),
    "501 roles": (entry(roles=(1,) * 501), "a list of 501"),
    "501 callers": (entry(callers=tuple(range(501))), "a list of 501"),
    # ── names twice ──
    "a struct twice": (program(PLAIN, structs=(*STRUCTS, StructDef("Pair", ()))), "struct Pair twice"),
    "a field twice": (
        program(
            PLAIN, structs=(StructDef("S", (NamedType("a", Bool()), NamedType("a", Bool()))),), tables=(), events=()
        ),
        "struct S: field a twice",
    ),
    "a table twice": (table(Bool(), name="CELL"), "table CELL twice"),
    "a table's tag twice": (table(DIGIT, tag=1), "table tag 1 twice"),
    "an event twice": (program(PLAIN, events=(EventDef("own.e", 0),) * 2), "event own.e twice"),
    "a code twice": (program(PLAIN, codes=(CodeDef(1, "A", ""), CodeDef(1, "B", ""))), "code 1 twice"),
    "a code's name twice": (program(PLAIN, codes=(CodeDef(1, "A", ""), CodeDef(2, "A", ""))), "code name A twice"),
    "a function twice": (program(PLAIN, PLAIN, methods=()), "function run twice"),
    "a method twice": (program(PLAIN, methods=TWO_METHODS), "method go twice"),
    "an enum twice": (enums(EnumDef("E", 1, ("A",)), EnumDef("E", 2, ("A",))), "enum E twice"),
    "a member twice": (enums(EnumDef("E", 1, ("A", "A"))), "enum E: member A twice"),
    "no members": (enums(EnumDef("E", 1, ())), "enum E: no members"),
    "more members than numbers": (enums(EnumDef("E", 2**63 - 1, ("A",))), "enum E: no members, or more than numbers"),
    "501 members": (enums(EnumDef("E", 1, tuple(f"A{n}" for n in range(501)))), "enum E: a list of 501"),
    "an enum that there is not": (shown(DIGIT, 1), "struct More: there is no enum 1"),
    "an enum of other numbers": (shown(Int(0, 8)), "struct More: a place that is not one of Digit's numbers"),
    "an enum of a text": (shown(Text(0, 9)), "struct More: a place that is not one of Digit's numbers"),
    "two enums": (shown(DIGIT, 0, 0), "struct More: a list of 2"),
    "a parameter's enum": (
        entry(Text(0, 9), params=(Param("p0", (0,)),)),
        "method go: there is no enum 0",
    ),
    "a parameter twice": (entry(DIGIT, DIGIT, params=(Param("p"), Param("p"))), "method go: parameter p twice"),
    # ── types ──
    "a field of 128 bits": (structs(Wide()), "a number of 128 bits outside of a function's locals"),
    "a list of 128 bits": (structs(List(Wide(), 0, 1)), "too wide for a list"),
    "a list of lists": (structs(List(List(Bool(), 0, 1), 0, 1)), "a list of lists"),
    "a number of no value": (structs(Int(1, 0)), "a number from 1 to 0: nothing"),
    "bytes of no length": (structs(Bytes(2, 1)), "bytes of length 2 to 1: nothing"),
    "a text of no length": (structs(Text(2, 1)), "a text of 2 to 1 characters: nothing"),
    "a list of no length": (structs(List(Bool(), 2, 1)), "nothing, or too wide"),
    "a list of numbers of no value": (structs(List(Int(1, 0), 0, 1)), "a number from 1 to 0: nothing"),
    "a struct of itself": (structs(Struct(3)), "struct 3: not known here"),
    "a struct of itself, perhaps": (structs(Optional(3)), "struct 3 or nothing: not known here"),
    "a struct of those of itself": (structs(List(Struct(3), 0, 1)), "struct 3: not known here"),
    "a struct of a later one": (
        program(PLAIN, structs=(StructDef("A", (NamedType("b", Struct(1)),)), StructDef("B", ())), tables=()),
        "struct A: struct 1: not known here",
    ),
    "a list of more than 512 KiB": (structs(List(I64, 0, 65_536)), "a value may take 589829 bytes, at most 524288"),
    "a struct of more than 512 KiB": (structs(*[NINES] * 8), "a value may take 524333 bytes, at most 524288"),
    "structs of more than 512 KiB": (
        program(
            PLAIN,
            structs=(
                *STRUCTS,
                StructDef("A", (NamedType("a", NINES),)),
                StructDef("B", (NamedType("a", List(Struct(3), 0, 8)),)),
            ),
        ),
        "struct B: a value may take",
    ),
    "a local of no value": (program(function(types=[Int(1, 0)])), "function run: a number from 1 to 0"),
    "a local of an unknown struct": (program(function(types=[Struct(3)])), "struct 3: not known here"),
    "a local of more than 512 KiB": (program(function(types=[List(I64, 0, 65_536)])), "may take 589829 bytes"),
    "a result of an unknown struct": (program(function(result=Struct(3))), "struct 3: not known here"),
    "two results": (
        program(msgspec.structs.replace(function(), result=(DIGIT, DIGIT))),
        "a list of 2, at most 1",
    ),
    "two results of another's": (
        program(PLAIN, imports=(ImportDef(OTHER, "m", (), (DIGIT, DIGIT)),)),
        "import m: a list of 2, at most 1",
    ),
    "a parameter of 128 bits of another's": (
        program(PLAIN, imports=(ImportDef(OTHER, "m", (Wide(),), ()),)),
        "a number of 128 bits outside",
    ),
    "more parameters than locals": (program(function(params=1), methods=()), "more parameters than locals"),
    # ── tables and events ──
    "an event of an unknown struct": (
        program(PLAIN, events=(EventDef("own.e", 3),)),
        "event own.e: there is no struct 3",
    ),
    "a table of an unknown struct": (table(value=3), "table MORE: there is no struct 3"),
    "a key of five parts": (table(*[DIGIT] * 5), "a key of 5 parts, at most 4"),
    **{f"a key of {name}": (table(*key), "a key's parts are") for name, key in KEYS.items()},
    # ── methods ──
    "a method of no function": (entry(function=1), "method go: there is no function 1"),
    "too few names for parameters": (entry(DIGIT, params=()), "0 names for 1 parameters"),
    "a parameter of 128 bits": (entry(Wide()), "a number of 128 bits outside"),
    "a result of 128 bits": (program(function(tree.Return((num(1),)), result=Wide())), "a number of 128 bits outside"),
    "roles out of order": (entry(roles=(2, 1)), "roles or callers that are not in order"),
    "a role twice": (entry(roles=(1, 1)), "roles or callers that are not in order"),
    "callers out of order": (entry(callers=(3, 2)), "roles or callers that are not in order"),
    "a role that there is not": (entry(roles=(1, 99)), "a role or type of business that there is not"),
    "a business that there is not": (entry(business=99), "a role or type of business that there is not"),
    "too much gas": (entry(scheduled_gas=SCHEDULED_GAS_MAX + 1), "10000001 gas for a scheduled call"),
    "a device without counter": (entry(DIGIT, device=True), "without a number `counter`"),
    "a device's counter as a text": (
        entry(Text(0, 9), device=True, params=(Param("counter"),)),
        "without a number `counter`",
    ),
    "a device's counter below 0": (entry(I64, device=True, params=(Param("counter"),)), "without a number `counter`"),
}


@pytest.mark.parametrize("flaw", PROGRAMS)
def test_F20_the_verifier_refuses_a_program(flaw):
    made, why = PROGRAMS[flaw]
    said = reason(encode(made))
    assert why in said, said


DECODED = {
    "a label with capitals": program(PLAIN, events=(EventDef("Own", 0),)),
    "a name that is no identifier": program(PLAIN, name="a b"),
    "a name of two lines": program(PLAIN, name="ab\n"),
    "a code of 0": program(PLAIN, codes=(CodeDef(0, "A", ""),)),
    "a failure of 1000": program(function(tree.Do(tree.Fail(1_000)))),
    "a walk of 1001": program(function(tree.Walk(0, (), 1_001, (0,), 1, ()))),
    "a walk of none": program(function(tree.Walk(0, (), 0, (0,), 1, ()))),
    "a length of 65,537": structs(Text(0, 65_537)),
    "a negative length": structs(Bytes(-1, 3)),
    "a number of 65 bits": program(function(tree.Do(num(2**63)))),
    "a range of 65 bits": structs(Int(0, 2**63)),
    "a summary of 4,001 characters": program(PLAIN, summary="a" * 4_001),
    "a table's tag of 0": table(tag=0),
    "a position of 65,536": program(function(tree.Do(get(65_536)))),
    "negative gas": entry(scheduled_gas=-1),
}
STRING, TRUE, IF, BREAK = b"\x92\x00\xa1b", b"\x92\x00\xc3", b"\x94\x07\x92\x00\xc3\x91", b"\x91\x0c"
CODES = {
    "nothing": b"",
    "one byte": b"\xc1",
    "text": b"a contract",
    "no array": encode({"language": 1}),
    "a shorter array": encode([1, "own"]),
    "all but the last byte": SOUND[:-1],
    "a byte more": SOUND + b"\x00",
    "the code twice": SOUND * 2,
    "an unknown expression": changed(b"\x94\x03\x00\x92\x00\x07\x92\x00\x08", b"\x94\x63\x00\x92\x00\x07\x92\x00\x08"),
    "an unknown statement": changed(b"\x92\x01\x94\x03", b"\x92\x0f\x94\x03"),
    "an unknown operator": changed(b"\x94\x03\x00\x92\x00\x07", b"\x94\x03\x09\x92\x00\x07"),
    "a part too few": changed(b"\x94\x03\x00\x92\x00\x07\x92\x00\x08", b"\x93\x03\x00\x92\x00\x07"),
    "a part too many": changed(b"\x92\x00\x07", b"\x93\x00\x07\x07"),
    "a number in two bytes": changed(b"\x92\x00\x07", b"\x92\x00\xcc\x07"),
    "a length in three bytes": changed(b"\x92\x00\xa1b", b"\x92\x00\xd9\x01b"),
    "a fraction": changed(b"\x92\x00\x07", b"\x92\x00\xcb\x40\x1c\x00\x00\x00\x00\x00\x00"),
    "a text that is no UTF-8": changed(b"\x92\x00\xa1b", b"\x92\x00\xa1\xff"),
    "a surrogate": changed(b"\x92\x00\xa1b", b"\x92\x00\xa3\xed\xa0\x80"),
    "nothing as a constant": changed(b"\x92\x00\x07", b"\x92\x00\xc0"),
    **{f"expressions {depth} deep": changed(STRING, b"\x92\x07" * depth + TRUE) for depth in (500, 5_000, 50_000)},
    **{f"blocks {n} deep": changed(b"\x92\x01" + STRING, IF * n + BREAK + b"\x90" * n) for n in (100, 2_000)},
    **{name: encode(made) for name, made in DECODED.items()},
}  # fmt: skip


@pytest.mark.parametrize("flaw", CODES)
def test_F20_the_verifier_refuses_bytes(flaw):
    said = reason(CODES[flaw])
    assert said
    assert said.startswith("function" if flaw in ("expressions 500 deep", "blocks 100 deep") else "Program: "), said


def test_F20_a_code_is_at_most_128_KiB_long():
    long = tree.Do(tree.Const("a" * 60_000))
    rest = CODE_BYTES_MAX - len(encode(program(function(long, long, tree.Do(tree.Const(""))))))
    # The header of a longer text takes two bytes more.
    code = encode(program(function(long, long, tree.Do(tree.Const("b" * (rest - 2))))))
    assert len(code) == CODE_BYTES_MAX
    assert reason(code) == ""
    assert reason(code + b"\x00") == f"{CODE_BYTES_MAX + 1} bytes of code, at most {CODE_BYTES_MAX}"


SOUND_PROGRAMS = {
    "structs 16 deep": nest(NESTING_MAX),
    "a field of an enum": shown(DIGIT),
    "a list of an enum": shown(List(DIGIT, 0, 3)),
    "the last numbers of 64 bits": enums(EnumDef("E", 2**63 - 2, ("A",)), EnumDef("F", -(2**63) + 1, ("A",))),
    "keys of all parts": table(Int(0, 0), Text(0, 0), Bytes(4, 4), Bytes(0, 65_536)),
    "a key of nothing": table(),
    "32 fields": structs(*[Bool()] * FIELDS_MAX),
    "a value of 512 KiB": structs(*[Bytes(0, TYPE_BYTES_MAX // 8 - 5)] * 7, Bytes(0, TYPE_BYTES_MAX // 8 - 10)),
    "a byte less than 512 KiB": structs(List(Bytes(0, 65_525), 0, 7), Bytes(0, 65_525)),
    "a device's counter": entry(DIGIT, Int(0, 2**63 - 1), device=True, params=(Param("x"), Param("counter"))),
    "all types as locals": program(function(types=[Wide(), Bool(), Optional(EMPTY), List(Optional(PAIR), 0, 3)])),
    "a method without roles": entry(roles=(), callers=()),
    "the most gas": entry(scheduled_gas=SCHEDULED_GAS_MAX),
}  # fmt: skip


@pytest.mark.parametrize("sound", SOUND_PROGRAMS)
def test_F20_the_verifier_passes_a_program(sound):
    assert reason(encode(SOUND_PROGRAMS[sound])) == ""


def test_F20_two_methods_may_enter_one_function():
    two = (method(), MethodDef("other", 0, (), (), 2, False, (), 0, ""))
    assert reason(encode(program(PLAIN, methods=two))) == ""
