"""CI fails on a version that is known to be vulnerable, and says in one line when nobody could be asked."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.kernel.settings import ROOT
from scripts import vulnerabilities

FLAW = {
    "id": "PYSEC-2026-1",
    "aliases": ["CVE-2026-1"],
    "fix_versions": ["2.0"],
    "description": "It lets everybody in.",
}


def good(name: str) -> dict[str, Any]:
    return {"name": name, "version": "1.0", "vulns": []}


def skipped(name: str) -> dict[str, Any]:
    return {"name": name, "skip_reason": "Dependency not found on PyPI and could not be audited"}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What pip-audit prints for each index, whatever it is asked of; an index that is not named does not answer."""
    said: dict[str, str] = {}

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        service = command[command.index("--vulnerability-service") + 1]
        return subprocess.CompletedProcess(command, 1, said.get(service, ""), "ConnectionError")

    monkeypatch.setattr("scripts.vulnerabilities.subprocess.run", run)
    monkeypatch.setattr(vulnerabilities, "is_installed", lambda: True)
    return said


def of(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_where_no_index_answers_it_is_skipped_by_name_in_one_line(
    answers: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    answers["pypi"] = of(skipped("web"), skipped("net"))  # a mirror that has the files and knows nothing of them
    vulnerabilities.main()
    assert capsys.readouterr().out == "pip-audit: skipped, because no index of vulnerabilities answers from here.\n"


@pytest.mark.parametrize("service", vulnerabilities.SERVICES)
def test_a_vulnerability_fails_and_says_what_to_do(
    answers: dict[str, str], capsys: pytest.CaptureFixture[str], service: str
) -> None:
    answers[service] = of(good("net"), {**good("web"), "vulns": [FLAW]}, skipped("own"))
    with pytest.raises(SystemExit, match="UPGRADE=1 make lock"):
        vulnerabilities.main()
    said = capsys.readouterr().out
    assert "web 1.0: PYSEC-2026-1, CVE-2026-1 (fixed in 2.0)\n" in said
    assert "does not know own" in said


@pytest.mark.parametrize("name", ["PYSEC-2026-1", "CVE-2026-1"])
def test_one_that_is_accepted_with_a_reason_passes_and_is_shown(
    answers: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
) -> None:
    listed = tmp_path / "accepted"
    listed.write_text(f"# why\n\n{name}  we never call it\n")
    monkeypatch.setattr(vulnerabilities, "ACCEPTED", listed)
    answers["pypi"] = of({**good("web"), "vulns": [FLAW]})
    vulnerabilities.main()
    assert "accepted, we never call it" in capsys.readouterr().out
    listed.write_text(f"{name}\n")
    with pytest.raises(SystemExit, match="gives no reason"):
        vulnerabilities.main()


def test_without_the_tool_nothing_is_called_skipped(answers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vulnerabilities, "is_installed", lambda: False)
    with pytest.raises(SystemExit, match="not installed"):
        vulnerabilities.main()


def test_nothing_known_passes(answers: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    answers["pypi"] = of(good("web"), good("net"))
    vulnerabilities.main()
    assert capsys.readouterr().out == f"pip-audit: nothing new in {2 * len(vulnerabilities.layers())} packages.\n"


def test_every_lock_is_asked_about_and_ci_asks() -> None:
    names = {path.name for path in vulnerabilities.layers()}
    assert {"web.txt", "train.txt", "engine-cpu.txt", "engine-gpu.txt", "torch-gpu.txt", "dev.txt"} <= names
    assert not any(name.startswith("overrides") for name in names)
    assert "\nmake vulnerabilities " in (ROOT / ".ci" / "run").read_text()
    assert "pip-audit==" in (ROOT / "requirements" / "dev.txt").read_text()
