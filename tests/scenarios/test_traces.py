"""F03: scenario files in tests/scenarios/traces, compared with what happens now. `--rewrite` writes them anew."""

from pathlib import Path

import pytest

from tests.scenarios.script import run_file

FILES = sorted((Path(__file__).parent / "traces").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_F03_trace(path, request):
    expected = path.read_text(encoding="utf-8")
    happened = run_file(expected)
    if request.config.getoption("--rewrite"):
        path.write_text(happened, encoding="utf-8")
    else:
        assert happened == expected, f"read the difference; if it is meant: pytest {Path(__file__).name} --rewrite"


def test_there_are_scenarios():
    assert len(FILES) >= 12
