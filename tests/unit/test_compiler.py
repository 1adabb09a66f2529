"""F20: what the author of a contract is told: line, column, what is wrong, and what to write instead."""

import pytest

from contracts.compiler.compiler import SOURCE_BYTES_MAX, compile_source
from contracts.compiler.errors import Flaw, SourceError

HEAD = '''"""A contract."""
from contracts.language import *
CONTRACT = Contract("own", Business.LOAD)
Row = Annotated[List[U8], Size(0, 9)]
class Share(Struct):
    of: Name
    part: U8 = 1
class Held(Struct):
    share: Share
    maybe: Share | None
    rows: Row
SHARES: Table[Name, Share] = table("s")
PARTS: Table[tuple[Name, U32], Held] = table("p")
LAST: Cell[Share] = cell("l")
class Code(Codes):
    BAD = 1, "bad"
TOLD: Event[Share] = event("own.told")
class Other(Interface):
    def give(self, name: Name, part: U8) -> U8: ...
    def take(self) -> None: ...
OTHER = Other(7)
LIMIT = 5
class State(Enum):
    OPEN = 1
    SHUT = 2
'''
LINES = HEAD.count("\n")
BODY = (
    HEAD
    + """@scheduled(gas=1_000)
def later(n: U8) -> None:
    pass
def f(a: U8, share: Share, rows: Row, held: Held, maybe: Share | None, text: Name, data: Hash) -> U8:
    {0}
    return a
def nothing() -> None:
    pass
def truth(a: U8) -> bool:
    return a == 1
"""
)
INNER = LINES + 5


def flaws(text: str) -> list[Flaw]:
    """What is wrong with a text."""
    with pytest.raises(SourceError) as caught:
        compile_source(text)
    return caught.value.flaws


