"""Contract 3, registry: piles, their meters' registers, and what their connectors are taken by.

An operator registers a pile; it goes into service when its operator says so and a lab has looked at its meter
(`inspect`). Until the metrology contract comes, the lab's word is all there is to a certificate. Registers are kept
per connector, which is where the meter sits: a session begins exactly where the last reading ended, so no energy
slips between two bills.
"""

from contracts.language import *

CONTRACT = Contract("registry", Business.IDENTITY, Branch.IDENTITY)

IDENTITY_NUMBER = 1
SESSION_NUMBER = 5

CONNECTORS_MAX = 16
"""Connectors of one pile: bounds its record."""
PPM = 1_000_000
PUBLIC_KEY_BYTES_MIN = 33
"""Fewer are no account's key."""
NO_SESSION = b"\0" * 32
"""In place of the newest session of a pile that has settled none."""


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class PileKind(Enum):
    """Whose pile it is; every charging record carries it."""

    OPERATOR = 1
    PRIVATE = 2
    PUBLIC = 3


class MeterState(Enum):
    """What is known of the meter."""

    UNVERIFIED = 0
    VERIFIED = 1
    FAILED = 2
    """Found wrong: no session, whoever accepts it."""


Owner = Annotated[bytes, Size(0, 65)]
"""Account of a private pile's owner; empty for the others."""
Registers = Annotated[List[U63], Size(1, CONNECTORS_MAX)]
"""Where each connector's register stands, in Wh."""


class Pile(Struct):
    """What a pile is. Key: its name."""

    name: Name
    operator: Name
    kind: PileKind
    owner: Owner
    owner_share_ppm: Annotated[int, Range(0, PPM)]
    """The owner's part of the service fee."""
    public_key: PublicKey
    latitude_e7: Annotated[int, Range(-900_000_000, 900_000_000)]
    longitude_e7: Annotated[int, Range(-1_800_000_000, 1_800_000_000)]
    power_w: Annotated[int, Range(1, 10_000_000)]
    """Of one connector."""
    connectors: Annotated[int, Range(1, CONNECTORS_MAX)]
    region: Name
    meter_state: MeterState


class Connector(Struct):
    """State of one connector."""

    session: Annotated[bytes, Size(0, 32)]
    """The session that it is taken by; empty if it is free."""
    register_wh: U63
    """Where the last reading ended."""
    register_open: bool
    """The last session ended without the pile's own end reading: the next may begin higher, and what lies between is
    nobody's bill.
    """


Connectors = Annotated[List[Connector], Size(1, CONNECTORS_MAX)]
"""In order; connector n of OCPP is at n − 1."""


class PileState(Struct):
    """What changes while it works. Key: its name."""

    in_service: bool
    shared: bool
    """Standing authorisation of a private pile's owner to charge others' cars; true for the other kinds."""
    connectors: Connectors
    last_session: Hash
    """Newest settled session: the index pointer that charging records are walked by."""


class DeviceKey(Struct):
    """Whose key it is. Key: the public key."""

    pile: Name


PILES: Table[Name, Pile] = table("p")
STATES: Table[Name, PileState] = table("s")
DEVICES: Table[PublicKey, DeviceKey] = table("k")


# ── codes, events, other contracts ────────────────────────────────────────────────────────────────────────────────────


class Code(Codes):
    """Why a call changed nothing."""

    PILE_EXISTS = 1, "a pile of this name is registered"
    PILE_UNKNOWN = 2, "no such pile"
    DEVICE_KEY_TAKEN = 3, "the key belongs to a pile"
    NOT_PILE_OPERATOR = 4, "only the pile's operator may do this"
    PILE_OUT_OF_SERVICE = 5, "the pile is out of service"
    CONNECTOR_UNKNOWN = 6, "the pile has no such connector; they are numbered from 1"
    CONNECTOR_TAKEN = 7, "the connector has a session"
    METER_UNVERIFIED = 8, "no lab has verified the meter; a private pile may be used if the opening accepts it"
    READING_GAP = 10, "the meter does not begin where its last reading ended"
    PILE_MALFORMED = 11, "the pile's record contradicts itself"
    NOT_PILE_OWNER = 12, "only the pile's owner may do this"
    PILE_NAME_MALFORMED = 13, "a name must not hold control characters"


