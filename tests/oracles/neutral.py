"""Questions that a session asks contracts which do not exist yet, and their neutral answers.

Each becomes a call between contracts when its contract comes; the session contract asks already where it will have to.
"""

from contracts.host import Host


def reputation_suffices(host: Host, driver: bytes) -> bool:
    """Reputation contract: whether the driver's R is at or above the threshold. Everybody's is."""
    return True


def has_unpaid_bill(host: Host, driver: bytes) -> bool:
    """Dispute contract: whether the driver owes on an earlier bill. The deposit covers every bill, so nobody does."""
    return False


def beans_wh(host: Host, driver: bytes, operator: str, energy_wh: int) -> int:
    """Bean contract: energy that the driver's electric beans of this operator pay. There are none."""
    return 0
