"""Bugs at the border between two validator sets."""

from consensus import catch_up
from consensus.state import State
from tests.sim.mutants.edit import Edit, Mutant

TERMS = (
    Mutant(
        "trap-22-newest-set",
        "a sealed block is checked against the newest set that is decided, not the one before it",
        (Edit(catch_up._take_sealed, "state.validators_at(height)", "state.timeline[-1].validators"),),
        "I5",
        46,
    ),
    Mutant(
        "set-of-the-tip",
        "whoever votes on the next stored block votes on all that are open",
        (Edit(State.terms_at, "terms_at(self.timeline, height)", "terms_at(self.timeline, self.stored + 1)"),),
        "I5",
        14,
    ),
    Mutant(
        "first-key",
        "a member signs with the key that it had first",
        (
            Edit(
                State.cast,
                "self.signers[self.validators_at(height).validators[voter].vote_key]",
                "next(iter(self.signers.values()))",
            ),
        ),
        "I5",
        14,
    ),
)
