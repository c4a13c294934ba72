"""Sample K answers to each training prompt from the newest policy, for training.selection to choose from.

    python -m workers.rejection SNAPSHOT SAMPLES.jsonl --k 16

One request a prompt asks for all K, so that the engine reads the prompt once and shares it. A line is written as soon as
its prompt is done, and a command that is given again goes on behind the lines that are there. docs/formats.md describes
them. In a round it is the first step of the run that imitates (``workers.imitation``); this is the command for it alone.

Held-out prompts are not sampled: what is learnt from their answers could not be measured on them. Prompts that nearly repeat
one are, and ``training.selection``, which knows how to tell, leaves their answers out and counts them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from app.candidates.policy import sampling_of
from app.db import session_scope
from app.registry import service as registry
from app.registry.models import CheckpointKind
from app.settings import Settings, get_settings
from workers.engines import Ask, Engine, EngineAway, ModelMissing, PromptRefused, Reply
from workers.openai_engine import OpenAIEngine
from workers.replies import EngineReplyError

log = structlog.get_logger()

MOST = 64
"""Samples of one prompt; Llama 3 takes 10 to 30 (arXiv 2407.21783, 4.2.2)."""


@dataclass(frozen=True)
class Question:
    """A training prompt of a snapshot."""

    prompt_id: str
    messages: list[dict[str, Any]]
    tools: list[Any] | None


@dataclass(frozen=True)
class Writer:
    """Who answers: ``model`` is None for the base."""

    checkpoint: str
    model: str | None
    sampling: dict[str, Any]


@dataclass
class Tally:
    """What came of the prompts."""

    done: int = 0
    there_before: int = 0
    refused: int = 0


def newest_policy() -> Writer | None:
    """The newest policy that the engine serves, or the base where there is none yet; None where nothing is served."""
    with session_scope() as session:
        rotation = registry.rotation(session)
        if not rotation:
            return None
        newest = max(rotation, key=lambda one: (one.checkpoint.kind is not CheckpointKind.BASE, one.checkpoint_id))
        adapter = newest.checkpoint.kind is not CheckpointKind.BASE
        name = newest.checkpoint.name
        return Writer(name, name if adapter else None, sampling_of(newest, {}))


def questions(snapshot: Path) -> list[Question]:
    """Each training prompt of a snapshot once, in its order."""
    found: dict[str, Question] = {}
    with (snapshot / "preferences.jsonl").open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            row = json.loads(line)
            if row["split"] == "train":
                found.setdefault(row["prompt_hash"], Question(row["prompt_hash"], row["prompt"], row.get("tools")))
    return list(found.values())


def answered(samples: Path, checkpoint: str, k: int) -> set[str]:
    """The prompts that have their samples already; a line that a killed process left unfinished is cut off.

    Raises:
        ValueError: the file has samples of another policy, or another number of them.
    """
    if not samples.exists():
        return set()
    body = samples.read_bytes()
    whole = body[: body.rfind(b"\n") + 1]
    if whole != body:
        with samples.open("r+b") as file:
            file.truncate(len(whole))
    rows = [json.loads(line) for line in whole.splitlines()]
    for row in rows:
        if (row["checkpoint"], row["k"]) != (checkpoint, k):
            raise ValueError(
                f"{samples} has {row['k']} samples a prompt of {row['checkpoint']}, not {k} of {checkpoint}: "
                "choose another file"
            )
    return {row["prompt_id"] for row in rows}


async def sample(
    settings: Settings,
    asked: Sequence[Question],
    writer: Writer,
    samples: Path,
    *,
    k: int,
    max_tokens: int,
    told: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Ask for ``k`` answers to each prompt and append them to ``samples``.

    A prompt that the engine refuses, or answers unusably, is counted and left out. ``told`` hears of each that is done.

    Raises:
        EngineAway, ModelMissing: nothing more can be sampled now; what is written stays.
        ValueError: see :func:`answered`.
    """
    known = answered(samples, writer.checkpoint, k)
    todo = [question for question in asked if question.prompt_id not in known]
    tally = Tally(there_before=len(asked) - len(todo))
    engine: Engine = OpenAIEngine(settings)
    room = asyncio.Semaphore(max(1, settings.engine_concurrency // k))
    samples.parent.mkdir(parents=True, exist_ok=True)

    async def one(question: Question) -> None:
        ask = Ask(question.messages, question.tools, writer.model, k, max_tokens, writer.sampling)
        try:
            async with room:
                reply = await engine.sample(ask)
        except (PromptRefused, EngineReplyError) as error:
            tally.refused += 1
            log.warning("prompt_not_sampled", prompt=question.prompt_id, error=str(error))
            return
        with samples.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_line(question, writer, reply, k), ensure_ascii=False) + "\n")
        tally.done += 1
        told(tally)

    try:
        async with asyncio.TaskGroup() as group:
            for question in todo:
                group.create_task(one(question))
    except* (EngineAway, ModelMissing) as errors:
        raise errors.exceptions[0] from errors
    finally:
        await engine.aclose()
    return tally


def _line(question: Question, writer: Writer, reply: Reply, k: int) -> dict[str, Any]:
    return {
        "prompt_id": question.prompt_id,
        "prompt": question.messages,
        "tools": question.tools,
        "checkpoint": writer.checkpoint,
        "k": k,
        "sampling": reply.sampling,
        "engine_version": reply.engine_version,
        "samples": [
            {"text": answer.text, "finish_reason": answer.finish_reason, "tokens": answer.completion_tokens}
            for answer in reply.answers
        ],
    }


def main(argv: list[str]) -> int:
    """Sample what a snapshot asks for; returns the exit code, 1 where it has to be started again later."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snapshot", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--k", type=int, default=16, choices=range(2, MOST + 1), metavar=f"2..{MOST}")
    parser.add_argument("--max-tokens", type=int, default=256)
    given = parser.parse_args(argv)
    if not get_settings().database_url:
        sys.stderr.write("This asks an installation for its newest policy: run it where DATABASE_URL is set.\n")
        return 2
    writer = newest_policy()
    if writer is None:
        sys.stderr.write("No policy is served: start the installation, and wait until its engine is ready.\n")
        return 1
    try:
        tally = asyncio.run(
            sample(
                get_settings(),
                questions(given.snapshot),
                writer,
                given.samples,
                k=given.k,
                max_tokens=given.max_tokens,
            )
        )
    except (EngineAway, ModelMissing) as error:
        sys.stderr.write(f"{error} Start this command again when the engine is back: it goes on where it was.\n")
        return 1
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(
        f"{tally.done} prompts sampled from {writer.checkpoint}, {tally.there_before} were there before, "
        f"{tally.refused} were refused\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
