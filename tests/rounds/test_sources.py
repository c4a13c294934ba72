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
from app.kernel.errors import BadInput, Conflict
from app.kernel.settings import get_settings
from app.lineage.queries import checkpoint_lineage, source_uses
from app.loops.queries import current_round
from app.prompts.intake import SentFile
from app.registry.models import Checkpoint
from app.rounds import claims, discarding, learnt, service
from app.rounds.models import RunKind, RunSource, RunState, TrainingRun
from app.rounds.readiness import readiness
from app.sources import service as sources
from app.sources.forms import SourceIn
from app.sources.models import Source
from app.sources.storing import remove_deleted, rows_file, stored
from app.upkeep.audit import audit
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


def start(bob: User, weights: dict[int, float] | None = None) -> dict[RunKind, TrainingRun]:
    with session_scope() as session:
        return {run.kind: run for run in service.start_training(session, bob, weights or {})}


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
            return found.units, [each.source.name for each in found.sources]

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


# ── Weights of one training alone ────────────────────────────────────────────────────────────────────────────────────
def test_a_weight_for_one_training_is_frozen_with_it_and_changes_nothing_else(bob: User, annotated: None) -> None:
    more = add("preferences", 0, pair("Why is the sky so blue today?"), name="more")
    less = add("preferences", 3, pair("Why is the sea so blue today?"), name="less")
    runs = start(bob, {more.id: 0.5, less.id: 0})
    told = runs[RunKind.DPO].config["run"]["sources"]
    assert [(each["name"], each["weight"]) for each in told] == [("more", 0.5)]
    assert runs[RunKind.REWARD].config["scope"] == "all rounds, and of the source more × 0.5"
    with session_scope() as session:
        kept = session.execute(select(RunSource.source_id, RunSource.weight)).all()
        assert kept == [(more.id, 0.5)] * 2
        assert [session.get_one(Source, each.id).weight for each in (more, less)] == [0, 3], "what is set stays"


def test_a_weight_that_no_run_could_use_is_refused_with_the_reason(bob: User, annotated: None) -> None:
    gone = add("preferences", 1, pair("Why?"), name="gone")
    idle = add("completions", 1, answer("Why?"), name="idle")
    with session_scope() as session:
        sources.withdraw(session, None, session.get_one(Source, gone.id))
    for weights, why in (
        ({gone.id: 1.0}, "“gone” was withdrawn"),
        ({idle.id: 1.0}, "“idle” holds prompts with answers, from which no run learns"),
        ({999: 1.0}, "no source 999"),
    ):
        with pytest.raises(BadInput, match=why):
            start(bob, weights)
    with session_scope() as session:
        assert session.scalars(select(TrainingRun)).all() == []


def test_bob_and_a_program_set_weights_where_a_training_is_started(
    bob: User, annotated: None, client: TestClient
) -> None:
    made = add("preferences", 2, pair("Why is the sky so blue today?"))
    page = sign_in(client, bob)
    assert f'name="source" value="{made.id}"' in page.get("/rounds").text
    wrong = page.post("/rounds/train", data={"source": made.id, "weight": "lots"})
    assert (wrong.status_code, 'value="lots"' in wrong.text) == (422, True)
    assert "from 0 to 10" in wrong.text
    assert page.post("/rounds/train", data={"source": made.id, "weight": "1", "x": "1"}).status_code == 422
    wrongs: list[dict[str, Any]] = [{"weights": {"x": 1}}, {"weights": {str(made.id): 11}}, {"weight": {}}]
    for body in wrongs:
        assert client.post("/api/v1/training-runs", json=body).status_code == 422
    assert page.post("/rounds/train", data={"source": made.id, "weight": "0,25"}).status_code == 303
    assert [each["weight"] for each in run_of(RunKind.REWARD).config["run"]["sources"]] == [0.25]
    client.post(f"/api/v1/training-runs/{run_of(RunKind.REWARD).id}/cancel")
    started = client.post("/api/v1/training-runs", json={"weights": {str(made.id): 0.5}})
    assert started.status_code == 202, started.text
    assert [each["weight"] for each in started.json()["training_runs"][0]["sources"]] == [0.5]


# ── Deleting the file ────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_file_of_a_withdrawn_source_goes_once_no_run_needs_it(
    bob: User, annotated: None, messages: object, client: TestClient
) -> None:
    made = add("preferences", 2, pair("Why is the sky so blue today?"))
    run = start(bob)[RunKind.REWARD]
    page = sign_in(client, bob)
    url = f"/sources/{made.id}/file/delete"
    early = page.post(url)
    assert (early.status_code, "withdraw it first" in early.text) == (409, True)
    page.post(f"/sources/{made.id}/withdraw")
    needed = page.post(url)
    assert (needed.status_code, f"{run.id}, {run.id + 1} have not ended" in needed.text) == (409, True)
    client.post(f"/api/v1/training-runs/{run.id}/cancel")
    assert "Delete file" in page.get(f"/sources/{made.id}").text
    assert page.post(url).status_code == 303
    deleted = client.delete(f"/api/v1/sources/{made.id}/file").json()
    assert (deleted["sha256"], deleted["file_deleted_at"] is not None) == (made.sha256, True), "twice is as once"
    with session_scope() as session:
        assert rows_file(made).exists(), "not before it is stored that it is deleted"
        remove_deleted(session)
        remove_deleted(session)
        assert not rows_file(made).parent.exists()
        assert [each for each in audit(session) if each.row.startswith("source")] == []
    assert "The file is deleted." in page.get(f"/sources/{made.id}").text
    assert "(file deleted)" in page.get(f"/runs/{run.id}").text
    [learnt_from] = client.get(f"/api/v1/training-runs/{run.id}").json()["sources"]
    assert (learnt_from["sha256"], learnt_from["file_deleted_at"] is not None) == (made.sha256, True)
    retried = client.post(f"/api/v1/training-runs/{run.id}/retry")
    assert (retried.status_code, "“others” was deleted" in retried.json()["detail"]) == (409, True)


def test_a_file_is_deleted_of_a_withdrawn_source_alone(bob: User, annotated: None) -> None:
    made = add("preferences", 0, pair("Why?"))
    with session_scope() as session, pytest.raises(Conflict, match="withdraw it first"):
        discarding.delete_file(session, None, session.get_one(Source, made.id))
    assert rows_file(made).exists()
