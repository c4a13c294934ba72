"""How the tests of one response went, before it is a finding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Outcome:
    """What came of running tests.

    Attributes:
        passed: Tests that passed.
        total: Tests that ran; what could not run is not among them.
        failures: The first failures: test, input, expected, got, error, as far as known.
        wrong: Why the response fails as a whole (it does not load, never ends), empty where it does not.
        unsure: Why nothing can be said, empty where something can.
    """

    passed: int = 0
    total: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)
    wrong: str = ""
    unsure: str = ""

    @property
    def verdict(self) -> bool | None:
        """Whether the response passes; None where it cannot be said. One failure is enough to fail."""
        if self.wrong or self.passed < self.total:
            return False
        return True if self.total and not self.unsure else None

    def add(self, other: Outcome) -> None:
        """Count another run's tests in."""
        self.passed += other.passed
        self.total += other.total
        self.failures += other.failures
        self.wrong = self.wrong or other.wrong
        self.unsure = self.unsure or other.unsure

    @property
    def score(self) -> float | None:
        """The share of tests that passed."""
        if self.verdict is None:
            return None
        return 0.0 if self.wrong or not self.total else self.passed / self.total

    @property
    def message(self) -> str:
        """One line for a person."""
        if self.wrong:
            return self.wrong
        tests = f"{self.total} test{'' if self.total == 1 else 's'}"
        if self.verdict is None:
            return f"The tests could not be run: {self.unsure}"
        if self.verdict:
            return f"{self.passed} of {tests} passed"
        return f"{self.passed} of {tests} passed{_first(self.failures)}"


def _first(failures: list[dict[str, Any]]) -> str:
    if not failures:
        return ""
    first = failures[0]
    what = str(first.get("input") or first.get("test") or "the first")[:160]
    if "error" in first and "got" not in first:
        return f": {what} raised {first['error']}"
    wanted = f", {first['expected']!s:.100} expected" if "expected" in first else ""
    return f": {what} gave {first['got']!s:.100}{wanted}" if "got" in first else f": {what} failed{wanted}"
