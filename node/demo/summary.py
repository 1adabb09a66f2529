"""The audit at the end of the demo day, from the nodes' own stores and archives, not from what the demo believes."""

from collections.abc import Mapping, Sequence
from typing import Any

from contracts import views
from ledger.charging import Reading
from ledger.codec import decode
from node.archive import Archive
from node.demo.chronicle import Chronicle
from node.demo.drivers import Outcome
from node.demo.faults import Fault
from node.home import Home
from node.reader import LedgerReader


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile (nearest rank), zero without values."""
    ordered = sorted(values)
    return {
        f"p{percent}": round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 1) if ordered else 0
        for percent in (50, 99)
    }


def audit(
    homes: Mapping[str, Home],
    outcome: Outcome,
    chronicle: Chronicle,
    faults: Sequence[Fault],
    bytes_per_pile: Sequence[int],
) -> dict[str, Any]:
    """What was offered, settled and refused; whether roots, money and energy agree; what the faults cost."""
    readers = {company: chronicle.reader(company) for company in homes}
    height = min(_height(reader) for reader in readers.values())
    first = next(iter(readers.values()))
    with first.snapshot() as snapshot:
        # What a company's own business left it with; rewards for keeping the book apart from trade.
        money = {name: book.earned_fen + book.rewards_fen for name, book in views.balances(snapshot).items()}
        balances_sum = views.balances_sum_fen(snapshot)
    energy_by_session = {session: bill.energy_wh for session, bill in chronicle.settled.items()}
    archived_wh = _archived_energy(homes, chronicle)
    return {
        "sessions": {
            "offered": outcome.offered,
            "settled": len(outcome.settled),
            "refused": dict(sorted(outcome.refused.items())),
            "failed": dict(sorted(outcome.failed.items())),
            "diverted": outcome.diverted,
            "waited": outcome.waited,
        },
        "energy_wh": sum(energy_by_session.values()),
        "readings_energy_wh": sum(archived_wh.values()),
        "sessions_unlike_readings": sum(archived_wh.get(s) != energy for s, energy in energy_by_session.items()),
        "billed_fen": sum(bill.total_fen for bill in chronicle.settled.values()),
        "money_fen": money,
        "balances_sum_fen": balances_sum,
        "nodes": [
            {"name": company, "height": height, "state_root": _state_root(reader, height)}
            for company, reader in readers.items()
        ],
        "bookkeepers": {company: chronicle.bookkeepers[company] for company in homes},
        "blocks": chronicle.height,
        "transactions": chronicle.transactions,
        "bytes_per_pile": percentiles(bytes_per_pile),
        "latency_ms": percentiles(outcome.latencies_ms),
        "faults": [
            {
                "what": fault.what,
                "height": fault.height,
                "back_s": fault.back_s,
                "lost": _lost(readers[fault.company], outcome.acknowledged[: fault.acknowledged]),
            }
            for fault in faults
        ],
    }


def problems(summary: Mapping[str, Any]) -> list[str]:
    """What of a summary must not be so; empty after a good day."""
    sessions = summary["sessions"]
    found = []
    if sessions["settled"] + sum(sessions["refused"].values()) != sessions["offered"]:
        found.append(f"sessions failed: {sessions['failed']}")
    if len({node["state_root"] for node in summary["nodes"]}) != 1:
        found.append("the nodes' state roots differ")
    if summary["balances_sum_fen"]:
        found.append(f"the balances sum to {summary['balances_sum_fen']} fen")
    if summary["energy_wh"] != summary["readings_energy_wh"] or summary["sessions_unlike_readings"]:
        found.append(f"billed {summary['energy_wh']} Wh, readings say {summary['readings_energy_wh']} Wh")
    found += [
        f"{fault['what']}: {fault['lost']} acknowledged transactions lost, back after {fault['back_s']} s"
        for fault in summary["faults"]
        if fault["lost"] or fault["back_s"] is None
    ]
    return found


def _archived_energy(homes: Mapping[str, Home], chronicle: Chronicle) -> dict[bytes, int]:
    """Session -> Wh between the first and the last signed reading that the operators' archives hold."""
    energy: dict[bytes, int] = {}
    for company in sorted({bill.operator for bill in chronicle.settled.values()}):
        archive = Archive(homes[company].archive)
        for session, bill in chronicle.settled.items():
            if bill.operator == company and (readings := archive.readings(session)):
                first, last = (decode(Reading, signed.reading).meter_wh for signed in (readings[0], readings[-1]))
                energy[session] = last - first
        archive.close()
    return energy


def _height(reader: LedgerReader) -> int:
    with reader.snapshot() as snapshot:
        return snapshot.height


def _state_root(reader: LedgerReader, height: int) -> str:
    with reader.snapshot() as snapshot:
        return snapshot.result(height).state_root.hex()


def _lost(reader: LedgerReader, acknowledged: Sequence[bytes]) -> int:
    """Transactions whose sealed receipt a client held before the fault, and which the node that suffered it does not
    have.
    """
    with reader.snapshot() as snapshot:
        return sum(snapshot.locate(tx_id) is None for tx_id in acknowledged)
