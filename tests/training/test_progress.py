"""What a run says while it runs, and what it need not find out twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.training.conftest import RunFile
from training import config, progress, stages
from training.config import RunConfig
from training.data import Prepared
from training.events import EventLog
from training.progress import Progress


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
