"""What of a demo day's summary must not be so, and what is slower or larger than it should be."""

from collections.abc import Mapping
from typing import Any

LAG_MAX = 2
"""Blocks by which nodes may differ while they are looked at one after the other."""
READY_S_MAX = 30.0
FIRST_SETTLED_S_MAX = 60.0
MEMORY_MB_MAX = 220


def problems(summary: Mapping[str, Any]) -> list[str]:
    """What must not be so; empty after a good day. Nothing of it depends on how fast the machine is."""
    return [*_sessions(summary), *_energy(summary), *_nodes(summary), *_faults(summary), *summary["books_wrong"]]


def limits(summary: Mapping[str, Any]) -> list[str]:
    """Time and memory beyond what a quiet machine of two cores needs: told, not judged."""
    found = []
    if summary["ready_s"] > READY_S_MAX:
        found.append(f"the nodes were ready after {summary['ready_s']} s, more than {READY_S_MAX:.0f} s")
    first_s = summary["first_settled_s"]
    if first_s is None or first_s > FIRST_SETTLED_S_MAX:
        found.append(f"first session settled after {first_s} s, more than {FIRST_SETTLED_S_MAX:.0f} s")
    found += [
        f"{company} used {used_mb} MB, more than {MEMORY_MB_MAX} MB"
        for company, used_mb in summary["memory_mb"].items()
        if used_mb > MEMORY_MB_MAX
    ]
    return found


def _sessions(summary: Mapping[str, Any]) -> list[str]:
    sessions, found = summary["sessions"], []
    if sessions["failed"] or sessions["settled"] + sum(sessions["refused"].values()) != sessions["offered"]:
        found.append(f"sessions failed: {sessions['failed']}")
    if sessions["settled_on_ledger"] != sessions["settled"]:
        found.append(f"{sessions['settled_on_ledger']} bills on the ledger for {sessions['settled']} cars")
    return found


def _energy(summary: Mapping[str, Any]) -> list[str]:
    found = []
    if summary["energy_wh"] != summary["readings_energy_wh"] or summary["sessions_unlike_readings"]:
        found.append(f"billed {summary['energy_wh']} Wh, readings say {summary['readings_energy_wh']} Wh")
    if summary["sessions_unlike_readings_root"]:
        found.append(
            f"{summary['sessions_unlike_readings_root']} sessions whose readings do not prove against the ledger"
        )
    if summary["sessions_unlike_car"]:
        found.append(f"energy unlike what the cars could get: {'; '.join(summary['sessions_unlike_car'])}")
    if summary["unarchived"]:
        found.append(f"{summary['unarchived']} piles hold readings that no archive has confirmed")
    return found


def _nodes(summary: Mapping[str, Any]) -> list[str]:
    nodes, found = summary["nodes"], []
    heights = [node["height"] for node in nodes]
    if summary["level_s"] is None or max(heights) - min(heights) > LAG_MAX:
        found.append(f"the nodes are not level: heights {heights}")
    if len({node["common_root"] for node in nodes}) != 1:
        found.append(f"the nodes' state roots differ at height {summary['common_height']}")
    if len({(node["height"], node["state_root"]) for node in nodes}) != len(set(heights)):
        found.append("nodes at the same height have different state roots")
    if summary["balances_sum_fen"]:
        found.append(f"the balances sum to {summary['balances_sum_fen']} fen")
    return found


def _faults(summary: Mapping[str, Any]) -> list[str]:
    found = []
    if len(summary["faults"]) != summary["faults_planned"]:
        found.append(f"{len(summary['faults'])} faults of {summary['faults_planned']} took place")
    for fault in summary["faults"]:
        if fault["back_s"] is None:
            found.append(f"{fault['what']}: not back and level")
        if fault["lost"]:
            found.append(f"{fault['what']}: {fault['lost']} acknowledged transactions lost")
    found += [
        f"{company} has lost {lost} acknowledged transactions"
        for company, lost in summary["acknowledged"]["lost"].items()
        if lost
    ]
    return found
