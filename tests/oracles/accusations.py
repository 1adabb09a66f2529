"""Contract 6, governance, its fourth part: evidence of equivocation (F12).

Two votes of one key that contradict each other prove themselves, so any company may bring them. The key's company pays
a part of its collateral, once for each key, for a liar usually lies many times. Whether the company keeps its vote,
the others decide (`governance.propose_suspend`); once suspended it needs another key to vote again, which answers for
itself. One that is not suspended may keep its key, and what it lies with that later costs it no more.
"""

from contracts.host import Host
from contracts.numbers import IDENTITY, MONEY
from contracts.records.governance import VOTE_KEYS, VoteKey
from ledger.codec import Wire
from ledger.evidence import Equivocation, Phase, proves_equivocation
from ledger.units import U32, U63, Name, PublicKey
from tests.oracles.codes import Code
from tests.oracles.contract import fail
from tests.oracles.identity import CompanyArgs
from tests.oracles.margin import FineArgs
from tests.oracles.seats import COMPANIES_MAY, CONTRACT, next_keys, sender, settings_of


class AccuseArgs(Wire):
    """`governance.accuse`."""

    evidence: Equivocation


class Equivocated(Wire):
    """Event `governance.equivocated`: proven for good."""

    company: Name
    vote_key: PublicKey
    phase: Phase
    height: U63
    view: U32
    fine_fen: U63


_EQUIVOCATED = CONTRACT.event("governance.equivocated", Equivocated)


@CONTRACT.method(AccuseArgs, COMPANIES_MAY)
def accuse(host: Host, args: AccuseArgs) -> None:
    """Prove that a vote key signed two values for one height, view and phase; its company is fined, once a key."""
    sender(host)
    evidence = args.evidence
    record = host.get(VOTE_KEYS, evidence.vote_key)
    # Nor for one that only waits: whoever gets hold of a company key registers any number of them one after the other,
    # lies with each, and would have the company fined for all.
    if record is None or next_keys(host).get(record.company) == evidence.vote_key:
        fail(Code.VOTE_KEY_UNKNOWN)
    # Once, whatever the statements name: whoever gets hold of a former key could sign for any number of heights and
    # invented sets, and have the company fined for each.
    if record.fined:
        fail(Code.FINED_ALREADY)
    # Votes of another chain (a testnet with the same keys) do not verify: the digest binds the chain.
    if not proves_equivocation(host.chain_id, evidence, host.verify):
        fail(Code.EVIDENCE_INVALID)
    host.put(VOTE_KEYS, evidence.vote_key, VoteKey(record.company, True))
    payee: str = host.call(IDENTITY, "fine_payee", CompanyArgs(record.company))
    fine_fen: int = host.call(MONEY, "fine", FineArgs(record.company, payee, settings_of(host).fine_ppm))
    first = evidence.first
    event = Equivocated(record.company, evidence.vote_key, first.phase, first.height, first.view, fine_fen)
    host.emit(_EQUIVOCATED, event)
