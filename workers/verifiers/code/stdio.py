"""Tests of whole programs: an input goes in, and what is written is compared. The program never sees what is expected.

Each case is a program started afresh, so that none can leave anything to the next. SQL runs on SQLite: the input of a case makes
the tables, and the rows that the response's statements give are the output.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from workers.sandbox import Limits, Result, Sandbox
from workers.verifiers.code.outcome import Outcome

CASE_S: Final = 5.0
"""Seconds for one case."""
ALL_S: Final = 15.0
"""Seconds for all cases of a test; those that are left then have not been run."""
MOST_FAILURES: Final = 3
"""After so many failed cases the rest is not run: the response fails."""
LIMITS: Final = Limits(wall_s=CASE_S)
_MODULE: Final = re.compile(r"^\s*(?:import|export)\b(?!\s*\()", re.MULTILINE)
_STOPPED: Final = {
    "time": f"did not end within {CASE_S:.0f} seconds",
    "memory": f"used more than {LIMITS.memory_mb} MB of memory",
    "output": f"wrote more than {LIMITS.output_bytes >> 20} MB",
    "files": "wrote more files than it may",
    "processes": f"started more than {LIMITS.processes} processes",
}


@dataclass(frozen=True, slots=True)
class Start:
    """How a program is started: its arguments and its files."""

    argv: tuple[str, ...]
    files: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended that was given no input: ``unsure`` or ``error`` say why not well."""

    printed: str
    error: str
    unsure: str


def ended(sandbox: Sandbox, language: str, code: str) -> Ended:
    """Run a program once, without input.

    Raises:
        NoSandbox: nothing can be run here.
    """
    start = start_of(language, code)
    result = sandbox.run(list(start.argv), files=start.files, stdin=b"", limits=LIMITS)
    return Ended(result.stdout.decode("utf-8", "replace"), _error(result), _unsure(result, language))


def start_of(language: str, code: str) -> Start:
    """How code of that language is run as a program."""
    text = code.encode("utf-8", "replace")
    if language == "python":
        return Start(("python", "-E", "-s", "-S", "-B", "solution.py"), {"solution.py": text})
    if language == "shell":
        return Start(("bash", "solution.sh"), {"solution.sh": text})
    if language == "sql":
        query = files("workers.verifiers.code.programs") / "query.py"
        return Start(
            ("python", "-I", "-S", "query.py", "solution.sql"), {"query.py": query.read_bytes(), "solution.sql": text}
        )
    if language == "typescript":
        return Start(("node", "--no-warnings", "--experimental-transform-types", "solution.ts"), {"solution.ts": text})
    name = f"solution.{'mjs' if _MODULE.search(code) else 'cjs'}"
    return Start(("node", "--no-warnings", name), {name: text})


def run_cases(sandbox: Sandbox, language: str, code: str, test: dict[str, Any]) -> Outcome:
    """Run each case of one test of kind ``io``.

    Raises:
        NoSandbox: nothing can be run here.
    """
    cases = test.get("cases")
    if not isinstance(cases, list) or not cases or not all(_is_case(case) for case in cases):
        return Outcome(unsure="the test has no cases with an input and an output")
    outcome, start, until = Outcome(), start_of(language, code), time.monotonic() + ALL_S
    for number, case in enumerate(cases, 1):
        if time.monotonic() > until:
            outcome.unsure = f"{len(cases) - number + 1} of {len(cases)} cases were left after {ALL_S:.0f} seconds"
            break
        result = sandbox.run(
            [*start.argv, *map(str, case.get("args") or [])],
            files={**_files(case), **start.files},
            stdin=str(case.get("input") or "").encode("utf-8", "replace"),
            limits=LIMITS,
        )
        unsure = _unsure(result, language)
        if unsure:
            return Outcome(unsure=unsure)
        failure = _failure(result, case, any_order=test.get("order") == "any")
        outcome.total += 1
        outcome.passed += failure is None
        if failure is not None:
            outcome.failures.append({"test": f"case {number}", **failure})
            if len(outcome.failures) == MOST_FAILURES:
                outcome.total = len(cases)
                break
    return outcome


def _is_case(case: Any) -> bool:
    return (
        isinstance(case, dict)
        and isinstance(case.get("input", ""), str)
        and isinstance(case.get("output"), str)
        and isinstance(case.get("args") or [], list)
        and isinstance(case.get("files") or {}, dict)
    )


def _files(case: dict[str, Any]) -> dict[str, bytes]:
    return {str(name): str(text).encode("utf-8", "replace") for name, text in (case.get("files") or {}).items()}


def _unsure(result: Result, language: str) -> str:
    """Why the end of a program says nothing about it."""
    said = result.stderr.decode("utf-8", "replace")
    if language == "typescript" and "bad option" in said:
        return "TypeScript needs Node.js 22.7 or newer"
    if language == "sql" and said.startswith("setup: "):
        return f"the input of the test is no SQL: {said[7:200].strip()}"
    module = re.search(r"ModuleNotFoundError: No module named '(\w+)", said) if language == "python" else None
    if module and not _is_standard(module[1]):
        return f"it needs the module {module[1]}, which the sandbox does not have"
    return ""


def _is_standard(module: str) -> bool:
    import sys

    return module in sys.stdlib_module_names


def _failure(result: Result, case: dict[str, Any], *, any_order: bool) -> dict[str, Any] | None:
    """What is wrong with the end of a program, None where nothing is."""
    expected, got = _lines(case["output"]), _lines(result.stdout.decode("utf-8", "replace"))
    shown = {"input": _short(str(case.get("input") or "")), "expected": _short(case["output"])}
    if case.get("args"):
        shown["input"] = _short(" ".join(map(str, case["args"])))
    error = _error(result)
    if error:
        return {**shown, "error": error}
    if (sorted(expected) == sorted(got)) if any_order else expected == got:
        return None
    return {**shown, "got": _short("\n".join(got))}


def _error(result: Result) -> str:
    """Why a program did not end well, empty where it did."""
    if result.stopped:
        return f"it {_STOPPED[result.stopped]}"
    if not result.code:
        return ""
    last = result.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit status {result.code}"]
    return last[0][:300]


def _lines(text: str) -> list[str]:
    """The lines of an output; white space at their ends, and blank lines at its end, mean nothing."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= 300 else f"{text[:280]} … {text[-16:]}"
