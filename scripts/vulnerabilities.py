"""Ask whether a version that the locks name has a known vulnerability: ``make vulnerabilities``.

Every layer of ``requirements/`` is given to pip-audit, which installs and resolves nothing: the versions and hashes stand
there. Status 1 where one is found that ``requirements/vulnerabilities.accepted`` does not name with a reason. Where no index of
vulnerabilities answers, as behind a mirror that has none, one line says so and the status is 0: nothing was asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "requirements"
ACCEPTED: Final = FOLDER / "vulnerabilities.accepted"
SERVICES: Final = ("pypi", "osv")
PATIENCE: Final = 120
"""Seconds for one layer: an index that takes longer does not answer."""


@dataclass(frozen=True)
class Found:
    """A vulnerability of a version that a lock names. ``ids`` are all its names."""

    package: str
    version: str
    ids: tuple[str, ...]
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        remedy = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "no fix yet"
        return f"{self.package} {self.version}: {', '.join(self.ids)} ({remedy})"


@dataclass(frozen=True)
class Report:
    """What an index says of one layer or of several."""

    found: tuple[Found, ...] = ()
    asked: int = 0
    unknown: tuple[str, ...] = ()
    """Packages that the index does not have, e.g. because they are a machine's own builds."""


def layers() -> list[Path]:
    """The locks, without what only keeps packages out."""
    return [path for path in sorted(FOLDER.glob("*.txt")) if not path.name.startswith("overrides")]


def ask(service: str, lock: Path) -> Report | None:
    """What ``service`` says of one layer; None where it does not answer, or knows none of it."""
    command = [
        sys.executable, "-m", "pip_audit", "--vulnerability-service", service, "--format", "json", "--progress-spinner", "off",
        "--disable-pip", "--require-hashes", "--timeout", "15", "--requirement", str(lock),
    ]  # fmt: skip
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        said = json.loads(answer.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return None
    report = read(said)
    return report if report.asked > len(report.unknown) else None


def read(said: dict[str, Any]) -> Report:
    """pip-audit's JSON."""
    packages = said["dependencies"]
    found = [
        Found(
            package["name"],
            package["version"],
            (flaw["id"], *flaw.get("aliases", ())),
            tuple(flaw.get("fix_versions", ())),
        )
        for package in packages
        for flaw in package.get("vulns", ())
    ]
    return Report(tuple(found), len(packages), tuple(each["name"] for each in packages if "skip_reason" in each))


def ask_all(locks: Iterable[Path]) -> Report | None:
    """What the first index that answers says of all layers; None where none does."""
    for service in SERVICES:
        reports: list[Report] = []
        for lock in locks:
            report = ask(service, lock)
            if report is None and not reports:
                break  # it does not answer to the first: the next index
            reports.append(report or Report(asked=1, unknown=(lock.name,)))
        if reports:
            return Report(
                tuple(found for report in reports for found in report.found),
                sum(report.asked for report in reports),
                tuple(name for report in reports for name in report.unknown),
            )
    return None


def accepted(text: str) -> dict[str, str]:
    """The reasons by id: a line is an id, space and the reason; ``#`` begins a comment.

    Raises:
        SystemExit: a line gives no reason.
    """
    reasons = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, reason = line.strip().partition(" ")
        if not reason.strip():
            raise SystemExit(f"corral: {ACCEPTED.name} gives no reason for {name}: write it after the id.")
        reasons[name] = reason.strip()
    return reasons


def is_installed() -> bool:
    """Whether pip-audit is here; without it, silence would pass for an index that does not answer."""
    return find_spec("pip_audit") is not None


def main() -> None:
    """Ask, say what was found, and end with status 1 for what nobody accepted."""
    if not is_installed():
        raise SystemExit("corral: pip-audit is not installed: run `make vulnerabilities`, which installs it.")
    reasons = accepted(ACCEPTED.read_text(encoding="utf-8"))
    report = ask_all(sorted(layers(), key=lambda lock: lock.name != "web.txt"))  # what faces the network first
    if report is None:
        print("pip-audit: skipped, because no index of vulnerabilities answers from here.")
        return
    if report.unknown:
        print(f"pip-audit: the index does not know {', '.join(report.unknown)}.")
    new = [found for found in report.found if not reasons.keys() & set(found.ids)]
    for found in report.found:
        why = next((reasons[name] for name in found.ids if name in reasons), None)
        print(f"{found}{f': accepted, {why}' if why else ''}")
    if new:
        raise SystemExit(
            f"corral: {len(new)} known vulnerabilities: take newer versions (UPGRADE=1 make lock), or accept each by its id "
            f"and a reason in requirements/{ACCEPTED.name}."
        )
    print(f"pip-audit: nothing new in {report.asked - len(report.unknown)} packages.")


if __name__ == "__main__":
    main()
