"""What comes in and what goes out: the settings of a batch, and the JSON of ``/api/v1/batches``."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from app.accounts.teams import NamedJson
from app.judgements.vocabulary import EditPolicy, ShowFindings
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.numbers import Real, Truth, Whole
from app.kernel.storable import flaw
from app.kernel.validation import in_words
from app.prompts.attributes import Attributes
from app.prompts.models import BatchState, BatchTask, PairSelection, Priority
from app.prompts.progress_json import ProgressJson
from app.prompts.responses import LONGEST_MODEL
from app.prompts.verifiers import Verifiers
from training.formats.languages import code_of

MESSAGES = {
    "string_too_short": N_("Please fill this in."),
    "missing": N_("Please fill this in."),
    "extra_forbidden": N_("There is no such setting."),
}


def _empty_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        wrong = flaw(value)
        if wrong:
            raise ValueError(_("contains {wrong}: remove it", wrong=wrong))
    return value


def _one_line(value: Any) -> Any:
    return " ".join(unicodedata.normalize("NFC", value).split()) if isinstance(value, str) else value


def _unix_lines(value: Any) -> Any:
    """Browsers send CRLF from a text area; what is stored has plain line ends."""
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


Name = Annotated[
    str, StringConstraints(min_length=1, max_length=120), BeforeValidator(_one_line), BeforeValidator(_storable)
]
Guidelines = Annotated[
    str, StringConstraints(max_length=20_000), BeforeValidator(_unix_lines), BeforeValidator(_storable)
]


def _language(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        return "" if value == "" else _empty_is_none(value)
    code = code_of(value)
    if code is None:
        raise ValueError(_("this is no language that Corral knows: use its name or code, such as German or de"))
    return code


Language = Annotated[str | None, BeforeValidator(_language)]
"""A code; as it is typed, a name or a longer code, too."""
Percent = Annotated[Whole, Field(ge=0, le=100)]
GoldPercent = Annotated[Whole, Field(ge=0, le=50)]
QualificationItems = Annotated[Whole, Field(ge=0, le=20)]


def _without_empty(value: dict[Any, str]) -> dict[Any, str]:
    return {key: text for key, text in value.items() if text}


StrengthExamples = Annotated[dict[Literal["1", "2", "3", "4"], Guidelines], AfterValidator(_without_empty)]
"""Markdown by strength."""


def with_examples(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a form, with ``example_1`` to ``example_4`` put together."""
    names = {f"example_{level}": level for level in "1234"}
    rest: dict[str, Any] = {name: value for name, value in fields.items() if name not in names}
    given = {level: fields[name].strip() for name, level in names.items() if name in fields}
    return rest | {"strength_examples": given} if given else rest


OF_RESPONSES = {
    BatchTask.WRITE: {
        "attributes": N_("people write the answers here, so there are no responses to rate: leave it empty"),
        "verify_percent": N_("people write the answers here, so there is no original to compare an edit with: say 0"),
        "gold_percent": N_("people write the answers here, so no item has a known answer: say 0"),
        "qualification_items": N_("people write the answers here, so no item has a known answer: say 0"),
        "requires_tour": N_("people write the answers here, and the tour is about comparing: say no"),
    },
    BatchTask.STEPS: {
        "attributes": N_("people label steps here, so the response itself is not rated: leave it empty"),
        "verify_percent": N_("people label steps here, so there is no edit to compare with its original: say 0"),
        "gold_percent": N_("people label steps here, so no item has a known answer: say 0"),
        "qualification_items": N_("people label steps here, so no item has a known answer: say 0"),
        "requires_tour": N_("people label steps here, and the tour is about comparing: say no"),
    },
}
"""What a batch in which nothing is compared cannot ask for, and why."""
OF_COMPARISONS = tuple(OF_RESPONSES[BatchTask.WRITE])


def _model_name(value: Any) -> Any:
    if isinstance(value, str) and not value.isprintable():
        raise ValueError(_("this name has characters that cannot be shown: remove them"))
    return value


