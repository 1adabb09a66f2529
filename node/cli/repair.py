"""What `pilechain repair` does: damaged data are set aside, never deleted, and the vote key counts as forgetful."""

import time
from pathlib import Path

from msgspec import Struct

from ledger.errors import OurError
from node.core.lock import home_locked
from node.core.vote_keys import RENEW, forget_votes, forget_votes_without_ledger
from node.home import Home
from node.storage import files
from node.storage.layout import DATA_FILE
from node.storage.rebuild import undo_half_replacement
from node.storage.scan import store_damage
from node.storage.wal import check_log, newest_segment


class Repaired(Struct, frozen=True):
    """What was found and done."""

    log: str
    """What is wrong with the write-ahead log; "good" if nothing is."""
    ledger: str
    """Likewise of the ledger."""
    set_aside: tuple[str, ...]
    """Where the damaged data are now."""
    next: str
    """What the operator does now."""


def repair(home: Home, *, ledger_is_bad: bool) -> Repaired:
    """Examine log and ledger of a stopped node, and set aside what is damaged (the ledger also on the operator's word).

    The key is marked first: whatever happens in between, the node never votes with a key whose log is gone. A node
    without its ledger would vote anew on heights that its log has long dropped, so it only observes as well, also if
    the ledger is missing altogether.

    Raises ClientError `home-in-use`, or for settings, a key file or a mark that cannot be read; OSError.
    """
    config = home.config()
    key_file = home.path(config.keys.vote)
    with home_locked(home):
        undo_half_replacement(home.ledger)
        log = _log_damage(home.wal)
        is_here = (home.ledger / DATA_FILE).exists()
        by_word = "set aside at the operator's word" if ledger_is_bad and is_here else ""
        ledger = by_word or store_damage(home.ledger, config.store.map_bytes)
        damaged = [path for path, what in ((home.wal, log), (home.ledger, ledger)) if what and path.exists()]
        if not is_here and forget_votes_without_ledger(key_file, newest_segment(home.wal)):
            ledger = "missing, though this node had one"
        elif not damaged:
            return Repaired(log or "good", ledger or "good", (), "nothing to repair; start the node")
        if damaged:
            forget_votes(key_file)
        return Repaired(log or "good", ledger or "good", _set_aside(home, damaged), NEXT)


NEXT = f"start the node: it fetches from its peers what it lacks, and only observes; {RENEW}"


def _log_damage(folder: Path) -> str:
    try:
        check_log(folder)
    except OurError as error:
        return error.message
    return ""


def _set_aside(home: Home, damaged: list[Path]) -> tuple[str, ...]:
    folder = home.ledger.parent / time.strftime("damaged-%Y%m%dT%H%M%SZ", time.gmtime())
    while folder.exists():
        folder = folder.with_name(f"{folder.name}+")
    files.make_folder(folder)
    for path in damaged:
        files.rename(path, folder / path.name)
    return tuple(str(folder / path.name) for path in damaged)
