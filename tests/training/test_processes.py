"""Two processes over gloo learn what one learns from the same rows, and one of them writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaForCausalLM

from tests.training import forked
from tests.training.conftest import RunFile, byte_tokenizer, events_of, make_rows
from tests.training.test_families import FAMILIES, model_of
from training import dpo, reward, sft
from training.formats import checkpoints
from training.model import layouts
from training.run import runner

pytestmark = [pytest.mark.slow]
Launch = Callable[..., subprocess.CompletedProcess[str]]
TRAIN: dict[Any, Any] = {"reward": reward.build_trainer, "dpo": dpo.build_trainer, "sft": sft.build_trainer}


def launch(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Two processes, as accelerate starts them; :func:`accelerate_launch` takes three times as long."""
    return forked.run(module, *arguments, processes=2)


def accelerate_launch(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    return subprocess.run(
        [sys.executable, "-m", *command, "-m", module, *arguments],
        cwd=Path(reward.__file__).parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )


def losses(path: Path) -> list[float]:
    return [event["metrics"]["loss"] for event in events_of(path, "step")]


@pytest.fixture
def tied_base(tmp_path: Path, tiny_base: Path) -> Path:
    """A base model whose head is its embedding, as most small ones have it."""
    folder = shutil.copytree(tiny_base, tmp_path / "tied")
    LlamaForCausalLM.from_pretrained(tiny_base, tie_word_embeddings=True).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["reward", "dpo", "sft"])
@pytest.mark.parametrize("trains", ["adapter", "all"])
@pytest.mark.parametrize("sharded", [False, True], ids=["whole", "sharded"])
def test_two_processes_have_the_losses_of_one(run_file: RunFile, kind: str, trains: str, sharded: bool) -> None:  # noqa: FBT001
    model = {"trains": trains, "pack_tokens": 256, "sharded": sharded}
    settings: dict[str, Any] = {"model": model, "optim": {"learning_rate": 1e-3}}
    alone = run_file(kind, "alone", **settings)
    parts: dict[str, Any] = {"model": model | {"head_tokens": 16}}  # on the way back, the head is gathered for each
    together = run_file(kind, "together", cache="cache", **settings | parts)
    assert runner.main(kind, TRAIN[kind], [str(alone)]) == 0  # type: ignore[arg-type]
    ended = launch(f"training.{kind}", str(together))
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert losses(together) == pytest.approx(losses(alone), rel=1e-4)
    for event in ("baseline", "final", "checkpoint"):
        assert len(events_of(together, event)) == 1, "one of the two reports"
    metrics = [checkpoints.verify(path.parent / "final").metrics for path in (alone, together)]
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-3, abs=1e-4)
    counted = [event["metrics"]["num_tokens"] for event in events_of(alone, "step")]
    assert [event["metrics"]["num_tokens"] for event in events_of(together, "step")] == counted


def test_two_processes_of_trls_have_the_losses_of_one_where_an_epoch_is_whole_steps(run_file: RunFile) -> None:
    rows = [row | {"edited": None} for row in make_rows()]
    settings: dict[str, Any] = {"trainer": "trl", "model": {"pack_tokens": 4096}, "optim": {"learning_rate": 1e-3}}
    alone, together = run_file("dpo", "alone", rows, **settings), run_file("dpo", "together", cache="cache", **settings)
    assert runner.main("dpo", dpo.build_trainer, [str(alone)]) == 0
    ended = launch("training.dpo", str(together))
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert losses(together) == pytest.approx(losses(alone), rel=1e-4)
    for event in ("baseline", "final", "checkpoint"):
        assert len(events_of(together, event)) == 1, "one of the two reports"
    metrics = [checkpoints.verify(path.parent / "final").metrics for path in (alone, together)]
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    ("sharded", "by"),
    [(False, launch), (True, accelerate_launch)],
    ids=["whole", "sharded, by accelerate's own command"],
)
def test_the_rest_of_an_epoch_is_learnt_from_once(run_file: RunFile, sharded: bool, by: Launch) -> None:  # noqa: FBT001
    """13 rows in steps of 4: in the last one, one process has a row and the other has none."""
    settings: dict[str, Any] = {
        "model": {"pack_tokens": 256, "sharded": sharded},
        "optim": {"learning_rate": 1e-3, "max_steps": -1, "epochs": 2.0},
    }
    alone = run_file("reward", "alone", make_rows(train=13), **settings)
    together = run_file("reward", "together", **settings)
    assert runner.main("reward", reward.build_trainer, [str(alone)]) == 0
    ended = by("training.reward", str(together))
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert len(losses(alone)) == 8
    assert losses(together) == pytest.approx(losses(alone), rel=1e-4)
    counted = [event["metrics"]["num_tokens"] for event in events_of(alone, "step")]
    assert [event["metrics"]["num_tokens"] for event in events_of(together, "step")] == counted


