"""Short words for checking code in tests."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from workers.sandbox import NoSandbox, Sandbox, find_sandbox
from workers.verifiers.code.running import CodeTests
from workers.verifiers.code.static import Static
from workers.verifiers.protocol import Case, Finding, checked


@cache
def _why_none() -> str:
    try:
        find_sandbox()
    except NoSandbox as error:
        return str(error)
    return ""


def here() -> Sandbox:
    """The machine's sandbox; a test is skipped where it has none."""
    if _why_none():
        pytest.skip(_why_none())
    return find_sandbox()


def fenced(code: str, language: str = "python") -> str:
    return f"Here it is.\n\n```{language}\n{code}\n```\n\nTell me if it helps."


def calls(code: str, *names: str, language: str = "python", **more: Any) -> dict[str, Any]:
    return {"kind": "calls", "language": language, "names": list(names or ("f",)), "code": code, **more}


def programs(*cases: tuple[str, str], language: str = "python", **more: Any) -> dict[str, Any]:
    return {
        "kind": "io",
        "language": language,
        "cases": [{"input": given, "output": wanted} for given, wanted in cases],
        **more,
    }


def run(response: str, *tests: dict[str, Any]) -> Finding:
    return checked(CodeTests(here()), Case([], response, tests=list(tests)))


def read(response: str, *tests: dict[str, Any], types: bool = False) -> Finding:
    return checked(Static(here(), types=types), Case([], response, tests=list(tests)))


def first(finding: Finding) -> dict[str, Any]:
    """The first failure that a person is shown."""
    found: dict[str, Any] = finding.evidence["failures"][0]
    return found
