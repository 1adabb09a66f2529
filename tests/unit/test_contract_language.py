"""F20: the tutorial of docs/contract-language.md compiles word by word."""

import re
from pathlib import Path

from contracts.compiler.compiler import compile_verified
from ledger.codec import encode

PAGE = Path(__file__).parents[2] / "docs" / "contract-language.md"


def tutorial() -> str:
    """The contract that the tutorial builds: its Python blocks one after the other."""
    text = PAGE.read_text(encoding="utf-8").split("## Reference")[0]
    return "\n\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


def test_F20_the_tutorial_s_contract_compiles_to_the_hash_that_it_prints():
    verified = compile_verified(tutorial(), "feeder.py")
    page = PAGE.read_text(encoding="utf-8")
    assert f"hash {verified.hash.hex()[:8]}" in page
    assert f"{len(encode(verified.program)):,} bytes" in page
    assert [method.name for method in verified.program.methods] == ["announce", "confirm", "end"]
