"""The annotation page's form. It works as plain HTML; scripts only fill the same fields more comfortably."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any, Self

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.annotations.forms import Submission
from app.judgements.judgement import Draft
from app.judgements.positions import POSITIONS
from app.judgements.vocabulary import Outcome, StepLabel
from app.kernel import validation
from app.kernel.errors import BadInput
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.shell.bodies import FORM_LIMIT_BYTES
from training.formats.steps import WRONG

_CHOICE = re.compile("([AB])([1-4])")
_PLACES = frozenset("12345678")
_LEVELS = frozenset("1234")
_STEP_LABELS = frozenset(str(each.value) for each in StepLabel)
_ATTRIBUTE = re.compile("attribute\\.[A-H]\\.[a-z_]{1,30}")
_STEP = re.compile("step\\.[0-9]{1,4}")
_FLAG = re.compile("flag\\.[A-H]\\.[a-z_]{1,30}")
LABELS = {
    "ranking": N_("Ranking"),
    "strengths": N_("Strength"),
    "edited_text": N_("Improved text"),
    "edits": N_("Improved text"),
    "attributes": N_("Ratings"),
    "flags": N_("Flags"),
    "spans": N_("Marked passages"),
    "step_labels": N_("Labels of steps"),
    "right_step": N_("Right step"),
    "comment": N_("Comment"),
}


class LongTexts(APIRoute):
    """A route whose form has long fields. How much may be sent at all is decided before (``BodyLimit``)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As ever, on a request that reads such forms."""
        handle = super().get_route_handler()

        async def with_long_texts(request: Request) -> Response:
            # Starlette stops at 1 MiB a field as it is sent: a third of TEXT_LIMIT in Chinese, where a character takes 9 bytes
            if self.dependant.body_params:
                await request.form(max_part_size=FORM_LIMIT_BYTES)
            return await handle(request)

        return with_long_texts


class WorkForm(BaseModel):
    """What the browser posts: the judgement, and which item, lease and draft it belongs to.

    Scripts send ``judgement``, the JSON of the draft that they save too. Without them it is read from the fields: of two
    responses ``choice`` says side and strength in one ("A4" … "A1", "B1" … "B4"), or an outcome. Of more, each response has its
    ``rank``, each two neighbouring places their ``strength``. ``edited_position`` is empty where the chosen response was edited.
    Of each response ``attribute.A.helpful`` holds a step of the scale and ``flag.A.unsafe`` is there where it is set; ``spans``
    is JSON, for passages are marked by scripts only. Where the answer is written ``choice`` says so, and ``edited_text`` is it.
    Where steps are labelled ``choice`` says that, ``step.0`` holds the label of the first, and ``right_step`` what the wrong one
    should be.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    fencing_token: int
    draft_version: int = Field(ge=0, description="The draft version that the page was rendered from.")
    key: str = Field(min_length=8, max_length=200)
    corrects: str = Field(default="", pattern="^[0-9]{0,18}$")
    judgement: str = ""
    choice: str = ""
    rank: list[str] = Field(default=[], max_length=8)
    strength: list[str] = Field(default=[], max_length=7)
    edited_position: str = ""
    edited_text: str = ""
    nothing_to_improve: bool = False
    revision_id: str = Field(default="", pattern="^[0-9]{0,18}$")
    spans: str = ""
    right_step: str = ""
    comment: str = ""
    active_seconds: float = Field(default=0, ge=0, le=86_400, allow_inf_nan=False)

    @model_validator(mode="after")
    def _no_strange_fields(self) -> Self:
        known = (_ATTRIBUTE, _FLAG, _STEP)
        strange = [name for name in self.model_extra or {} if not any(each.fullmatch(name) for each in known)]
        if strange:
            raise ValueError(
                _(
                    "there is no field {name}; if Corral was upgraded while this page was open, "
                    "reload it: your draft is kept",
                    name=repr(strange[0][:40]),
                )
            )
        return self

    def submission(self) -> Submission:
        """The judgement that was filled in.

        Raises:
            BadInput: something is missing or too long; names the field.
        """
        said = self.read()
        judgement = said.finished().model_dump()
        if not self.judgement and not self.edited_position:
            judgement["edited_position"] = (
                None  # the chosen one: where several share the first place, the rules ask which
            )
        try:
            return Submission(
                fencing_token=self.fencing_token,
                corrects=int(self.corrects) if self.corrects else None,
                active_seconds=said.active_seconds,
                **judgement,
            )
        except ValidationError as error:
            raise _in_words(error) from error

    def draft(self) -> Draft | None:
        """What can be kept as a draft; ``None`` when the texts themselves cannot be stored."""
        try:
            return self.read()
        except BadInput:
            return None

    def read(self) -> Draft:
        """The contents of the form, finished or not.

        Raises:
            BadInput: something is too long or cannot be stored; names the field.
        """
        try:
            if self.judgement:
                return Draft.model_validate_json(self.judgement)
            outcome, ranking, strengths = self._conclusion()
            edited = self.edited_text.replace("\r\n", "\n")
            name = self.edited_position or (ranking[0][0] if ranking else "A")
            return Draft(
                outcome=outcome,
                ranking=ranking,
                strengths=strengths,
                edits={name: edited} if edited.strip() else {},
                revisions={name: int(self.revision_id)} if self.revision_id and edited.strip() else {},
                active_seconds=self.active_seconds,
                **self._details(),
            )
        except ValidationError as error:
            raise _in_words(error) from error

    def _details(self) -> dict[str, Any]:
        """What is said of each response, as the fields of :class:`app.judgements.judgement.Details`; may not be valid."""
        attributes: dict[str, dict[str, Any]] = {}
        flags: dict[str, list[str]] = {}
        for field, value in (self.model_extra or {}).items():
            if field.startswith("step."):
                continue
            _kind, position, name = field.split(".")
            if field.startswith("flag."):
                flags.setdefault(position, []).append(name)
            elif value:
                attributes.setdefault(position, {})[name] = int(value) if str(value).isdecimal() else value
        try:
            spans = orjson.loads(self.spans) if self.spans else []
        except orjson.JSONDecodeError:
            spans = self.spans
        return {
            "attributes": attributes,
            "flags": flags,
            "spans": spans,
            "nothing_to_improve": self.nothing_to_improve,
            "step_labels": self._step_labels(),
            "right_step": self.right_step.replace("\r\n", "\n"),
            "comment": self.comment.replace("\r\n", "\n"),
        }

    def _step_labels(self) -> list[int]:
        """What is said of the steps, from the first one to the first that is wrong or of which nothing is said."""
        said = {
            int(name.removeprefix("step.")): value
            for name, value in (self.model_extra or {}).items()
            if _STEP.fullmatch(name)
        }
        labels: list[int] = []
        while said.get(len(labels)) in _STEP_LABELS and WRONG not in labels:
            labels.append(int(said[len(labels)]))
        return labels

    def _conclusion(self) -> tuple[Outcome | None, list[list[str]], list[int | None]]:
        """Outcome, groups and strengths, as far as they are said."""
        if self.choice in {Outcome.TIE, Outcome.ALL_UNACCEPTABLE, Outcome.WRITTEN, Outcome.LABELLED}:
            return Outcome(self.choice), [], []
        side = _CHOICE.fullmatch(self.choice)
        if side:
            return Outcome.RANKED, [[side[1]], ["B" if side[1] == "A" else "A"]], [int(side[2])]
        if not self.rank or not _PLACES.issuperset(self.rank):
            return None, [], []
        groups: dict[int, list[str]] = {}
        for name, place in zip(POSITIONS, self.rank, strict=False):
            groups.setdefault(int(place), []).append(name)
        ranking = [groups[place] for place in sorted(groups)]
        levels = [int(level) if level in _LEVELS else None for level in self.strength[: len(ranking) - 1]]
        return Outcome.RANKED, ranking, levels


def _in_words(error: ValidationError) -> BadInput:
    first = error.errors()[0]
    field = str(first["loc"][0]) if first["loc"] else "form"
    message = f"{_(LABELS[field]) if field in LABELS else field}: {validation.in_words(first)}."
    return BadInput(message, errors=[{"loc": field, "msg": message}])
