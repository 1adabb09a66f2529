"""Contract 3, registry: piles, their meters' registers, and what their connectors are taken by.

An operator registers a pile; it goes into service when its operator says so and a lab has looked at its meter
(`inspect`). Until the metrology contract comes, the lab's word is all there is to a certificate. Registers are kept
per connector, which is where the meter sits: a session begins exactly where the last reading ended, so no energy
slips between two bills.
"""

from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from contracts.contract import Business, Role
from contracts.host import Host
from contracts.numbers import IDENTITY, REGISTRY, SESSION
from contracts.records.registry import (
    CONNECTORS_MAX,
    DEVICES,
    PILES,
    STATES,
    Connector,
    DeviceKey,
    MeterState,
    Pile,
    PileKind,
    PileState,
    first_state,
    is_consistent,
)
from ledger.codec import Wire
from ledger.transaction import Branch
from ledger.units import U32, U63, Hash, Name, PublicKey, Signature
from tests.oracles.codes import Code
from tests.oracles.contract import Contract, fail
from tests.oracles.identity import AccountArgs, DeviceKeyArgs, KeyArgs

CONTRACT = Contract(REGISTRY, "registry", Business.IDENTITY, Branch.IDENTITY)


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


# ── arguments and events ──────────────────────────────────────────────────────────────────────────────────────────────


class RegisterArgs(Wire):
    """`registry.register`: of the sender's company; `meter_state` is UNVERIFIED, which is for the lab to change."""

    pile: Pile
    registers_wh: Annotated[tuple[U63, ...], Meta(min_length=1, max_length=CONNECTORS_MAX)]
    """Where each connector's register stands."""
    proof: Signature
    """By the pile's key, over `contracts.digests.own_key_digest`."""


class InspectArgs(Wire):
    """`registry.inspect`: a lab has looked at the meters."""

    pile: Name
    meter_state: MeterState
    registers_wh: Annotated[tuple[U63, ...], Meta(min_length=1, max_length=CONNECTORS_MAX)]


class ServiceArgs(Wire):
    """`registry.set_service`."""

    pile: Name
    in_service: bool


class ShareArgs(Wire):
    """`registry.share`."""

    pile: Name
    shared: bool


class TakeArgs(Wire):
    """`registry.take`: a session opens."""

    pile: Name
    connector: U32
    session: Hash
    driver: PublicKey
    accept_unverified: bool


class BeginArgs(Wire):
    """`registry.begin`: energy may flow."""

    pile: Name
    connector: U32
    meter_wh: U63


class FreeArgs(Wire):
    """`registry.free`: a session is over."""

    pile: Name
    connector: U32
    session: Hash
    settled: bool
    """Whether it becomes the pile's newest charging record."""
    meter_wh: U63
    register_open: bool


class PileRegistered(Wire):
    """Event `registry.pile-registered`."""

    pile: Name
    operator: Name


class PileInspected(Wire):
    """Event `registry.pile-inspected`."""

    pile: Name
    lab: Name
    meter_state: MeterState


class PileServiceSet(Wire):
    """Event `registry.service-set`."""

    pile: Name
    in_service: bool


class PileShared(Wire):
    """Event `registry.pile-shared`."""

    pile: Name
    shared: bool


PileEvent = PileRegistered | PileInspected | PileServiceSet | PileShared
"""Every event of this contract names its pile."""

_REGISTERED = CONTRACT.event("registry.pile-registered", PileRegistered)
_INSPECTED = CONTRACT.event("registry.pile-inspected", PileInspected)
_SERVICE_SET = CONTRACT.event("registry.service-set", PileServiceSet)
_SHARED = CONTRACT.event("registry.pile-shared", PileShared)


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@CONTRACT.method(RegisterArgs, (Role.OPERATOR,))
def register(host: Host, args: RegisterArgs) -> None:
    """An operator registers a pile of its own or of an owner whom it serves: out of service and unverified at first."""
    pile = args.pile
    if min(pile.name) < " ":
        fail(Code.PILE_NAME_MALFORMED)
    name = pile.name.encode()
    if pile.operator != host.company:
        fail(Code.NOT_PILE_OPERATOR)
    if not is_consistent(pile, args.registers_wh) or pile.meter_state is not MeterState.UNVERIFIED:
        fail(Code.PILE_MALFORMED)
    if host.get(PILES, name) is not None:
        fail(Code.PILE_EXISTS)
    check_no_device(host, KeyArgs(pile.public_key))
    host.call(IDENTITY, "check_device_key", DeviceKeyArgs(pile.operator, pile.public_key, args.proof))
    if pile.kind is PileKind.PRIVATE:
        host.call(IDENTITY, "home_of", AccountArgs(pile.owner))
    host.put(PILES, name, pile)
    host.put(STATES, name, first_state(pile, args.registers_wh, in_service=False))
    host.put(DEVICES, pile.public_key, DeviceKey(pile.name))
    host.emit(_REGISTERED, PileRegistered(pile.name, pile.operator))


