"""What can be called: a name, what it is for, the schema of its arguments, and what runs it."""

from __future__ import annotations

from typing import Any, Final, Protocol

MOST_CHARACTERS: Final = 8_000
"""Of what a tool answers; more would fill a small model's context."""


class ToolFailed(Exception):
    """The tool has no answer; the message says why, for the model that called it."""


class Tool(Protocol):
    """One tool. It is given arguments that keep to its schema."""

    name: str
    description: str

    @property
    def parameters(self) -> dict[str, Any]:
        """JSON schema of the arguments, an object."""

    def run(self, arguments: dict[str, Any]) -> str:
        """What it answers, in bounded time.

        Raises:
            ToolFailed: it has no answer.
        """


def shown(tool: Tool) -> dict[str, Any]:
    """The tool as a prompt holds it, in OpenAI's form."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def storable(text: str) -> str:
    """The text without what no database keeps: NUL, and halves of characters."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def cut(answer: str) -> str:
    """An answer that is not too long, its middle left out where it is."""
    if len(answer) <= MOST_CHARACTERS:
        return answer
    return f"{answer[: MOST_CHARACTERS // 2]}\n[…]\n{answer[-MOST_CHARACTERS // 2 :]}"
