"""What a reward model says of responses: one number each, in their places."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomli_w

from tests.training.conftest import make_rows, write_snapshot
from training import reward, scores
from training.run import runner, tool


def line(response: str, **more: object) -> str:
    row = {"prompt": [{"role": "user", "content": "What is bread?"}], "tools": None, "response": response}
    return json.dumps(row | more) + "\n"


def test_each_response_gets_its_number_and_one_that_cannot_be_rendered_gets_none(
    tmp_path: Path, tiny_base: Path
) -> None:
    write_snapshot(tmp_path / "snapshot", make_rows(8, 2))
    run = {"name": "judge", "snapshot": "snapshot", "base_model": str(tiny_base), "output": "judge", "seed": 3}
    (tmp_path / "reward.toml").write_text(tomli_w.dumps(run | {"optim": {"max_steps": 1}}))
    assert runner.main("reward", reward.build_trainer, [str(tmp_path / "reward.toml")]) == 0
    odd = line("Yes.", prompt=[{"role": "user"}])
    (tmp_path / "responses.jsonl").write_text(line("Flour and water.") + odd + line("A river.") + line("A river."))
    told = {"reward_model": "judge", "responses": "responses.jsonl", "output": "scores.json"}
    (tmp_path / "scores.toml").write_text(tomli_w.dumps(told))
    assert tool.main("", scores.ScoresConfig, scores.score, [str(tmp_path / "scores.toml")]) == 0
    bread, none, river, again = json.loads((tmp_path / "scores.json").read_text())
    assert none is None
    assert river == pytest.approx(again)
    assert bread != pytest.approx(river)
