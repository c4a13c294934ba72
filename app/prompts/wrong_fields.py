"""What pydantic finds wrong with a field, as people read it beside the field."""

from __future__ import annotations

from typing import Any

from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.retelling import retold

MESSAGES = {
    "string_too_short": N_("Please fill this in."),
    "missing": N_("Please fill this in."),
    "extra_forbidden": N_("There is no such setting."),
}
OF_PYDANTIC = (
    N_("This should be greater than or equal to {least}."),
    N_("This should be less than or equal to {most}."),
    N_("This should be greater than {bound}."),
    N_("This should be a valid number, unable to parse string as a number."),
    N_("This should be a valid integer, unable to parse string as an integer."),
    N_("This should be a valid boolean, unable to interpret input."),
    N_("This should be {words}."),
    N_("String should have at most {n} characters."),
    N_("List should have at most {n} items after validation, not {there}."),
)
"""What it says in our forms by itself, as far as it varies little: collected here, so that it can be retold."""


def in_a_sentence(problem: Any) -> str:
    """What is wrong with a field, of what pydantic says of it."""
    if problem["type"] in MESSAGES:
        return _(MESSAGES[problem["type"]])
    plain = problem["msg"].removeprefix("Value error, ").replace("Input should", "This should")
    return retold(f"{plain[:1].upper()}{plain[1:].rstrip('.')}.")
