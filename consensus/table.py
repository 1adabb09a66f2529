"""The phases of one height and what moves a replica between them: the whole table, and the diagram drawn from it."""

from enum import StrEnum

from ledger.errors import OurError


class Phase(StrEnum):
    """Where a replica stands at the open height."""

    WAITING = "waiting"
    """In a view whose primary has not proposed."""
    GATHERING = "gathering"
    """Has a proposal; bodies are missing, or its time is still to come."""
    REFUSING = "refusing"
    """The primary's proposal is invalid: no vote in this view."""
    PREPARING = "preparing"
    """Cast its PREPARE; waits for a quorum's."""
    COMMITTING = "committing"
    """Holds a prepared certificate and cast its COMMIT; waits for a quorum's."""
    CHANGING = "changing"
    """Gave up on the former views; takes part in none until a NEW-VIEW."""


class Trigger(StrEnum):
    """What moves it."""

    PROPOSED = "proposed"
    """The primary's proposal arrived, alone or inside a NEW-VIEW."""
    CHECKED = "checked"
    """All that must be checked before PREPARE holds."""
    REFUSED = "refused"
    """Some of it does not."""
    PREPARED = "prepared"
    """A quorum accepted the proposal."""
    OUTVOTED = "outvoted"
    """A quorum accepted another proposal of the primary's."""
    GAVE_UP = "gave up"
    """The timer ran out, or f + 1 members want a later view."""
    ENTERED = "entered"
    """A valid NEW-VIEW arrived."""
    COMMITTED = "committed"
    """The block is final, by a quorum of COMMITs or through catch-up; the next height opens in view 0."""


TRANSITIONS: dict[tuple[Phase, Trigger], Phase] = {
    (Phase.WAITING, Trigger.PROPOSED): Phase.GATHERING,
    (Phase.GATHERING, Trigger.CHECKED): Phase.PREPARING,
    (Phase.GATHERING, Trigger.REFUSED): Phase.REFUSING,
    (Phase.PREPARING, Trigger.PREPARED): Phase.COMMITTING,
    (Phase.GATHERING, Trigger.OUTVOTED): Phase.GATHERING,
    (Phase.REFUSING, Trigger.OUTVOTED): Phase.GATHERING,
    (Phase.PREPARING, Trigger.OUTVOTED): Phase.GATHERING,
    **{(phase, Trigger.GAVE_UP): Phase.CHANGING for phase in Phase},
    **{(phase, Trigger.ENTERED): Phase.WAITING for phase in Phase},
    **{(phase, Trigger.COMMITTED): Phase.WAITING for phase in Phase},
}


def follow(phase: Phase, trigger: Trigger) -> Phase:
    """The next phase. Raises OurError `transition-unknown` for a pair that the table does not have."""
    try:
        return TRANSITIONS[phase, trigger]
    except KeyError:
        raise OurError("transition-unknown", f"nothing leads on from {phase} by {trigger}") from None


def diagram() -> str:
    """The table as a Mermaid state diagram, for docs/consensus.md."""
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.WAITING}"]
    lines += [f"    {phase} --> {target}: {trigger}" for (phase, trigger), target in TRANSITIONS.items()]
    return "\n".join(lines)
