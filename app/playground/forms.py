"""What comes in: a message, who answers it beside the champion, and what it follows."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.dialogues.forms import Key, Said
from app.kernel.numbers import Truth, Whole

SIDES = "AB"


def _none_if_empty(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


class Ask(BaseModel):
    """A message for the champion and one other model."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"message": "Why is the sky blue?", "beside": 7, "blind": True, "key": "k-7"}]},
    )

    message: Said
    system: Annotated[Said | None, BeforeValidator(_none_if_empty)] = Field(
        default=None, description="The system prompt; of a conversation that goes on it is already there."
    )
    beside: Annotated[Whole | None, BeforeValidator(_none_if_empty)] = Field(
        default=None, ge=1, description="The deployment that answers beside the champion's. Null: the newest other one."
    )
    blind: Truth = Field(default=False, description="Whether sides are drawn and nameless until you reveal them.")
    after: Annotated[Whole | None, BeforeValidator(_none_if_empty)] = Field(
        default=None, ge=1, description="Your earlier trial that this message follows."
    )
    answer: str = Field(
        default="", pattern="^[AB]?$", description="With which answer to `after` it goes on; A if empty."
    )
    key: Key = Field(description="A string that you choose: sending a message twice with it asks once.")
