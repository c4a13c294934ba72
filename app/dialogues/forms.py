"""What comes in: the settings of a dialogue batch, a message, and the verdict at the end."""

from __future__ import annotations

import json
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.dialogues.models import Kept
from app.judgements.vocabulary import EditPolicy
from app.kernel.errors import refused
from app.kernel.locales import gettext as _
from app.kernel.locales import number
from app.kernel.numbers import Whole
from app.kernel.storable import flaw
from app.prompts.attributes import Attributes
from app.prompts.bounded_json import Refused, check_text, loads
from app.prompts.forms import BatchSettings, Guidelines, Name, StrengthExamples
from app.prompts.models import PairSelection
from training.formats.texts import shows_nothing

MESSAGE_LIMIT = 20_000
NOTE_LIMIT = 2_000
SEEDS_LIMIT = 1_000
TESTS_LIMIT = 20_000
SEPARATOR = "---"
ANSWER_PATTERN = "^(edited|[A-H])?$"


def _text(value: str) -> str:
    wrong = flaw(value)
    if wrong:
        raise ValueError(_("contains {what}: remove it", what=wrong))
    return value.replace("\r\n", "\n")


def _said(value: str) -> str:
    text = _text(value)
    if shows_nothing(text):
        raise ValueError(_("is empty: write something"))
    return text


def _read(value: Any) -> Any:
    """A form sends JSON as text; one test stands for a list of one."""
    if isinstance(value, str):
        if not value.strip():
            return []
        try:
            value = loads(value.encode("utf-8", "surrogatepass"))
        except Refused as error:
            raise ValueError(str(error)) from None
    return [value] if isinstance(value, dict) else value


def _named(tests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tests as verifiers read them; what they want beside a kind is theirs to say, in a finding."""
    if not all(isinstance(test.get("kind"), str) and test["kind"].strip() for test in tests):
        raise ValueError('has a test without a kind: write {"kind": "instructions", "ids": ["…"], "kwargs": [{…}]}')
    try:
        check_text(tests)
        size = len(json.dumps(tests, ensure_ascii=False, allow_nan=False))
    except (Refused, ValueError) as error:
        raise ValueError(str(error)) from None
    if size > TESTS_LIMIT:
        raise ValueError(
            _("has tests of {size} characters: {most} is the most", size=number(size), most=number(TESTS_LIMIT))
        )
    return tests


Tests = Annotated[list[dict[str, Any]], Field(max_length=50), AfterValidator(_named), BeforeValidator(_read)]
"""What must hold of every answer in a dialogue."""
Said = Annotated[str, Field(max_length=MESSAGE_LIMIT), AfterValidator(_said)]
Key = Annotated[str, Field(min_length=1, max_length=100, pattern="^[A-Za-z0-9_.:-]+$")]


class Message(BaseModel):
    """What the annotator says next, and to which turn."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"text": "And without a loop?", "after": 41, "answer": "edited", "key": "k-7"}]
        },
    )

    text: Said
    after: Whole | None = Field(
        default=None, ge=1, description="The turn this message follows; null begins the dialogue."
    )
    answer: str = Field(
        default="",
        pattern=ANSWER_PATTERN,
        description="The answer to continue from: `edited`, or its letter. Empty: the edited one, else the best.",
    )
    key: Key = Field(description="A string that you choose: sending a message twice with it adds it once.")


class Again(BaseModel):
    """Regenerate answers that failed or were identical."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"key": "k-8"}]})

    key: Key


class Finish(BaseModel):
    """The end of a dialogue."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"system_kept": "partly", "note": "It slipped in turn 3."}]}
    )

    system_kept: Kept | None = Field(default=None, description="Required if the dialogue has a system prompt.")
    note: Annotated[str, Field(max_length=NOTE_LIMIT), AfterValidator(_text)] = ""


class Seed(BaseModel):
    """What dialogues begin with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: Said | None = Field(default=None, examples=["Answer like a pirate."])
    opening: Said | None = Field(default=None, description="The first message; null: the annotator writes it.")
    dialogues: Whole = Field(default=1, ge=1, le=SEEDS_LIMIT, description="How many dialogues begin with it.")
    tests: Tests = Field(
        default=[],
        description="What is checked of the answers to every turn: objects with a `kind`, as `tests` of prompts are.",
        examples=[[{"kind": "instructions", "ids": ["change_case:english_lowercase"], "kwargs": [{}]}]],
    )


class DialogueSettings(BaseModel):
    """What an admin decides about a batch of dialogues."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "name": "Pirates",
                "guidelines": "Try to make it drop its role.",
                "seeds": [{"system": "Answer like a pirate.", "dialogues": 20}],
                "max_turns": 6,
                "max_tokens": 256,
            }
        },
    )

    name: Name
    guidelines: Guidelines = ""
    strength_examples: StrengthExamples = {}
    attributes: Attributes = []
    edit_policy: EditPolicy = EditPolicy.OPTIONAL
    max_turns: Annotated[Whole, Field(ge=1, le=50)] = 8
    max_tokens: Annotated[Whole, Field(ge=1, le=32768)] = 256
    seeds: list[Seed] = Field(min_length=1, max_length=SEEDS_LIMIT)

    @model_validator(mode="after")
    def _few_enough(self) -> Self:
        if sum(seed.dialogues for seed in self.seeds) > SEEDS_LIMIT:
            raise ValueError(_("a batch has at most {most} dialogues: make several batches", most=number(SEEDS_LIMIT)))
        return self

    @property
    def as_batch(self) -> BatchSettings:
        """The settings that every batch has: two answers to each turn, judged by the one who wrote it."""
        return BatchSettings(
            **self.model_dump(exclude={"seeds", "max_turns"}),
            candidates_per_prompt=2,
            annotators_per_prompt=1,
            overlap_percent=0,
            selection=PairSelection.RANDOM,
        )


def seeds_of(systems: str, openings: str, dialogues: int, tests: str = "") -> list[Seed]:
    """Each system prompt with each opening, several in one text separated by a line of three dashes.

    Where a text is empty, dialogues begin without. Tests are JSON: one block for each system prompt, or one for all.

    Raises:
        BadInput: there are more blocks of tests than one, and not as many as system prompts.
    """
    begins, checked = _blocks(systems), _blocks(tests)
    if len(checked) == 1:
        checked *= len(begins)
    if len(checked) != len(begins):
        raise refused(
            "tests",
            _(
                "There are {blocks} blocks of checks for {prompts} system prompts: write one for each, or one for all.",
                blocks=len(checked),
                prompts=len(begins),
            ),
        )
    return [
        Seed.model_validate({"system": system, "opening": opening, "dialogues": dialogues, "tests": test or []})
        for system, test in zip(begins, checked, strict=True)
        for opening in _blocks(openings)
    ]


def _blocks(text: str) -> list[str | None]:
    blocks: list[list[str]] = [[]]
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.strip() == SEPARATOR:
            blocks.append([])
        else:
            blocks[-1].append(line)
    found = ["\n".join(lines).strip() for lines in blocks]
    return [block for block in found if block] or [None]
