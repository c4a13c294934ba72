"""Sample K answers to each training prompt from the champion, for training.selection to choose from.

    python -m workers.training.rejection SNAPSHOT SAMPLES.jsonl --k 16

Every training prompt of the snapshot is asked, judged or not, and each line says what its answers can be checked against.
One request a prompt asks for all K, so that the engine reads the prompt once and shares it; where a prompt has tools that
Corral runs, each of them goes on step by step from there. A line is written as soon as
its prompt is done, and a command that is given again goes on behind the lines that are there; ``SAMPLES.report.json`` is
written when every prompt was asked. docs/formats.md describes both. In a round it is a stage of the run that imitates
(``app.rounds.plan``).

Exit codes: 0 every prompt was asked; 1 the engine stayed away, or without the champion, for ``CORRAL_TRAINING_ENGINE_WAIT``
seconds: start it again later, what was sampled is kept; 2 the arguments or the snapshot; 4 the disk.

Held-out prompts are not sampled: what is learnt from their answers could not be measured on them. Prompts that nearly repeat
one are, and ``training.selection``, which knows how to tell, leaves their answers out and counts them.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import structlog

from app.candidates.policy import sampling_of
from app.kernel.db import session_scope
from app.kernel.settings import Settings, get_settings
from app.prompts import documents
from app.registry import service as registry
from app.registry.models import LoopRole
from training.formats.snapshots import ABOUT, CHECKED_BY, ROWS, asked
from workers.engines import stepwise
from workers.engines.openai import OpenAIEngine
from workers.engines.protocol import Ask, Engine, EngineAway, ModelMissing, PromptRefused, Reply
from workers.engines.replies import EngineReplyError
from workers.engines.stepwise import Stepped
from workers.toolbox import NoDocuments, Toolbox
from workers.tools.kit import searches
from workers.tools.protocol import Tool
from workers.training import lines

log = structlog.get_logger()

MOST = 64
"""Samples of one prompt; Llama 3 takes 10 to 30 (arXiv 2407.21783, 4.2.2)."""


@dataclass(frozen=True)
class Question:
    """A training prompt of a snapshot; `known` is what its answers can be checked against, and what it tests."""

    prompt_id: str
    messages: list[dict[str, Any]]
    tools: list[Any] | None
    known: dict[str, Any] = field(default_factory=dict)


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
    runs_tools: int = 0
    """Prompts with tools that cannot be run any more, for their documents are gone: a first turn would be no answer to them."""


def champion() -> Writer:
    """The champion as the engine has it.

    Raises:
        ModelMissing: the engine does not serve it now. What another policy wrote would teach something else.
    """
    with session_scope() as session:
        appointed = registry.appointed(session, LoopRole.CHAMPION)
        writer = registry.serving(session).writer
        if appointed is None or writer is None or writer.checkpoint_id != appointed.id:
            raise ModelMissing("The engine does not serve the champion yet.")
        adapter = appointed.is_adapter
        return Writer(appointed.name, appointed.name if adapter else None, sampling_of(writer, {}))


def questions(snapshot: Path, most: int | None = None) -> list[Question]:
    """Each training prompt of a snapshot once, judged ones first; of more than ``most`` so many, others of each snapshot.

    Two rows of the same prompt may differ in what they can be checked against: the first that says anything is taken. What a
    judged row does not say, such as what its batch requires, is taken from the prompt's own.
    """
    found: dict[str, Question] = {}
    for row in chain(_judged(snapshot), asked(snapshot)):
        if row["split"] == "train":
            known = {name: row[name] for name in (*CHECKED_BY, *ABOUT) if name in row}
            question = Question(row["prompt_hash"], row["prompt"], row.get("tools"), known)
            other = found.setdefault(question.prompt_id, question)
            # a later turn of a dialogue has the hash of the first one, and other messages
            if other.messages == question.messages:
                says = known if not _is_checked(other) and _is_checked(question) else known | other.known
                found[question.prompt_id] = replace(other, known=says)
    drawn = set(sorted(found, key=lambda key: hashlib.sha256(f"{snapshot.name} {key}".encode()).digest())[:most])
    return [question for key, question in found.items() if key in drawn]


def kit(toolbox: Toolbox, prompt_id: str, tools: list[Any] | None, tests: Any) -> list[Tool] | None:
    """What runs the calls of a prompt, which its hash names; None where nothing of it is run.

    Raises:
        NoDocuments: there is nothing to search in any more.
    """
    if not toolbox.runs(tools, tests):
        return None
    with session_scope() as session:
        batches = documents.batches_of(session, prompt_id) if searches(tools or ()) else ()
        return toolbox.of(session, tools, tests, batches)


def _judged(snapshot: Path) -> Iterator[dict[str, Any]]:
    with (snapshot / ROWS).open(encoding="utf-8", newline="\n") as rows:
        for line in rows:
            yield json.loads(line)


def _is_checked(question: Question) -> bool:
    return any(question.known.get(name) not in (None, []) for name in CHECKED_BY)


def answered(samples: Path, checkpoint: str, k: int) -> set[str]:
    """The prompts that have their samples already; a line that a killed process left unfinished is cut off.

    Raises:
        ValueError: the file has samples of another policy, or another number of them.
    """
    if not samples.exists():
        return set()
    rows = lines.whole(samples)
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
        EngineAway, ModelMissing, OSError: nothing more can be sampled, or written, now; what is written stays.
        ValueError: see :func:`answered`.
    """
    known = answered(samples, writer.checkpoint, k)
    todo = [question for question in asked if question.prompt_id not in known]
    tally, toolbox = Tally(there_before=len(asked) - len(todo)), Toolbox(settings)
    engine: Engine = OpenAIEngine(settings)
    room = asyncio.Semaphore(max(1, settings.engine_concurrency // k))
    samples.parent.mkdir(parents=True, exist_ok=True)

    async def one(question: Question) -> None:
        ask = Ask(question.messages, question.tools, writer.model, k, max_tokens, writer.sampling)
        try:
            async with room:
                tests = question.known.get("tests")
                tools = await asyncio.to_thread(kit, toolbox, question.prompt_id, question.tools, tests)
                reply, found = await stepwise.answered(engine.sample, ask, tools, toolbox.at_once)
        except NoDocuments:
            tally.runs_tools += 1
            return
        except (PromptRefused, EngineReplyError) as error:
            tally.refused += 1
            log.warning("prompt_not_sampled", prompt=question.prompt_id, error=str(error))
            return
        lines.add(samples, _line(question, writer, reply, found))
        tally.done += 1
        told(tally)

    try:
        await lines.together(todo, one, EngineAway, ModelMissing, OSError)
    finally:
        await engine.aclose()
        toolbox.close()
    return tally


def _line(question: Question, writer: Writer, reply: Reply, found: Sequence[Stepped]) -> dict[str, Any]:
    return {
        "prompt_id": question.prompt_id,
        "prompt": question.messages,
        "tools": question.tools,
        **question.known,
        "checkpoint": writer.checkpoint,
        "k": len(found),
        "sampling": reply.sampling,
        "engine_version": reply.engine_version,
        "samples": [each.to_json() for each in found],
    }


def main(argv: list[str]) -> int:
    """Sample what a snapshot asks for; returns the exit code."""
    given = _arguments(argv)
    settings = get_settings()
    if not settings.database_url:
        return lines.without_installation("champion")
    return lines.patiently(
        lambda: _sampled(settings, given), "the samples so far are kept", settings.training_engine_wait
    )


def _sampled(settings: Settings, given: argparse.Namespace) -> int:
    writer = champion()
    try:
        wanted = questions(given.snapshot, given.prompts)
        if given.replace:
            drop_another_policys(given.samples, writer.checkpoint, given.k)
        answered(given.samples, writer.checkpoint, given.k)
        total = len(wanted)
    except (OSError, ValueError, KeyError) as error:
        return lines.end(str(error), 2)

    def told(tally: Tally) -> None:
        lines.say(f"{tally.done + tally.there_before} of {total} prompts sampled")

    sampling = sample(settings, wanted, writer, given.samples, k=given.k, max_tokens=given.max_tokens, told=told)
    try:
        tally = asyncio.run(sampling)
        write_report(given.samples, writer, tally)
    except OSError as error:
        return lines.end(
            f"Writing failed ({error}). Free some space, then start again: the samples so far are kept.", 4
        )
    lines.say(
        f"{tally.done} prompts sampled from {writer.checkpoint}, {tally.there_before} already existed, "
        f"{tally.refused} were refused"
        + (f", {tally.runs_tools} search in documents that are gone, and are left out" if tally.runs_tools else "")
    )
    return 0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snapshot", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--k", type=int, default=16, choices=range(1, MOST + 1), metavar=f"1..{MOST}")
    parser.add_argument("--prompts", type=int, help="ask so many at most; the default is all")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--replace", action="store_true", help="drop samples of another policy or with another k")
    return parser.parse_args(argv)


def drop_another_policys(samples: Path, checkpoint: str, k: int) -> None:
    """Make room where the file has samples that cannot be added to: those of two policies are not mixed."""
    try:
        answered(samples, checkpoint, k)
    except ValueError:
        samples.unlink()


def write_report(samples: Path, writer: Writer, tally: Tally) -> None:
    """Say beside the samples that every prompt was asked, and what came of it; the file appears whole."""
    body = {
        "checkpoint": writer.checkpoint,
        "sampled": tally.done + tally.there_before,
        "refused": tally.refused,
        "runs_tools": tally.runs_tools,
    }
    lines.report(samples, body)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
