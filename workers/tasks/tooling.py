"""Answers that call tools which Corral runs: what runs the calls of a prompt, and one answer step by step.

Nobody watches such answers come, and they are shown when all of a prompt are there, so their time tells nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import structlog
from sqlalchemy.orm import Session

from app.candidates.service import Claim
from app.prompts import documents
from workers.engines.protocol import Ask, PromptRefused, Reply
from workers.engines.replies import Answer
from workers.tools.documents import Search
from workers.tools.kit import made, runs, searches
from workers.tools.loop import Bounds, Message, Said, converse
from workers.tools.protocol import Tool

log = structlog.get_logger()

INDEXES = 4
"""Batches whose index of documents a worker keeps."""
CUT = frozenset({"length"})
Sample = Callable[[Ask], Awaitable[Reply]]


class NoDocuments(Exception):
    """The prompt has the search tool, and its batch nothing to search in."""


@dataclass(frozen=True)
class Stepped:
    """One answer with what came before its last turn."""

    answer: Answer
    steps: list[Message]


class Toolkits:
    """What runs calls, for one worker: an index of documents is kept as long as they stay the same."""

    def __init__(self) -> None:
        self._indexes: dict[int, tuple[tuple[int, ...], Search]] = {}
        self.at_once = asyncio.Semaphore(max(2, (os.cpu_count() or 2) // 2))
        """Tools that run beside one another."""

    def of(self, session: Session, claim: Claim) -> list[Tool] | None:
        """What runs the calls of a prompt; None where nothing of it is run here.

        Raises:
            NoDocuments: there is nothing to search in.
        """
        tools = claim.tools
        if tools is None or not runs(tools, claim.tests):
            return None
        return made(tools, self._search(session, claim.batch_id) if searches(tools) else None)

    def _search(self, session: Session, batch_id: int) -> Search:
        there = documents.ids(session, batch_id)
        if not there:
            raise NoDocuments
        known = self._indexes.pop(batch_id, None)
        if known is None or known[0] != there:
            known = there, Search(documents.texts(session, batch_id))
        self._indexes[batch_id] = known  # last, so that the one that was not asked for longest goes first
        while len(self._indexes) > INDEXES:
            del self._indexes[next(iter(self._indexes))]
        return known[1]


async def stepped(
    sample: Sample, ask: Ask, kit: Sequence[Tool], at_once: asyncio.Semaphore
) -> tuple[Reply, list[Stepped]]:
    """``ask.n`` answers, each step by step; the reply is that to the first turns, which are asked for together.

    Raises:
        EngineAway, ModelMissing, EngineReplyError, PromptRefused: as the engine does. A prompt that is refused because of
            what its steps added to it ends with the turn before.
    """
    first = await sample(ask)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_one(sample, ask, answer, kit, at_once)) for answer in first.answers]
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
    return Stepped(_whole(turns), trace.steps)


def _said(answer: Answer) -> Said:
    return Said(answer.text, answer.completion_tokens, cut=answer.finish_reason in CUT)


def _whole(turns: Sequence[Answer]) -> Answer:
    """The last turn, with the tokens of all."""
    used = sum(turn.completion_tokens for turn in turns)
    return replace(turns[-1], prompt_tokens=turns[0].prompt_tokens, completion_tokens=used)
