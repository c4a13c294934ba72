"""How a benchmark ends: each budget in a sentence, and a status that says whether all were kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """What was measured beside what it may be."""

    what: str
    measured: float
    limit: float
    unit: str = ""
    at_least: bool = False
    """Whether the limit is a lower one."""

    @property
    def met(self) -> bool:
        """Whether it was kept."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def __str__(self) -> str:
        sign, unit = "≥" if self.at_least else "≤", f" {self.unit}" if self.unit else ""
        return f"{self.what}: {self.measured:.3g}{unit} (budget {sign} {self.limit:g}{unit}): {'met' if self.met else 'MISSED'}"


def verdict(*budgets: Budget) -> int:
    """Print how it stands to each budget; returns the exit status, 1 where one was missed."""
    print()
    for budget in budgets:
        print(budget)
    return int(not all(budget.met for budget in budgets))
