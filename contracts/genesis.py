"""The state at height 0, out of the consortium that the genesis document describes."""

from collections.abc import Sequence
from typing import Annotated, TypeVar

from msgspec import Meta

from contracts.abi import Abi, described
from contracts.contract import COMPANY_ROLES, Business, Role
from contracts.deployment import (
    CODES,
    DEPLOYMENTS,
    DEPLOYMENTS_MAX,
    NUMBER_MAX,
    SOURCE_CHARACTERS_MAX,
    Deployment,
    Deployments,
    StoredCode,
)
from contracts.host import TIMELINE, Decided, Table
from contracts.numbers import GOVERNANCE, IDENTITY, MONEY, REGISTRY, SESSION, TARIFF
from contracts.records import governance, identity, money, registry, session, tariff
from contracts.records.governance import Settings as GovernanceSettings
from contracts.records.identity import Roles
from contracts.records.registry import Pile, PileKind
from contracts.records.shapes import misfits
from contracts.records.tariff import Caps, ServiceFee
from contracts.vm.program import CODE_BYTES_MAX, Program, code_hash
from contracts.vm.verifier import verify
from ledger.codec import Wire, decode, encode
from ledger.errors import ClientError
from ledger.genesis import Genesis
from ledger.tariff import Tariff, is_well_formed
from ledger.terms import first_timeline
from ledger.units import U63, Name, PublicKey, Span

V = TypeVar("V", bound=Wire)
NEEDED = (IDENTITY, MONEY, REGISTRY, TARIFF, SESSION, GOVERNANCE)
"""The contracts whose records this document and the node itself hold."""

BLOCK_REWARD_FEN_MAX = 10**9
"""Ten million yuan: what empty pools come to owe stays within 64 bits for billions of blocks."""


class CompanySetup(Wire):
    """A company. Real money that the trustee holds for it is split by purpose."""

    name: Name
    """In English: validators are sorted by it."""
    display_name: Name
    roles: Roles
    company_key: PublicKey
    """May act in every type of business."""
    collateral_fen: U63 = 0
    pool_fen: U63 = 0


class AccountSetup(Wire):
    """A driver or pile owner."""

    account: PublicKey
    home: Name
    wallet_fen: U63
    """Real money that the home operator has received for it."""


class PileSetup(Wire):
    """A pile, in service from the beginning."""

    pile: Pile
    registers_wh: tuple[U63, ...]
    """Per connector."""


class FeeSetup(Wire):
    """An operator's prices."""

    operator: Name
    fee: ServiceFee


class ContractSetup(Wire):
    """A contract that rules from the first block on."""

    number: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
    code: Annotated[bytes, Meta(max_length=CODE_BYTES_MAX)]
    source: Annotated[str, Meta(max_length=SOURCE_CHARACTERS_MAX)]
    """Its text, for everybody to read."""


class ConsortiumParameters(Wire):
    """Limits of the contracts. Times are chain time; the start limit of sessions is in the genesis document's own
    parameters.
    """

    session_time_out_ms: Span = 24 * 3_600_000
    """From a session's start to its claim window, if nobody stops it. Longest stay that a pile can bill."""
    claim_window_ms: Span = 24 * 3_600_000
    clock_error_max_ms: Span = 3 * 60_000
    """Of a pile (JJG 1148: 3 min in service)."""
    block_reward_fen: Annotated[int, Meta(ge=0, le=BLOCK_REWARD_FEN_MAX)] = 100
    """From the reward pools to the bookkeeper of a non-empty block."""
    caps: Caps = Caps(service_price_e4_max=8_000, occupancy_fen_per_minute_max=100)
    """0.8 yuan per kWh (Tianjin, P1), 1 yuan per minute."""
    tariff_notice_ms: Span = 2 * 3_600_000
    """From a tariff's publication to its beginning, at least: time for drivers and operators to see it coming."""
    governance: GovernanceSettings = GovernanceSettings(
        fine_ppm=100_000, margin_lock_ms=90 * 24 * 3_600_000, proposal_ms=7 * 24 * 3_600_000, renewal_ms=24 * 3_600_000
    )


