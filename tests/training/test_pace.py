"""Held-out evaluations take a small share of a run, and the estimates count them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.training.conftest import RunFile, events_of, make_rows
from training import reward
from training.formats.events import EventLog
from training.run import config, dry_run, pace, progress, room, runner, stages
from training.run.progress import Progress


def test_a_large_held_out_set_is_measured_less_often(run_file: RunFile) -> None:
    measured = {}
    for held_out in (1, 40):
        rows = make_rows(16, held_out)
        path = run_file("reward", f"run-{held_out}", rows=rows, evaluation={"every_steps": 2, "share": 0.5})
        assert runner.main("reward", reward.build_trainer, [str(path)]) == 0
        measured[held_out] = len(events_of(path, "evaluation"))
    assert measured == {1: 2, 40: 0}, "one of 40 pairs costs more than half of the six steps"


@pytest.mark.parametrize(
    ("wanted", "costs", "every"), [(10, 0.5, 10), (10, 2.0, 10), (10, 2.1, 11), (10, 40.0, 200), (0, 40.0, 0)]
)
def test_the_steps_between_two_evaluations_keep_them_to_their_share(
    run_file: RunFile, wanted: int, costs: float, every: int
) -> None:
    settings = config.load(run_file("reward", evaluation={"every_steps": wanted, "share": 0.2}), "reward")
    assert pace.evaluated_every(settings, costs) == every


def test_what_an_evaluation_costs_follows_what_a_step_does(run_file: RunFile) -> None:
    settings = config.load(run_file("reward"), "reward")
    _, prepared = stages.rows_of(settings)
    adapter = pace.evaluation_in_steps(settings, prepared)
    everything = replace(settings, model=replace(settings.model, trains="all"))
    assert pace.evaluation_in_steps(everything, prepared) == pytest.approx(adapter * 2 / 3)
    doubled = replace(prepared, held_out=prepared.held_out * 2)
    assert pace.evaluation_in_steps(settings, doubled) == pytest.approx(2 * adapter)
    assert pace.evaluation_in_steps(settings, replace(prepared, rows=[])) == 0


def test_the_time_that_is_left_counts_the_evaluations_to_come(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config.load(run_file("reward", evaluation={"every_steps": 4, "share": 1.0}), "reward")
    events, now = EventLog(settings.output.parent), [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    watched = Progress(settings, "s", events, evaluation_steps=3.0)
    left = []
    for step in range(1, 11):
        watched.on_step_begin()
        now[0] += 2.0
        watched.on_log(None, SimpleNamespace(global_step=step, max_steps=10), None, logs={"loss": 1.0})
        left.append(events.last("step")["seconds_left"])  # type: ignore[index]
    # of two evaluations in between (steps 4 and 8) and the final one, three steps of two seconds each
    assert left[0] == 2 * 9 + 3 * 6
    assert left[4] == 2 * 5 + 2 * 6
    assert left[9] == 6


def test_a_dry_run_counts_the_evaluations_in_its_time(run_file: RunFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "_flops", lambda *_: 1e9)
    settings = config.load(run_file("reward"), "reward")
    _, prepared = stages.rows_of(settings)
    often, never = (replace(settings, evaluation=replace(settings.evaluation, every_steps=every)) for every in (1, 0))
    shape = room.shape_of(settings)
    assert dry_run.seconds(often, shape, prepared, 100) > 1.2 * dry_run.seconds(never, shape, prepared, 100)
