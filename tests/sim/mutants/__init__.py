"""Deliberate bugs. Each must make some seed fail, or the simulator proves nothing."""

from tests.sim.mutants.bounds import BOUNDS
from tests.sim.mutants.edit import Mutant, mutated
from tests.sim.mutants.others import OTHERS
from tests.sim.mutants.terms import TERMS
from tests.sim.mutants.traps import TRAPS

MUTANTS: dict[str, Mutant] = {mutant.name: mutant for mutant in (*TRAPS, *OTHERS, *TERMS, *BOUNDS)}

__all__ = ["MUTANTS", "Mutant", "mutated"]