class PileRegistered(Struct):
    """A pile is known, out of service still."""

    pile: Name
    operator: Name


class PileInspected(Struct):
    """A lab has looked at the meters."""

    pile: Name
    lab: Name
    meter_state: MeterState


class PileServiceSet(Struct):
    """A pile is in service or out of it."""

    pile: Name
    in_service: bool


class PileShared(Struct):
    """A private pile is open to others or closed."""

    pile: Name
    shared: bool


REGISTERED: Event[PileRegistered] = event("registry.pile-registered")
INSPECTED: Event[PileInspected] = event("registry.pile-inspected")
SERVICE_SET: Event[PileServiceSet] = event("registry.service-set")
SHARED: Event[PileShared] = event("registry.pile-shared")


class Identity(Interface):
    """Whose keys and accounts are whose."""

    def check_device_key(self, company: Name, key: PublicKey, proof: Signature) -> None: ...
    def home_of(self, account: PublicKey) -> Name: ...


IDENTITY = Identity(IDENTITY_NUMBER)


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@method(Role.OPERATOR)
def register(pile: Pile, registers_wh: Registers, proof: Signature) -> None:
    """An operator registers a pile of its own or of an owner whom it serves: out of service and unverified at first.

    `proof` is by the pile's key, over `own_key_digest`.
    """
    require(is_printable(pile.name), Code.PILE_NAME_MALFORMED)
    require(pile.operator == call.company, Code.NOT_PILE_OPERATOR)
    require(is_consistent(pile, registers_wh), Code.PILE_MALFORMED)
    require(pile.meter_state == MeterState.UNVERIFIED, Code.PILE_MALFORMED)
    require(pile.name not in PILES, Code.PILE_EXISTS)
    check_no_device(pile.public_key)
    IDENTITY.check_device_key(pile.operator, pile.public_key, proof)
    if pile.kind == PileKind.PRIVATE:
        IDENTITY.home_of(pile.owner)
    PILES[pile.name] = pile
    STATES[pile.name] = PileState(False, pile.kind != PileKind.PRIVATE, free_connectors(registers_wh), NO_SESSION)
    DEVICES[pile.public_key] = DeviceKey(pile.name)
    emit(REGISTERED, PileRegistered(pile.name, pile.operator))


@method(Role.LAB, business=Business.VERIFICATION)
def inspect(pile: Name, meter_state: MeterState, registers_wh: Registers) -> None:
    """A lab writes down what it found at an idle pile: whether its meters are right, and where they stand."""
    record = PILES.get(pile) or fail(Code.PILE_UNKNOWN)
    state = STATES[pile]
    require(len(registers_wh) == record.connectors, Code.PILE_MALFORMED)
    for connector in state.connectors:
        require(connector.session == b"", Code.CONNECTOR_TAKEN)
    PILES[pile] = replace(record, meter_state=meter_state)
    STATES[pile] = replace(state, connectors=free_connectors(registers_wh))
    emit(INSPECTED, PileInspected(pile, call.company, meter_state))


@method(Role.OPERATOR)
def set_service(pile: Name, in_service: bool) -> None:
    """A pile's operator takes it in or out of service; a session in progress goes on."""
    record = PILES.get(pile) or fail(Code.PILE_UNKNOWN)
    require(record.operator == call.company, Code.NOT_PILE_OPERATOR)
    state = STATES[pile]
    STATES[pile] = replace(state, in_service=in_service)
    emit(SERVICE_SET, PileServiceSet(pile, in_service))


