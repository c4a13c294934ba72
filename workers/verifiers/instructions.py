"""Instructions that a program can check: IFEval's ids and kwargs, on one response.

A test is ``{"kind": "instructions", "ids": […], "kwargs": [{…}, …]}``, one object of kwargs an id.
"""

from __future__ import annotations

import inspect
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from workers.verifiers import languages
from workers.verifiers.instruction_kinds import KINDS, Kind
from workers.verifiers.protocol import LIMIT_S, Case, Finding, Test, unchecked

VERSION: Final = "1"
_OF_LANGUAGES: Final = ("language:", "change_case:english")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether one instruction holds; None where it could not be checked."""

    id: str
    passed: bool | None
    found: str

    def __str__(self) -> str:
        return f"{self.id.partition(':')[2] or self.id}: {self.found}"


class Instructions:
    """Every instruction of every test; the response passes where all hold."""

    name = "instructions"
    version = VERSION
    limit_s = LIMIT_S

    def applies(self, case: Case) -> bool:
        """Whether the case has tests of this kind."""
        return bool(case.tests_of("instructions"))

    def load(self, case: Case) -> None:
        """The languages' model, where an instruction asks for a language."""
        if any(named in str(test.get("ids")) for test in case.tests_of("instructions") for named in _OF_LANGUAGES):
            languages.load()

    def check(self, case: Case) -> Finding:
        """How many instructions hold, and which do not."""
        outcomes = [outcome for test in case.tests_of("instructions") for outcome in outcomes_of(test, case.response)]
        if not outcomes:
            return unchecked(self, "The test names no instruction: write its ids.")
        held = sum(outcome.passed is True for outcome in outcomes)
        failed = [outcome for outcome in outcomes if outcome.passed is False]
        unknown = [outcome for outcome in outcomes if outcome.passed is None]
        telling = "; ".join(str(outcome) for outcome in failed or unknown)
        return Finding(
            verifier=self.name,
            version=self.version,
            passed=False if failed else None if unknown else True,
            score=None if unknown else held / len(outcomes),
            message=f"{held} of {len(outcomes)} instructions" + (f": {telling}" if telling else ""),
            evidence={"instructions": [{"id": o.id, "passed": o.passed, "found": o.found} for o in outcomes]},
        )


def outcomes_of(test: Test, response: str) -> list[Outcome]:
    """What holds of each instruction of a test. What is no instruction is not checked, and says why."""
    ids = test.get("ids", [])
    ids = [ids] if isinstance(ids, str) else ids
    kwargs = test.get("kwargs")
    kwargs = [{} for _ in ids] if kwargs is None else [kwargs] if isinstance(kwargs, Mapping) else kwargs
    if not isinstance(ids, list) or not isinstance(kwargs, list) or len(ids) != len(kwargs):
        return [Outcome("instructions", None, "ids and kwargs must be two lists of one length")]
    text = unicodedata.normalize("NFC", response)
    return [_outcome(each, named, text) for each, named in zip(ids, kwargs, strict=True)]


def _outcome(name: Any, kwargs: Any, text: str) -> Outcome:
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        return Outcome(str(name)[:80], None, "no instruction that is known here")
    try:
        arguments = _arguments(kind, kwargs)
        passed, found = kind(text, **arguments) if text.strip() else (False, "a blank response follows nothing")
    except ValueError as error:
        return Outcome(name, None, str(error))
    return Outcome(name, passed, found)


def _arguments(kind: Kind, given: Any) -> dict[str, Any]:
    """What an instruction names, in its function's types. Keys without a value are those of other instructions.

    Raises:
        ValueError: one is missing, unknown or of the wrong type.
    """
    named = {} if given is None else given
    if not isinstance(named, Mapping):
        raise ValueError("kwargs are no object")  # noqa: TRY004  # one error says of every instruction why it is none
    named = {key: value for key, value in named.items() if value is not None}
    wanted = dict(list(inspect.signature(kind, eval_str=True).parameters.items())[1:])
    wrong = [key for key in wanted if key not in named] + [key for key in named if key not in wanted]
    if wrong:
        raise ValueError(f"kwargs need {', '.join(wanted) or 'to be empty'}; wrong: {', '.join(wrong)}")
    return {key: _typed(key, named[key], parameter.annotation) for key, parameter in wanted.items()}


def _typed(key: str, value: Any, wanted: Any) -> Any:
    if wanted is int and isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
        return int(value)
    if wanted is str and isinstance(value, str) and value.strip():
        return unicodedata.normalize("NFC", value)
    if (
        wanted == list[str]
        and isinstance(value, list)
        and value
        and all(isinstance(each, str) and each for each in value)
    ):
        return [unicodedata.normalize("NFC", each) for each in value]
    raise ValueError(f"{key} is {value!r:.60}: {getattr(wanted, '__name__', wanted)} wanted")
