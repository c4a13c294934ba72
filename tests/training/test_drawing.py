"""Answers that call tools are drawn turn by turn; what tools answered is read, and nothing is learnt of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.training.conftest import byte_tokenizer, make_asked, make_rows, write_snapshot
from tests.training.test_grpo import run
from tests.training.test_stepwise import ADD, RUNNER, SEARCH
from training.data import asked
from training.data.tools import Tools
from training.formats.events import EventLog
from training.model.models import load_tokenizer
from training.run import drawing, learning
from training.run.drawing import Here

SHOWN = "{{ (tools or []) | map(attribute='name') | join }}"


class Scripted(Here):
    """Says ``[add]`` so many times, and then what it was told to say; each turn comes to its end."""

    calls, last = 1, "7!"

    def draw(self, behind: Sequence[list[int]], trainer: Any) -> list[list[int]]:
        texts = [self.tokenizer.decode(ids) for ids in behind]
        said = ["[add]" if text.count("[add]") < self.calls else self.last for text in texts]
        return [[*self.tokenizer.encode(text), self.tokenizer.eos_token_id] for text in said]


def drawn(tmp_path: Path, *, max_length: int = 400, **tools: list[Any]) -> tuple[Any, dict[str, Any]]:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = SHOWN + tokenizer.chat_template
    given = [make_asked(f"{name}?", reference="7", tools=found) for name, found in tools.items()]
    write_snapshot(tmp_path, make_rows(2, 0), given)
    prompts = {each.prompt_hash: each for each in asked.read(tmp_path)}
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=tokenizer.eos_token_id))
    trainer = SimpleNamespace(model=model, accelerator=SimpleNamespace(unwrap_model=lambda model: model))
    config: Any = SimpleNamespace(max_tokens=12, max_length=max_length, temperature=1.0, engine=None)
    runs = {name: bool(each.tools) for name, each in prompts.items()}
    with Tools(RUNNER) as running:
        drawer = Scripted(config, tokenizer, prompts, running, runs)
        keys = [[{"role": "user", "content": name}] for name in prompts]
        return tokenizer, drawer.answers(keys, trainer)


def test_what_a_tool_answers_is_given_and_each_turn_stays_as_it_was_drawn(tmp_path: Path) -> None:
    tokenizer, found = drawn(tmp_path, sums=[ADD], plain=[])
    assert found["said"] == ["7!", "[add]"], "without tools the call is the answer"
    assert [len(steps) for steps in found["steps"]] == [2, 0]
    whole = tokenizer.decode(found["completion_ids"][0])
    assert whole.startswith("[add]<|im_end|>")
    assert whole.endswith("<|im_start|>assistant\n7!<|im_end|>")
    assert "seven" in whole
    pairs = list(zip(found["completion_ids"][0], found["env_mask"][0], strict=True))
    assert tokenizer.decode([token for token, own in pairs if own]) == "[add]<|im_end|>7!<|im_end|>"
    assert set(found["env_mask"][1]) == {1}


def test_an_answer_ends_with_its_call_where_another_turn_has_no_room(tmp_path: Path) -> None:
    _, found = drawn(tmp_path, max_length=60, sums=[ADD])
    assert (found["said"], found["steps"]) == (["[add]"], [[]])


def test_a_policy_learns_from_such_answers_and_what_cannot_be_run_is_left_out(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    template = base / "chat_template.jinja"
    template.write_text(SHOWN + template.read_text())
    assert load_tokenizer(str(base)).chat_template.startswith(SHOWN)

    masks = list[torch.Tensor]()

    class Watched(learning.GRPOTrainer):
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            made = super()._generate_and_score_completions(inputs)
            masks.append(made["tool_mask"])
            return made

    monkeypatch.setattr(learning, "GRPOTrainer", Watched)
    monkeypatch.setattr(drawing.Here, "draw", Scripted.draw)
    monkeypatch.setattr(drawing.Here, "calls", 1, raising=False)
    monkeypatch.setattr(drawing.Here, "last", "7!", raising=False)
    prompts = [
        make_asked("Sums?", reference="7", tools=[ADD]),
        make_asked("Documents?", reference="7", tools=[SEARCH]),
        make_asked("How many are held out?", reference="7", tools=[ADD], split="held_out"),
    ]
    settings = {"steps": 1, "prompts": 1, "answers": 2, "max_length": 256, "tools": RUNNER}
    assert run(tmp_path, base, "rule", asked=prompts, **settings) == 0
    data = next(event for event in EventLog(tmp_path / "final.run").every() if event["event"] == "data")
    assert (data["checked_prompts"], data["prompts_run_tools"], data["checked_held_out"]) == (1, 1, 1)
    [mask] = masks
    assert (mask == 0).any()
    assert (mask == 1).any()
    [step] = [event for event in EventLog(tmp_path / "final.run").every() if event["event"] == "step"]
    assert step["metrics"]["reward"] == 0.5, "the share of digits in what is said last, not in the whole"
