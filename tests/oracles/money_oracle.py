"""Money and sessions in plain dicts, written from the rules: what the contracts are compared with.

It keeps the pairwise claims as a matrix and recomputes every sum from scratch, so it shares no bookkeeping with them.
Answers are labels of codes.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any

MINUTE = 60_000
DAY = 24 * 60 * MINUTE


def half_up(value: Fraction) -> int:
    """Round half up."""
    return floor(value + Fraction(1, 2))


@dataclass
class Oracle:
    """The whole consortium's money."""

    home: dict[str, str]
    wallet: dict[str, int]
    collateral: dict[str, int]
    pool: dict[str, int]
    members: tuple[str, ...]
    """Bookkeepers by name."""
    grid: str
    owed: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """(debtor, creditor) → fen, one direction at a time."""
    earned: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    rewards: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    debts: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    payouts: dict[Any, tuple[str, int]] = field(default_factory=dict)
    escrow: dict[Any, dict[str, Any]] = field(default_factory=dict)
    reward_fen: int = 100

    # positions

    def owes(self, company: str) -> int:
        """Sum of what it owes, claim by claim."""
        return sum(amount for (debtor, _), amount in self.owed.items() if debtor == company)

    def reserved(self, company: str) -> int:
        """Deposits of the sessions that it is part of."""
        return sum(e["deposit"] for e in self.escrow.values() if company in (e["home"], e["operator"]))

    def headroom(self, company: str) -> int:
        """What it may still come to owe."""
        return self.collateral.get(company, 0) - self.reserved(company) - self.owes(company)

    def held(self, company: str) -> int:
        """Pending out of its customers' wallets."""
        held = sum(e["deposit"] for e in self.escrow.values() if e["home"] == company)
        return held + sum(amount for driver, amount in self.payouts.values() if self.home[driver] == company)

    def wallets(self, company: str) -> int:
        """Sum of its customers' wallets."""
        return sum(amount for driver, amount in self.wallet.items() if self.home[driver] == company)

    def owe(self, debtor: str, creditor: str, amount: int) -> None:
        """A claim grows; opposite claims cancel."""
        if debtor == creditor:
            return
        net = self.owed[debtor, creditor] - self.owed[creditor, debtor] + amount
        self.owed[debtor, creditor], self.owed[creditor, debtor] = max(net, 0), max(-net, 0)

    def owes_after(self, debtor: str, creditor: str, amount: int) -> int:
        """What it would owe in all if the claim grew."""
        net = self.owed[debtor, creditor] - self.owed[creditor, debtor]
        return self.owes(debtor) - max(net, 0) + max(net + amount, 0)

    # wallets

    def pay(self, payer: str, payee: str, amount: int) -> str:
        """Between wallets."""
        if payer not in self.wallet:
            return "wallet-unknown"
        if payee not in self.wallet:
            return "payee-unknown"
        if payer == payee:
            return "pay-self"
        if amount == 0:
            return "amount-zero"
        if self.wallet[payer] < amount:
            return "overspent"
        a, b = self.home[payer], self.home[payee]
        if a != b and self.collateral[a] - self.reserved(a) - self.owes_after(a, b, amount) < 0:
            return "no-headroom"
        self.owe(a, b, amount)
        self.wallet[payer] -= amount
        self.wallet[payee] += amount
        return "done"

    def top_up(self, operator: str, driver: str, amount: int) -> str:
        """Real money in."""
        if driver not in self.wallet:
            return "payee-unknown"
        if self.home[driver] != operator:
            return "not-home-operator"
        if amount == 0:
            return "amount-zero"
        self.wallet[driver] += amount
        return "done"

    def withdraw(self, driver: str, amount: int, key: Any) -> str:
        """Real money asked for."""
        if amount == 0:
            return "amount-zero"
        if self.wallet[driver] < amount:
            return "overspent"
        self.wallet[driver] -= amount
        self.payouts[key] = (driver, amount)
        return "done"

    def end_payout(self, operator: str, key: Any, paid: bool) -> str:
        """Real money out, or back into the wallet."""
        if key not in self.payouts:
            return "payout-unknown"
        driver, amount = self.payouts[key]
        if self.home[driver] != operator:
            return "not-home-operator"
        del self.payouts[key]
        if not paid:
            self.wallet[driver] += amount
        return "done"

    # companies

    def confirm(self, creditor: str, debtor: str, amount: int) -> str:
        """Real money on a claim."""
        if amount == 0:
            return "amount-zero"
        if self.owed[debtor, creditor] < amount:
            return "claim-too-small"
        self.owed[debtor, creditor] -= amount
        return "done"

    def deposit_margin(self, company: str, collateral: int, pool: int) -> str:
        """Margin in; the pool pays its debts, creditors by name."""
        if collateral + pool == 0:
            return "amount-zero"
        self.collateral[company] += collateral
        self.pool[company] += pool
        for debtor, creditor in sorted(self.debts):
            if debtor == company:
                paid = min(self.pool[company], self.debts[debtor, creditor])
                self.pool[company] -= paid
                self.rewards[creditor] += paid
                self.debts[debtor, creditor] -= paid
        return "done"

    def release_margin(self, company: str, collateral: int, pool: int, rewards: int) -> str:
        """Margin out."""
        if collateral + pool + rewards == 0:
            return "amount-zero"
        if collateral > self.headroom(company) or pool > self.pool[company] or rewards > self.rewards[company]:
            return "margin-too-small"
        self.collateral[company] -= collateral
        self.pool[company] -= pool
        self.rewards[company] -= rewards
        return "done"

    def reward(self, height: int, bookkeeper: str) -> None:
        """A non-empty block."""
        payer = self.members[height // len(self.members) % len(self.members)]
        paid = min(self.pool[payer], self.reward_fen)
        self.pool[payer] -= paid
        self.rewards[bookkeeper] += paid
        self.debts[payer, bookkeeper] += self.reward_fen - paid

    # sessions

    def open(self, key: Any, driver: str, operator: str, deposit: int) -> str:
        """Escrow and headroom."""
        if deposit == 0:
            return "amount-zero"
        if self.wallet[driver] < deposit:
            return "overspent"
        if self.headroom(self.home[driver]) < deposit:
            return "no-headroom"
        if self.home[driver] != operator and self.headroom(operator) < deposit:
            return "pile-operator-no-headroom"
        self.wallet[driver] -= deposit
        self.escrow[key] = {
            "driver": driver, "home": self.home[driver], "operator": operator, "deposit": deposit
        }  # fmt: skip
        return "done"

    def void(self, key: Any) -> None:
        """All back."""
        escrow = self.escrow.pop(key)
        self.wallet[escrow["driver"]] += escrow["deposit"]

    def settle(
        self,
        key: Any,
        segments: list[tuple[int, int, int]],
        service_e4: int,
        occupancy: int,
        owner: str | None,
        share: Fraction,
    ) -> int:
        """Settle (energy Wh, energy price e4, purchase price e4) segments; returns the total."""
        escrow = self.escrow.pop(key)
        fen = Fraction(1, 100_000)
        energy = sum(half_up(wh * price * fen) for wh, price, _ in segments)
        service = sum(half_up(wh * service_e4 * fen) for wh, _, _ in segments)
        purchase = sum(half_up(wh * price * fen) for wh, _, price in segments)
        deposit, operator = escrow["deposit"], escrow["operator"]
        total = min(energy + service + occupancy, deposit)
        kept_service = max(service - (energy + service + occupancy - total), 0)
        owner_fen = floor(kept_service * share) if owner else 0
        grid_fen = min(purchase, deposit - owner_fen)
        self.wallet[escrow["driver"]] += deposit - total
        self.owe(escrow["home"], operator, total)
        self.owe(operator, self.grid, grid_fen)
        self.earned[operator] += total - grid_fen - owner_fen
        self.earned[self.grid] += grid_fen
        if owner:
            self.owe(operator, self.home[owner], owner_fen)
            self.wallet[owner] += owner_fen
        return total


def segments(
    periods: list[tuple[int, int, int]], offset_min: int, points: list[tuple[int, int]]
) -> list[tuple[int, int, int]]:
    """(Wh, price, purchase price) between neighbouring (time, register) points; periods are (minute, price,
    purchase).
    """
    found = []
    for (t0, m0), (_, m1) in pairwise(points):
        minute = ((t0 + offset_min * MINUTE) // MINUTE) % (24 * 60)
        _, price, purchase = [p for p in periods if p[0] <= minute][-1]
        found.append((m1 - m0, price, purchase))
    return found


def border_times(minutes: list[int], offset_min: int, begin: int, end: int) -> list[int]:
    """Every minute of the stay looked at: those at which a period begins."""
    first = begin // MINUTE + 1
    last = (end - 1) // MINUTE
    return [m * MINUTE for m in range(first, last + 1) if (m + offset_min) % (24 * 60) in minutes]