ModelName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_MODEL),
    BeforeValidator(_model_name),
    BeforeValidator(_one_line),
    BeforeValidator(_storable),
]


def _plausible(value: datetime) -> datetime:
    if not 1970 <= value.year < 2200:
        raise ValueError(_("use a year from 1970 to 2199"))
    return value.astimezone(UTC)


Deadline = Annotated[AwareDatetime | None, AfterValidator(lambda value: value and _plausible(value))]
"""With its time zone."""
Quota = Annotated[Whole | None, Field(ge=1, le=1_000_000), BeforeValidator(_empty_is_none)]
MOST_ASSIGNEES = 1000
Ids = Annotated[list[Whole], Field(max_length=MOST_ASSIGNEES)]
ASSIGNEES = ("teams", "people", "barred")
"""The settings that say whom a batch is assigned to, by id, and who may not judge it."""


class BatchSettings(BaseModel):
    """What an admin decides about a batch before its prompts are imported."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "name": "Support questions, May",
                "guidelines": "Prefer the answer that a customer could act on.",
                "task": "compare",
                "candidates_per_prompt": 4,
                "annotators_per_prompt": 1,
                "overlap_percent": 10,
                "selection": "bald",
                "sampled_per_prompt": 8,
                "edit_policy": "optional",
                "max_tokens": 256,
                "strength_examples": {"4": "One is right, the other is wrong."},
                "attributes": [{"name": "helpful", "label": "Helpful", "scale": ["no", "partly", "yes"]}],
                "verify_percent": 10,
                "gold_percent": 5,
                "qualification_items": 0,
                "qualification_percent": 75,
                "requires_tour": False,
                "verifiers": None,
                "required": ["answer"],
                "show_findings": "after",
            }
        },
    )

    name: Name
    guidelines: Guidelines = ""
    task: BatchTask = BatchTask.COMPARE
    """What people do: judge responses of models, write the answer (none is generated), or label the steps of one (one is)."""
    candidates_per_prompt: Annotated[Whole, Field(ge=2, le=8)] = 4
    annotators_per_prompt: Annotated[Whole, Field(ge=1, le=20)] = 1
    language: Language = None
    overlap_percent: Percent = 10
    selection: PairSelection = PairSelection.BALD
    sampled_per_prompt: Annotated[Whole, Field(ge=2, le=16)] = 8
    edit_policy: EditPolicy = EditPolicy.OPTIONAL
    max_tokens: Annotated[Whole, Field(ge=1, le=32768)] = 256
    temperature: Annotated[Real | None, Field(ge=0, le=2), BeforeValidator(_empty_is_none)] = None
    top_p: Annotated[Real | None, Field(gt=0, le=1), BeforeValidator(_empty_is_none)] = None
    strength_examples: StrengthExamples = {}
    attributes: Attributes = []
    verify_percent: Percent = 0
    gold_percent: GoldPercent = 0
    qualification_items: QualificationItems = 0
    qualification_percent: Percent = 75
    requires_tour: Truth = False
    """Whether people finish the tour of three examples before they get an item."""
    priority: Priority = Priority.NORMAL
    """People are given items of a higher priority first."""
    deadline: Deadline = None
    """Of the same priority, batches that are due first come first."""
    quota: Quota = None
    """How many items of it one person may have, known answers among them."""
    readers_only: Truth = False
    """Whether items of a known language go only to people who have said that they read it."""
    teams: Ids = []
    """Ids of the teams that it is assigned to; with no team and nobody, everybody gets its items."""
    people: Ids = []
    barred: Ids = []
    """Ids of people who may not judge it, whatever their teams."""
    verifiers: Verifiers | None = None
    """What checks responses and edits; null: every verifier with something to check, an empty list: none."""
    required: Verifiers = []
    """Verifiers that a response must pass before training imitates it."""
    show_findings: ShowFindings = ShowFindings.AFTER
    leave_out_refused: Truth = False
    """Import the valid prompts and leave out the refused lines; without it, any refused line refuses the file."""
    may_train: Truth = False
    """Whether the responses in the file may be trained on. Without it they are compared, and every training leaves them out."""
    unnamed_model: ModelName = "unnamed"
    """What wrote those responses of the file that name no model."""

    @field_validator(*OF_COMPARISONS)
    @classmethod
    def _nothing_compared(cls, value: Any, info: ValidationInfo) -> Any:
        refusals = OF_RESPONSES.get(info.data.get("task", BatchTask.COMPARE))
        if value and refusals:
            raise ValueError(_(refusals[info.field_name or ""]))
        return value

    @property
    def by_task(self) -> dict[str, Any]:
        """What the task decides, whatever else was asked for: steps are those of one response, and nobody compares it."""
        if self.task is not BatchTask.STEPS:
            return {}
        return {"candidates_per_prompt": 1, "selection": PairSelection.RANDOM, "overlap_percent": 0}

    @property
    def sampling(self) -> dict[str, float]:
        """The overrides of each deployment's own sampling."""
        given = {"temperature": self.temperature, "top_p": self.top_p}
        return {name: value for name, value in given.items() if value is not None}


