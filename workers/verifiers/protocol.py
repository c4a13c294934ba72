"""The verifier protocol: a case goes in, a finding comes out.

A finding says ``passed`` True or False only where something was checked. What could not be checked (no sandbox, no time
left, a test that is no test) is None with the reason in ``message``: never a failure of the response.

Verifiers import neither ``app`` nor ``training``; both reach them as files or as lines of JSON (``python -m
workers.verifiers``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Protocol

LIMIT_S: Final = 10.0
"""Seconds of one check, where a verifier does not say otherwise."""
MOST_EVIDENCE: Final = 16 * 1024
"""Bytes of the evidence of one finding, as JSON."""
MOST_MESSAGE: Final = 500
"""Characters of a message."""

Message = dict[str, Any]
Test = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One response with everything that it can be checked against.

    Attributes:
        prompt: The conversation that was answered, oldest first; a system message comes first where there is one.
        response: The answer, reasoning left out.
        reference: The right answer in the prompt's own words, where one is known.
        tests: What must hold of the response: objects with a ``kind`` (``calls``, ``io``, ``answer``, ``program``,
            ``steps``, ``instructions``, ``tool_calls``, ``language``, ``span``, ``facts``).
        tools: The functions that the response may call, as JSON schemas in OpenAI's form.
        steps: Messages before the response in which it called tools that were run: its turns with ``tool_calls``, and answers
            of role ``tool``, with ``failed`` where a call did not run.
    """

    prompt: list[Message]
    response: str
    reference: str | None = None
    tests: list[Test] = field(default_factory=list)
    tools: list[dict[str, Any]] | None = None
    steps: list[Message] | None = None

    def tests_of(self, *kinds: str) -> list[Test]:
        """The tests of these kinds, in their order."""
        return [test for test in self.tests if test.get("kind") in kinds]

    @property
    def hash(self) -> str:
        """SHA-256 of everything in the case, as hexadecimal digits: the same case need not be checked twice."""
        known = asdict(self)
        if self.steps is None:  # as of cases from before there were steps
            del known["steps"]
        text = json.dumps(known, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Finding:
    """What one verifier found of one response.

    Attributes:
        verifier: Its name.
        version: Its version; another version may find something else.
        passed: True, False, or None where it could not be checked.
        score: Between 0 and 1 where there are degrees (tests passed of all), else None.
        message: One line for a person: "5 of 5 tests", "language: de wanted, en found".
        evidence: What a person would ask to see: inputs, outputs, errors. At most 16 KB.
        again: Of a finding that is null: what the check needed was away, so the same check may succeed later.
    """

    verifier: str
    version: str
    passed: bool | None
    message: str
    score: float | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    again: bool = False


class Verifier(Protocol):
    """One way to check a response. An instance is made once in a process and may keep what is slow to load."""

    name: str
    version: str
    limit_s: float
    """Seconds after which the check is stopped from outside and its finding is null."""

    def applies(self, case: Case) -> bool:
        """Whether there is anything to check here; quick, and without side effects."""

    def check(self, case: Case) -> Finding:
        """What holds of the response. ``checked`` runs it, so that nothing that it raises gets further."""


def case_of(record: Mapping[str, Any]) -> Case:
    """The case in a record of JSON. A single test stands for a list of one; other keys are let be.

    Raises:
        ValueError: a field is missing or of the wrong type; the message names it.
    """
    tests = record.get("tests")
    tests = [] if tests is None else tests if isinstance(tests, list) else [tests]
    prompt, response, reference, tools, steps = (
        record.get(key) for key in ("prompt", "response", "reference", "tools", "steps")
    )
    wrong = [
        name
        for name, right in (
            ("prompt", isinstance(prompt, list) and all(isinstance(message, dict) for message in prompt)),
            ("response", isinstance(response, str)),
            ("reference", reference is None or isinstance(reference, str)),
            ("tests", all(isinstance(test, dict) for test in tests)),
            ("tools", tools is None or (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools))),
            ("steps", steps is None or (isinstance(steps, list) and all(isinstance(step, dict) for step in steps))),
        )
        if not right
    ]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: missing or of the wrong type")
    return Case(prompt, response, reference, tests, tools, steps)  # type: ignore[arg-type]  # checked above


def checked(verifier: Verifier, case: Case) -> Finding:
    """The finding of a verifier, cut to size; an error of the verifier's own is a null finding, never a failure."""
    try:
        finding = verifier.check(case)
    except Exception as error:  # noqa: BLE001  # whatever breaks in a check is no fault of the response
        finding = unchecked(verifier, f"The check broke: {type(error).__name__}: {error}")
    return replace(finding, message=_line(finding.message), evidence=_bounded(finding.evidence))


def unchecked(verifier: Verifier, why: str, *, again: bool = False) -> Finding:
    """The finding of a check that could not be made, and whether it may be made later."""
    return Finding(verifier=verifier.name, version=verifier.version, passed=None, message=_line(why), again=again)


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_MESSAGE else line[: MOST_MESSAGE - 1] + "…"


def _bounded(evidence: dict[str, Any]) -> dict[str, Any]:
    """The evidence as JSON can hold it, its longest texts cut until it is small enough to store for every response."""
    plain = json.loads(json.dumps(evidence, ensure_ascii=False, default=str).encode("utf-8", "replace"))
    most = MOST_EVIDENCE
    while _size(plain) > MOST_EVIDENCE and most > 16:  # shorter says nothing any more
        most //= 2
        plain = _cut(plain, most)
    return plain if _size(plain) <= MOST_EVIDENCE else {"left_out": "The evidence was too long to keep."}


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def _cut(value: Any, most: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= most else value[: most // 2] + " … " + value[-most // 2 :]
    if isinstance(value, list):
        return [_cut(each, most) for each in value[: max(4, most // 64)]]
    if isinstance(value, dict):
        return {key: _cut(each, most) for key, each in value.items()}
    return value