MODULE: dict[str, tuple[int, str, str]] = {
    "import os": (1, "a contract imports nothing but the language", "from contracts.language import …"),
    "from os import path": (1, "a contract imports nothing but the language", "from contracts.language import …"),
    "from contracts.language import eval": (1, "the language has no eval", ""),
    "from contracts.language import U8 as Byte": (1, "the language has no U8", ""),
    "3": (1, "outside of functions there are declarations only", ""),
    "async def g() -> None:\n    pass": (1, "outside of functions there are declarations only", ""),
    "A = B = 1": (1, "a declaration gives one name", "write NAME = value"),
    "A.b = 1": (1, "a declaration gives one name", "write NAME = value"),
    "LIMIT = 6": (1, "the name LIMIT has a meaning already", "every name means one thing in a contract"),
    "digest = 6": (1, "the name digest has a meaning already", "every name means one thing in a contract"),
    "def f() -> None:\n    pass\ndef f() -> None:\n    pass": (
        1, "the name f has a meaning already", "every name means one thing in a contract"
    ),
    'AGAIN = Contract("b", Business.LOAD)': (9, "the contract has a name already", ""),
    "A = Other()": (5, "another contract is named by its number", "A = Other(2)"),
    'A = Other("x")': (11, "a number is needed", ""),
    "A: U8 = 1": (1, "outside of functions only tables, cells and events are declared with a type", "*"),
    'A: Table[Name, Share] = cell("x")': (
        1, "outside of functions only tables, cells and events are declared with a type", "*"
    ),
    'A: Table[Share] = table("x")': (10, "a table has a key and a record", "*"),
    'A: Table[Name, U8] = table("x")': (16, "records are structs, not a number from 0 to 255", ""),
    'A: Cell[Share | None] = cell("x")': (9, "records are structs, not struct 0 or nothing", ""),
    'A: Cell[Share] = cell("xy")': (9, "a table is marked by one character", 'A = cell("x")'),
    'A: Cell[Share] = cell("桩")': (9, "a table is marked by one character", 'A = cell("x")'),
    'A: Event[U8] = event("own.a")': (1, "an event carries a struct", ""),
    "class A:\n    pass": (1, "a class is a Struct, Codes, an Enum or an Interface", "class A(Struct):"),
    "class A(Share):\n    pass": (1, "a class is a Struct, Codes, an Enum or an Interface", "class A(Struct):"),
    "class A(Struct):\n    x = 1": (5, "a struct lists its fields", "name: Type"),
    "class A(Struct):\n    def x(self) -> U8: ...": (5, "a struct lists its fields", "name: Type"),
    "class A(Codes):\n    X = 0, 'none'": (5, "a code is a number from 1 to 999 and a sentence", "*"),
    "class A(Codes):\n    X = 1": (5, "a code is a number from 1 to 999 and a sentence", "*"),
    "class A(Enum):\n    x: U8": (5, "an enum lists its values", "OPEN = 1"),
    "class A(Enum):\n    open = 1": (5, "open: the names of an enum are in capitals, each once", "OPEN = 1"),
    "class A(Enum):\n    X = 1\n    X = 2": (5, "X: the names of an enum are in capitals, each once", "OPEN = 1"),
    "class A(Struct):\n    _x: U8": (5, "the name _x begins with _", "*"),
    "class A(Enum):\n    X = 1\n    Y = 3": (1, "the values of an enum are consecutive numbers", ""),
    "class A(Enum):\n    '''None.'''": (1, "the values of an enum are consecutive numbers", ""),
    "class A(Interface):\n    x = 1": (1, "an interface lists methods only", ""),
    "A = Annotated[int, Range(0)]": (
        20, "limits are Range(least, most) of a number or Size(least, most) of a length", ""
    ),
    "A = Annotated[int, Range(2, 1)]": (20, "the least comes first; lengths are from 0 to 65536", ""),
    "A = Annotated[str, Size(0, 65_537)]": (20, "the least comes first; lengths are from 0 to 65536", ""),
    "A = Annotated[int, Size(0, 1)]": (
        5, "Size does not go with this", "Range with int; Size with str, bytes and List[…]"
    ),
    "A = Annotated[str, Range(0, 1)]": (
        5, "Range does not go with this", "Range with int; Size with str, bytes and List[…]"
    ),
    "A = List[U8]": (5, "a list has a greatest length", "write Annotated[List[Name], Size(0, 10)]"),
    "A = U8 | None": (
        5, "only a struct may be absent", "give the number or text a value that means nothing, or a flag"
    ),
    "A = 1.5": (5, "no constant", "*"),
    "A = LIMIT / 2": (5, "no constant", "*"),
    "A = Role.KING": (5, "Role has no KING", "*"),
    "A = 'a' + 'b'": (5, "a number is needed", ""),
    "A = 2 ** 65": (5, "an exponent is from 0 to 64", ""),
    "A = 2 ** 63": (5, "this number does not fit 64 bits", ""),
    "A = 2 ** 64 - 2 ** 64": (5, "this number does not fit 64 bits", ""),
    "A = 0x" + "f" * 5_000: (5, "this number does not fit 64 bits", ""),
    "A = 5 // 0": (5, "a divisor is positive", ""),
    "A = b'ab' * 40_000": (5, "longer than 65536", ""),
    "A = b'' * (2 ** 62)": (5, "longer than 65536", ""),
    "A = '\\ud800'": (5, "half of a character", "*"),
    "def g(a) -> None:\n    pass": (7, "parameter a needs a type", "a: U63"),
    "def g(a: U8):\n    pass": (1, "a function says what it returns", "def g(…) -> None:"),
    "def g(a: U8 = 1) -> None:\n    pass": (1, "parameters are plain: no defaults, no *", ""),
    "def g(*a: U8) -> None:\n    pass": (1, "parameters are plain: no defaults, no *", ""),
    "def g(a: U8, a: U8) -> None:\n    pass": (14, "parameter a twice", ""),
    "def g(LIMIT: U8) -> None:\n    pass": (
        7, "the name LIMIT means something else in this contract", "choose another"
    ),
    "def g(a: int) -> None:\n    pass": (
        10, "int is no type here", "write U63, U32, I64 or Annotated[int, Range(0, 10)]"
    ),
    "def g(a: Nope) -> None:\n    pass": (10, "Nope is no type here", ""),
    "def g(a: 3) -> None:\n    pass": (10, "no type", ""),
    "def g(a: Table[U8, U8]) -> None:\n    pass": (10, "no type", ""),
    "def g() -> None:\n    h()\ndef h() -> None:\n    g()": (1, "g calls h calls g: no recursion", "write a loop"),
    "@method\ndef g() -> None:\n    pass": (2, "no such mark", "*"),
    "@internal()\ndef g() -> None:\n    pass": (2, "no such mark", "*"),
    "@scheduled(5)\ndef g() -> None:\n    pass": (2, "no such mark", "*"),
    "@method(Role.GRID, gas=3)\ndef g() -> None:\n    pass": (20, "method(roles…, business=…, device=True)", ""),
    "@method('GRID')\ndef g() -> None:\n    pass": (9, "a number is needed", ""),
}  # fmt: skip


