"""A plan as data: who takes part, and the list of everything that goes wrong, each with its time.

The list is drawn up front from the seed, so a failing run is made smaller by leaving faults out, and read by a person.
"""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from consensus.state import Timing
from ledger.genesis import Parameters
from ledger.validators import VALIDATORS_MIN, quorum
from node.mempool import MempoolLimits

NAMES = (
    *("Anneng", "Bohui", "Chengdian", "Dianneng", "Ercheng", "Futong", "Guowang"),
    *("Huineng", "Jiading", "Kelu", "Longdian", "Minsheng", "Nanwang"),
)
FOR_EVER_MS = 1 << 40
"""A lie that outlasts the healing: up to f members never come to their senses."""
EVENTS_MIN = 1_000
BLOCKS_MIN = 50
"""What every seed runs through at least."""

QUICK = Timing(view_ms=200, view_ms_max=800, bodies_ms=20, status_ms=300, still_ms=250, fetch_ms=400)
"""Less patience than a real node: more views, and more goes wrong in a view, for the same number of events."""
TURN_MS = 10
KEYS_MAX = 16
"""Vote keys of a member in one run."""

Moment = Literal["before", "in", "after"]


class Crash(Struct, frozen=True, tag="crash"):
    """A node stops before, in or after its n-th effect from then on, and starts again."""

    at_ms: int
    node: str
    effects: int
    moment: Moment
    """`in`: a record half written (torn pages, or an fsync that failed), a message sent to some, a block stored."""
    down_ms: int
    kind: str = ""
    """Of the effects that are counted: `Persist`, `StoreSealed`; all if empty."""
    again: int | None = None
    """Crash again, as many effects after the start."""


class Weather(Struct, frozen=True, tag="weather"):
    """How bad the network is for a while."""

    at_ms: int = 0
    for_ms: int = 0
    delay_ms_max: int = 5
    loss_percent: int = 0
    duplicate_percent: int = 0
    muted: str = ""
    """A kind of message that hardly ever arrives."""


class Cut(Struct, frozen=True, tag="cut"):
    """Pairs (sender, receiver) that lose everything for a while."""

    at_ms: int
    for_ms: int
    pairs: tuple[tuple[str, str], ...]
    witness: str = ""
    """Alone hears every COMMIT, which are muted for the others."""
    is_noticed: bool = False
    """Both ends of the lines that are cut both ways hear that their connection is gone, and that there is a new one."""


class Rounds(Struct, frozen=True, tag="rounds"):
    """For a while, each (height, view) has its own partition or loses a kind of message to some: what a view leaves
    undone, the next must take up.
    """

    at_ms: int
    for_ms: int
    salt: int
    fair_percent: int
    """Of the views, nothing is lost."""
    deaf_percent: int
    """Of the views, fetched blocks are lost as well: nobody learns by catch-up what a view decided."""


class Full(Struct, frozen=True, tag="full"):
    """A node's disk is full for a while, and its log or its store is the first to notice."""

    at_ms: int
    for_ms: int
    node: str
    first: Literal["log", "store"]


class Clock(Struct, frozen=True, tag="clock"):
    """A node's clock jumps."""

    at_ms: int
    node: str
    offset_ms: int


class Lie(Struct, frozen=True, tag="lie"):
    """A Byzantine member plays a trick for a while."""

    at_ms: int
    for_ms: int
    node: str
    trick: str
    percent: int
    """Of the messages that the trick applies to."""
    salt: int
    """Decides whom it treats how."""


class Decide(Struct, frozen=True, tag="decide"):
    """The members decide who votes from K + 1 blocks on."""

    at_ms: int
    seats: tuple[tuple[str, int], ...]
    """(name, how often its vote key has changed)."""


Fault = Crash | Weather | Cut | Rounds | Full | Clock | Lie | Decide


class Plan(Struct, frozen=True):
    """What a run is made of."""

    nodes: int
    """Members at genesis."""
    spares: int = 0
    """Further nodes, which follow the chain and may come to vote."""
    real_signatures: bool = False
    contracts: bool = False
    """Whether the real contracts run, and I4 is checked; else the key-value application, which is faster."""
    byzantine: tuple[str, ...] = ()
    """Members that lie; the invariants hold for the others."""
    twins: tuple[str, ...] = ()
    """Members that run twice under one key."""
    offsets_ms: tuple[tuple[str, int], ...] = ()
    """How far clocks are off from the beginning to the end."""
    off_for_ever: tuple[str, ...] = ()
    """Members whose clock stays as the last `Clock` set it, after healing too."""
    faults: tuple[Fault, ...] = ()
    fault_ms: int = 0
    """How long faults go on."""
    submit_every_ms: int = 200
    """Mean time between transactions."""
    burst: int = 1
    """Transactions at once, at most."""
    limits: MempoolLimits = MempoolLimits()
    parameters: Parameters = Parameters(idle_interval_ms=5_000)
    segment_batches: int = 64
    """A log's segment is closed when it holds so many: with those of some ten heights, or of none."""
    timing: Timing = Timing()
    turn_ms: int = 1
    """A node's clocks are read so often, at most: the core takes events in turns."""
    execution_ms: int = 4
    """How long a block's execution takes …"""
    store_ms: int = 3
    """… and its way into the store."""
    blocks_min: int = 0
    """The load goes on after healing until so many blocks are committed, and as many events as fit."""

    @property
    def names(self) -> list[str]:
        """The members and the spares."""
        return list(NAMES[: self.nodes + self.spares])

    @property
    def may_be_led(self) -> bool:
        """Whether liars and clocks that are ahead may be a quorum, which gives the chain what time it likes."""
        ahead = {fault.node for fault in self.faults if isinstance(fault, Clock) and fault.offset_ms > 0}
        decides = any(isinstance(fault, Decide) for fault in self.faults)
        return len(ahead | set(self.byzantine)) >= quorum(VALIDATORS_MIN if decides else self.nodes)

    def keep(self, numbers: frozenset[int]) -> "Plan":
        """The plan with only these of its faults."""
        return replace(self, faults=tuple(fault for at, fault in enumerate(self.faults) if at in numbers))
