"""Tests that call the solution's functions: the solution in one sandbox, its tests in another, lines relayed between them.

The solution is sent its own code and what its prompt gave, then calls. It never sees a test or an expected value, and whatever
it writes is data to the tests. The relay believes a verdict from the tests' sandbox alone.
"""

from __future__ import annotations

import json
import py_compile
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from workers.sandbox import Box, Limits, Sandbox, Stopped
from workers.verifiers.code.outcome import Outcome

WALL_S: Final = 5.0
"""Seconds for a solution and one test of it."""
_LIMITS: Final = Limits(wall_s=WALL_S + 1, output_bytes=8 << 20)
_OVER: Final = {
    "time": f"did not end within {WALL_S:.0f} seconds",
    "memory": f"used more than {_LIMITS.memory_mb} MB of memory",
    "output": f"gave more than {_LIMITS.output_bytes >> 20} MB",
    "files": "wrote more files than it may",
    "processes": f"started more than {_LIMITS.processes} processes",
    "ended": "ended itself before it answered",
}
_PYTHON: Final = ("python", "-E", "-s", "-S", "-B", "-c")


@dataclass(frozen=True, slots=True)
class Job:
    """One test of one solution.

    Attributes:
        language: "python", "javascript" or "typescript".
        solution: The response's code.
        given: What the prompt gave: loaded on both sides before anything else.
        tests: The code that calls the solution and fails by raising.
        names: What the tests call.
        check: Whether the tests define ``check(candidate)``, which is called with the first name (HumanEval's form).
    """

    language: str
    solution: str
    tests: str
    names: tuple[str, ...]
    given: str = ""
    check: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """How one end of a language is started: its arguments, and its files."""

    argv: tuple[str, ...]
    files: dict[str, bytes]


@cache
def end_of(language: str, side: str) -> End:
    """One end, "host" (of the solution) or "tester". Neither is sent what the other runs."""
    folder = files("workers.verifiers.code.programs")
    if language == "python":
        sent: dict[str, bytes] = {}
        for part in ("__init__", "copying", "wire", side):
            source = (folder / f"{part}.py").read_bytes()
            # An interpreter of another version passes over the compiled one. Compiling takes it as long as starting.
            compiled = f"programs/__pycache__/{part}.{sys.implementation.cache_tag}.pyc"
            sent |= {f"programs/{part}.py": source, compiled: _compiled(source)}
        return End((*_PYTHON, f"from programs.{side} import main; main()"), sent)
    parts = ["loading.mjs", "wire.mjs", f"{side}.mjs"]
    return End(("node", "--no-warnings", parts[-1]), {part: (folder / part).read_bytes() for part in parts})


