"""What companies bring as contracts: codes for the verifier, texts for the compiler."""

import random
from collections.abc import Iterator
from pathlib import Path

from contracts.compiler.compiler import compile_source
from contracts.vm.verifier import verify
from ledger.codec import encode
from tests.fuzz.engine import Target, unguarded
from tests.fuzz.targets import target
from tests.unit.test_contract_language import tutorial
from tests.vm.differ import compare_programs, passing

MEMORY_OF_CALLS = 32 * 1024 * 1024
"""A dozen methods with random lists of a thousand items, by both engines."""
ROOT = Path(__file__).parents[2]
LIBRARY = sorted(path.read_text(encoding="utf-8") for path in (ROOT / "contracts" / "library").glob("[a-z]*.py"))


@target("contracts.vm.verifier.verify")
def contract_codes(_: Path) -> Iterator[Target]:
    """A bent program is refused, or it runs, and alike by both engines."""
    rng = random.Random(1)
    drawn = [encode(passing(rng)[0].program) for _ in range(20)]

    def parse(code: bytes) -> None:
        verified = verify(code)
        with unguarded():
            compare_programs(verified, None, random.Random(len(code)))

    library = [encode(compile_source(text)) for text in (tutorial(), *LIBRARY)]
    yield Target(parse, [*drawn, *library], iterations=400, memory_fixed=MEMORY_OF_CALLS)


@target("contracts.compiler.compiler.compile_source", "contracts.compiler.compiler._in_characters")
def contract_texts(_: Path) -> Iterator[Target]:
    """A bent text is refused with line and column, or compiles to what the verifier passes."""

    def parse(data: bytes) -> None:
        text = data.decode(errors="surrogateescape")
        program = compile_source(text)
        with unguarded():
            verify(encode(program))

    tokens = [
        word.encode() for word in ("(", ")", "[", "0", "None", "if x:", "\n\t", "fail(", "lambda: 0", "**", "*x", "@")
    ]
    yield Target(parse, [tutorial().encode()], tokens=tokens, iterations=400)