class GuidelinesForm(BaseModel):
    """The guidelines of a batch, edited."""

    model_config = ConfigDict(extra="forbid")

    guidelines: Guidelines
    strength_examples: StrengthExamples | None = None


class BatchChange(BaseModel):
    """Settings of a batch that can be changed while people work; what is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"annotators_per_prompt": 2}})

    name: Name | None = None
    annotators_per_prompt: Annotated[Whole | None, Field(ge=1, le=20)] = None
    """Of all prompts, those that are done among them. Nobody who has judged or is judging one is taken out."""
    guidelines: Guidelines | None = None
    strength_examples: StrengthExamples | None = None
    attributes: Attributes | None = None
    language: Language = None
    """Empty text: it is not known any more."""
    overlap_percent: Percent | None = None
    """Holds for prompts whose responses are not ready yet, as ``selection`` and ``sampled_per_prompt`` do."""
    selection: PairSelection | None = None
    sampled_per_prompt: Annotated[Whole | None, Field(ge=2, le=16)] = None
    verify_percent: Percent | None = None
    gold_percent: GoldPercent | None = None
    qualification_items: QualificationItems | None = None
    qualification_percent: Percent | None = None
    requires_tour: Truth | None = None
    priority: Priority | None = None
    deadline: Deadline = None
    """Null takes it away; so it does with ``quota``."""
    quota: Quota = None
    readers_only: Truth | None = None
    teams: Ids | None = None
    """With ``people``, all whom it is assigned to from now on; both empty: everybody. Who has begun an item keeps it."""
    people: Ids | None = None
    barred: Ids | None = None
    """All who may not judge it from now on."""
    verifiers: Verifiers | None = None
    """Null: every verifier with something to check."""
    required: Verifiers | None = None
    show_findings: ShowFindings | None = None


def field_errors(error: ValidationError) -> dict[str, str]:
    """One sentence per field, to stand beside it."""
    said: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        said.setdefault(str(problem["loc"][0]) if problem["loc"] else "", in_a_sentence(problem))
    return said


def in_a_sentence(problem: Any) -> str:
    """One of pydantic's ``errors()``, to stand beside a field."""
    if problem["type"] in MESSAGES:
        return _(MESSAGES[problem["type"]])
    plain = in_words(problem).replace("Input should", "This should")
    return f"{plain[:1].upper()}{plain[1:].rstrip('.')}."


# ── JSON out ─────────────────────────────────────────────────────────────────────────────────────────────────────────
class AttributeJson(BaseModel):
    """What is asked of each response: its name in the data, its label, and its scale, the least first."""

    name: str = Field(examples=["helpful"])
    label: str = Field(examples=["Helpful"])
    scale: list[str] = Field(examples=[["no", "partly", "yes"]])


