"""F20: whatever the compiler is given, it compiles it or says where it is wrong: it raises nothing but SourceError."""

import random

import pytest

from contracts.compiler.compiler import compile_source
from contracts.compiler.errors import SourceError
from contracts.vm.verifier import verify
from ledger.codec import encode
from tests.unit.test_contract_language import tutorial

HEAD = """from contracts.language import *
CONTRACT = Contract("own", Business.LOAD)
class A(Struct):
    n: U8
T: Table[U8, A] = table("a")
"""
MUTATIONS = 600
WORDS = (
    "None", "True", "lambda: 0", "*x", "**x", "1.5", "99999999999999999999", "-1", "(", ")", "[", "]", ":", "=", ".",
    ",", "\n", "    ", "@", "not ", " or ", " in ", "await x", "yield", "x := 1", "'\\ud800'", "…", "桩", "\0", "b''",
    "0xffff", "Notice", "NOTICES", "Code", "call", "self", "_", "\\", "#", '"""', "Struct", "if", "else", "for", "del ",
)  # fmt: skip


def compiles(text: str) -> bool:
    """Whether a text is a contract; what compiles, the verifier passes."""
    try:
        program = compile_source(text)
    except SourceError as error:
        flaws = error.flaws
    else:
        verify(encode(program))
        return True
    lines = text.count("\n") + text.count("\r") + 1
    assert flaws
    assert all(1 <= each.line <= lines + 1 and each.column >= 1 and each.message for each in flaws)
    return False


def mutated(rng: random.Random, text: str) -> str:
    """A text with a few things wrong."""
    for _ in range(rng.randint(1, 3)):
        at, to = rng.randrange(len(text)), rng.randrange(len(text))
        length = rng.choice((1, 1, 2, 5, 40))
        match rng.randint(0, 4):
            case 0:
                text = text[:at] + text[at + length :]
            case 1:
                text = text[:at] + rng.choice(WORDS) + text[at:]
            case 2:
                text = text[:at] + rng.choice(WORDS) + text[at + length :]
            case 3:
                text = text[:to] + text[at : at + length] + text[to:]
            case _:
                lines = text.split("\n")
                one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
                lines[one], lines[other] = lines[other], lines[one]
                text = "\n".join(lines)
    return text


def test_F20_a_bent_tutorial_compiles_or_is_refused():
    rng = random.Random("bent")
    sound = tutorial()
    assert compiles(sound)
    passed = sum(compiles(mutated(rng, sound)) for _ in range(MUTATIONS))
    assert 10 < passed < MUTATIONS - 100


def expression(node: str) -> str:
    """A contract with an expression."""
    return f"{HEAD}def f(x: U8, rows: Annotated[List[U8], Size(0, 9)], flag: bool) -> None:\n    y = {node}\n"


