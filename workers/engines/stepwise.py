"""Answers that call tools which Corral runs, step by step: of an engine's turns, and of what tools answer between them.

Whoever samples asks here: generation, the samples of a round, and corrections. Nobody watches such answers come, and they are
shown when all of a prompt are there, so their time tells nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from workers.engines.protocol import Ask, PromptRefused, Reply
from workers.engines.replies import Answer
from workers.tools.loop import Bounds, Ended, Message, Said, converse
from workers.tools.protocol import Tool

log = structlog.get_logger()

CUT = frozenset({"length"})
Sample = Callable[[Ask], Awaitable[Reply]]


@dataclass(frozen=True)
class Stepped:
    """One answer with what came before its last turn; ``ended`` is None of a single turn, else as of a trace."""

    answer: Answer
    steps: list[Message] = field(default_factory=list)
    ended: Ended | None = None

    def to_json(self) -> dict[str, Any]:
        """As files of samples have it: ``steps`` and ``ended`` where tools could be called."""
        answer = self.answer
        made = {"text": answer.text, "finish_reason": answer.finish_reason, "tokens": answer.completion_tokens}
        return made if self.ended is None else made | {"steps": self.steps, "ended": self.ended}


async def answered(
    sample: Sample, ask: Ask, kit: Sequence[Tool] | None, at_once: asyncio.Semaphore
) -> tuple[Reply, list[Stepped]]:
    """``ask.n`` answers, each step by step where there is a ``kit`` that runs its calls, else one turn each.

    The reply is that to the first turns, which are asked for together.

    Raises:
        EngineAway, ModelMissing, EngineReplyError, PromptRefused: as the engine does. A prompt that is refused because of
            what its steps added to it ends with the turn before.
    """
    first = await sample(ask)
    if kit is None:
        return first, [Stepped(answer) for answer in first.answers]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_one(sample, ask, answer, kit, at_once)) for answer in first.answers]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return first, [task.result() for task in tasks]


async def _one(sample: Sample, ask: Ask, first: Answer, kit: Sequence[Tool], at_once: asyncio.Semaphore) -> Stepped:
    turns = [first]

    async def again(steps: list[Message], most: int) -> Said | None:
        try:
            reply = await sample(replace(ask, steps=list(steps), n=1, max_tokens=most))
        except PromptRefused as error:
            log.info("steps_not_shown", reason=str(error))
            return None
        turns.append(reply.answers[0])
        return _said(reply.answers[0])

    trace = await converse(
        again, kit, ask.tools or [], Bounds(tokens=ask.max_tokens), first=_said(first), at_once=at_once
    )
    return Stepped(_whole(turns), trace.steps, trace.ended)


def _said(answer: Answer) -> Said:
    return Said(answer.text, answer.completion_tokens, cut=answer.finish_reason in CUT)


def _whole(turns: Sequence[Answer]) -> Answer:
    """The last turn, with the tokens of all."""
    used = sum(turn.completion_tokens for turn in turns)
    return replace(turns[-1], prompt_tokens=turns[0].prompt_tokens, completion_tokens=used)
