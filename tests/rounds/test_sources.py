"""A round learns from a source only when somebody gave it a weight, and says so from then on."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts.models import User
from app.kernel.db import session_scope
from app.kernel.settings import get_settings
from app.lineage.queries import checkpoint_lineage, source_uses
from app.loops.queries import current_round
from app.prompts.intake import SentFile
from app.registry.models import Checkpoint
from app.rounds import claims, learnt, service
from app.rounds.models import RunKind, RunSource, RunState, TrainingRun
from app.rounds.readiness import readiness
from app.sources import service as sources
from app.sources.forms import SourceIn
from app.sources.models import Source
from app.sources.storing import stored
from tests.factories import sign_in
from tests.rounds.conftest import build_snapshots, run_of
from tests.training.conftest import byte_tokenizer
from training.data.beside import Beside
from training.data.rows import prepare
from training.formats.prompts import Split, content_hash, split_of
from training.formats.settings import DataConfig, SourceConfig
from workers.tasks.rounds import run_training


@pytest.fixture(autouse=True)
def _no_sources(data_dir: Path) -> Iterator[None]:
    yield
    shutil.rmtree(data_dir / "sources", ignore_errors=True)


def add(kind: str, weight: float, *rows: dict[str, Any], name: str = "others") -> Source:
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    wanted = SourceIn.model_validate({"name": name, "kind": kind, "origin": "other_task"})
    with session_scope() as session, stored(SentFile("x.jsonl", content), wanted) as found:
        made = sources.add(session, None, wanted, found)
        sources.weigh(session, None, made, weight)
        return made


def pair(prompt: str) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": f"Gladly: {prompt}", "rejected": "No."}


def answer(prompt: str) -> dict[str, Any]:
    return {"prompt": prompt, "completion": f"Gladly: {prompt}"}


def start(bob: User) -> dict[RunKind, TrainingRun]:
    with session_scope() as session:
        return {run.kind: run for run in service.start_training(session, bob)}


def claimed(run: TrainingRun) -> dict[str, Any]:
    with session_scope() as session:
        claim = claims.claim(session, run.id)
        assert claim is not None
        return claim.config


def test_nothing_is_mixed_in_unasked(bob: User, annotated: None) -> None:
    add("preferences", 0, pair("Why is the sky so blue today?"))
    runs = start(bob)
    assert all("sources" not in run.config["run"] for run in runs.values())
    assert runs[RunKind.REWARD].config["scope"] == "all rounds"
    with session_scope() as session:
        assert session.scalars(select(RunSource)).all() == []


def test_preferences_go_to_reward_model_and_policy_and_answers_to_the_imitation(
    bob: User, annotated: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRAL_TRAINING_SAMPLES", "2")
    get_settings.cache_clear()
    add("preferences", 2, pair("Why is the sky so blue today?"), name="pairs")
    add("completions", 0.5, answer("Why is the sky so blue today?"), name="answers")
    runs = start(bob)
    named = {kind: [each["name"] for each in run.config["run"].get("sources", [])] for kind, run in runs.items()}
    assert named == {RunKind.REWARD: ["pairs"], RunKind.SFT: ["answers"], RunKind.DPO: ["pairs"]}
    assert runs[RunKind.REWARD].config["scope"] == "all rounds, and of the source pairs × 2"
    assert {run.config["run"]["data"]["held_out_percent"] for run in runs.values()} == {get_settings().held_out_percent}


def test_what_a_run_is_told_is_what_training_finds_and_no_held_out_prompt_is_in_it(
    bob: User, annotated: None, messages: object
) -> None:
    """The held-out questions of the installation are left out of the source, by the hash that both sides share."""
    percent = get_settings().held_out_percent
    asked = [f"Why is number {number} of them so blue today?" for number in range(200)]
    sides = {text: split_of(content_hash([{"role": "user", "content": text}]), percent) for text in asked}
    rows = [pair(text) for side in Split for text in [text for text in asked if sides[text] is side][:4]]
    made = add("preferences", 2, *rows)
    run = start(bob)[RunKind.REWARD]
    build_snapshots()
    told = claimed(run)
    assert told["data"]["held_out_percent"] == percent
    [source] = [SourceConfig(**each | {"path": Path(each["path"])}) for each in told["sources"]]
    assert (source.name, source.weight, source.sha256) == ("others", 2.0, made.sha256)
    limits = DataConfig(min_strength=3, max_length=512, held_out_percent=percent)
    found = prepare(
        Path(told["snapshot"]), limits, byte_tokenizer(), max_held_out=9, consumer="reward", beside=Beside([source])
    )
    [said] = found.counts["sources"]
    assert (said["rows"], said["held_out"], said["usable"], said["seen"]) == (8, 4, 4, 8)
    assert len(found.rows) == 10 + 8


def test_a_run_keeps_its_sources_and_weights_whatever_becomes_of_them(
    bob: User, annotated: None, messages: object
) -> None:
    made = add("preferences", 2, pair("Why is the sky so blue today?"))
    run = start(bob)[RunKind.REWARD]
    build_snapshots()
    first = claimed(run)
    with session_scope() as session:
        sources.withdraw(session, None, session.get_one(Source, made.id))
        again = session.get_one(TrainingRun, run.id)
        again.state = RunState.QUEUED
    assert claimed(run) == first, "it resumes with the very same run file"
    with session_scope() as session:
        [kept] = learnt.of_runs(session, [run.id])[run.id]
        assert (kept.weight, kept.source.sha256) == (2.0, made.sha256)
        assert [use.run.kind for use in source_uses(session, made)] == [RunKind.REWARD, RunKind.DPO]


def test_what_it_takes_longer_is_said_before_it_starts(bob: User, annotated: None) -> None:
    def ready() -> tuple[dict[RunKind, int], list[str]]:
        with session_scope() as session:
            current = current_round(session)
            assert current is not None
            found = readiness(session, current)
            return found.units, [each.name for each in found.sources]

    before, none = ready()
    add("preferences", 2.5, *(pair(f"Why is number {n} of them so blue today?") for n in range(4)))
    add("completions", 1, answer("Which run would imitate this?"), name="idle")
    after, some = ready()
    assert (none, some) == ([], ["others"]), "answers wait for a training that imitates"
    assert after[RunKind.REWARD] == before[RunKind.REWARD] + 10
    assert after[RunKind.DPO] == before[RunKind.DPO] + 10
    assert after[RunKind.CHECK] == before[RunKind.CHECK]


def test_run_checkpoint_and_source_tell_of_each_other(
    bob: User, annotated: None, messages: object, fake_training: Callable[[str], None], client: TestClient
) -> None:
    made = add("preferences", 0.5, pair("Why is the sky so blue today?"))
    fake_training("")
    run = start(bob)[RunKind.REWARD]
    build_snapshots()
    run_training(run.id)
    done = run_of(RunKind.REWARD)
    assert done.state is RunState.SUCCEEDED
    told = tomllib.loads((get_settings().runs_dir / f"run-{run.id}" / "run.toml").read_text())
    assert [each["name"] for each in told["sources"]] == ["others"]
    with session_scope() as session:
        checkpoint = session.get_one(Checkpoint, done.checkpoint_id)
        [kept] = checkpoint_lineage(session, bob, checkpoint).sources
        assert (kept.source.id, kept.weight) == (made.id, 0.5)
    page = sign_in(client, bob)
    for address in (f"/runs/{run.id}", f"/checkpoints/{done.checkpoint_id}"):
        assert f'<a href="/sources/{made.id}" dir="auto">others</a> × 0.5' in page.get(address).text
    assert f"/runs/{run.id}" in page.get(f"/sources/{made.id}").text