ODD = {
    "many brackets": expression("(" * 150 + "x" + ")" * 150),
    "too many brackets": expression("(" * 1_000 + "x" + ")" * 1_000),
    "a long sum": expression(" + ".join(["x"] * 400)),
    "a longer sum": expression(" + ".join(["x"] * 5_000)),
    "many signs": expression("-" * 400 + "x"),
    "many negations": expression("not " * 3_000 + "flag"),
    "many fields": expression("x" + ".a" * 3_000),
    "many calls": expression("len" + "(x)" * 3_000),
    "many choices": expression("x if flag else " * 2_000 + "x"),
    "alternatives within each other": expression("(" * 60 + "flag" + " or flag)" * 60),
    "lists within each other": expression("[" * 60 + "x" + "]" * 60),
    "structs within each other": expression("A(" * 60 + "x" + ")" * 60),
    "a number of many digits": expression("9" * 5_000),
    "a hexadecimal number of many digits": expression("0x" + "f" * 100_000),
    "powers of powers": HEAD + "B = " + "(" * 9 + "2" + " ** 64)" * 9 + "\n",
    "a wide number": HEAD + "B = 2 ** 64\n",
    "a number beyond a range": HEAD + "B = Annotated[int, Range(0, 99999999999999999999)]\n",
    "half of a character": expression("'\\ud800'"),
    "half of a character in prose": HEAD + "def f() -> None:\n    '''\\udc00'''\n",
    "half of a character as a code": HEAD + "class B(Codes):\n    X = 1, '\\ud800'\n",
    "a surrogate in the text": HEAD + "# \udc80\n",
    "NUL": "\0",
    "NUL in a text": expression("'\\0'"),
    "a mark at the beginning": "\ufeff" + HEAD,
    "other ends of lines": expression("c").replace("\n", "\r\n"),
    "old ends of lines": expression("c").replace("\n", "\r"),
    "a form feed": HEAD + "\x0cdef f() -> None:\n    y = c\n",
    "another end of a line within a text": expression("'\u2028' + c"),
    "names in other letters": HEAD + "def 桩(充: U8) -> None:\n    pass\n",
    "a name of underscores": HEAD + "@method()\ndef _() -> None:\n    pass\n",
    "a long name": HEAD + f"def {'a' * 500}() -> None:\n    pass\n",
    "a long sentence": HEAD + f"class B(Codes):\n    X = 1, '{'a' * 9_000}'\n",
    "long prose": HEAD + f"@method()\ndef f() -> None:\n    '''{'a' * 9_000}'''\n",
    "many functions": HEAD + "".join(f"def f{n}() -> None:\n    pass\n" for n in range(600)),
    "a long chain of calls": HEAD
    + "".join(f"def f{n}() -> None:\n    f{n + 1}()\n" for n in range(1_200))
    + "def f1200() -> None:\n    pass\n",
    "many elifs": f"{HEAD}def f(x: U8) -> None:\n    if x == 0:\n        pass\n"
    + "    elif x == 1:\n        pass\n" * 1_500,
    "deep blocks": HEAD
    + "def f(x: U8) -> None:\n"
    + "".join(f"{' ' * n}if x == 1:\n" for n in range(1, 90))
    + " " * 91
    + "pass\n",
    "too many loops": f"{HEAD}def f() -> None:\n"
    + "".join(f"{' ' * n}while True:\n" for n in range(1, 30))
    + f"{' ' * 31}pass\n",
    "a business as a text": 'CONTRACT = Contract("own", "LOAD")\n',
    "a business of truth": 'CONTRACT = Contract("own", True)\n',
    "a branch that there is not": 'CONTRACT = Contract("own", Business.LOAD, 99)\n',
    "a name with a space": 'CONTRACT = Contract("o w n", Business.LOAD)\n',
    "negative gas": HEAD + "@scheduled(gas=-1)\ndef f() -> None:\n    pass\n",
    "a role of 999": HEAD + "@method(999)\ndef f() -> None:\n    pass\n",
    "a device of nothing": HEAD + "@method(device=None)\ndef f() -> None:\n    pass\n",
    "marks without names": HEAD + "@method(**x)\ndef f() -> None:\n    pass\n",
    "a contract of a negative number": HEAD + "class B(Interface):\n    def f() -> None: ...\nC = B(-1)\n",
    "a code of truth": HEAD + "class B(Codes):\n    X = True, 'x'\n",
    "a walk of truth": HEAD + "def f() -> None:\n    for k, r in T.items(limit=True):\n        pass\n",
    "a struct of itself": HEAD + "class B(Struct):\n    b: B\n",
    "a type of types": HEAD + "B = Annotated[Annotated[int, Range(0, 1)], Range(0, 1)]\n",
    "a list of nothing": expression("[*rows[0:0]]"),
    "lists in the middle": expression("[1, *rows, 2]"),
    "no import": "3\n",
    "only prose": '"""A contract."""\n',
}  # fmt: skip
SOUND = {
    "alternatives within each other",
    "a business of truth",
    "a list of nothing",
    "NUL in a text",
    "many brackets",
}


@pytest.mark.parametrize("text", ODD)
def test_F20_odd_texts_compile_or_are_refused(text):
    assert compiles(ODD[text]) is (text in SOUND)
