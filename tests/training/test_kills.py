"""Killed between two files of a save: what is half-written is never resumed, listed or taken for a checkpoint."""

from __future__ import annotations

import pytest

from tests.training import forked
from tests.training.conftest import RunFile, events_of
from tests.training.dies import PLACES, SAVE, STATUS
from training import reward
from training.formats import checkpoints
from training.formats.errors import CheckpointError
from training.run import runner
from training.run.progress import trainer_dir

pytestmark = [pytest.mark.faults]


@pytest.mark.parametrize("place", PLACES)
def test_a_run_that_dies_in_the_middle_of_a_save_ends_as_if_it_had_not(run_file: RunFile, place: str) -> None:
    path = run_file("reward", "killed")
    died = forked.run("tests.training.dies", place, "reward", str(path))
    assert died.returncode == STATUS, died.stderr
    final = path.parent / "final"
    assert not final.exists()
    assert events_of(path, "checkpoint") == []
    in_state = place.startswith("state")
    if in_state:
        with pytest.raises(CheckpointError, match="not a finished checkpoint"):
            checkpoints.verify(trainer_dir(path.parent) / SAVE, "trainer_state")
    else:
        assert [folder.name for folder in path.parent.iterdir() if folder.name.startswith(".final.tmp-")]

    assert runner.main("reward", reward.build_trainer, [str(path)]) == 0
    [resumed] = events_of(path, "resumed")
    assert resumed["step"] == (2 if in_state else 6), "of the newest whole state"
    assert [folder.name for folder in path.parent.iterdir() if folder.is_dir()] == ["final"], "nothing is left over"
    manifest = checkpoints.verify(final)

    undisturbed = run_file("reward", "undisturbed")
    assert runner.main("reward", reward.build_trainer, [str(undisturbed)]) == 0
    assert manifest.metrics == pytest.approx(checkpoints.read(undisturbed.parent / "final").metrics, abs=1e-5)
    last, expected = (events_of(run, "step")[-1] for run in (path, undisturbed))
    assert last["step"] == expected["step"] == 6
    assert last["metrics"]["loss"] == pytest.approx(expected["metrics"]["loss"], abs=1e-5)
