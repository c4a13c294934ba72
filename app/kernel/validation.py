"""What Pydantic says of a field, as a form shows it: in English its own words, else ours in the reader's language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.kernel.locales import N_, SOURCE, current, ngettext
from app.kernel.locales import gettext as _

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_WITH_VALUES = {
    "enum": N_("Input should be {expected}"),
    "literal_error": N_("Input should be {expected}"),
    "greater_than": N_("Input should be greater than {gt}"),
    "greater_than_equal": N_("Input should be greater than or equal to {ge}"),
    "less_than": N_("Input should be less than {lt}"),
    "less_than_equal": N_("Input should be less than or equal to {le}"),
    "string_pattern_mismatch": N_("String should match pattern '{pattern}'"),
    "date_from_datetime_parsing": N_("Input should be a valid date, such as 2026-01-31"),
    "date_parsing": N_("Input should be a valid date, such as 2026-01-31"),
    "datetime_parsing": N_("Input should be a valid date and time, such as 2026-01-31T08:00:00Z"),
    "datetime_from_date_parsing": N_("Input should be a valid date and time, such as 2026-01-31T08:00:00Z"),
    "json_invalid": N_("Invalid JSON: {error}"),
}
"""By the type of the problem, what has values that differ."""
PLAIN = (
    N_("Field required"),
    N_("Extra inputs are not permitted"),
    N_("Input should be a valid string"),
    N_("Input should be a valid integer"),
    N_("Input should be a valid integer, unable to parse string as an integer"),
    N_("Input should be a valid integer, got a number with a fractional part"),
    N_("Unable to parse input string as an integer, exceeded maximum size"),
    N_("Input should be a valid number"),
    N_("Input should be a valid number, unable to parse string as a number"),
    N_("Input should be a finite number"),
    N_("Input should be a valid boolean"),
    N_("Input should be a valid boolean, unable to interpret input"),
    N_("Input should be a valid list"),
    N_("Input should be a valid dictionary"),
    N_("Input should have timezone info"),
)
"""The rest that a form can get, to the letter: what Pydantic says is looked up as any other message."""


def in_words(problem: Mapping[str, Any]) -> str:
    """One of Pydantic's ``errors()`` as a sentence without its full stop."""
    said = str(problem["msg"]).removeprefix("Value error, ")
    kind, context = problem["type"], problem.get("ctx", {})
    if current().code == SOURCE:
        return said
    if kind in {"string_too_short", "too_short"}:
        return _at_least(kind, context["min_length"])
    if kind in {"string_too_long", "too_long"}:
        return _at_most(kind, context["max_length"])
    if kind in _WITH_VALUES:
        return _(_WITH_VALUES[kind], **{**context, "expected": str(context.get("expected")).replace(" or ", ", ")})
    return _(said)


def _at_least(kind: str, n: int) -> str:
    if kind == "too_short":
        return ngettext("There should be at least {n} of them", "There should be at least {n} of them", n)
    return ngettext("Text should have at least {n} character", "Text should have at least {n} characters", n)


def _at_most(kind: str, n: int) -> str:
    if kind == "too_long":
        return ngettext("There should be at most {n} of them", "There should be at most {n} of them", n)
    return ngettext("Text should have at most {n} character", "Text should have at most {n} characters", n)