class Consortium(Wire):
    """What `Genesis.consortium` encodes."""

    companies: Annotated[tuple[CompanySetup, ...], Meta(min_length=1, max_length=identity.COMPANIES_MAX)]
    accounts: tuple[AccountSetup, ...]
    piles: tuple[PileSetup, ...]
    tariffs: Annotated[tuple[Tariff, ...], Meta(max_length=tariff.REGIONS_MAX)]
    """One per region, in force from `effective_from_ms` on."""
    fees: tuple[FeeSetup, ...]
    contracts: Annotated[tuple[ContractSetup, ...], Meta(min_length=len(NEEDED), max_length=DEPLOYMENTS_MAX)]
    parameters: ConsortiumParameters = ConsortiumParameters()


def consortium_of(genesis: Genesis) -> Consortium:
    """The consortium that a genesis document holds. Raises ClientError or PeerError if it holds none, or one that
    contradicts itself.
    """
    return _sound(genesis)[0]


def _sound(genesis: Genesis) -> tuple[Consortium, dict[int, Program]]:
    consortium = decode(Consortium, genesis.consortium)
    _check(consortium, [member.name for member in genesis.validators.validators])
    return consortium, _programs(consortium)


def genesis_abi(genesis: Genesis) -> Abi:
    """How to talk to the contracts that a chain begins with. Raises as `consortium_of`."""
    return Abi(described(number, program) for number, program in _sound(genesis)[1].items())


def deployed(contracts: Sequence[ContractSetup]) -> dict[bytes, bytes]:
    """State entries that let contracts rule from the first block on."""
    rows = sorted((each.number, code_hash(each.code)) for each in contracts)
    deployments = Deployments(tuple(Deployment(number, 0, name) for number, name in rows))
    state = {CODES.key(code_hash(each.code)): encode(StoredCode(each.code, each.source, 0)) for each in contracts}
    return {DEPLOYMENTS.key(): encode(deployments), **state}


def genesis_state(genesis: Genesis) -> dict[bytes, bytes]:
    """State of height 0, in key order. Raises as `consortium_of`."""
    consortium, programs = _sound(genesis)
    state = deployed(consortium.contracts)

    def put(table: Table[V], key: bytes, value: V) -> None:
        state[table.key(key)] = encode(value)

    put(TIMELINE, b"", Decided(first_timeline(genesis)))
    put(identity.SETTINGS, b"", identity.Settings(tuple(sorted(genesis.profile.schemes))))
    for number, program in programs.items():
        for method in program.methods:
            if method.roles:
                permission = identity.Permission(Business(method.business), tuple(map(Role, method.roles)))
                put(identity.PERMISSIONS, identity.permission_key(number, method.name), permission)
    wallets: dict[str, int] = {}
    for account in consortium.accounts:
        put(identity.ACCOUNTS, account.account, identity.Account(account.home))
        put(money.WALLETS, account.account, money.Wallet(account.home, account.wallet_fen))
        wallets[account.home] = wallets.get(account.home, 0) + account.wallet_fen
    for company in consortium.companies:
        key = company.company_key
        record = identity.Company(company.display_name, tuple(sorted(company.roles)), (key,))
        put(identity.COMPANIES, company.name.encode(), record)
        put(identity.KEYS, key, identity.CompanyKey(company.name, identity.ALL_BUSINESSES))
        wallets_fen = wallets.get(company.name, 0)
        book = money.Book(
            cash_fen=-wallets_fen,
            wallets_fen=wallets_fen,
            deposited_fen=-(company.collateral_fen + company.pool_fen),
            collateral_fen=company.collateral_fen,
            pool_fen=company.pool_fen,
        )
        put(money.BOOKS, company.name.encode(), book)
    for setup in consortium.piles:
        pile_name = setup.pile.name.encode()
        put(registry.PILES, pile_name, setup.pile)
        put(registry.STATES, pile_name, registry.first_state(setup.pile, setup.registers_wh, in_service=True))
        put(registry.DEVICES, setup.pile.public_key, registry.DeviceKey(setup.pile.name))
    for entry in consortium.tariffs:
        from_ms = entry.effective_from_ms
        put(tariff.PLANS, entry.region.encode(), tariff.Plan(from_ms, from_ms))
        put(tariff.TARIFFS, tariff.tariff_key(entry.region, from_ms), entry)
    for fee in consortium.fees:
        put(tariff.FEES, fee.operator.encode(), fee.fee)
    limits = consortium.parameters
    put(tariff.CAPS, b"", limits.caps)
    put(tariff.SETTINGS, b"", tariff.Settings(limits.tariff_notice_ms))
    put(money.SETTINGS, b"", money.Settings(limits.block_reward_fen))
    times = session.Settings(
        genesis.parameters.session_start_max_ms,
        limits.session_time_out_ms,
        limits.claim_window_ms,
        limits.clock_error_max_ms,
    )
    put(session.SETTINGS, b"", times)
    put(governance.SETTINGS, b"", limits.governance)
    for member in genesis.validators.validators:
        put(governance.SEATS, member.name.encode(), governance.Seat(member.node_key, "", False, 0))
        put(governance.VOTE_KEYS, member.vote_key, governance.VoteKey(member.name, False))
    return dict(sorted(state.items()))


