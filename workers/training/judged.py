"""Have the judge of facts hold sampled answers against their source.

    python -m workers.training.judged SAMPLES.jsonl JUDGED.jsonl

Each whole answer to a prompt with a test of facts is judged once. A line of JUDGED says of its answers ``verdict`` and
``informative``, null where the judge gave none, and whether all of them claim what is wrong (``steadily_wrong``):
``training.selection`` drops what is wrong and may learn a refusal instead. A command that is given again goes on behind the lines
that are there; ``JUDGED.report.json`` is written last.

Nobody waits for the judge: where it is away, is not set up or is not admitted, nothing more is judged, and the report says why.

Exit codes: 0 everything was judged, or the report says why not; 2 the arguments or the samples; 4 the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import structlog

from app.kernel.settings import get_settings
from app.kernel.thinking import parted
from workers.engines.judge import Judge
from workers.engines.protocol import EngineAway, ModelMissing, PromptRefused
from workers.engines.replies import EngineReplyError
from workers.training import lines
from workers.training.judging import Word
from workers.training.lines import Line
from workers.verifiers import facts
from workers.verifiers.judging import Judged, read, steadily_wrong
from workers.verifiers.protocol import Case, case_of

log = structlog.get_logger()


class Away(Exception):
    """The judge cannot be asked now; the message says why."""


def to_judge(samples: Path, known: set[str]) -> Iterator[Line]:
    """The lines whose answers a judge is asked about; those that are ``known`` were judged before.

    Raises:
        OSError, ValueError, KeyError: the samples cannot be read.
    """
    with samples.open(encoding="utf-8", newline="\n") as sampled:
        for text in sampled:
            line = json.loads(text)
            named = line.get("verifiers")
            if (
                line["prompt_id"] not in known
                and (named is None or facts.NAME in named)
                and _case(line, "") is not None
            ):
                yield line


def _case(line: Line, answer: str) -> Case | None:
    """An answer with what it is held against; None where that is no test of facts."""
    try:
        case = case_of({**line, "response": answer})
    except ValueError as error:
        log.warning("answer_not_judged", prompt=line["prompt_id"], error=str(error))
        return None
    return case if facts.Facts().applies(case) else None


async def judge_line(judge: Judge, line: Line, room: asyncio.Semaphore) -> Line:
    """What the judge says of each whole answer to one prompt.

    Raises:
        Away: it cannot be asked now.
    """
    whole = [str(sample["text"]) for sample in line["samples"] if sample.get("finish_reason") in {None, "stop"}]
    texts = list(dict.fromkeys(whole))
    said = dict(zip(texts, await asyncio.gather(*(_one(judge, line, text, room) for text in texts)), strict=True))
    return {
        "prompt_id": line["prompt_id"],
        "checkpoint": line["checkpoint"],
        "judge": judge.name,
        "steadily_wrong": steadily_wrong([said[text] for text in whole]) and not _shown(line),
        "answers": [{"text": text} | _as_json(found) for text, found in said.items()],
    }


async def _one(judge: Judge, line: Line, text: str, room: asyncio.Semaphore) -> Judged | None:
    thought = parted(text)
    case = _case(line, thought[1] if thought else text)
    if case is None:
        return None
    try:
        async with room:
            return read(await judge.says(facts.question_of(case)))
    except (EngineAway, ModelMissing) as error:
        raise Away(str(error)) from error
    except (EngineReplyError, PromptRefused, ValueError) as error:
        log.warning("answer_not_judged", prompt=line["prompt_id"], error=str(error))
        return None


def _as_json(found: Judged | None) -> dict[str, Any]:
    if found is None:
        return {"verdict": None, "informative": None}
    return {"verdict": found.verdict.value, "informative": found.informative}


def _shown(line: Line) -> bool:
    """Whether the prompt holds its source: who misreads it should not learn to say that they do not know."""
    case = _case(line, "")
    said = "\n".join(str(message.get("content") or "") for message in line["prompt"])
    return case is not None and any(each in said for each in facts.sources_of(case))


def main(argv: list[str]) -> int:
    """Judge what the samples say; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("judged", type=Path)
    given = parser.parse_args(argv)
    if not get_settings().database_url:
        return lines.without_installation("judge")
    word, why_not = Word.admitted()
    try:
        given.judged.parent.mkdir(parents=True, exist_ok=True)
        given.judged.touch()
        if word is not None:
            why_not = _judge_all(word.judge, given.samples, given.judged)
        write_report(given.judged, why_not)
    except FileNotFoundError as error:
        return lines.end(str(error), 2)
    except OSError as error:
        return lines.end(
            f"Writing failed ({error}). Free some space, then start again: the verdicts so far are kept.", 4
        )
    except (ValueError, KeyError, TypeError) as error:
        return lines.end(f"{given.samples} cannot be understood ({error!r}): sample again", 2)
    lines.say(f"no answer is judged any more: {why_not}" if why_not else "every answer with a source is judged")
    return 0


def _judge_all(judge: Judge, samples: Path, judged: Path) -> str | None:
    """Judge what is left; the reason where the judge went away."""
    with samples.open(encoding="utf-8") as sampled:
        first = sampled.readline()
    checkpoint = json.loads(first)["checkpoint"] if first.strip() else ""
    known = {line["prompt_id"] for line in lines.before(judged, checkpoint=checkpoint, judge=judge.name)}
    try:
        asyncio.run(_all(judge, list(to_judge(samples, known)), judged))
    except Away as away:
        return f"the judge is away: {away}"
    return None


async def _all(judge: Judge, todo: Sequence[Line], judged: Path) -> None:
    room = asyncio.Semaphore(judge.at_once)

    async def one(line: Line) -> None:
        found = await judge_line(judge, line, room)
        lines.add(judged, found)
        lines.say(f"{found['prompt_id'][:12]}: {len(found['answers'])} answers judged")

    await lines.together(todo, one, Away, OSError)


def write_report(judged: Path, why_not: str | None) -> None:
    """Say beside the verdicts what came of them; the file appears whole."""
    found = lines.whole(judged)
    verdicts = Counter(str(answer["verdict"]) for line in found for answer in line["answers"])
    body = {
        "unavailable": why_not,
        "prompts": len(found),
        "steadily_wrong": sum(line["steadily_wrong"] for line in found),
        "answers": dict(sorted(verdicts.items())),
    }
    lines.report(judged, body)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