@pytest.mark.parametrize("text", MODULE, ids=lambda text: text[:50].replace("\n", "⏎"))
def test_F20_what_is_wrong_with_a_declaration(text):
    column, message, hint = MODULE[text]
    found, *more = flaws(HEAD + text + "\n")
    assert not more
    second = message.startswith(("the name f", "a struct lists", "a code is", "an enum lists", "the name _x", "open:"))
    line = LINES + (3 if message.startswith(("the name f", "X:")) else 2 if second else 1)
    assert (found.line, found.column, found.message) == (line, column, message)
    assert hint in ("*", found.hint)
    assert (hint == "*") <= bool(found.hint)


STATEMENTS: dict[str, tuple[int, str]] = {
    # ── forms ──
    "try:\n        pass\n    finally:\n        pass": (1, "this form of statement is not part of the language"),
    "raise a": (1, "this form of statement is not part of the language"),
    "assert a": (1, "this form of statement is not part of the language"),
    "with a:\n        pass": (1, "this form of statement is not part of the language"),
    "global b": (1, "this form of statement is not part of the language"),
    "match a:\n        case 1:\n            pass": (1, "this form of statement is not part of the language"),
    "def g() -> None:\n        pass": (1, "this form of statement is not part of the language"),
    "a == 1": (1, "this form of statement is not part of the language"),
    "b: U8": (1, "this form of statement is not part of the language"),
    "b = c = 1": (1, "this form of statement is not part of the language"),
    "del a": (1, "this form of statement is not part of the language"),
    "while a == 1:\n        pass\n    else:\n        pass": (1, "this form of statement is not part of the language"),
    "b = [n for n in rows]": (5, "no comprehensions"),
    "b = {n: n for n in rows}": (5, "no comprehensions"),
    "b = f'{a}'": (5, "no f-strings"),
    "b = lambda: 1": (5, "this form of expression is not part of the language"),
    "b = 1.5": (5, "this form of expression is not part of the language"),
    "b = {1, 2}": (5, "this form of expression is not part of the language"),
    "b = (1, 2)": (5, "this form of expression is not part of the language"),
    "b = ~a": (5, "this form of expression is not part of the language"),
    "b = later(*rows)": (11, "this form of expression is not part of the language"),
    "b = a / 2": (5, "numbers know + - * // %"),
    "b = a ** 2": (5, "numbers know + - * // %"),
    # ── names ──
    "b = c": (5, "c is not known here"),
    "b = SHARES": (5, "SHARES is a table"),
    "b = Code.BAD": (5, "a code is for fail(…) and require(…) only"),
    "b = State.GONE": (5, "State has no GONE"),
    "LIMIT = 4": (1, "the name LIMIT means something else in this contract"),
    "min = 4": (1, "the name min means something else in this contract"),
    "call = 4": (1, "the name call means something else in this contract"),
    "Name = 4": (1, "the name Name means something else in this contract"),
    "nothing = 4": (1, "the name nothing means something else in this contract"),
    "a: U8 = 3": (1, "a has a type already"),
    "b = nope(a)": (5, "nope is no function here, or not called so"),
    "b = sum(rows)": (5, "sum is no function here, or not called so"),
    "b = min(a)": (5, "min is no function here, or not called so"),
    "b = (nothing)(a)(a)": (5, "no function of the contract, of the language, or of another contract's interface"),
    "b = OTHER.keep(a)": (5, "no function of the contract, of the language, or of another contract's interface"),
    "b = SHARES.find(text)": (5, "SHARES has no find like this"),
    "fail(3)": (6, "one of the contract's codes"),
    "fail(Code.WORSE)": (6, "one of the contract's codes"),
    "require(a == 1)": (1, "require is not called so"),
    "emit(share)": (1, "emit is not called so"),
    "schedule(a, data)": (1, "schedule is not called so"),
    "cancel(a)": (1, "cancel is not called so"),
    "schedule(a, data, truth, 1)": (1, "truth is not for the schedule"),
    # ── numbers of values ──
    "nothing(1)": (1, "0 values are needed: none"),
    "b = truth()": (5, "1 values are needed: a"),
    "b = truth(a=1, b=2)": (16, "no parameter b, or it is given twice"),
    "b = truth(1, a=2)": (14, "no parameter a, or it is given twice"),
    "b = digest()": (5, "digest takes 1 values, not 0"),
    "b = digest(data=data)": (5, "no names of parameters here"),
    "OTHER.give(text)": (1, "2 values are needed: name, part"),
    "b = PARTS[text]": (5, "the key takes 2 values, not 1"),
    "b = SHARES.get(text, text)": (5, "the key takes 1 values, not 2"),
    "b = Share(text, 1, 2)": (5, "Share has 2 fields"),
    "b = Share()": (5, "Share needs of"),
    "b = Share(text, size=2)": (17, "Share has no field size, or it is given twice"),
    "b = Share(text, of=text)": (17, "Share has no field of, or it is given twice"),
    "b = replace(share)": (5, "nothing is replaced"),
    "b = replace(share, size=2)": (20, "no field size"),
    "b = replace(a, size=2)": (5, "a is no struct"),
    "b = replace(share.of, size=2)": (5, "replace is no function here, or not called so"),
    # ── types ──
    "b = a.size": (5, "a number from 0 to 255 has no fields"),
    "b = share.size": (5, "no field size"),
    "b = a + text": (9, "a text of 1 to 64 characters where a number is needed"),
    "b = text + a": (5, "a number from 0 to 255 where bytes, text or list is"),
    "b = -text": (5, "a text of 1 to 64 characters where a number is needed"),
    "b = not a": (9, "a number from 0 to 255 where a truth value is needed"),
    "b = a or 3": (5, "a number from 0 to 255 where a truth value is needed"),
    "b = maybe or share or share": (14, "only one alternative"),
    "b = a is None": (5, "this is never None"),
    "b = maybe is share": (5, "`is` is for None only"),
    "b = a < text": (5, "a number from 0 to 255 compared with a text of 1 to 64 characters"),
    "b = share == share": (5, "Share compared with Share"),
    "b = 0 < len(text) + 1 < 5": (9, "computed twice"),
    "b = None": (5, "None where no absent struct may be"),
    "b = []": (5, "a list of what?"),
    "b = ''": (5, "nothing to infer a greatest length from"),
    "b = [[1]]": (5, "a list of lists; make a struct of the inner one"),
    "b = nothing()": (5, "no value cannot be kept"),
    "b = 99999999999999999999": (5, "this number does not fit 64 bits"),
    "b = 0x" + "f" * 5_000: (5, "this number does not fit 64 bits"),
    "b = a if a else 1": (10, "a number from 0 to 255 where a truth value is needed"),
    "b = rows if a == 1 else text": (5, "either a list"),
    "b = text[1]": (5, "a character of a text; take a slice"),
    "b = text[a:a:2]": (10, "this form of expression is not part of the language"),
    "b = (rows + rows)[-1]": (6, "computed twice"),
    "b = (rows + rows)[1:]": (6, "computed twice"),
    "b = a in share": (5, "Share where a list of numbers, bytes or texts is needed"),
    "a = 256": (5, "a number from 256 to 256 where a number from 0 to 255 is needed"),
    "text = ''": (8, "a text of 0 to 0 characters where a text of 1 to 64 characters is needed"),
    "a = text": (5, "a text of 1 to 64 characters where a number from 0 to 255 is needed"),
    "share = held": (9, "Held where Share is needed"),
    "b: Wide = text": (11, "a text of 1 to 64 characters where a number of 128 bits is needed"),
    "a = (a * 2 ** 3)": (10, "numbers know + - * // %"),
    "while a:\n        pass": (7, "a number from 0 to 255 where a truth value is needed"),
    # ── places ──
    "a.b = 3": (1, "a number from 0 to 255 has no fields"),
    "share.size = 3": (1, "no field size"),
    "share.size.x = 3": (1, "no field size"),
    "held.maybe.part = 3": (1, "Share or nothing has no fields"),
    "SHARES[text].part = 3": (1, "only locals and their fields change"),
    "c.part = 3": (1, "only locals and their fields change"),
    "share, a = 1, 2": (1, "nothing can be assigned here"),
    "rows[1:2] = rows": (1, "nothing can be assigned here"),
    "text[1] = 'a'": (1, "a text of 1 to 64 characters has no items to change"),
    "text.append('a')": (1, "nothing can be appended to a text of 1 to 64 characters"),
    "[1].append(2)": (1, "only locals and their fields change"),
    "held.rows.append(text)": (18, "a text of 1 to 64 characters where a number from 0 to 255 is needed"),
    "rows[len(text) + OTHER.give(text, a)] += 1": (1, "the index would be computed twice"),
    # ── loops and returns ──
    "for n in a:\n        pass": (10, "a loop over a number from 0 to 255"),
    "for n in range(text):\n        pass": (1, "a text of 1 to 64 characters where a number is needed"),
    "for n, m in rows:\n        pass": (5, "a loop gives its values names"),
    "for text in rows:\n        pass": (5, "text has another type already"),
    "for a in range(300):\n        pass": (5, "a has another type already"),
    "for n in rows:\n        pass\n    else:\n        pass": (1, "this form of statement is not part of the language"),
    "for k, s in SHARES.items():\n        pass": (13, "a limit from 1 to 1000 says how many entries at most"),
    "for k, s in SHARES.items(limit=1001):\n        pass": (13, "a limit from 1 to 1000 says how many entries at most"),
    "for k in SHARES.items(limit=9):\n        pass": (5, "an entry is the 1 other parts of its key, and its record"),
    "for k, s in PARTS.items(limit=9):\n        pass": (5, "an entry is the 2 other parts of its key, and its record"),
    "for k, s in SHARES.items(text, text, limit=9):\n        pass": (
        1, "the beginning of the key takes 1 values, not 2"
    ),
    "return": (1, "the function returns a value"),
    "return None": (8, "None where no absent struct may be"),
    "return text": (8, "a text of 1 to 64 characters where a number from 0 to 255 is needed"),
    # ── order ──
    "b = Share(part=OTHER.give(text, a), of=text)": (5, "values are computed in another order than written"),
    "OTHER.give(part=OTHER.give(text, a), name=text)": (1, "values are computed in another order than written"),
    "b = replace(share, part=OTHER.give(text, a), of='a')": (5, "values are computed in another order than written"),
    "b = SHARES[text].part in [OTHER.give(text, a)]": (5, "computed after the list, though written before it"),
}  # fmt: skip