def _programs(consortium: Consortium) -> dict[int, Program]:
    """The contracts' programs by number. Raises as `consortium_of`."""
    programs: dict[int, Program] = {}
    for each in consortium.contracts:
        _require(each.number not in programs, f"two contracts have the number {each.number}")
        programs[each.number] = program = verify(each.code).program
        others = ", ".join(misfits(each.number, program))
        _require(not others, f"contract {each.number} has not the tables and events that this release reads: {others}")
    _require(set(NEEDED) <= programs.keys(), f"contracts {', '.join(map(str, NEEDED))} are needed")
    return programs


def _check(consortium: Consortium, validators: list[str]) -> None:
    """Raise ClientError `consortium-invalid` where the contracts would have refused such a record."""
    companies = {company.name: company for company in consortium.companies}
    operators = {name for name, company in companies.items() if Role.OPERATOR in company.roles}
    grids = {name for name, company in companies.items() if Role.GRID in company.roles}
    accounts = {account.account for account in consortium.accounts}
    regions = {tariff.region for tariff in consortium.tariffs}
    company_keys = [company.company_key for company in consortium.companies]
    device_keys = [setup.pile.public_key for setup in consortium.piles]
    names = [*companies, *regions, *(setup.pile.name for setup in consortium.piles)]
    caps = consortium.parameters.caps

    _require(all(min(name) >= " " for name in names), "a name holds control characters")
    _require(len(companies) == len(company_keys), "two companies share a name")
    _require(set(validators) <= set(companies), "a validator is no company of the consortium")
    _require(
        all(set(c.roles) <= COMPANY_ROLES and c.roles for c in consortium.companies),
        "a company without a company's role",
    )
    keys = [*company_keys, *(account.account for account in consortium.accounts), *device_keys]
    _require(len(set(keys)) == len(keys), "a key is used twice")
    _require(all(account.home in operators for account in consortium.accounts), "a home is no operator")
    _require(len({setup.pile.name for setup in consortium.piles}) == len(consortium.piles), "two piles share a name")
    for setup in consortium.piles:
        pile = setup.pile
        owned = pile.kind is not PileKind.PRIVATE or pile.owner in accounts
        sound = registry.is_consistent(pile, setup.registers_wh) and owned
        placed = pile.operator in operators and pile.region in regions
        _require(sound and placed, f"pile {pile.name}: registers, owner, operator or region do not fit")
    _require(len(regions) == len(consortium.tariffs), "a region has two tariffs")
    for entry in consortium.tariffs:
        _require(
            is_well_formed(entry) and entry.grid in grids,
            f"tariff of {entry.region}: periods or grid company do not fit",
        )
    for fee in consortium.fees:
        below = fee.fee.service_price_e4 <= caps.service_price_e4_max
        below = below and fee.fee.occupancy_fen_per_minute <= caps.occupancy_fen_per_minute_max
        _require(below and fee.operator in operators, f"fee of {fee.operator}: above the cap, or of no operator")
    held_fen = [account.wallet_fen for account in consortium.accounts]
    held_fen += [company.collateral_fen + company.pool_fen for company in consortium.companies]
    _require(sum(held_fen) <= money.BOOK_FEN_MAX, "more money than a book may hold")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ClientError("consortium-invalid", message)
