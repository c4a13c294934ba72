"""What a batch asks of each response beside the ranking: a short list of attributes, each with a scale.

People write them a line each, ``Helpful: no | partly | yes``; a name of its own can stand before the label,
``helpful = Hilfreich: nein | teils | ja``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from app.kernel.locales import gettext as _
from app.kernel.storable import flaw

MOST = 8
_LINE = re.compile(r"(?:(?P<name>[^=:|]*)=)?(?P<label>[^=:|]*):(?P<scale>.*)", re.DOTALL)


def _storable(value: Any) -> Any:
    wrong = flaw(value) if isinstance(value, str) else None
    if wrong:
        raise ValueError(_("contains {wrong}: remove it", wrong=wrong))
    return value


Word = Annotated[str, BeforeValidator(_storable), StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]


class Attribute(BaseModel):
    """One attribute: its name in the data, its label on the page, and its scale, the least first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern="^[a-z_]{1,30}$", examples=["helpful"])
    label: Word = Field(examples=["Helpful"])
    scale: list[Word] = Field(min_length=2, max_length=7, examples=[["no", "partly", "yes"]])

    @field_validator("scale")
    @classmethod
    def _distinct(cls, scale: list[str]) -> list[str]:
        if len(set(scale)) < len(scale):
            raise ValueError(_("two steps of the scale are the same"))
        return scale


def from_lines(text: str) -> list[dict[str, Any]]:
    """The attributes that ``text`` describes, a line each; :class:`ValueError` names the line and says what is wrong."""
    found: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(_from_line(line))
            except ValueError as error:
                raise ValueError(_("line {number}: {error}", number=number, error=error)) from None
    return found


def _from_line(line: str) -> dict[str, Any]:
    wrong = flaw(line)
    if wrong:
        raise ValueError(_("it contains {wrong}: remove it", wrong=wrong))
    parts = _LINE.fullmatch(line)
    if parts is None:
        raise ValueError(_("write it like “Helpful: no | partly | yes”"))
    label = parts["label"].strip()
    scale = [step.strip() for step in parts["scale"].split("|")]
    name = _name(label) if parts["name"] is None else parts["name"].strip()
    if not label or len(label) > 40:
        raise ValueError(_("the label has 1 to 40 characters"))
    if not re.fullmatch("[a-z_]{1,30}", name):
        raise ValueError(_("put a name of a–z and _ with at most 30 letters before it: “name = Label: no | yes”"))
    if not 2 <= len(scale) <= 7:
        raise ValueError(_("a scale has 2 to 7 steps, with “|” between them"))
    if any(not step or len(step) > 40 for step in scale):
        raise ValueError(_("each step has 1 to 40 characters"))
    if len(set(scale)) < len(scale):
        raise ValueError(_("two steps of the scale are the same"))
    return {"name": name, "label": label, "scale": scale}


def _name(label: str) -> str:
    return re.sub("[^a-z]+", "_", label.lower()).strip("_") if label.isascii() else ""


def to_lines(attributes: list[dict[str, Any]]) -> str:
    """What :func:`from_lines` reads."""
    return "\n".join(
        f"{'' if _name(each['label']) == each['name'] else each['name'] + ' = '}{each['label']}: {' | '.join(each['scale'])}"
        for each in attributes
    )


def _parsed(value: Any) -> Any:
    return from_lines(value) if isinstance(value, str) else value


def _no_name_twice(value: list[Attribute]) -> list[Attribute]:
    names = [each.name for each in value]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ValueError(_("“{twice}” appears twice", twice=twice))
    return value


Attributes = Annotated[
    list[Attribute], Field(max_length=MOST), AfterValidator(_no_name_twice), BeforeValidator(_parsed)
]