@method(Role.OWNER)
def share(pile: Name, shared: bool) -> None:
    """A private pile's owner opens it to others or closes it."""
    record = PILES.get(pile) or fail(Code.PILE_UNKNOWN)
    require(record.owner == call.caller, Code.NOT_PILE_OWNER)
    state = STATES[pile]
    STATES[pile] = replace(state, shared=shared)
    emit(SHARED, PileShared(pile, shared))


@internal(SESSION_NUMBER)
def take(pile: Name, connector: U32, session: Hash, driver: PublicKey, accept_unverified: bool) -> Pile:
    """A session opens at a connector: the pile works, its meter counts, its owner agrees, and the connector is free."""
    record = PILES.get(pile) or fail(Code.PILE_UNKNOWN)
    state = STATES[pile]
    require(state.in_service and (state.shared or driver == record.owner), Code.PILE_OUT_OF_SERVICE)
    if record.meter_state != MeterState.VERIFIED:
        may_agree = record.meter_state == MeterState.UNVERIFIED and record.kind == PileKind.PRIVATE
        require(may_agree and accept_unverified, Code.METER_UNVERIFIED)
    require(1 <= connector <= len(state.connectors), Code.CONNECTOR_UNKNOWN)
    taken = state.connectors[connector - 1]
    require(taken.session == b"", Code.CONNECTOR_TAKEN)
    taken.session = session
    state.connectors[connector - 1] = taken
    STATES[pile] = state
    return record


@internal(SESSION_NUMBER)
def begin(pile: Name, connector: U32, meter_wh: U63) -> None:
    """A session's first reading: where the last one ended."""
    state = STATES.get(pile) or fail(Code.PILE_UNKNOWN)
    require(1 <= connector <= len(state.connectors), Code.CONNECTOR_UNKNOWN)
    begun = state.connectors[connector - 1]
    above = meter_wh > begun.register_wh and begun.register_open
    require(meter_wh == begun.register_wh or above, Code.READING_GAP)
    if begun.register_open:  # else nothing changes
        begun.register_wh = meter_wh
        begun.register_open = False
        state.connectors[connector - 1] = begun
        STATES[pile] = state


@internal(SESSION_NUMBER)
def free(pile: Name, connector: U32, session: Hash, settled: bool, meter_wh: U63, register_open: bool) -> Hash:
    """A session is over; returns the pile's newest charging record before it. If the session is `settled`, it becomes
    the newest, and its connector's register stands at `meter_wh`.
    """
    state = STATES.get(pile) or fail(Code.PILE_UNKNOWN)
    require(1 <= connector <= len(state.connectors), Code.CONNECTOR_UNKNOWN)
    before = state.last_session
    if settled:
        state.connectors[connector - 1] = Connector(b"", meter_wh, register_open)
        state.last_session = session
    else:
        freed = state.connectors[connector - 1]
        freed.session = b""
        state.connectors[connector - 1] = freed
    STATES[pile] = state
    return before


@internal(IDENTITY_NUMBER)
def check_no_device(key: PublicKey) -> None:
    """Whether a key is no device's, for the identity contract, which gives keys to companies and accounts."""
    require(key not in DEVICES, Code.DEVICE_KEY_TAKEN)


# ── parts of methods ──────────────────────────────────────────────────────────────────────────────────────────────────


def is_consistent(pile: Pile, registers_wh: Registers) -> bool:
    """Whether a new pile's record agrees with itself: one register per connector, an owner exactly if it is private."""
    if pile.kind == PileKind.PRIVATE:
        owned = len(pile.owner) >= PUBLIC_KEY_BYTES_MIN
    else:
        owned = pile.owner == b"" and pile.owner_share_ppm == 0
    return owned and len(registers_wh) == pile.connectors


def free_connectors(registers_wh: Registers) -> Connectors:
    """Connectors that nobody has taken, at their registers."""
    connectors: Annotated[List[Connector], Size(0, CONNECTORS_MAX)] = []
    for register_wh in registers_wh:
        connectors.append(Connector(b"", register_wh, False))
    return connectors
