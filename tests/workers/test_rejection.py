"""K answers to each training prompt, from the policy that is newest, whatever ends on the way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.registry import service as registry
from app.settings import Settings
from tests.fake_engine import FakeEngine, Fault, Mode
from tests.generating import register_policy, serve_base
from workers import openai_engine, rejection
from workers.engines import EngineAway
from workers.rejection import Writer


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    rows = [
        {
            "prompt_hash": f"hash-{name}",
            "prompt": [{"role": "user", "content": f"Tell me about {name}."}],
            "split": "held_out" if name == "bees" else "train",
            "tools": None,
        }
        for name in ("bread", "rivers", "bees", "bread")
    ]
    (folder / "preferences.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run(settings: Settings, snapshot: Path, k: int = 3, checkpoint: str = "base") -> rejection.Tally:
    writer = Writer(checkpoint, None, {"temperature": 0.8})
    asked = rejection.questions(snapshot)
    return asyncio.run(rejection.sample(settings, asked, writer, snapshot.parent / "s.jsonl", k=k, max_tokens=20))


def lines(snapshot: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (snapshot.parent / "s.jsonl").read_text().splitlines()]


def test_one_request_a_prompt_asks_for_all_and_held_out_prompts_are_not_asked(
    settings: Settings, fake: FakeEngine, snapshot: Path
) -> None:
    assert run(settings, snapshot) == rejection.Tally(done=2)
    assert sorted(line["prompt_id"] for line in lines(snapshot)) == ["hash-bread", "hash-rivers"]
    for line in lines(snapshot):
        assert (line["checkpoint"], line["k"], len(line["samples"])) == ("base", 3, 3)
        assert all(sample["text"] and sample["finish_reason"] for sample in line["samples"])
        assert line["sampling"] == {"model": "base", "temperature": 0.8, "max_tokens": 20}
    assert [request["n"] for request in fake.asked] == [3, 3]


def test_a_second_start_goes_on_behind_what_is_there_and_cuts_off_half_a_line(
    settings: Settings, fake: FakeEngine, snapshot: Path
) -> None:
    run(settings, snapshot)
    whole = (snapshot.parent / "s.jsonl").read_text().splitlines()
    (snapshot.parent / "s.jsonl").write_text(whole[0] + "\n" + whole[1][:40])
    assert run(settings, snapshot) == rejection.Tally(done=1, there_before=1)
    assert len(lines(snapshot)) == 2
    assert lines(snapshot)[0] == json.loads(whole[0])
    assert len(fake.asked) == 3


def test_a_file_of_another_policy_is_refused(settings: Settings, snapshot: Path) -> None:
    run(settings, snapshot)
    with pytest.raises(ValueError, match="3 samples a prompt of base, not 4 of base"):
        run(settings, snapshot, k=4)
    with pytest.raises(ValueError, match="not 3 of policy-r1: choose another file"):
        run(settings, snapshot, checkpoint="policy-r1")


def test_a_prompt_that_the_engine_refuses_costs_no_other(
    settings: Settings, fake: FakeEngine, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_engine, "PROBE_TIMEOUT", 4.0)
    fake.faults.append(Fault(Mode.REFUSED, match="rivers"))
    assert run(settings, snapshot) == rejection.Tally(done=1, refused=1)
    assert [line["prompt_id"] for line in lines(snapshot)] == ["hash-bread"]


def test_an_engine_that_goes_away_ends_it_and_what_was_sampled_stays(
    settings: Settings, fake: FakeEngine, snapshot: Path
) -> None:
    run(settings, snapshot)
    (snapshot.parent / "s.jsonl").write_text(json.dumps(lines(snapshot)[0]) + "\n")
    fake.stop()
    with pytest.raises(EngineAway):
        run(settings, snapshot)
    assert len(lines(snapshot)) == 1


def test_the_newest_policy_answers_and_the_base_where_there_is_none(
    settings: Settings, committed: Engine, tmp_path: Path
) -> None:
    assert rejection.newest_policy() is None
    with Session(committed) as session:
        base = serve_base(session, settings)
        writer = rejection.newest_policy()
        assert writer is not None
        assert (writer.checkpoint, writer.model) == (base.name, None)
        for name in ("policy-r1", "policy-r2"):
            registry.promote(session, register_policy(session, tmp_path / name))
        for deployment in registry.in_rotation(session):
            registry.mark_loaded(session, deployment.id)
        session.commit()
    writer = rejection.newest_policy()
    assert writer is not None
    assert (writer.checkpoint, writer.model) == ("policy-r2", "policy-r2")
    assert "temperature" in writer.sampling


def test_the_command_says_what_it_did_and_what_to_do(
    settings: Settings, committed: Engine, fake: FakeEngine, snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(snapshot), str(snapshot.parent / "s.jsonl"), "--k", "2"]
    assert rejection.main(arguments) == 1
    assert "No policy is served" in capsys.readouterr().err
    with Session(committed) as session:
        serve_base(session, settings)
    assert rejection.main(arguments) == 0
    assert "2 prompts sampled from" in capsys.readouterr().out
    fake.stop()
    (snapshot.parent / "s.jsonl").unlink()
    assert rejection.main(arguments) == 1
    assert "Start this command again" in capsys.readouterr().err
    assert rejection.main([str(snapshot / "nowhere"), *arguments[1:]]) == 2