def _compiled(source: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "source.py"
        file.write_bytes(source)
        made = py_compile.compile(
            str(file), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
        return Path(str(made)).read_bytes()


def run_calls(sandbox: Sandbox, job: Job) -> Outcome:
    """Run one test.

    Raises:
        NoSandbox: it cannot be run here.
    """
    wrong = [name for name in job.names if not re.fullmatch(r"[^\W\d]\w*", name)]
    if wrong or not job.names:
        return Outcome(unsure=f"the test names no function{f': {wrong[0][:60]!r}' if wrong else ''}")
    host, tester = end_of(job.language, "host"), end_of(job.language, "tester")
    with (
        sandbox.start(host.argv, files=host.files, limits=_LIMITS) as solution,
        sandbox.start(tester.argv, files=tester.files, limits=_LIMITS) as tests,
    ):
        return _Relay(solution, tests, time.monotonic() + WALL_S).run(job)


class _Relay:
    """Passes lines between a solution and its tests until the tests have said how it went."""

    def __init__(self, solution: Box, tests: Box, until: float) -> None:
        self._solution, self._tests, self._until = solution, tests, until
        self._waited = 0.0  # seconds that the solution took

    def run(self, job: Job) -> Outcome:
        """The outcome of one job."""
        shared = {"language": job.language, "given": job.given, "names": job.names}
        self._solution.send(_line({**shared, "code": job.solution}))
        try:
            first = self._from_solution()
        except Stopped as stopped:
            return Outcome(wrong=f"The code {_OVER[stopped.why]}{self._crash(stopped)} while it was loaded")
        if "ready" not in first:
            return _not_loaded(first, job)
        self._tests.send(_line({**shared, "kinds": first["ready"], "code": job.tests, "check": job.check}))
        return self._exchange()

    def _exchange(self) -> Outcome:
        while True:
            try:
                line = self._tests.line(self._until)
            except Stopped as stopped:
                return self._tests_stopped(stopped)
            if line.startswith(b'{"verdict"'):
                return _outcome(json.loads(line)["verdict"])
            self._solution.send(line)
            try:
                answer = self._from_solution()
            except Stopped as stopped:
                return self._solution_stopped(stopped, line)
            self._tests.send(_line(answer))

    def _from_solution(self) -> dict[str, Any]:
        began = time.monotonic()
        try:
            answer = json.loads(self._solution.line(self._until))
        except (ValueError, RecursionError):
            answer = None
        finally:
            self._waited += time.monotonic() - began
        if not isinstance(answer, dict):
            return {"error": ["Garbage"], "message": "it wrote something else than an answer"}
        return answer

    def _tests_stopped(self, stopped: Stopped) -> Outcome:
        if stopped.why == "time" and self._waited > WALL_S / 2:
            return Outcome(wrong=f"The code is too slow: its tests did not end within {WALL_S:.0f} seconds")
        return Outcome(unsure=f"they {_OVER[stopped.why].replace('itself', 'themselves').replace('it ', 'they ')}")

    def _solution_stopped(self, stopped: Stopped, line: bytes) -> Outcome:
        call = json.loads(line)
        what = f"{call['on']}()" if isinstance(call.get("on"), str) else "The code"
        error = f"{_OVER[stopped.why]}{self._crash(stopped)}"
        return Outcome(total=1, failures=[{"input": _shown(call), "error": error}], wrong=f"{what} {error}")

    def _crash(self, stopped: Stopped) -> str:
        last = self._solution.stderr().decode("utf-8", "replace").strip().splitlines()[-1:]
        return f" ({last[0][:120]})" if stopped.why == "ended" and last else ""


def _line(what: dict[str, Any]) -> bytes:
    return json.dumps(what).encode()


def _shown(call: dict[str, Any]) -> str:
    sent = call.get("with")
    named: Any = {}
    if isinstance(sent, list) and len(sent) == 2 and isinstance(sent[1], dict) and sent[1].get("~") == "dict":
        sent, named = sent[0], dict(sent[1]["v"])  # Python's positional and named arguments
    words = [*map(json.dumps, sent or []), *(f"{name}={json.dumps(value)}" for name, value in named.items())]
    return f"{call.get('on')}({', '.join(words)})"[:300]


def _not_loaded(first: dict[str, Any], job: Job) -> Outcome:
    if "unsure" in first:
        return Outcome(unsure=str(first["unsure"])[:300])
    if "missing" in first:
        missing = ", ".join(name for name in job.names if name in first["missing"])
        return Outcome(wrong=f"The code does not define {missing}")
    kinds = first.get("error")
    kind = str(kinds[0])[:60] if isinstance(kinds, list) and kinds else "Error"
    place = f" in line {first['line']}" if isinstance(first.get("line"), int) else ""
    message = f"{kind}{place}: {str(first.get('message', ''))[:200]}"
    return Outcome(wrong=f"The code does not load: {message}", failures=[{"error": message}])


def _outcome(verdict: dict[str, Any]) -> Outcome:
    passed = int(verdict["passed"])
    return Outcome(passed, passed + int(verdict["failures"]), list(verdict["failed"]), unsure=str(verdict["unsure"]))
