"""What verifiers find of answers. They are another program's: it is started by a command and spoken to in lines of JSON.

    {"id": 1, "case": {"prompt", "response", "reference", "tests", "tools", "steps"}, "verifiers": null}    to its standard input
    {"id": 1, "findings": [{"verifier", "version", "passed", "score", "message"}]}                     what it answers
    {"id": 1, "error": "tests: of the wrong type"}                                                     or, of a wrong case

`passed` is null where a check could not be made, which is no failure of the answer. The program bounds the time of a check
itself. Where it is missing, or stops to answer, nothing is found of any answer, and `Checks.unavailable` says why.
"""

import json
import os
import select
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from training.data.chat import Message

ANSWER_S = 600.0
"""Seconds after which a program that says nothing is taken for dead: it checks one case by all its verifiers meanwhile."""
TRIES = 2
WORDS = {True: "passed", False: "failed", None: "unchecked"}


@dataclass(frozen=True)
class Case:
    """One answer with everything that it can be checked against; see docs/formats.md."""

    prompt: Sequence[Message]
    response: str
    reference: str | None = None
    tests: Any = None
    tools: list[Any] | None = None
    steps: list[Message] | None = None  # the calls of tools before it, and what they answered


@dataclass(frozen=True)
class Finding:
    """What one verifier found: `passed` is None where it could not check; `message` is one line for a person."""

    verifier: str
    version: str
    passed: bool | None
    message: str
    score: float | None = None


class _Gone(Exception):
    """The program is not there, or ended; the message says which."""


class Checks:
    """The program that checks, started with the first case. Without a command there is none.

    `tally` counts what was found, by verifier.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.unavailable = None if command else "no command is set"
        self.tally: dict[str, Counter[str]] = defaultdict(Counter)
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._read = b""
        self._asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def of(self, case: Case, verifiers: Sequence[str] | None = None) -> list[Finding]:
        """The findings of these verifiers, or of all, as far as they apply; none where the program is unavailable."""
        for left in reversed(range(TRIES)):
            if self.unavailable:
                break
            try:
                found = _findings(self._answer(case, verifiers))
            except (_Gone, OSError) as error:
                self._end()
                self.unavailable = None if left else str(error)
            else:
                for finding in found:
                    self.tally[finding.verifier][WORDS[finding.passed]] += 1
                return found
        return []

    def to_json(self) -> dict[str, Any]:
        """For a report: what was found, by verifier, and why nothing was where that is so."""
        return {
            "unavailable": self.unavailable,
            "verifiers": {
                name: {word: counts[word] for word in WORDS.values()} for name, counts in sorted(self.tally.items())
            },
        }

    def _answer(self, case: Case, verifiers: Sequence[str] | None) -> dict[str, Any]:
        process = self._started()
        self._asked += 1
        request = {"id": self._asked, "case": asdict(case), "verifiers": None if verifiers is None else list(verifiers)}
        assert process.stdin is not None  # noqa: S101  it is a pipe
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        line = self._line(process)
        try:
            answer = json.loads(line)
        except ValueError:
            raise _Gone(f"{self._words} answers what is no JSON: {line[:80]!r}") from None
        if not isinstance(answer, dict) or answer.get("id") != self._asked:
            raise _Gone(f"{self._words} answers something else than it was asked: {line[:80]!r}")
        return answer

    def _line(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None  # noqa: S101  it is a pipe
        until = time.monotonic() + ANSWER_S
        while b"\n" not in self._read:
            left = until - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                raise _Gone(f"{self._words} did not answer within {ANSWER_S:g} s")
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                raise _Gone(f"{self._words} ended with status {process.wait()} instead of answering")
            self._read += part
        line, self._read = self._read.split(b"\n", 1)
        return line

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._read = b""
            try:
                self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            except OSError as error:
                raise _Gone(f"{self._words} cannot be started ({error.strerror})") from error
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.communicate(timeout=5)  # it leaves when its input ends
        except (subprocess.TimeoutExpired, OSError):
            process.kill()
            process.communicate()

    @property
    def _words(self) -> str:
        return f"“{' '.join(self._command)}”"


def verdict(findings: Iterable[Finding], required: Sequence[str] | None) -> bool | None:
    """Whether the required findings, or where none are named all, have passed: False where one has not, None where it is unknown.

    What nothing was found of is unknown.
    """
    passed = [finding.passed for finding in findings if required is None or finding.verifier in required]
    if False in passed:
        return False
    return None if None in passed or not passed else True


def names(listed: Any) -> tuple[str, ...] | None:
    """The verifiers that a row names; none at all is something else than not to say.

    Raises:
        TypeError: it is no list of names.
    """
    if listed is None:
        return None
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise TypeError(f"{listed!r} is no list of names")
    return tuple(listed)


def _findings(answer: dict[str, Any]) -> list[Finding]:
    if "error" in answer:
        return [Finding("case", "", None, str(answer["error"]))]
    try:
        return [
            Finding(
                str(one["verifier"]), str(one["version"]), _passed(one["passed"]), str(one["message"]), one.get("score")
            )
            for one in answer["findings"]
        ]
    except (KeyError, TypeError) as error:
        raise _Gone(f"a finding is not understood ({error!r})") from error


def _passed(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"passed is {value!r}, but must be true, false or null")
    return value
