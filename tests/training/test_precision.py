"""`dtype = "auto"` is what this machine computes fast, and the manifest says what that was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from app.kernel import processor as processor_of_the_engine
from tests.training.conftest import RunFile, events_of, recipe
from training import reward
from training.formats import checkpoints
from training.formats.errors import ConfigError
from training.model import precision
from training.run import config, runner
from training.run.progress import trainer_dir


def processor(monkeypatch: pytest.MonkeyPatch, **flags: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, **flags})


def card(monkeypatch: pytest.MonkeyPatch, *, bf16: bool) -> None:
    def supported(including_emulation: bool = True) -> bool:  # noqa: FBT001, FBT002 - torch's own signature
        return bf16 or including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)


@pytest.mark.parametrize("flag", precision.MULTIPLIES_FASTER)
def test_a_processor_that_multiplies_bfloat16_faster_uses_it(monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    processor(monkeypatch, **{flag: True})
    assert (precision.training_dtype(), precision.serving_dtype()) == ("bfloat16", "bfloat16")


def test_one_that_only_reads_it_faster_answers_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch, amx_bf16=False, avx512_bf16=True)
    assert (precision.training_dtype(), precision.serving_dtype()) == ("float32", "bfloat16")


def test_a_processor_without_instructions_for_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch, amx_bf16=False, avx512_f=True)
    assert (precision.training_dtype(), precision.serving_dtype()) == ("float32", "float32")


def test_a_policy_answers_here_in_the_precision_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # the engine of a card is told bfloat16
    assert precision.serving_dtype() == processor_of_the_engine.fast_dtype()


def test_a_card_that_only_emulates_bfloat16_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    card(monkeypatch, bf16=False)
    assert (precision.training_dtype(), precision.serving_dtype()) == ("float32", "float32")
    card(monkeypatch, bf16=True)
    assert (precision.training_dtype(), precision.serving_dtype()) == ("bfloat16", "bfloat16")


def test_torch_names_the_capabilities_that_are_looked_for() -> None:
    known = torch.cpu.get_capabilities()
    assert known, "an empty answer would make every machine a slow one"
    if known.get("architecture") == "x86_64":
        assert {"amx_bf16", "avx512_bf16"} <= known.keys()


@pytest.mark.parametrize("chosen", ["bfloat16", "float32"])
def test_the_settings_hold_what_auto_became(run_file: RunFile, monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    monkeypatch.setattr(precision, "training_dtype", lambda: chosen)
    settings = config.load(run_file("dpo", model={"dtype": "auto"}), "dpo")
    assert settings.model.dtype == settings.to_json()["model"]["dtype"] == chosen


def test_a_precision_that_is_named_is_kept_and_an_unknown_one_refused(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "training_dtype", lambda: pytest.fail("nobody asked"))
    assert config.load(run_file("dpo", model={"dtype": "bfloat16"}), "dpo").model.dtype == "bfloat16"
    with pytest.raises(ConfigError, match=r"must be one of 'bfloat16', 'float32'"):
        config.load(run_file("dpo", model={"dtype": "float16"}), "dpo")


@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_the_laptop_leaves_it_to_the_machine_and_the_paper_does_not(kind: str) -> None:
    assert recipe(kind, "laptop")["model"]["dtype"] == "auto"
    assert recipe(kind, "llama3")["model"]["dtype"] == "bfloat16"


@pytest.mark.slow
def test_a_run_goes_on_on_its_machine_and_starts_over_on_one_of_another_precision(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run_file("reward", model={"dtype": "auto"}, optim={"max_steps": 4})

    def run_on(dtype: str) -> Path:
        monkeypatch.setattr(precision, "training_dtype", lambda: dtype)
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # the state stays, as after a kill
            assert runner.main("reward", reward.build_trainer, [str(path)]) == 0
        return path.parent / "final"

    def forget(final: Path) -> None:
        final.rename(path.parent / f"before-{len(list(path.parent.iterdir()))}")

    final = run_on("float32")
    assert checkpoints.verify(final).config["model"]["dtype"] == "float32"
    forget(final)
    forget(run_on("float32"))
    assert [event["step"] for event in events_of(path, "resumed")] == [4]
    assert (trainer_dir(path.parent) / "checkpoint-4").exists()
    final = run_on("bfloat16")
    assert checkpoints.verify(final).config["model"]["dtype"] == "bfloat16"
    assert len(events_of(path, "resumed")) == 1
    assert len(events_of(path, "baseline")) == 2, "the baseline is that of the other precision, too"
