"""The consortium that the tests of contracts find."""

from collections.abc import Sequence

from contracts.contract import Role
from contracts.genesis import AccountSetup, CompanySetup, Consortium, ContractSetup, FeeSetup, PileSetup
from contracts.records.registry import MeterState, Pile, PileKind
from contracts.records.tariff import ServiceFee
from ledger.codec import encode
from ledger.genesis import Genesis, Parameters, Profile
from ledger.keys import Scheme, SoftSigner
from ledger.tariff import Period, Tariff
from ledger.validators import Validator, ValidatorSet

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
BEGIN_MS = 1_800_000_000_000 // DAY_MS * DAY_MS - 8 * HOUR_MS
"""Midnight in China."""
COMPANIES = {
    "Grid": Role.GRID,
    "Lab": Role.LAB,
    "Maintenance": Role.MAINTENANCE,
    "Operator": Role.OPERATOR,
    "Other": Role.OPERATOR,
    "Regulator": Role.REGULATOR,
}
WALLET_FEN = 100_000
COLLATERAL_FEN = 1_000_000
POOL_FEN = 1_000
REGION = "City"


def signer_of(name: str) -> SoftSigner:
    """The key of a name, always the same."""
    return SoftSigner.from_seed(Scheme.ED25519, name.encode().ljust(32, b".")[:32])


def genesis_of(contracts: Sequence[ContractSetup]) -> Genesis:
    """Its genesis document, with these contracts."""
    keys = {name: signer_of(name).public_key for name in (*COMPANIES, "driver", "other driver", "owner")}
    companies = tuple(
        CompanySetup(name, name, (role,), keys[name], COLLATERAL_FEN, POOL_FEN) for name, role in COMPANIES.items()
    )
    homes = {"driver": "Operator", "other driver": "Other", "owner": "Operator"}
    piles = (
        _pile("Pile-1", "Operator", PileKind.OPERATOR),
        _pile("Pile-2", "Other", PileKind.OPERATOR),
        _pile("Home-1", "Operator", PileKind.PRIVATE, owner=keys["owner"], owner_share_ppm=500_000),
    )
    consortium = Consortium(
        companies,
        tuple(AccountSetup(keys[name], home, WALLET_FEN) for name, home in homes.items()),
        tuple(PileSetup(pile, (1_000, 2_000)) for pile in piles),
        (Tariff(REGION, "Grid", BEGIN_MS, 480, (Period(0, 4_000, 3_000), Period(8 * 60, 8_000, 6_000))),),
        tuple(FeeSetup(name, ServiceFee(5_000, 10, 15 * MINUTE_MS)) for name in ("Operator", "Other")),
        tuple(contracts),
    )
    members = tuple(
        Validator(name, keys[name], signer_of("vote " + name).public_key, signer_of("node " + name).public_key[1:])
        for name in sorted(COMPANIES)
    )
    return Genesis(1, "test", Profile.MIXED, BEGIN_MS, Parameters(), ValidatorSet(0, members), encode(consortium))


def _pile(name: str, operator: str, kind: PileKind, owner: bytes = b"", owner_share_ppm: int = 0) -> Pile:
    return Pile(
        name=name,
        operator=operator,
        kind=kind,
        owner=owner,
        owner_share_ppm=owner_share_ppm,
        public_key=signer_of(name).public_key,
        latitude_e7=225_000_000,
        longitude_e7=1_140_000_000,
        power_w=60_000,
        connectors=2,
        region=REGION,
        meter_state=MeterState.VERIFIED,
    )
