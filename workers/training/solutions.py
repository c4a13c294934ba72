"""Have a model write out solutions to training prompts of which only the answer is known.

    python -m workers.training.solutions SNAPSHOT SOLUTIONS.jsonl --prompts 50

Who writes is ``CORRAL_TRAINING_SOLUTIONS``: a model of an endpoint, or the champion. A prompt whose ``reference`` is a number,
without tests, is asked for steps, and one with a test of kind ``program`` for a program. What is written is checked: every
equation and the final answer, or what the program prints once it has run in the sandbox. What fails is told to the model, at most
twice, as in :mod:`workers.training.correction`; what passes is a line of SOLUTIONS that ``training.selection`` imitates, as the
answer to the prompt as it stands. A line is written for each prompt that was tried, so a command that is given again goes on
behind them; ``SOLUTIONS.report.json`` is written last.

Exit codes: 0 every prompt was tried, or the report says why none was; 1 the model stayed away for
``CORRAL_TRAINING_ENGINE_WAIT`` seconds: start again later; 2 the arguments
or the snapshot; 4 the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import select

from app.kernel.db import session_scope
from app.kernel.settings import Settings, get_settings
from app.kernel.thinking import parted
from app.registry.models import External
from workers.engines.external import external_engine
from workers.engines.openai import OpenAIEngine
from workers.engines.protocol import Ask, Engine, EngineAway, ModelMissing, PromptRefused, Reply
from workers.engines.replies import EngineReplyError
from workers.toolbox import Toolbox
from workers.training import lines
from workers.training.correction import TRIES, Given, Judge, Samples, correct
from workers.training.lines import Line
from workers.training.rejection import Question, Writer, champion, questions
from workers.verifiers import registry
from workers.verifiers.checker import Checker, CheckerBroken
from workers.verifiers.protocol import case_of

log = structlog.get_logger()

CHAMPION: Final = "champion"
STEPS, PROGRAM = "steps", "program"
HOW: Final = {
    STEPS: "Solve it step by step: one step a line, every calculation written as an equation. End with a line that says “The "
    "answer is” and the answer.",
    PROGRAM: "Answer with one Python program in a block of code. It computes the answer, and prints it last.",
}
"""What a model is asked for, behind the prompt."""
_CHECKED: Final[dict[str, dict[str, Any]]] = {
    STEPS: {"tests": [{"kind": "steps", "required": True}, {"kind": "answer"}], "verifiers": ["steps", "answer"]},
    PROGRAM: {"verifiers": [PROGRAM]},
}
"""What a solution has to pass, whatever the batch requires of answers."""


def form(question: Question) -> str | None:
    """What solutions to a prompt are written as; None where none are: it has other tests, or no answer that can be compared."""
    try:
        case = case_of({"prompt": question.messages, "response": "", **question.known})
    except ValueError:
        return None
    if question.tools:  # whose answer calls them, and is not written out
        return None
    if case.tests_of(PROGRAM):
        return PROGRAM
    wanted = case.reference is not None and not case.tests
    return STEPS if wanted and registry.applies("answer", case) else None


def to_solve(asked: Sequence[Question]) -> list[Line]:
    """The prompts that a solution is written to, as they are asked and checked."""
    found = []
    for question in asked:
        wanted = form(question)
        if wanted is None or not question.messages or question.messages[-1].get("role") != "user":
            continue
        *before, last = question.messages
        told = [*before, {**last, "content": f"{last['content']}\n\n{HOW[wanted]}"}]
        known = {name: question.known.get(name) for name in ("reference", "tests", "capability")}
        about = {"prompt_id": question.prompt_id, "tools": question.tools, "asked": question.messages, "form": wanted}
        found.append({**about, **known, **_CHECKED[wanted], "required": None, "prompt": told})
    return found


class Spoken:
    """An engine whose answers come without the thinking before them: it is neither checked nor learnt."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def sample(self, ask: Ask) -> Reply:
        """What is said."""
        reply = await self._engine.sample(ask)
        said = [(answer, parted(answer.text)) for answer in reply.answers]
        return replace(reply, answers=[replace(answer, text=both[1]) if both else answer for answer, both in said])


async def solve(engine: Samples, writer: Writer, judge: Judge, line: Line, max_tokens: int, toolbox: Toolbox) -> Line:
    """One prompt: ``completion`` is what passes, None where nothing does; ``rounds`` how often it was told what is wrong.

    Raises:
        EngineAway, ModelMissing: nothing can be asked now.
        CheckerBroken: nothing can be checked.
    """
    kept = {name: line[name] for name in ("prompt_id", "tools", "capability", "asked", "form")}
    made = kept | {"prompt": line["asked"], "checkpoint": writer.checkpoint, "verifier": None}
    try:
        asked = Ask(line["prompt"], line["tools"], writer.model, TRIES, max_tokens, writer.sampling)
        reply = await engine.sample(asked)
    except (PromptRefused, EngineReplyError) as error:
        log.warning("solution_not_written", prompt=line["prompt_id"], error=str(error))
        return made | {"completion": None, "rounds": 0}
    whole = [Given(answer.text) for answer in reply.answers if answer.finish_reason == "stop"]
    passed, wrong = await asyncio.to_thread(judge.look, line, whole)
    if wrong is None:
        return made | {"completion": passed and passed.text, "rounds": 0}
    found = await correct(engine, writer, judge, line, wrong, max_tokens, toolbox)
    return made | {name: found[name] for name in ("completion", "rounds", "verifier")}


