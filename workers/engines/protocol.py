"""The engine protocol: requests, replies, and what can go wrong.

The last has four names, and the caller does a different thing for each::

    EngineAway        nobody answers, or not even a one-token probe   pause everything, count nothing
    ModelMissing      no engine that was asked serves that name       let the reconciler see to it, count nothing
    EngineReplyError  it answered something unusable                  count a try, try again later
    PromptRefused     this prompt can never work                      quarantine at once, with the reason

The third is of ``workers.engines.replies``, which reads the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from workers.engines.replies import Answer


class EngineAway(Exception):
    """The engine does not answer; the message says how."""


class ModelMissing(Exception):
    """The engine does not serve this model name, or answered as another model."""


class PromptRefused(Exception):
    """No retry can help: too long for the model, or its chat template refuses the conversation."""


@dataclass(frozen=True)
class EngineInfo:
    """What the engine says of itself."""

    version: str
    base: str
    adapters: frozenset[str]
    context: int | None
    """Tokens of prompt and answer together, where the engine says it."""
    names: frozenset[str] = frozenset()
    """All names of the base; it answers under the first, whichever it is asked by."""
    root: str | None = None
    """What it was started with as ``--model``, where it says so: adapters have to name it so."""


def as_messages(steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Steps in OpenAI's form, without what Corral notes beside them."""
    return [{key: value for key, value in step.items() if key not in {"said", "failed"}} for step in steps]


@dataclass(frozen=True)
class Ask:
    """One request: ``n`` answers to a conversation from one model. ``model`` None is the base.

    ``steps`` are what the model has said since, and what tools answered: its turns hold what was sampled under ``said``.
    """

    messages: list[dict[str, Any]]
    tools: list[Any] | None
    model: str | None
    n: int
    max_tokens: int
    sampling: dict[str, Any]
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def conversation(self) -> list[dict[str, Any]]:
        """All of it as messages in OpenAI's form."""
        return self.messages + as_messages(self.steps)


@dataclass(frozen=True)
class Reply:
    """The answers with what was really sent."""

    answers: list[Answer]
    sampling: dict[str, Any]
    engine_version: str


class Engine(Protocol):
    """What generation and serving need of an engine."""

    async def describe(self) -> EngineInfo:
        """Ask who it is and what it serves."""

    async def probe(self) -> EngineInfo:
        """Like ``describe``, and make it produce one token."""

    async def sample(self, ask: Ask) -> Reply:
        """Sample; raises one of the four errors above."""

    async def serves(self, name: str) -> None:
        """Make it produce one token as the adapter ``name``, which it loads for that. Raises EngineAway, EngineReplyError."""

    async def unload_adapter(self, name: str) -> None:
        """Stop serving ``name``; one that is not there is no error."""

    async def aclose(self) -> None:
        """Close the connections."""
