"""Contract 4, tariff: energy prices by region and time of use, service fees under the regulator's cap.

A tariff is published ahead of its time and replaces the one before for sessions that open after it; a session is
billed to its end by the tariff and fee in force when it opened, which its driver could know. Per region one tariff is
in force and one may wait. A region belongs to the grid company of its tariffs; the regulator gives it to another, and
a new region to its first.
"""

from contracts.contract import Business, Role
from contracts.host import Host
from contracts.numbers import GOVERNANCE, IDENTITY, SESSION, TARIFF
from contracts.records.tariff import (
    CAPS,
    FEES,
    PLANS,
    REGIONS_MAX,
    SETTINGS,
    TARIFFS,
    Caps,
    Plan,
    ServiceFee,
    Settings,
    in_force_from,
    tariff_key,
)
from ledger.codec import Wire
from ledger.errors import OurError
from ledger.tariff import Tariff, is_well_formed
from ledger.transaction import Branch
from ledger.units import U63, Name
from tests.oracles.codes import Code
from tests.oracles.contract import Contract, fail
from tests.oracles.identity import CompanyArgs, RoleArgs

CONTRACT = Contract(TARIFF, "tariff", Business.CHARGING, Branch.GOVERNANCE)


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


# ── arguments and events ──────────────────────────────────────────────────────────────────────────────────────────────


class PublishArgs(Wire):
    """`tariff.publish`."""

    tariff: Tariff


class FeeArgs(Wire):
    """`tariff.set_fee`: of the sender's company, for sessions that open from now on."""

    fee: ServiceFee


class CapsArgs(Wire):
    """`tariff.set_caps`: for fees set from now on."""

    caps: Caps


class TermsArgs(Wire):
    """`tariff.terms`: what a session of this operator in this region costs."""

    region: Name
    operator: Name


class Terms(Wire):
    """Answer of `tariff.terms`."""

    tariff_from_ms: U63
    fee: ServiceFee


class TariffArgs(Wire):
    """`tariff.find`."""

    region: Name
    tariff_from_ms: U63


class TariffPublished(Wire):
    """Event `tariff.published`."""

    tariff: Tariff


class FeeSet(Wire):
    """Event `tariff.fee-set`."""

    operator: Name
    fee: ServiceFee


class CapsSet(Wire):
    """Event `tariff.caps-set`."""

    caps: Caps


_PUBLISHED = CONTRACT.event("tariff.published", TariffPublished)
_FEE_SET = CONTRACT.event("tariff.fee-set", FeeSet)
_CAPS_SET = CONTRACT.event("tariff.caps-set", CapsSet)


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@CONTRACT.method(PublishArgs, (Role.GRID, Role.REGULATOR))
def publish(host: Host, args: PublishArgs) -> None:
    """A region's grid company announces its prices from a future time on, instead of what was announced before; the
    regulator does it for a new region or a new company.
    """
    tariff = args.tariff
    if min(tariff.region) < " ":
        fail(Code.REGION_NAME_MALFORMED)
    region = tariff.region.encode()
    plan = host.get(PLANS, region)
    if not host.call(IDENTITY, "has_role", RoleArgs(host.company or "", Role.REGULATOR)):
        _check_owner(host, tariff, plan)
    elif not host.call(IDENTITY, "has_role", RoleArgs(tariff.grid, Role.GRID)):
        fail(Code.GRID_COMPANY_UNKNOWN)
    if not is_well_formed(tariff):
        fail(Code.TARIFF_MALFORMED)
    if plan is None and len(host.iterate(PLANS, b"", REGIONS_MAX)) == REGIONS_MAX:
        fail(Code.REGIONS_TOO_MANY)
    start_ms = tariff.effective_from_ms
    if start_ms < host.now_ms + _settings(host).notice_ms:
        fail(Code.TARIFF_NOTICE)
    host.put(PLANS, region, Plan(in_force_from(plan, host.now_ms) if plan else start_ms, start_ms))
    host.put(TARIFFS, tariff_key(tariff.region, start_ms), tariff)
    host.emit(_PUBLISHED, TariffPublished(tariff))


@CONTRACT.method(FeeArgs, (Role.OPERATOR,))
def set_fee(host: Host, args: FeeArgs) -> None:
    """An operator sets its service and occupancy fee under the caps."""
    caps = host.get(CAPS)
    if caps is None or (
        args.fee.service_price_e4 > caps.service_price_e4_max
        or args.fee.occupancy_fen_per_minute > caps.occupancy_fen_per_minute_max
    ):
        fail(Code.PRICE_ABOVE_CAP)
    operator = host.company or ""
    host.put(FEES, operator.encode(), args.fee)
    host.emit(_FEE_SET, FeeSet(operator, args.fee))


@CONTRACT.method(CapsArgs, (Role.REGULATOR,))
def set_caps(host: Host, args: CapsArgs) -> None:
    """The regulator sets the caps."""
    host.put(CAPS, b"", args.caps)
    host.emit(_CAPS_SET, CapsSet(args.caps))


@CONTRACT.internal(TermsArgs, SESSION)
def terms(host: Host, args: TermsArgs) -> Terms:
    """What a session that opens now is billed by."""
    plan = host.get(PLANS, args.region.encode())
    if plan is None or in_force_from(plan, host.now_ms) > host.now_ms:
        fail(Code.REGION_UNKNOWN)
    fee = host.get(FEES, args.operator.encode())
    if fee is None:
        fail(Code.FEE_UNKNOWN)
    return Terms(in_force_from(plan, host.now_ms), fee)


@CONTRACT.internal(TariffArgs, SESSION)
def find(host: Host, args: TariffArgs) -> Tariff:
    """The tariff that a session opened under."""
    tariff = host.get(TARIFFS, tariff_key(args.region, args.tariff_from_ms))
    if tariff is None:
        fail(Code.REGION_UNKNOWN)
    return tariff


@CONTRACT.internal(CompanyArgs, GOVERNANCE)
def check_no_region(host: Host, args: CompanyArgs) -> None:
    """Whether a company may leave: sessions of its regions would owe energy to nobody."""
    for region, plan in host.iterate(PLANS, b"", REGIONS_MAX):
        if args.company in _grids(host, region.decode(), plan):
            fail(Code.GRID_COMPANY_NEEDED)


def _check_owner(host: Host, tariff: Tariff, plan: Plan | None) -> None:
    """Whether the sender publishes its own prices in a region whose tariffs, in force and waiting, are its own."""
    if tariff.grid != host.company:
        fail(Code.NOT_GRID_COMPANY)
    if plan is None:
        fail(Code.REGION_OF_ANOTHER)
    if _grids(host, tariff.region, plan) != {host.company}:
        fail(Code.REGION_OF_ANOTHER)


def _grids(host: Host, region: str, plan: Plan) -> set[str]:
    """The grid companies of a region's tariffs, in force and waiting."""
    times_ms = (in_force_from(plan, host.now_ms), plan.next_from_ms)
    return {find(host, TariffArgs(region, from_ms)).grid for from_ms in times_ms}


def _settings(host: Host) -> Settings:
    settings = host.get(SETTINGS)
    if settings is None:
        raise OurError("settings-missing", "the tariff contract has no settings in this state")
    return settings