@pytest.mark.parametrize("text", STATEMENTS, ids=lambda text: text[:50].replace("\n", "⏎"))
def test_F20_what_is_wrong_with_a_statement(text):
    column, message = STATEMENTS[text]
    found, *more = flaws(BODY.format(text))
    assert not more
    # The text stands four columns in.
    assert (found.line, found.column) == (INNER, column + 4), found
    assert found.message.startswith(message)


VERIFIED: dict[str, str] = {
    "def g() -> U8:\n    pass": "function g: may end without a result",
    "def g(a: U8) -> None:\n    if a == 1:\n        b = 1\n    c = b": "function g: b is read where it may not be set",
    "def g() -> None:\n    break": "function g: a break or continue outside of a loop",
    "def g() -> None:\n    return\n    pass\n    len('a')": "function g: a statement that is never reached",
    "def g() -> None:\n    len(3)": "function g: a number from 3 to 3 where bytes, text or list is",
    "@method(device=True)\ndef g() -> None:\n    pass": "method g: a method of device class without a number `counter`",
}


@pytest.mark.parametrize("text", VERIFIED, ids=lambda text: text[:50].replace("\n", "⏎"))
def test_F20_what_the_verifier_says_comes_with_the_function_s_line(text):
    (found,) = flaws(HEAD + text + "\n")
    assert (found.line, found.message) == (LINES + 1 + text.startswith("@"), VERIFIED[text])