@CONTRACT.method(InspectArgs, (Role.LAB,), business=Business.VERIFICATION)
def inspect(host: Host, args: InspectArgs) -> None:
    """A lab writes down what it found at an idle pile: whether its meters are right, and where they stand."""
    pile, state = _find(host, args.pile)
    if len(args.registers_wh) != pile.connectors:
        fail(Code.PILE_MALFORMED)
    if any(connector.session for connector in state.connectors):
        fail(Code.CONNECTOR_TAKEN)
    host.put(PILES, args.pile.encode(), replace(pile, meter_state=args.meter_state))
    connectors = tuple(Connector(b"", register_wh, False) for register_wh in args.registers_wh)
    host.put(STATES, args.pile.encode(), replace(state, connectors=connectors))
    host.emit(_INSPECTED, PileInspected(args.pile, host.company or "", args.meter_state))


@CONTRACT.method(ServiceArgs, (Role.OPERATOR,))
def set_service(host: Host, args: ServiceArgs) -> None:
    """A pile's operator takes it in or out of service; a session in progress goes on."""
    pile, state = _find(host, args.pile)
    if pile.operator != host.company:
        fail(Code.NOT_PILE_OPERATOR)
    host.put(STATES, args.pile.encode(), replace(state, in_service=args.in_service))
    host.emit(_SERVICE_SET, PileServiceSet(args.pile, args.in_service))


@CONTRACT.method(ShareArgs, (Role.OWNER,))
def share(host: Host, args: ShareArgs) -> None:
    """A private pile's owner opens it to others or closes it."""
    pile, state = _find(host, args.pile)
    if not pile.owner or pile.owner != host.caller:
        fail(Code.NOT_PILE_OWNER)
    host.put(STATES, args.pile.encode(), replace(state, shared=args.shared))
    host.emit(_SHARED, PileShared(args.pile, args.shared))


@CONTRACT.internal(TakeArgs, SESSION)
def take(host: Host, args: TakeArgs) -> Pile:
    """A session opens at a connector: the pile works, its meter counts, its owner agrees, and the connector is free."""
    pile, state = _find(host, args.pile)
    if not state.in_service or (not state.shared and args.driver != pile.owner):
        fail(Code.PILE_OUT_OF_SERVICE)
    unverified_agreed = (
        pile.meter_state is MeterState.UNVERIFIED and pile.kind is PileKind.PRIVATE and args.accept_unverified
    )
    if pile.meter_state is not MeterState.VERIFIED and not unverified_agreed:
        fail(Code.METER_UNVERIFIED)
    connector = _connector(host, state, args.connector)
    if connector.session:
        fail(Code.CONNECTOR_TAKEN)
    _put_connector(host, pile.name, state, args.connector, replace(connector, session=args.session))
    return pile


@CONTRACT.internal(BeginArgs, SESSION)
def begin(host: Host, args: BeginArgs) -> None:
    """A session's first reading: where the last one ended."""
    state = _state(host, args.pile)
    connector = _connector(host, state, args.connector)
    above = args.meter_wh > connector.register_wh and connector.register_open
    if args.meter_wh != connector.register_wh and not above:
        fail(Code.READING_GAP)
    begun = replace(connector, register_wh=args.meter_wh, register_open=False)
    if begun != connector:
        _put_connector(host, args.pile, state, args.connector, begun)


@CONTRACT.internal(FreeArgs, SESSION)
def free(host: Host, args: FreeArgs) -> bytes:
    """A session is over; returns the pile's newest charging record before it."""
    state = _state(host, args.pile)
    connector = Connector(b"", args.meter_wh, args.register_open)
    if args.settled:
        _put_connector(host, args.pile, replace(state, last_session=args.session), args.connector, connector)
    else:
        before = _connector(host, state, args.connector)
        _put_connector(host, args.pile, state, args.connector, replace(before, session=b""))
    return state.last_session


@CONTRACT.internal(KeyArgs, IDENTITY)
def check_no_device(host: Host, args: KeyArgs) -> None:
    """Whether a key is no device's, for the identity contract, which gives keys to companies and accounts."""
    if host.get(DEVICES, args.key) is not None:
        fail(Code.DEVICE_KEY_TAKEN)


# ── shared with genesis ───────────────────────────────────────────────────────────────────────────────────────────────


def _find(host: Host, name: str) -> tuple[Pile, PileState]:
    pile = host.get(PILES, name.encode())
    if pile is None:
        fail(Code.PILE_UNKNOWN)
    return pile, _state(host, name)


def _state(host: Host, name: str) -> PileState:
    state = host.get(STATES, name.encode())
    if state is None:
        fail(Code.PILE_UNKNOWN)
    return state


def _connector(host: Host, state: PileState, number: int) -> Connector:
    if not 1 <= number <= len(state.connectors):
        fail(Code.CONNECTOR_UNKNOWN)
    return state.connectors[number - 1]


def _put_connector(host: Host, name: str, state: PileState, number: int, connector: Connector) -> None:
    connectors = (*state.connectors[: number - 1], connector, *state.connectors[number:])
    host.put(STATES, name.encode(), replace(state, connectors=connectors))
