"""Tests that a model wrote are believed only as far as they tell right from wrong.

A test is kept where a reference passes it, twice (one that draws or looks at the clock may pass once), and a stub that knows
nothing fails it. What checks nothing, hangs, or is no code is dropped with its reason.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from workers.sandbox import Sandbox, find_sandbox
from workers.verifiers.code.extract import MOST_CODE, code_in, language_of_test
from workers.verifiers.code.running import run_test
from workers.verifiers.protocol import Test

MOST_CANDIDATES: Final = 50
"""Tests of one problem that are tried; those after them are dropped unseen."""
_STUBS: Final = {
    "python": "def {0}(*args, **kwargs):\n    return None\n",
    "javascript": "function {0}() {{ return null; }}\n",
    "typescript": "function {0}(...args: any[]): any {{ return null; }}\n",
    "shell": "true\n",
    "sql": "SELECT NULL WHERE 0;\n",
}


@dataclass(slots=True)
class Kept:
    """The tests that tell right from wrong, and each other one with the reason why it does not."""

    tests: list[Test] = field(default_factory=list)
    dropped: list[tuple[Test, str]] = field(default_factory=list)


def keep_tests(
    candidates: Iterable[Test], reference: str, stub: str | None = None, *, sandbox: Sandbox | None = None
) -> Kept:
    """Try each test on an answer that is right and on one that is not.

    Args:
        candidates: Tests of kind ``calls`` or ``io``.
        reference: A response that is known to be right.
        stub: One that is known to be wrong; by default its functions return nothing and its programs write nothing.
        sandbox: Where it all runs; the machine's own by default.

    Raises:
        NoSandbox: no code can be run here.
    """
    sandbox, kept = sandbox or find_sandbox(), Kept()
    for number, test in enumerate(candidates):
        if number >= MOST_CANDIDATES:
            why: str | None = f"only the first {MOST_CANDIDATES} tests are tried"
        elif language_of_test(test) is None:
            why = "no sandbox runs its language"
        else:
            why = _why_not(sandbox, test, reference, stub)
        if why is None:
            kept.tests.append(test)
        else:
            kept.dropped.append((test, why))
    return kept


def _why_not(sandbox: Sandbox, test: Test, reference: str, stub: str | None) -> str | None:
    for _ in range(2):
        outcome = run_test(sandbox, reference, test)
        if outcome.verdict is not True:
            return f"the reference does not pass: {outcome.message}"
    outcome = run_test(sandbox, stub_of(test) if stub is None else stub, test)
    if outcome.verdict is not False:
        return f"a stub does not fail: {outcome.message}"
    return None


def stub_of(test: Test) -> str:
    """A response that does nothing, for a test in a language that can be run."""
    language = language_of_test(test) or "python"
    names = test.get("names")
    if test.get("kind") == "io":
        body = {"python": "pass\n", "javascript": ";\n", "typescript": ";\n"}.get(language, _STUBS[language])
    else:
        body = "".join(_STUBS[language].format(name) for name in names) if isinstance(names, list) else ""
    return f"```{language}\n{body}```\n"


def tests_in(response: str, like: Test) -> list[Test]:
    """The tests in a model's answer, each assertion of Python as one of its own, so that a wrong one costs only itself.

    ``like`` gives what the tests share: language, names and what the prompt gave. What cannot be read stays whole: trying it
    will say what is wrong.
    """
    language = language_of_test(like)
    code = code_in(response, language) if language else None
    if code is None or not code.strip() or len(code) > MOST_CODE:
        return []
    pieces = _split(code) if language == "python" else [code]
    shared: dict[str, Any] = {key: value for key, value in like.items() if key not in {"code", "check"}}
    return [{**shared, "kind": "calls", "code": piece} for piece in pieces]


def _split(code: str) -> list[str]:
    """One program for each assertion at the top: with it what stood before it and is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unknown escape in a text is the model's matter
            body = ast.parse(code).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return [code]
    before: list[str] = []
    found: list[str] = []
    for statement in body:
        text = ast.unparse(statement)
        if isinstance(statement, ast.Assert):
            found.append("\n".join([*before, text]) + "\n")
        else:
            before.append(text)
    return found or [code]