class BatchJson(BaseModel):
    """A batch with its settings and progress."""

    id: int = Field(examples=[7])
    name: str = Field(examples=["Support questions, May"])
    state: BatchState = Field(examples=["open"])
    round: int = Field(examples=[1], description="Number of the round this batch belongs to.")
    capability: str | None = Field(examples=["general"], description="Set if all prompts share one.")
    language: str | None = Field(
        examples=["de"], description="Of prompts that do not say their own; who does not read it is not given them."
    )
    guidelines: str = Field(examples=["Prefer the answer that a customer could act on."])
    task: BatchTask = Field(
        examples=["compare"],
        description="Whether people compare responses, write the answer (no responses are generated) or label the steps of "
        "one response.",
    )
    candidates_per_prompt: int = Field(examples=[4])
    annotators_per_prompt: int = Field(examples=[1])
    overlap_percent: int = Field(examples=[10], description="Share of prompts that a second person judges too.")
    selection: PairSelection = Field(
        examples=["bald"],
        description="What the shown responses are chosen by. A fifth of the training prompts, all held-out ones, and "
        "everything during a contest are drawn at random.",
    )
    sampled_per_prompt: int = Field(examples=[8], description="Responses they are chosen from.")
    edit_policy: EditPolicy = Field(examples=["optional"])
    max_tokens: int = Field(examples=[256])
    guidelines_version: int = Field(examples=[1], description="Increases with each change of guidelines or examples.")
    strength_examples: dict[str, str] = Field(examples=[{"4": "One is right, the other is wrong."}])
    attributes: list[AttributeJson]
    verify_percent: int = Field(examples=[10], description="Share of edits that another annotator verifies blind.")
    gold_percent: int = Field(examples=[5], description="Share of items with a known answer.")
    qualification_items: int = Field(examples=[0], description="Known answers before the first real item.")
    qualification_percent: int = Field(examples=[75], description="Share of them that must be correct.")
    requires_tour: bool = Field(examples=[False], description="Whether people finish the tour before they get an item.")
    priority: Priority = Field(examples=["normal"], description="Higher ones are given first.")
    deadline: datetime | None = Field(examples=["2026-12-04T17:00:00Z"])
    overdue: bool = Field(examples=[False], description="Whether the deadline has passed and it is not closed.")
    quota: int | None = Field(examples=[None], description="How many of its items, or dialogues, one person may have.")
    readers_only: bool = Field(
        examples=[False], description="Whether items of a known language need a person who said that they read it."
    )
    assigned_only: bool = Field(
        examples=[True],
        description="Whether only those get items whom it is assigned to. With no team and nobody, nobody does: they are gone.",
    )
    teams: list[NamedJson]
    people: list[NamedJson] = Field(description="By name for admins, else by pseudonym.")
    barred: list[NamedJson] = Field(description="Who may not judge it.")
    verifiers: list[str] | None = Field(
        examples=[["answer"]], description="What checks responses and edits; null: all that have something to check."
    )
    required: list[str] = Field(examples=[["answer"]], description="What a response must pass before it is imitated.")
    show_findings: ShowFindings = Field(examples=["after"], description="When annotators see what checks found.")
    sampling: dict[str, float] = Field(examples=[{"temperature": 0.8}])
    created_at: datetime = Field(examples=["2026-11-23T09:12:00Z"])
    opened_at: datetime | None = Field(examples=["2026-11-23T10:00:00Z"])
    closed_at: datetime | None = Field(examples=[None])
    progress: ProgressJson


class BatchList(BaseModel):
    """Batches, newest first. ``next`` is the ``before`` of the following page, or null on the last one."""

    batches: list[BatchJson]
    next: int | None = Field(examples=[None])


class StateChange(BaseModel):
    """The state that a batch should have."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"state": "open"}})

    state: BatchState
