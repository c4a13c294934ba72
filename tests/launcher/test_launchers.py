"""What ``CORRAL_TRAINING_LAUNCH`` may say, and what is made of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.kernel import launchers
from app.kernel.errors import CannotStart
from app.kernel.settings import Settings
from app.laptop.launch import Options, up
from tests.fake_srun import install
from workers.training import rank


@pytest.mark.parametrize(
    ("launch", "said"),
    [
        ("mpirun -n 2", "mpirun is none of the launchers torchrun, accelerate, srun: write e.g. torchrun"),
        ("accelerate --num_processes 2", "write e.g. accelerate launch --num_processes 2"),
        ("torchrun 'a", "No closing quotation: write it as in a shell"),
        ("accelerate launch --multi_gpu -m", "leave out -m at its end"),
    ],
)
def test_what_starts_no_processes_is_refused_with_what_to_write(launch: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(training_launch=launch)


def test_the_program_of_this_installation_comes_before_that_of_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path).rename(tmp_path / "torchrun")
    monkeypatch.setenv("PATH", str(tmp_path))
    own = Path(sys.executable).with_name("torchrun")
    assert own.is_file(), "the training packages bring it"
    assert launchers.located("torchrun --standalone") == [str(own), "--standalone"]
    install(tmp_path)
    assert launchers.located("srun --ntasks 2") == [str(tmp_path / "srun"), "--ntasks", "2"]
    assert launchers.located(" ") == []


def test_a_program_that_is_missing_stops_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotStart, match="which is not on this host's PATH: install it here"):
        launchers.located("srun --ntasks 2")
    settings = Settings(training_launch="srun --ntasks 2")
    monkeypatch.setattr("app.laptop.launch.get_settings", lambda: settings)
    with pytest.raises(CannotStart, match="CORRAL_TRAINING_LAUNCH starts with srun"):
        up(Options())


def test_torchrun_and_accelerate_are_told_a_module_and_srun_a_program() -> None:
    module = ["training.dpo", "run.toml"]
    assert launchers.of(["/bin/torchrun", "--standalone"], module)[2:] == ["-m", *module]
    assert launchers.of(["accelerate", "launch"], module)[2:] == ["-m", *module]
    assert launchers.of(["srun"], module)[1:] == [sys.executable, "-m", *module]
    assert launchers.of(["srun", "--nodes", "2", "torchrun"], module)[4:] == ["-m", *module]


SLURM = {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_LOCALID": "1"}


def test_slurms_names_become_torchs_and_the_processes_meet_at_the_first(tmp_path: Path) -> None:
    first = rank.named(SLURM | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, tmp_path)
    second = rank.named(SLURM | {"SLURM_PROCID": "1"}, tmp_path)
    assert (first["RANK"], first["LOCAL_RANK"], second["RANK"], second["LOCAL_RANK"]) == ("0", "0", "1", "1")
    assert first["WORLD_SIZE"] == second["WORLD_SIZE"] == "2"
    assert first["MASTER_ADDR"] == second["MASTER_ADDR"] == "127.0.0.1"
    assert first["MASTER_PORT"] == second["MASTER_PORT"]
    assert int(first["MASTER_PORT"]) > 0


def test_a_process_that_sees_one_gpu_takes_it(tmp_path: Path) -> None:
    rank.named(SLURM | {"SLURM_PROCID": "0"}, tmp_path)
    seen = {name: SLURM | {"SLURM_PROCID": "1", "CUDA_VISIBLE_DEVICES": name} for name in ("3", "0,1")}
    assert {name: rank.named(each, tmp_path)["LOCAL_RANK"] for name, each in seen.items()} == {"3": "0", "0,1": "1"}


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "1", "WORLD_SIZE": "2", **SLURM, "SLURM_PROCID": "0"},
        SLURM | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
        {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"},
    ],
    ids=["torchrun below srun", "one task", "a batch script itself"],
)
def test_who_is_named_already_or_is_alone_stays_as_it_is(environment: dict[str, str], tmp_path: Path) -> None:
    assert rank.named(environment, tmp_path) == environment


def test_a_process_that_does_not_find_the_first_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank, "MEETING_SECONDS", 0.0)
    with pytest.raises(TimeoutError, match="put the data folder on a disk that all of its hosts share"):
        rank.named(SLURM | {"SLURM_PROCID": "1"}, tmp_path)