def may_write(settings: Settings) -> str | None:
    """Why nothing may be learnt from what the chosen model writes; None where it may."""
    name = settings.training_solutions
    if not name:
        return "no model that writes solutions is set up (CORRAL_TRAINING_SOLUTIONS)"
    if name == CHAMPION:
        return None
    endpoint, _, model = name.partition("/")
    if endpoint not in settings.endpoints:
        return f"the endpoint of {name} is not set up in CORRAL_ENDPOINTS"
    query = select(External.may_train).where(External.endpoint == endpoint, External.model == model)
    with session_scope() as session:
        notes = session.scalars(query).all()
    if not notes:
        return (
            f"{name} is no external model of this installation: add it under Models, and say that it may be trained on"
        )
    return None if all(notes) else f"what {name} writes may not be trained on"


def main(argv: list[str]) -> int:
    """Write solutions to what a snapshot asks; returns the exit code."""
    given = _arguments(argv)
    settings = get_settings()
    if not settings.database_url:
        return lines.without_installation("models")
    return lines.patiently(
        lambda: _solved(settings, given), "the solutions so far are kept", settings.training_engine_wait
    )


def _solved(settings: Settings, given: argparse.Namespace) -> int:
    why_not = may_write(settings)
    writer = None if why_not else _writer(settings)
    try:
        tried = lines.before(given.solutions, checkpoint=writer.checkpoint) if writer else []
        known = {line["prompt_id"] for line in tried}
        if writer:
            todo = to_solve(questions(given.snapshot))[: given.prompts]
            left = [line for line in todo if line["prompt_id"] not in known]
            why_not = _solve_all(settings, writer, left, given)
        else:
            given.solutions.write_bytes(b"")
        write_report(given.solutions, why_not)
    except (ValueError, KeyError, FileNotFoundError) as error:
        return lines.end(str(error), 2)
    except OSError as error:
        return lines.end(f"Writing failed ({error}). Free some space, then start again: what was solved is kept.", 4)
    lines.say(
        f"no solution is written any more: {why_not}" if why_not else "every prompt with an answer alone is tried"
    )
    return 0


def _writer(settings: Settings) -> Writer:
    name = settings.training_solutions
    return champion() if name == CHAMPION else Writer(name, None, {})


def _solve_all(settings: Settings, writer: Writer, todo: Sequence[Line], given: argparse.Namespace) -> str | None:
    """Solve what is left; the reason where nothing can be checked."""
    try:
        with Checker() as checker:
            asyncio.run(_all(settings, writer, Judge(checker), todo, given))
    except CheckerBroken as error:
        return str(error)
    return None


async def _all(
    settings: Settings, writer: Writer, judge: Judge, todo: Sequence[Line], given: argparse.Namespace
) -> None:
    name = settings.training_solutions
    endpoint, _, model = name.partition("/")
    engine: Engine = OpenAIEngine(settings) if name == CHAMPION else external_engine(settings, endpoint, model)
    there, toolbox = settings.endpoints.get(endpoint), Toolbox(settings)
    room = asyncio.Semaphore(max(1, (there.concurrency if there else settings.engine_concurrency) // TRIES))

    async def one(line: Line) -> None:
        async with room:
            made = await solve(Spoken(engine), writer, judge, line, given.max_tokens, toolbox)
        lines.add(given.solutions, made)
        lines.say(f"{line['prompt_id'][:12]}: {'solved' if made['completion'] else 'not solved'}")

    try:
        await lines.together(todo, one, EngineAway, ModelMissing, OSError, CheckerBroken)
    finally:
        await engine.aclose()
        toolbox.close()


def write_report(solutions: Path, unavailable: str | None) -> None:
    """Say beside the solutions what came of them."""
    found = lines.whole(solutions)
    kept = [line for line in found if line["completion"] is not None]
    dropped = Counter(
        f"failed/{line['verifier']}" if line["verifier"] else "unchecked"
        for line in found
        if line["completion"] is None
    )
    body = {
        "unavailable": unavailable,
        "tried": len(found),
        "written": {wanted: sum(line["form"] == wanted for line in kept) for wanted in HOW},
        "corrected": sum(line["rounds"] > 0 for line in kept),
        "dropped": dict(sorted(dropped.items())),
    }
    lines.report(solutions, body)


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snapshot", type=Path)
    parser.add_argument("solutions", type=Path)
    parser.add_argument("--prompts", type=int, help="solve so many at most; the default is all")
    parser.add_argument("--max-tokens", type=int, default=512)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
