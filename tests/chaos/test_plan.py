"""Plans of faults: the same for a seed, all kinds in them, and nothing that cannot be."""

import pytest

from tests.chaos.plan import DURATIONS_S, RESTARTS, STARTS_ANEW, Kind, describe, make_plan

MEMBERS = ("Potevio", "SGCC", "StarCharge", "Teld")


def test_a_seed_gives_the_same_plan_and_another_seed_another():
    assert make_plan(1, 50, MEMBERS, "Teld") == make_plan(1, 50, MEMBERS, "Teld")
    assert make_plan(1, 50, MEMBERS, "Teld") != make_plan(2, 50, MEMBERS, "Teld")
    assert describe(1, make_plan(1, 50, MEMBERS, "Teld"))[0].startswith("seed 1: 50 faults in ")


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_holds_all_kinds_equally_often_and_no_impossible_wave(seed):
    plan = make_plan(seed, 64, MEMBERS, "Teld")
    faults = [fault for wave in plan for fault in wave.faults]
    assert {kind: sum(fault.kind is kind for fault in faults) for kind in Kind} == dict.fromkeys(Kind, 4)
    for wave in plan:
        victims = {fault.victim for fault in wave.faults}
        assert wave.faults
        assert wave.tolerated == (len(victims) == 1 and "" not in victims)
        assert sum(fault.kind is Kind.CLOCK for fault in wave.faults) <= 1
        for fault in wave.faults:
            shortest, longest = DURATIONS_S[fault.kind]
            assert shortest <= fault.duration_s <= longest
            assert fault.victim == "Teld" or fault.kind is not Kind.FULL_DISK
            assert bool(fault.victim) == (fault.kind is not Kind.POWER_CUT)
        for victim in victims:
            kinds = [fault.kind for fault in wave.faults if fault.victim == victim]
            assert len(kinds) == len(set(kinds))
            assert sum(kind in RESTARTS for kind in kinds) <= 1
            assert Kind.FULL_DISK not in kinds or not set(kinds) & set(STARTS_ANEW)
    assert {wave.tolerated for wave in plan} == {True, False}


def test_without_a_small_disk_no_disk_is_filled():
    faults = [fault for wave in make_plan(1, 60, MEMBERS, "") for fault in wave.faults]
    assert Kind.FULL_DISK not in {fault.kind for fault in faults}
    assert len(faults) == 60
