"""Let the champion correct itself where none of its sampled answers passes the checks.

    python -m workers.training.correction SAMPLES.jsonl CORRECTIONS.jsonl

Of each prompt in SAMPLES that is unsolved (an answer failed a required check, and none passed) the first wrong answer is put
before the model with what the check found, as a turn of the user's; after a second wrong answer it is told once more. What then
passes is kept: a line of CORRECTIONS, which ``training.selection`` imitates, its last turn only. A line is written for each
prompt that was tried, so a command that is given again goes on behind them; ``CORRECTIONS.report.json`` is written last.

Exit codes: 0 every unsolved prompt was tried, or nothing can be checked here, which the report says; 1 the engine stayed
away, or without the champion, for ``CORRAL_TRAINING_ENGINE_WAIT`` seconds: start again later; 2 the arguments or the samples;
4 the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from app.kernel.settings import Settings, get_settings
from workers.engines.openai import OpenAIEngine
from workers.engines.protocol import Ask, Engine, EngineAway, ModelMissing, PromptRefused, Reply, as_messages
from workers.engines.replies import EngineReplyError
from workers.engines.stepwise import answered
from workers.toolbox import NoDocuments, Toolbox
from workers.training import lines
from workers.training.judging import Word
from workers.training.lines import Line
from workers.training.rejection import Writer, champion, kit
from workers.verifiers.checker import Checker, CheckerBroken, WrongCase
from workers.verifiers.protocol import Finding, case_of

log = structlog.get_logger()

ROUNDS = 2
"""How often the model is told what is wrong; who does not find it then seldom does."""
TRIES = 4
"""Answers that are sampled each time."""


class Samples(Protocol):
    """What is asked for answers."""

    async def sample(self, ask: Ask) -> Reply:
        """As an engine does."""


@dataclass(frozen=True)
class Given:
    """An answer, and the calls of tools before it with what they answered."""

    text: str
    steps: tuple[dict[str, Any], ...] = ()

    @property
    def turns(self) -> list[dict[str, Any]]:
        """As messages of a prompt."""
        return [*as_messages(self.steps), {"role": "assistant", "content": self.text}]


@dataclass(frozen=True)
class Wrong:
    """An answer that failed, and the finding that says so."""

    answer: Given
    finding: Finding

    def told(self, right: Sequence[str]) -> str:
        """What the model is told of it. A finding that names a right answer would only be copied."""
        message = self.finding.message.rstrip(".")
        found = "it is wrong" if not message or any(each in message for each in right) else message
        return f"A check of your answer ({self.finding.verifier}) found: {found}. Correct your answer, and give it in full."


def right_answers(line: Line) -> list[str]:
    """What a prompt names as right: its reference, and the values of its tests."""
    tests = line.get("tests")
    tests = tests if isinstance(tests, list) else [tests]
    values = [test.get("value") for test in tests if isinstance(test, dict)]
    named = [
        line.get("reference"),
        *(each for value in values for each in (value if isinstance(value, list) else [value])),
    ]
    return [text for text in (str(each).strip() for each in named if each is not None) if text]


class Judge:
    """Says of answers to one prompt whether they pass what its batch requires; of facts an admitted judge has the word."""

    def __init__(self, checker: Checker, word: Word | None = None) -> None:
        self._checker, self._word = checker, word

    def look(self, line: Line, answers: Sequence[Given]) -> tuple[Given | None, Wrong | None]:
        """The first of ``answers`` that passes, if any; and else the first that fails.

        Raises:
            CheckerBroken: nothing can be checked.
        """
        first: Wrong | None = None
        for answer in (each for place, each in enumerate(answers) if each not in answers[:place]):
            found = self._required(line, answer)
            failed = next((each for each in found if each.passed is False), None)
            if failed is not None:
                first = first or Wrong(answer, failed)
            elif found and all(each.passed for each in found):
                return answer, None
        return None, first

    def _required(self, line: Line, answer: Given) -> list[Finding]:
        required = line.get("required")
        try:
            case = case_of({**line, "response": answer.text, "steps": list(answer.steps) or None})
            found = self._checker.check(case, line.get("verifiers"))
        except (WrongCase, ValueError) as error:
            log.warning("answer_not_checked", prompt=line["prompt_id"], error=str(error))
            return []
        found = [each for each in found if required is None or each.verifier in required]
        return self._word.instead(case, found) if self._word else found


def unsolved(samples: Path, judge: Judge, checkpoint: str, known: set[str]) -> Iterator[tuple[Line, Wrong]]:
    """Each prompt that no answer of this policy solves, with a wrong one; those that are ``known`` were tried before.

    Raises:
        OSError, ValueError, KeyError: the samples cannot be read.
        CheckerBroken: nothing can be checked.
    """
    with samples.open(encoding="utf-8", newline="\n") as sampled:
        for text in sampled:
            line = json.loads(text)
            if line["prompt_id"] in known or line["checkpoint"] != checkpoint:
                continue
            whole = [given for sample in line["samples"] if (given := _whole(sample))]
            passed, wrong = judge.look(line, whole)
            lines.say(f"{line['prompt_id'][:12]}: {len(whole)} answers checked")
            if passed is None and wrong is not None:
                yield line, wrong


def _whole(sample: Mapping[str, Any]) -> Given | None:
    """A sampled answer that came to its end, its calls as well."""
    steps = tuple(sample.get("steps") or ())
    ended = sample.get("finish_reason") in {None, "stop"} and sample.get("ended") in {None, "answered"}
    return Given(str(sample["text"]), steps) if ended and not any(step.get("failed") for step in steps) else None


async def correct(
    engine: Samples, writer: Writer, judge: Judge, line: Line, wrong: Wrong, max_tokens: int, toolbox: Toolbox
) -> Line:
    """Tell the model what is wrong, up to :data:`ROUNDS` times; ``completion`` is None where it never got it right.

    Raises:
        EngineAway, ModelMissing: nothing can be asked now.
        CheckerBroken: nothing can be checked.
    """
    messages, first = list(line["prompt"]), wrong
    kept = {key: line.get(key) for key in ("prompt_id", "tools", "capability")}
    made = kept | {"asked": line["prompt"], "checkpoint": writer.checkpoint, "verifier": first.finding.verifier}
    for number in range(1, ROUNDS + 1):
        told = wrong.told(right_answers(line))
        messages += [*wrong.answer.turns, {"role": "user", "content": told}]
        ask = Ask(messages, line.get("tools"), writer.model, TRIES, max_tokens, writer.sampling)
        try:
            tools = await asyncio.to_thread(kit, toolbox, line["prompt_id"], line.get("tools"), line.get("tests"))
            _, found = await answered(engine.sample, ask, tools, toolbox.at_once)
        except (PromptRefused, EngineReplyError, NoDocuments) as error:
            log.warning("answer_not_corrected", prompt=line["prompt_id"], error=str(error))
            break
        whole = [given for each in found if (given := _whole(each.to_json()))]
        passed, again = await asyncio.to_thread(judge.look, line, whole)
        if passed is not None:
            came = {"steps": list(passed.steps)} if passed.steps else {}
            return made | {"prompt": messages, "completion": passed.text, "rounds": number} | came
        if again is None:
            break
        wrong = again
    return made | {"prompt": messages, "completion": None, "rounds": 0}


def main(argv: list[str]) -> int:
    """Correct what the samples leave unsolved; returns the exit code."""
    given = _arguments(argv)
    settings = get_settings()
    if not settings.database_url:
        return lines.without_installation("champion")
    return lines.patiently(
        lambda: _corrected(settings, given), "the corrections so far are kept", settings.training_engine_wait
    )


def _corrected(settings: Settings, given: argparse.Namespace) -> int:
    writer = champion()
    try:
        tried = lines.before(given.corrections, checkpoint=writer.checkpoint)
        with Checker() as checker:
            judge = Judge(checker, Word.admitted()[0])
            known = {line["prompt_id"] for line in tried}
            todo = list(unsolved(given.samples, judge, writer.checkpoint, known))
            asyncio.run(_all(settings, writer, judge, todo, given))
        write_report(given.corrections, None)
    except CheckerBroken as error:
        given.corrections.touch()
        write_report(given.corrections, str(error))
        lines.say(f"nothing is corrected: {error}")
    except (ValueError, KeyError, FileNotFoundError) as error:
        return lines.end(str(error), 2)
    except OSError as error:
        return lines.end(
            f"Writing failed ({error}). Free some space, then start again: the corrections so far are kept.", 4
        )
    return 0


async def _all(
    settings: Settings, writer: Writer, judge: Judge, todo: Sequence[tuple[Line, Wrong]], given: argparse.Namespace
) -> None:
    engine: Engine = OpenAIEngine(settings)
    toolbox = Toolbox(settings)
    room = asyncio.Semaphore(max(1, settings.engine_concurrency // TRIES))

    async def one(unsolved: tuple[Line, Wrong]) -> None:
        line, wrong = unsolved
        async with room:
            made = await correct(engine, writer, judge, line, wrong, given.max_tokens, toolbox)
        lines.add(given.corrections, made)
        lines.say(f"{line['prompt_id'][:12]}: {'corrected' if made['completion'] else 'stays wrong'}")

    try:
        await lines.together(todo, one, EngineAway, ModelMissing, OSError, CheckerBroken)
    finally:
        await engine.aclose()
        toolbox.close()


def write_report(corrections: Path, unavailable: str | None) -> None:
    """Say beside the corrections what came of them; the file appears whole."""
    found = lines.whole(corrections)
    rounds = Counter(line["rounds"] for line in found if line["completion"] is not None)
    body = {
        "unavailable": unavailable,
        "tried": len(found),
        "corrected": rounds.total(),
        "by_round": {str(number): rounds[number] for number in range(1, ROUNDS + 1)},
    }
    lines.report(corrections, body)


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("corrections", type=Path)
    parser.add_argument("--max-tokens", type=int, default=256)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