def test_F20_a_file_that_is_no_contract():
    assert flaws("")[0].message == "the contract has no name"
    assert flaws("x = (")[0] == Flaw(1, 5, "'(' was never closed", "")
    assert flaws("#" * (SOURCE_BYTES_MAX + 1))[0].message == f"longer than {SOURCE_BYTES_MAX} bytes"
    assert flaws("a\0b")[0].message.startswith("source code string cannot contain null")
    assert flaws("'\ud800'")[0].message.startswith("no Python text")
    for wrong in ("", '"own"', "Business.LOAD, 'own'", '"own", 99', '"own", Business.LOAD, 99', '"own", n=1'):
        assert flaws(f"CONTRACT = Contract({wrong})")[0].message == "a contract has a name and a type of business"


def test_F20_several_flaws_are_told_at_once_as_editors_read_them():
    text = HEAD + "class A(Struct):\n    x: int\nB = 1.5\ndef g() -> None:\n    pass\n"
    with pytest.raises(SourceError) as caught:
        compile_source(text, "own.py")
    assert str(caught.value).splitlines()[0] == f"contract-source: own.py:{LINES + 2}:8: int is no type here"
    assert str(caught.value).splitlines()[1] == "    write U63, U32, I64 or Annotated[int, Range(0, 10)]"
    assert len(caught.value.flaws) == 2
    both = flaws(HEAD + "def g() -> None:\n    x = 1.5\ndef h() -> None:\n    x = {}\n")
    assert [each.line for each in both] == [LINES + 2, LINES + 4]


def test_F20_columns_count_characters():
    (found,) = flaws(BODY.format("b = '充电桩' + c"))
    assert (found.line, found.column, found.message) == (INNER, 4 + 13, "c is not known here")


def test_F20_a_method_s_prose_is_not_cut_in_silence():
    text = f"@method(Role.GRID)\ndef told() -> None:\n    '''{'word ' * 900}'''\n"
    (found,) = flaws(HEAD + text)
    assert found.message == "what a method does, in at most 4000 characters"


def test_F20_a_parameter_is_not_called_like_a_word():
    (found,) = flaws(HEAD + "@method(Role.GRID)\ndef told(block: U8) -> None:\n    pass\n")
    assert found.message == "the name block means something else in this contract"
