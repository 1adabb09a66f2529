"""F20: the interpreter and the generated code agree on random programs: result, code, gas, events, changes."""

from tests.vm.differ import compare

PROGRAMS = 300


def test_F20_both_engines_agree_on_random_programs():
    tally: dict[int, int] = {}
    for seed in range(PROGRAMS):
        compare(seed, tally)
    assert tally[0] > PROGRAMS, "most calls should do something"
    assert {1, 3, 14, 16, 17, 18, 19, 20, 40001, 40002, 40999} <= tally.keys(), "and fail in every way"
