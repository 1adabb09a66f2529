"""The audit at the end of the demo day, from the nodes' own stores and archives, not from what the demo believes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from contracts import views
from devices.battery import Battery
from ledger.charging import Reading, reading_digest, readings_root
from ledger.codec import decode
from ledger.hashing import ZERO_HASH
from node.demo.chronicle import Chronicle
from node.demo.city import Car
from node.demo.drivers import Charged, Outcome
from node.demo.faults import KILLS, Fault, count_lost
from node.demo.percentiles import percentiles
from node.gateway.archive import Archive
from node.home import Home
from node.storage.reader import LedgerReader

BORDER_WH = 2
"""The register counts whole Wh, at both ends of a session."""
CONTACTOR_MS = 100
"""Real time: how late a busy pile process may note when the contactor closed, from which on the stay counts."""
MS_PER_HOUR = 3_600_000


class _Archived(NamedTuple):
    """What an operator's archive holds of a session."""

    energy_wh: int = -1
    """Between the first and the last reading."""
    readings: int = 0
    root: bytes = ZERO_HASH


def audit(
    homes: Mapping[str, Home],
    outcome: Outcome,
    chronicle: Chronicle,
    faults: Sequence[Fault],
    pile_power_w: Mapping[str, int],
    speed: int,
) -> dict[str, Any]:
    """What was offered, settled and refused; whether roots, books, energy and readings agree; what the faults cost."""
    readers = {company: chronicle.reader(company) for company in homes}
    nodes = _nodes(readers)
    settled = chronicle.settled
    archived = _archived(homes, chronicle)
    with next(iter(readers.values())).snapshot() as snapshot:
        # What a company's own business left it with; rewards for keeping the book apart from trade.
        money = {name: book.earned_fen + book.rewards_fen for name, book in views.balances(snapshot).items()}
        balances_sum = views.balances_sum_fen(snapshot)
        books_wrong = views.audit(snapshot)
        closings = {session: _closing(views.session_record(snapshot, session)) for session in settled}
    return {
        "sessions": {
            "offered": outcome.offered,
            "settled": len(outcome.settled),
            "settled_on_ledger": len(settled),
            "refused": dict(sorted(outcome.refused.items())),
            "failed": dict(sorted(outcome.failed.items())),
            "diverted": outcome.diverted,
            "waited": outcome.waited,
        },
        "energy_wh": sum(bill.energy_wh for bill in settled.values()),
        "readings_energy_wh": sum(held.energy_wh for held in archived.values() if held.readings),
        "readings": sum(held.readings for held in archived.values()),
        "sessions_unlike_readings": sum(archived[s].energy_wh != bill.energy_wh for s, bill in settled.items()),
        "sessions_unlike_readings_root": sum(archived[s][1:] != closings[s] for s in settled),
        **asked_and_got(outcome.settled, pile_power_w, speed),
        "billed_fen": sum(bill.total_fen for bill in settled.values()),
        "money_fen": money,
        "balances_sum_fen": balances_sum,
        "books_wrong": books_wrong,
        **nodes,
        "bookkeepers": {company: chronicle.bookkeepers[company] for company in homes},
        "blocks": chronicle.height,
        "transactions": chronicle.transactions,
        "latency_ms": percentiles(outcome.latencies_ms),
        "faults_planned": len(KILLS),
        "faults": [
            {
                "what": fault.what,
                "height": fault.height,
                "back_s": fault.back_s,
                "back_height": fault.back_height,
                "lost": fault.lost,
            }
            for fault in faults
        ],
        "acknowledged": {
            "transactions": len(outcome.acknowledged),
            "lost": {company: count_lost(reader, outcome.acknowledged) for company, reader in readers.items()},
        },
    }


def obtainable_wh(car: Car, pile_power_w: int) -> float:
    """What a car gets at a pile in its stay: what it asks for, or what the weaker of the two and the taper of its
    battery leave of that.
    """
    return Battery.wanting(car.energy_wh, car.power_w).charge(pile_power_w, car.stay_ms)


def asked_and_got(charged: Sequence[Charged], pile_power_w: Mapping[str, int], speed: int) -> dict[str, Any]:
    """Energy per session against what its car could get; whoever is off by more than the tolerance is named.

    The tolerance: `BORDER_WH`, and what flows in `CONTACTOR_MS` of real time, which is `speed` times as long on the
    chain.
    """
    off_max, empty_explained = 0.0, 0
    unlike = []
    for one in charged:
        car, power_w = one.wish.car, pile_power_w[one.pile]
        could = obtainable_wh(car, power_w)
        off = one.bill.energy_wh - could
        off_max = max(off_max, abs(off))
        if abs(off) > BORDER_WH + min(car.power_w, power_w) * CONTACTOR_MS * speed / MS_PER_HOUR:
            unlike.append(f"{car.name} got {one.bill.energy_wh} Wh of {could:.0f} Wh")
        elif one.bill.energy_wh == 0 and could > BORDER_WH:
            unlike.append(f"{car.name} got nothing of {could:.0f} Wh")
        elif one.bill.energy_wh == 0:
            empty_explained += 1
    return {
        "energy_asked_wh": sum(one.wish.car.energy_wh for one in charged),
        "energy_obtainable_wh": round(sum(obtainable_wh(one.wish.car, pile_power_w[one.pile]) for one in charged)),
        "energy_off_wh_max": round(off_max, 1),
        "sessions_short_of_asked": sum(one.bill.energy_wh < one.wish.car.energy_wh - BORDER_WH for one in charged),
        "sessions_empty": sum(one.bill.energy_wh == 0 for one in charged),
        "sessions_empty_explained": empty_explained,
        "sessions_unlike_car": unlike,
    }


def _closing(record: Any) -> tuple[int, bytes]:
    """Count and root of the readings, as the settled record has them."""
    closing = record.closing if record else None
    return (closing.readings_count, closing.readings_root) if closing else (-1, ZERO_HASH)


def _archived(homes: Mapping[str, Home], chronicle: Chronicle) -> dict[bytes, _Archived]:
    """Settled session -> what its operator's archive holds of it."""
    found = dict.fromkeys(chronicle.settled, _Archived())
    for company in sorted({bill.operator for bill in chronicle.settled.values()}):
        archive = Archive(homes[company].archive)
        for session, bill in chronicle.settled.items():
            if bill.operator == company and (signed := archive.readings(session)):
                first, last = (decode(Reading, one.reading).meter_wh for one in (signed[0], signed[-1]))
                root = readings_root([reading_digest(one.reading) for one in signed])
                found[session] = _Archived(last - first, len(signed), root)
        archive.close()
    return found


def _nodes(readers: Mapping[str, LedgerReader]) -> dict[str, Any]:
    """Each node's own height with its state root there, and its root at the height that all have reached."""
    tops = {}
    for company, reader in readers.items():
        with reader.snapshot() as snapshot:
            tops[company] = snapshot.height, snapshot.result(snapshot.height).state_root.hex()
    common = min(height for height, _ in tops.values())
    return {
        "common_height": common,
        "nodes": [
            {
                "name": company,
                "height": height,
                "state_root": root,
                "common_root": _state_root(readers[company], common),
            }
            for company, (height, root) in tops.items()
        ],
    }


def _state_root(reader: LedgerReader, height: int) -> str:
    with reader.snapshot() as snapshot:
        return snapshot.result(height).state_root.hex()
