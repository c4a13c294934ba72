"""Reasoning that is written as Python: it is run, and what it prints last is the answer.

The program of a response (its longest block of Python) runs in the sandbox. One that breaks, never ends or prints nothing fails,
with the error as the message, which a correction is then told. What it prints last is held to the right answer as the verifier
``answer`` would: test ``{"kind": "program", "value"?}``; the value is the reference where it is left out. Where neither is known
it is enough that it runs.
"""

from __future__ import annotations

import re
from typing import Final

from workers.sandbox import NoSandbox, Sandbox, SandboxAway, find_sandbox
from workers.verifiers.answer import CannotTell, told
from workers.verifiers.code.extract import MOST_CODE, code_in
from workers.verifiers.code.stdio import ended
from workers.verifiers.maths import final as places
from workers.verifiers.maths.final import Place
from workers.verifiers.protocol import Case, Finding, Test, unchecked

_SHOWN: Final = 300
"""Characters of what was printed that a person is shown."""
_NOISY: Final = re.compile(r"-?\d+\.\d{12,}")
"""What a sum of floats looks like: 0.30000000000000004."""


class Program:
    """Passes where the program of the response runs and prints the right answer."""

    name = "program"
    version = "1"
    limit_s = 20.0

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self._sandbox = sandbox

    def applies(self, case: Case) -> bool:
        """Whether a test asks for a program."""
        return bool(case.tests_of("program"))

    def check(self, case: Case) -> Finding:
        """Run the program of the response, and compare what it prints last."""
        code = code_in(case.response, "python")
        if code is None or not code.strip():
            return self._found(False, "The response holds no Python code")
        if len(code) > MOST_CODE:
            return self._found(False, f"The code has {len(code):,} characters, {MOST_CODE:,} is the most")
        try:
            run = ended(self._sandbox or find_sandbox(), "python", code)
        except NoSandbox as error:
            return unchecked(self, str(error), again=isinstance(error, SandboxAway))
        if run.unsure:
            return unchecked(self, f"The program could not be run: {run.unsure}")
        printed = [line.strip() for line in run.printed.splitlines() if line.strip()]
        if run.error or not printed:
            why = (
                f"The program failed: {run.error}" if run.error else "The program prints nothing: print the answer last"
            )
            return self._found(False, why)
        return self._compared(case, _without_noise(printed[-1]))

    def _compared(self, case: Case, last: str) -> Finding:
        findings = [self._held_to(case, test, last) for test in case.tests_of("program")]
        wrong = [finding for finding in findings if finding.passed is False]
        unknown = [finding for finding in findings if finding.passed is None]
        return (wrong or unknown or findings)[0]

    def _held_to(self, case: Case, test: Test, last: str) -> Finding:
        value = test.get("value", case.reference)
        accepted = [str(each) for each in (value if isinstance(value, list) else [value]) if each is not None]
        if not any(each.strip() for each in accepted):
            return self._found(True, f"It runs, and prints {last[:_SHOWN]}")
        try:
            right = told(case, places.final(last) or Place(last, "the whole response"), accepted)
        except CannotTell as error:
            return unchecked(self, str(error))
        ending = ", as wanted" if right.passed else f", but {accepted[0][-_SHOWN:]} is wanted"
        return self._found(right.passed, f"It prints {last[:_SHOWN]}{ending}")

    def _found(self, passed: bool, message: str) -> Finding:  # noqa: FBT001 - only called above
        return Finding(self.name, self.version, passed, message)


def _without_noise(text: str) -> str:
    """A float to 12 significant digits: what is behind them is how it was computed, and no part of the answer."""
    return format(float(text), ".12g") if _NOISY.fullmatch(text) else text