def test_processes_with_unlike_memory_cut_their_packs_alike(run_file: RunFile) -> None:
    alone, together = run_file("dpo", "alone"), run_file("dpo", "together", cache="cache")
    assert runner.main("dpo", dpo.build_trainer, [str(alone)]) == 0
    ended = launch("tests.training.uneven", "dpo", str(together))
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert losses(together) == pytest.approx(losses(alone), rel=1e-4)


@pytest.mark.faults
@pytest.mark.parametrize(("trains", "then"), [("adapter", 2), ("all", 2), ("all", 1)])
def test_sharded_weights_go_on_where_they_were_killed_on_any_number_of_processes(
    run_file: RunFile, tied_base: Path, trains: str, then: int
) -> None:
    settings: dict[str, Any] = {"model": {"trains": trains, "sharded": True}, "optim": {"learning_rate": 1e-3}}
    settings["base_model"] = str(tied_base)
    undisturbed, killed = (
        run_file("dpo", "undisturbed", **settings),
        run_file("dpo", "killed", cache="cache", **settings),
    )
    assert runner.main("dpo", dpo.build_trainer, [str(undisturbed)]) == 0
    died = launch("tests.training.dies", "state without its optimizer", "dpo", str(killed))
    assert died.returncode != 0
    assert not (killed.parent / "final").exists()
    if then == 1:
        assert runner.main("dpo", dpo.build_trainer, [str(killed)]) == 0
    else:
        ended = launch("training.dpo", str(killed))
        assert ended.returncode == 0, ended.stderr[-3000:]
    assert [event["step"] for event in events_of(killed, "resumed")] == [2]
    assert losses(killed)[-4:] == pytest.approx(losses(undisturbed)[-4:], rel=1e-4)
    metrics = [checkpoints.verify(path.parent / "final").metrics for path in (undisturbed, killed)]
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-3, abs=1e-4)


def test_rows_that_cannot_be_shared_evenly_are_refused(run_file: RunFile) -> None:
    ended = launch("training.reward", str(run_file("reward", optim={"batch_size": 3})))
    assert ended.returncode != 0
    assert "which 2 processes cannot share evenly" in ended.stderr


def test_accelerates_own_sharding_is_refused_in_favour_of_ours(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert runner.main("reward", reward.build_trainer, [str(run_file("reward"))]) == 2
    assert "set model.sharded = true instead" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("family", ["llama", "gpt_oss", "mpt"])
def test_sharded_processes_in_bfloat16_find_the_form_that_one_finds(
    run_file: RunFile, tmp_path: Path, family: str
) -> None:
    """Every process takes part in each forward pass of the probe, so one that decided otherwise would wait for ever."""
    [(settings, form)] = [(settings, form) for name, settings, form in FAMILIES if name == family]
    tokenizer = byte_tokenizer()
    if "sliding_window" in settings:
        settings = settings | {"sliding_window": 512}
    model = model_of(family, settings | {"vocab_size": len(tokenizer)})
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    changes: dict[str, Any] = {
        "base_model": str(tmp_path / "base"),
        "model": {"trains": "all", "dtype": "bfloat16", "pack_tokens": 512, "sharded": True},
        "optim": {"learning_rate": 1e-4, "max_steps": 2},
    }
    alone, together = run_file("reward", "alone", **changes), run_file("reward", "together", **changes)
    assert runner.main("reward", reward.build_trainer, [str(alone)]) == 0
    ended = launch("training.reward", str(together))
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert losses(together) == pytest.approx(losses(alone), rel=0.02)
    for path in (alone, together):
        said = " ".join(event["message"] for event in events_of(path, "warning"))
        assert (layouts.SAID.get(form, "nothing of the kind") in said) == (form in layouts.SAID)
