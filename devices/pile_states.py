"""States of a charging pile as OCPP 1.6 names them, and every transition there is: one table, which nothing goes
around.
"""

from enum import Enum, StrEnum

from ledger.errors import require


class Status(StrEnum):
    """ChargePointStatus of OCPP 1.6, section 7.7."""

    AVAILABLE = "Available"
    PREPARING = "Preparing"
    """A vehicle is plugged in; the session is not started yet."""
    CHARGING = "Charging"
    SUSPENDED_EV = "SuspendedEV"
    """The vehicle takes no more: full."""
    SUSPENDED_EVSE = "SuspendedEVSE"
    """The pile gives no power: load command, spent deposit, or back from a power cut."""
    FINISHING = "Finishing"
    """Current has stopped for good; the stop is not sealed yet."""
    RESERVED = "Reserved"
    """A driver has opened a session here and is not plugged in yet."""
    UNAVAILABLE = "Unavailable"
    FAULTED = "Faulted"


class Trigger(Enum):
    """What moves a pile from state to state."""

    PLUGGED = "a vehicle is plugged in"
    UNPLUGGED = "the vehicle is gone"
    OPENED = "a session was opened for this pile, proven"
    NOT_STARTED = "the session was not started in time, or its start was refused"
    STARTED = "the pile's own start is sealed, proven"
    PAUSED = "no power may be given for now"
    RESUMED = "power may be given again"
    SPENT = "the deposit's worth is delivered"
    FULL = "the battery is full"
    ENDED = "the session's stop is made"
    SETTLED = "the pile's own stop is sealed, proven"
    FAULT = "a fault was found"
    CLEARED = "the fault is mended"
    DISABLED = "taken out of service"
    ENABLED = "taken into service"


S, T = Status, Trigger
TRANSITIONS: dict[tuple[Status, Trigger], Status] = {
    (S.AVAILABLE, T.PLUGGED): S.PREPARING,
    (S.AVAILABLE, T.OPENED): S.RESERVED,
    (S.AVAILABLE, T.DISABLED): S.UNAVAILABLE,
    (S.UNAVAILABLE, T.ENABLED): S.AVAILABLE,
    (S.RESERVED, T.PLUGGED): S.PREPARING,
    (S.RESERVED, T.NOT_STARTED): S.AVAILABLE,
    (S.PREPARING, T.OPENED): S.PREPARING,
    (S.PREPARING, T.NOT_STARTED): S.PREPARING,
    (S.PREPARING, T.UNPLUGGED): S.AVAILABLE,
    (S.PREPARING, T.STARTED): S.CHARGING,
    (S.CHARGING, T.PAUSED): S.SUSPENDED_EVSE,
    (S.CHARGING, T.SPENT): S.SUSPENDED_EVSE,
    (S.CHARGING, T.FULL): S.SUSPENDED_EV,
    (S.CHARGING, T.ENDED): S.FINISHING,
    (S.SUSPENDED_EVSE, T.RESUMED): S.CHARGING,
    (S.SUSPENDED_EVSE, T.ENDED): S.FINISHING,
    (S.SUSPENDED_EV, T.ENDED): S.FINISHING,
    (S.FINISHING, T.SETTLED): S.AVAILABLE,
    (S.FAULTED, T.SETTLED): S.FAULTED,
    (S.FAULTED, T.NOT_STARTED): S.FAULTED,
    (S.FAULTED, T.STARTED): S.FAULTED,
    (S.FAULTED, T.ENDED): S.FAULTED,
    (S.FAULTED, T.CLEARED): S.FINISHING,
    **{(state, T.FAULT): S.FAULTED for state in Status},
}
"""(state, trigger) -> state. What is not here cannot happen; whoever asks for it has a bug."""


def next_status(status: Status, trigger: Trigger) -> Status:
    """State after a trigger. Raises OurError `pile-transition` where the table has none."""
    after = TRANSITIONS.get((status, trigger))
    require(after is not None, "pile-transition", f"{status}: {trigger.value}")
    return after or status
