"""Runs the response's code against tests that it cannot see."""

from __future__ import annotations

import time
from typing import Any, Final

from workers.sandbox import NoSandbox, Sandbox, SandboxAway, find_sandbox
from workers.verifiers.code.calls import Job, run_calls
from workers.verifiers.code.extract import MOST_CODE, TITLES, code_in, complete, language_of_test
from workers.verifiers.code.outcome import Outcome
from workers.verifiers.code.stdio import run_cases
from workers.verifiers.protocol import Case, Finding, Test, unchecked

KINDS: Final = ("calls", "io")
"""The kinds of tests that run code."""
CALLED: Final = ("python", "javascript", "typescript")
"""Languages whose functions can be called from another sandbox."""
MOST_EVIDENCE: Final = 5
"""Failures that a person is shown."""


class CodeTests:
    """Passes where every test does. What cannot be run here, or tests that are no tests, are no failure of the response."""

    name = "code_tests"
    version = "1"
    limit_s = 45.0
    _enough_s = 20.0
    """Seconds after which no further test is begun."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self._sandbox = sandbox

    def applies(self, case: Case) -> bool:
        """Whether there are tests that run code."""
        return bool(case.tests_of(*KINDS))

    def check(self, case: Case) -> Finding:
        """The finding: how many tests passed, and of the first failures what was expected and what came."""
        try:
            sandbox = self._sandbox or find_sandbox()
            outcome = self._run(sandbox, case)
        except NoSandbox as error:
            return unchecked(self, str(error), again=isinstance(error, SandboxAway))
        evidence: dict[str, Any] = {"passed": outcome.passed, "total": outcome.total}
        if outcome.failures:
            evidence["failures"] = outcome.failures[:MOST_EVIDENCE]
        if outcome.unsure:
            evidence["not_run"] = outcome.unsure
        return Finding(self.name, self.version, outcome.verdict, outcome.message, outcome.score, evidence)

    def _run(self, sandbox: Sandbox, case: Case) -> Outcome:
        whole, until = Outcome(), time.monotonic() + self._enough_s
        for test in case.tests_of(*KINDS):
            if time.monotonic() > until:
                whole.unsure = whole.unsure or f"some were left after {self._enough_s:.0f} seconds"
                break
            whole.add(run_test(sandbox, case.response, test))
            if whole.wrong:
                break
        return whole


def run_test(sandbox: Sandbox, response: str, test: Test) -> Outcome:
    """How a response does in one test.

    Raises:
        NoSandbox: it cannot be run here.
    """
    language = language_of_test(test)
    if language is None:
        return Outcome(unsure=f"no sandbox runs {str(test.get('language'))[:40]!r}, only {', '.join(TITLES.values())}")
    names = test.get("names") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return Outcome(unsure='its "names" are not a list of texts')
    code = code_in(response, language, tuple(names))
    if code is None or not code.strip():
        return Outcome(wrong=f"The response holds no {TITLES[language]} code")
    if len(code) > MOST_CODE:
        return Outcome(wrong=f"The code has {len(code):,} characters, {MOST_CODE:,} is the most")
    if test["kind"] == "io":
        return run_cases(sandbox, language, code, test)
    return _called(sandbox, language, code, test)


def _called(sandbox: Sandbox, language: str, code: str, test: Test) -> Outcome:
    names, given, tests = tuple(test.get("names") or ()), test.get("given") or "", test.get("code")
    if language not in CALLED:
        return Outcome(unsure=f'tests of kind "calls" know no {TITLES[language]}: use "io"')
    if not isinstance(tests, str) or not tests.strip() or not isinstance(given, str):
        return Outcome(unsure='its "code" is not a text')
    if language == "python":
        code = complete(code, given, names)
    return run_calls(sandbox, Job(language, code, tests, names, given, check=bool(test.get("check"))))
