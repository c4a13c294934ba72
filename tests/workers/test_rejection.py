"""K answers to each training prompt, from the champion, whatever ends on the way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.kernel.db import session_scope
from app.kernel.settings import Settings
from app.prompts import documents
from app.prompts.models import Prompt
from app.registry import service as registry
from tests.engine_faults import Fault, Mode
from tests.fake_engine import FakeEngine
from tests.generating import load_all, open_batch, promote, register_policy, serve_base
from training.data import sampled
from workers.engines.protocol import EngineAway, ModelMissing
from workers.tools.calculator import Calculator
from workers.tools.documents import Search
from workers.tools.protocol import shown
from workers.training import rejection
from workers.training.rejection import Writer


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


def test_the_turn_of_a_dialogue_is_not_checked_by_what_its_first_turn_comes_to(snapshot: Path) -> None:
    first = {"prompt_hash": "hash-rivers", "prompt": [{"role": "user", "content": "1 + 1?"}], "split": "train"}
    lines = [first | {"reference": "2"}, first | {"prompt_hash": "hash-sum", "tests": []}, first | {"reference": "3"}]
    lines.append(lines[1] | {"tests": [{"kind": "answer"}]})
    (snapshot / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = {question.prompt_id: question for question in rejection.questions(snapshot)}
    assert asked["hash-rivers"].messages == [{"role": "user", "content": "Tell me about rivers."}]
    assert not any(asked["hash-rivers"].known.values())
    assert asked["hash-sum"].known["tests"] == [{"kind": "answer"}]


def asks(snapshot: Path, text: str, *tools: dict[str, Any], **known: Any) -> dict[str, Any]:
    """One more training prompt, with tools."""
    line = {"prompt_hash": "ab" * 32, "prompt": [{"role": "user", "content": text}], "split": "train"}
    (snapshot / "prompts.jsonl").write_text(json.dumps(line | {"tools": list(tools)} | known) + "\n")
    return line


def test_answers_that_call_tools_are_sampled_step_by_step(
    settings: Settings, tool_use: FakeEngine, snapshot: Path
) -> None:
    said = '<tool_call>\n{"name": "calculator", "arguments": {"expression": "21*2"}}\n</tool_call>'
    tool_use.script = [("Twice 21?", said), ("answers call_1", None)]
    asks(snapshot, "Twice 21?", shown(Calculator()))
    assert run(settings, snapshot, k=2) == rejection.Tally(done=3)
    [line] = [each for each in lines(snapshot) if each["prompt_id"] == "ab" * 32]
    assert line["k"] == len(line["samples"]) == 2
    for sample in line["samples"]:
        calling, result = sample["steps"]
        assert (calling["said"], result["content"]) == (said, "42")
        assert (sample["ended"], sample["text"][:5]) == ("answered", "base ")
    others = [each for each in lines(snapshot) if each["prompt_id"] != line["prompt_id"]]
    assert not any("steps" in sample for each in others for sample in each["samples"])
    assert [len(one.answers[0].steps) for one in sampled.read(snapshot.parent / "s.jsonl")].count(2) == 1


def test_calls_that_are_what_is_tested_are_the_answer(settings: Settings, tool_use: FakeEngine, snapshot: Path) -> None:
    asks(snapshot, "Twice 21?", shown(Calculator()), tests=[{"kind": "tool_calls", "calls": []}])
    assert run(settings, snapshot) == rejection.Tally(done=3)
    assert not any("ended" in sample for line in lines(snapshot) for sample in line["samples"])


def test_a_search_needs_the_documents_of_a_batch_that_has_the_prompt(
    settings: Settings, tool_use: FakeEngine, snapshot: Path
) -> None:
    asks(snapshot, "Who wrote it?", shown(Search({})))
    assert run(settings, snapshot) == rejection.Tally(done=2, runs_tools=1)
    said = '<tool_call>\n{"name": "search", "arguments": {"query": "author"}}\n</tool_call>'
    tool_use.script = [("Who wrote it?", said), ("answers call_1", None)]
    with session_scope() as session:
        for name in ("older", "newer"):
            batch = open_batch(session, ["Who wrote it?"], wanted=2)
            prompt = session.scalars(select(Prompt).where(Prompt.batch_id == batch.id)).one()
            prompt.tools, prompt.content_hash = [shown(Search({}))], bytes.fromhex("ab" * 32)
            session.flush()
            if name == "older":
                documents.add(session, None, batch, "book.txt", b"The author is Lu Xun.")
    assert run(settings, snapshot) == rejection.Tally(done=1, there_before=2)
    [found] = {sample["steps"][1]["content"] for line in lines(snapshot)[2:] for sample in line["samples"]}
    assert found == "[book.txt] The author is Lu Xun."


def test_of_many_prompts_so_many_are_drawn_and_each_snapshot_draws_its_own(snapshot: Path) -> None:
    row = json.loads((snapshot / "preferences.jsonl").read_text().splitlines()[0]) | {"split": "train"}
    rows = [row | {"prompt_hash": f"{number:064x}"} for number in range(40)]
    drawn = []
    for name in ("snapshot-a", "snapshot-a", "snapshot-b"):
        folder = snapshot.parent / name
        folder.mkdir(exist_ok=True)
        (folder / "preferences.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
        drawn.append([question.prompt_id for question in rejection.questions(folder, 10)])
    assert drawn[0] == drawn[1], "what is resumed asks the same"
    assert {len(each) for each in drawn} == {10}
    assert drawn[0] != drawn[2]
    assert len(rejection.questions(folder, 99)) == len(rejection.questions(folder)) == 40


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


def test_a_prompt_that_the_engine_refuses_costs_no_other(settings: Settings, fake: FakeEngine, snapshot: Path) -> None:
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


def test_the_champion_answers_and_nobody_for_it(settings: Settings, committed: Engine, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing):
        rejection.champion()
    with Session(committed) as session:
        base = serve_base(session, settings)
        writer = rejection.champion()
        assert (writer.checkpoint, writer.model) == (base.name, None)
        promote(session, register_policy(session, tmp_path / "policy-r1"))
        session.commit()
        with pytest.raises(ModelMissing):  # the base answers people meanwhile, and teaches nothing
            rejection.champion()
        load_all(session)
        registry.challenge(session, register_policy(session, tmp_path / "policy-r2"))
        load_all(session)
    writer = rejection.champion()
    assert (writer.checkpoint, writer.model) == ("policy-r1", "policy-r1"), "not the newest, which has yet to win"
    assert "temperature" in writer.sampling


def test_the_command_says_what_it_did_and_what_to_do(
    settings: Settings, committed: Engine, fake: FakeEngine, snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(snapshot), str(snapshot.parent / "s.jsonl"), "--k", "2"]
    assert rejection.main(arguments) == 1
    assert "does not serve the champion yet" in capsys.readouterr().err
    with Session(committed) as session:
        serve_base(session, settings)
    assert rejection.main(arguments) == 0
    assert "2 prompts sampled from" in capsys.readouterr().out
    fake.stop()
    (snapshot.parent / "s.jsonl").unlink()
    assert rejection.main(arguments) == 1
    assert "Start again when the engine is back" in capsys.readouterr().err
    assert rejection.main([str(snapshot / "nowhere"), *arguments[1:]]) == 2


def test_the_report_is_there_only_when_every_prompt_was_asked(
    settings: Settings, committed: Engine, fake: FakeEngine, snapshot: Path
) -> None:
    samples, report = snapshot.parent / "s.jsonl", snapshot.parent / "s.report.json"
    arguments = [str(snapshot), str(samples), "--k", "1"]
    with Session(committed) as session:
        base = serve_base(session, settings).name
    fake.faults.append(Fault(Mode.REFUSED, match="rivers"))
    assert rejection.main(arguments) == 0
    assert json.loads(report.read_text()) == {"checkpoint": base, "sampled": 1, "refused": 1, "runs_tools": 0}
    report.unlink()
    fake.stop()
    assert rejection.main(arguments) == 1
    assert not report.exists()
    assert len(lines(snapshot)) == 1, "what was sampled is kept"


def test_samples_of_another_policy_are_replaced_where_that_is_asked_for(
    settings: Settings, committed: Engine, fake: FakeEngine, snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Session(committed) as session:
        base = serve_base(session, settings).name
    run(settings, snapshot, checkpoint="policy-r1")
    arguments = [str(snapshot), str(snapshot.parent / "s.jsonl"), "--k", "3"]
    assert rejection.main(arguments) == 2
    assert "choose another file" in capsys.readouterr().err
    assert {line["checkpoint"] for line in lines(snapshot)} == {"policy-r1"}
    assert rejection.main([*arguments, "--replace"]) == 0
    assert [line["checkpoint"] for line in lines(snapshot)] == [base, base]


def test_a_full_disk_is_told_from_an_engine_that_is_away(
    settings: Settings,
    committed: Engine,
    fake: FakeEngine,
    snapshot: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with Session(committed) as session:
        serve_base(session, settings)
    monkeypatch.setattr(rejection, "_line", full)
    assert rejection.main([str(snapshot), str(snapshot.parent / "s.jsonl"), "--k", "3"]) == 4
    assert "Free some space" in capsys.readouterr().err
