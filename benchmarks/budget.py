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

    @property
    def bar(self) -> str:
        """The limit in words."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self._unit}"

    @property
    def reached(self) -> str:
        """What was measured, with its unit and whether that is enough."""
        return f"{self.measured:.{4 if self.unit == '%' else 3}g}{self._unit}, {'met' if self.met else 'MISSED'}"

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""

    def __str__(self) -> str:
        return f"{self.what}: {self.measured:.3g}{self._unit} (budget {self.bar}): {'met' if self.met else 'MISSED'}"


def verdict(*budgets: Budget) -> int:
    """Print how it stands to each budget; returns the exit status, 1 where one was missed."""
    print()
    for budget in budgets:
        print(budget)
    return int(not all(budget.met for budget in budgets))
