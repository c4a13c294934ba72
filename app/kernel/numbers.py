"""Numbers and booleans in requests: JSON's ``true`` is not a number, and its ``1`` is not a boolean.

Pydantic takes one for the other, so that ``{"batch_id": true}`` would be batch 1. The text of a form or of a query stays
readable as either.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from app.kernel.locales import N_


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", N_("Input should be a number, not true or false"))
    return value


def _truth(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise PydanticCustomError("truth_type", N_("Input should be true or false, not a number"))
    return value


Whole = Annotated[int, BeforeValidator(_number), Field(ge=-(2**63), le=2**63 - 1)]
"""A number that a row, and JSON as it is written here, can hold."""
Real = Annotated[float, BeforeValidator(_number)]
Truth = Annotated[bool, BeforeValidator(_truth)]
