"""What a run says while it runs, and what it need not find out twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.training.conftest import RunFile
from training.data.rows import Prepared
from training.formats import checkpoints
from training.formats.errors import NonFiniteError
from training.formats.events import EventLog
from training.formats.settings import RunConfig
from training.run import config, progress, stages
from training.run.progress import Progress


@pytest.fixture
def settings(run_file: RunFile) -> RunConfig:
    return config.load(run_file("reward"), "reward")


@pytest.fixture
def events(tmp_path: Path) -> EventLog:
    return EventLog(tmp_path)


def test_tokens_per_second_count_neither_measuring_nor_saving(
    settings: RunConfig, events: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    watched = Progress(replace(settings, evaluation=replace(settings.evaluation, every_steps=1)), "s", events)

    def slow() -> dict[str, float]:
        now[0] += 500
        return {"held_out/accuracy": 0.5}

    watched.evaluate = slow
    for step in (1, 2):
        now[0] += 70  # the trainer saves and loads
        watched.on_step_begin()
        now[0] += 2
        state = SimpleNamespace(global_step=step, max_steps=9)
        watched.on_log(None, state, None, logs={"loss": 1.0, "num_tokens": 100.0 * step})
        said = events.last("step")
        assert said is not None
        assert said["metrics"]["tokens_per_second"] == 50


def test_an_event_with_a_line_separator_in_it_is_one_line(events: EventLog) -> None:
    events.emit("warning", message="a\u2028b\x85c\r\n\x1cd")
    events.emit("data", rows=1)
    said = events.last("warning")
    assert said is not None
    assert said["message"] == "a\u2028b\x85c\r\n\x1cd"
    assert events.last("final") is None


def test_a_baseline_holds_for_the_settings_and_the_data_that_it_was_measured_under(
    settings: RunConfig, events: EventLog
) -> None:
    data = Prepared([], [], {}, "snapshot-1")
    assert stages.baseline(settings, events, data, lambda: {"accuracy": 0.5}) == {"accuracy": 0.5}
    assert stages.baseline(settings, events, data, lambda: {"accuracy": 0.6}) == {"accuracy": 0.5}
    longer = replace(settings, data=replace(settings.data, max_length=999))
    assert stages.baseline(longer, events, data, lambda: {"accuracy": 0.7}) == {"accuracy": 0.7}
    other = replace(data, snapshot_sha256="snapshot-2")
    assert stages.baseline(longer, events, other, lambda: {"accuracy": 0.8}) == {"accuracy": 0.8}


def losses_until_the_brake(settings: RunConfig, events: EventLog, losses: list[float]) -> int:
    """How many steps a run takes with these losses."""
    watched = Progress(settings, "s", events)
    for step, loss in enumerate(losses, start=1):
        try:
            watched.on_log(None, SimpleNamespace(global_step=step, max_steps=99), None, logs={"loss": loss})
        except NonFiniteError:
            return step
    return len(losses)


@pytest.mark.parametrize(
    ("losses", "steps"),
    [
        ([0.7, 0.6, float("nan"), 0.5], 3),
        ([0.7, 0.6, 0.8, 9.0, 9.0, 9.0, 0.5], 6),
        ([0.7, 0.6, 0.8, 9.0, 9.0, 0.5, 9.0, 9.0], 8),
        ([0.0, 0.0, 0.0, 4.0, 4.0, 4.0, 4.0], 7),
        ([30.0, 28.0, 31.0, 60.0, 70.0, 80.0], 6),
    ],
    ids=["not a number", "three in a row", "not in a row", "from nothing", "large from the start"],
)
def test_a_run_whose_losses_stay_far_above_its_first_is_stopped(
    settings: RunConfig, events: EventLog, losses: list[float], steps: int
) -> None:
    assert losses_until_the_brake(settings, events, losses) == steps
    if steps < len(losses):
        assert len([line for line in events.path.read_text().splitlines() if '"step"' in line]) == steps


def test_a_run_that_goes_on_knows_what_it_began_with(settings: RunConfig, events: EventLog) -> None:
    watched = Progress(settings, "s", events)
    logged = [{"loss": loss, "num_tokens": 100 * step} for step, loss in enumerate((0.7, 0.6, 0.8), start=1)]
    watched.on_train_begin(None, SimpleNamespace(log_history=logged), None)
    for step in (4, 5):
        watched.on_log(None, SimpleNamespace(global_step=step, max_steps=99), None, logs={"loss": 40.0})
    with pytest.raises(NonFiniteError, match=r"was 0\.7 in its first steps"):
        watched.on_log(None, SimpleNamespace(global_step=6, max_steps=99), None, logs={"loss": 40.0})


def test_a_state_of_a_run_that_may_be_diverging_is_not_sealed(
    settings: RunConfig, events: EventLog, tmp_path: Path
) -> None:
    watched = Progress(settings, "s", events)
    for step, loss in enumerate((0.7, 0.6, 0.8, 40.0, 0.5), start=1):
        state = SimpleNamespace(global_step=step, max_steps=9)
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "adapter_model.safetensors").write_bytes(b"weights")
        watched.on_log(None, state, None, logs={"loss": loss})
        watched.on_save(SimpleNamespace(output_dir=str(tmp_path)), state, None, model=torch.nn.Linear(2, 1))
    sealed = {path.parent.name for path in tmp_path.glob("checkpoint-*/manifest.json")}
    assert sealed == {"checkpoint-1", "checkpoint-2", "checkpoint-3", "checkpoint-5"}


def test_a_broken_weight_is_not_sealed_and_the_state_before_it_stays(
    settings: RunConfig, events: EventLog, tmp_path: Path
) -> None:
    watched = Progress(settings, "s", events)
    arguments = SimpleNamespace(output_dir=str(tmp_path))
    model = torch.nn.Linear(2, 1)
    for step in (2, 4):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "adapter_model.safetensors").write_bytes(b"weights")
        state = SimpleNamespace(global_step=step, max_steps=9)
        if step == 4:
            model.weight.data[0, 0] = float("nan")
            with pytest.raises(NonFiniteError, match="a weight is not a number after step 4 of 9"):
                watched.on_save(arguments, state, None, model=model)
        else:
            watched.on_save(arguments, state, None, model=model)
    checkpoints.verify(tmp_path / "checkpoint-2", "trainer_state")
    assert not (tmp_path / "checkpoint-4" / "manifest.json").exists()


def test_the_time_that_is_left_is_said(settings: RunConfig, events: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    watched = Progress(settings, "s", events)
    for step, seconds in enumerate((2.0, 4.0, 2.0), start=1):
        watched.on_step_begin()
        now[0] += seconds
        watched.on_log(None, SimpleNamespace(global_step=step, max_steps=10), None, logs={"loss": 1.0})
    said = events.last("step")
    assert said is not None
    assert said["seconds_left"] == 14.0


def test_a_line_that_a_disk_broke_is_passed_over(events: EventLog) -> None:
    events.emit("data", rows=1)
    with events.path.open("ab") as file:
        file.write(bytes(64) + b"\n" + b'{"event": "st\xff\n[1]\n{"no": "event"}\n' + bytes(64))
    again = EventLog(events.path.parent)
    again.emit("final", rows=2)
    assert [event["event"] for event in again.every()] == ["data", "final"]


def test_what_is_no_saved_state_is_not_gone_on_from(settings: RunConfig, events: EventLog, tmp_path: Path) -> None:
    for name in ("checkpoint-3", "checkpoint-tmp"):
        (progress.trainer_dir(tmp_path) / name).mkdir(parents=True)
    (progress.trainer_dir(tmp_path) / "checkpoint-9").write_text("no folder")
    assert progress.resume_point(settings, tmp_path, "s", events) is None
