"""Every target for a time: `python -m tests.fuzz --seconds 5`. Exit status 1 if one has a finding."""

import argparse
import logging
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz.engine import MEMORY_FOLDER, fuzz
from tests.fuzz.targets import load


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="for each target")
    parser.add_argument("--only", default="", help="targets whose name holds this")
    parser.add_argument("--list", action="store_true", help="name the targets and the parsers that they reach")
    options = parser.parse_args()
    chosen = {name: entry for name, entry in load().items() if options.only in name}
    if options.list:
        for name, entry in chosen.items():
            print(f"{name:30}{' '.join(entry.parsers)}")
        return 0
    logging.disable()  # of servers that tell each bad request
    print(f"{'target':30}{'inputs':>12}{'per second':>12}  findings", flush=True)
    findings = 0
    for name, entry in chosen.items():
        begin, finding, count = time.perf_counter(), "", 0
        with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as folder, entry.make(Path(folder)) as target:
            begin = time.perf_counter()
            try:
                count = fuzz(target, options.seconds)
            except Exception:  # noqa: BLE001  # whatever it is, it is what we look for
                finding = traceback.format_exc()
        findings += bool(finding)
        print(f"{name:30}{count:12,}{count / (time.perf_counter() - begin):12,.0f}  {finding or '0'}", flush=True)
    print(f"{len(chosen)} targets, {findings} with a finding")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
