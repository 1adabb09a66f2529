"""Reads a ledger store once, whole: `python -m node.storage.scan FOLDER`. Exit code 0 if all of it can be read.

A process of its own, because a damaged LMDB file may take whoever reads it down with it.
"""

import subprocess
import sys
from pathlib import Path

from ledger.errors import ClientError, OurError
from node.storage.reader import LedgerReader


def store_damage(ledger: Path) -> str:
    """What is wrong with the store in a folder, as far as reading it shows; empty if nothing is, or there is none."""
    if not ledger.exists() or not any(ledger.iterdir()):
        return ""
    command = [sys.executable, "-m", "node.storage.scan", str(ledger)]
    scan = subprocess.run(command, capture_output=True, text=True, check=False)
    if scan.returncode < 0:
        return f"{ledger}: reading it kills the reader (signal {-scan.returncode})"
    return scan.stderr.strip() or f"{ledger}: reading it fails" if scan.returncode else ""


def main(ledger: Path) -> int:
    """Read it; returns the exit code."""
    try:
        reader = LedgerReader(ledger)
        reader.check()
        reader.close()
    except (ClientError, OurError) as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
