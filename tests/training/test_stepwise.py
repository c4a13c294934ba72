"""Policies are measured by what they say once their tools have answered."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.training.conftest import byte_tokenizer, make_asked, make_rows, write_snapshot
from tests.training.test_checks import VERIFIER
from training.data import asked
from training.data.checks import Checks
from training.data.left_out import LeftOut
from training.data.tools import MOST_STEPS, Tools
from training.measure import verified
from training.measure.inference import Sample
from training.measure.stepwise import Turns, which_run
from training.measure.verified import Checked

RUNNER = [sys.executable, str(Path(__file__).with_name("runner.py"))]
SAMPLING = {"max_new_tokens": 8, "temperature": 0.0, "seed": 1}
ADD, SEARCH = ({"name": name, "parameters": {"type": "object", "properties": {}}} for name in ("add", "search"))


class Scripted:
    """A policy that calls ``add`` so many times, and then says what came back, or else that it does not know."""

    def __init__(self, calls: int) -> None:
        self.tokenizer = byte_tokenizer()
        self.tokenizer.chat_template = (
            "{{ (tools or []) | map(attribute='name') | join }}" + self.tokenizer.chat_template
        )
        self._calls, self.asked = calls, list[list[str]]()

    def sample(self, prompts: Sequence[list[int]], *, told: Any, **sampling: Any) -> list[Sample]:
        assert sampling == SAMPLING
        self.asked.append([self.tokenizer.decode(ids) for ids in prompts])
        told()
        return [self._one(text) for text in self.asked[-1]]

    def _one(self, text: str) -> Sample:
        done = text.count("[add]")
        said = "[add]" if done < self._calls else "seven" if done else "no"
        return Sample(self.tokenizer.encode(said), said, 2)


def which(command: list[str], found: list[Checked], data: Path) -> dict[str, bool | None]:
    return which_run(command, [each.source for each in found], data)


def questions(folder: Path, **tools: list[dict[str, Any]]) -> list[Checked]:
    given = [
        make_asked(f"{text}?", split="held_out", reference="seven", tools=found, capability="tool_use")
        for text, found in tools.items()
    ]
    write_snapshot(folder, make_rows(2, 0), given)
    policy = Scripted(1)
    return verified.questions(asked.read(folder), policy.tokenizer, max_length=400, most=99, left_out=LeftOut())


def test_calls_are_run_and_the_policy_asked_again_behind_what_came_back(tmp_path: Path) -> None:
    found = questions(tmp_path, sums=[ADD], plain=[])
    runs = which(RUNNER, found, tmp_path)
    assert list(runs.values()) == [True]
    told: list[None] = []
    policy: Any = Scripted(2)
    with Tools(RUNNER) as tools:
        samples = Turns(tools, runs, 400, SAMPLING, lambda: told.append(None)).of(policy, found)
    texts = {each.source.prompt[-1]["content"]: one for each, one in zip(found, samples, strict=True)}
    assert (texts["sums?"].text, texts["plain?"].text) == ("seven", "[add]"), "without tools nothing is run"
    assert [step["role"] for step in texts["sums?"].steps] == ["assistant", "tool"] * 2
    assert [len(batch) for batch in policy.asked] == [2, 1, 1]
    [last] = policy.asked[-1]
    asked_first = next(each for each in found if each.source.tools)
    assert policy.tokenizer.decode(asked_first.prompt_ids + texts["sums?"].before) == last
    assert last.count("seven") == 2
    assert len(told) == 3
    with Checks(VERIFIER) as checks:
        report = verified.measure(found, samples, samples, checks, resamples=50, seed=1)
    assert report.after["verified/tool_use"].value == 0.5, "the first turn of an answer is no answer"


def test_an_answer_ends_with_its_call_after_the_most_steps_or_where_there_is_no_room(tmp_path: Path) -> None:
    found = questions(tmp_path, sums=[ADD])
    for room, turns in ((4000, MOST_STEPS), (len(found[0].prompt_ids) + 10, 1)):
        policy: Any = Scripted(99)
        with Tools(RUNNER) as tools:
            [sample] = Turns(tools, which(RUNNER, found, tmp_path), room, SAMPLING).of(policy, found)
        assert (sample.text, len(policy.asked)) == ("[add]", turns)


def test_what_takes_documents_is_counted_apart_and_what_is_tested_is_the_call(tmp_path: Path) -> None:
    found = questions(tmp_path, docs=[SEARCH], other=[{"name": "other"}])
    names = {each.source.prompt[-1]["content"]: each.source.prompt_hash for each in found}
    assert which(RUNNER, found, tmp_path) == {names["docs?"]: None, names["other?"]: False}
    assert set(which([], found, tmp_path).values()) == {False}, "without a program a call is the answer"


def test_a_program_that_is_gone_or_says_nonsense_runs_nothing(tmp_path: Path) -> None:
    found = questions(tmp_path, sums=[ADD])
    for mode in ("odd", "deaf"):
        with Tools([*RUNNER, mode]) as tools:
            assert tools.runs([ADD]) is False
            assert tools.follow([ADD], "[add]", [], cut=False) is None
            assert tools.unavailable
        assert set(which([*RUNNER, mode], found, tmp_path).values()) == {False}
