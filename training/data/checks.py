"""What verifiers find of answers. They are another program's: it is started by a command and spoken to in lines of JSON.

    {"id": 1, "case": {"prompt", "response", "reference", "tests", "tools", "steps"}, "verifiers": null}    to its standard input
    {"id": 1, "findings": [{"verifier", "version", "passed", "score", "message"}]}                     what it answers
    {"id": 1, "error": "tests: of the wrong type"}                                                     or, of a wrong case

`passed` is null where a check could not be made, which is no failure of the answer. The program bounds the time of a check
itself. Where it is missing, or stops to answer, nothing is found of any answer, and `Checks.unavailable` says why.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from training.data.chat import Message
from training.data.program import GoneError, Program

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


class Checks(Program):
    """The program that checks, started with the first case. Without a command there is none.

    `tally` counts what was found, by verifier.
    """

    def __init__(self, command: Sequence[str]) -> None:
        super().__init__(command)
        self.tally: dict[str, Counter[str]] = defaultdict(Counter)

    def of(self, case: Case, verifiers: Sequence[str] | None = None) -> list[Finding]:
        """The findings of these verifiers, or of all, as far as they apply; none where the program is unavailable."""
        answer = self.ask({"case": asdict(case), "verifiers": None if verifiers is None else list(verifiers)})
        found = [] if answer is None else _findings(answer)
        for finding in found:
            self.tally[finding.verifier][WORDS[finding.passed]] += 1
        return found

    def read(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer, if its findings are understood.

        Raises:
            GoneError: they are not.
        """
        _findings(answer)
        return answer

    def to_json(self) -> dict[str, Any]:
        """For a report: what was found, by verifier, and why nothing was where that is so."""
        return {
            "unavailable": self.unavailable,
            "verifiers": {
                name: {word: counts[word] for word in WORDS.values()} for name, counts in sorted(self.tally.items())
            },
        }


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
        raise GoneError(f"a finding is not understood ({error!r})") from error


def _passed(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"passed is {value!r}, but must be true, false or null")
    return value
