"""The bundled model for real: converted, rewarded, and moved by what Alice prefers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from benchmarks import trl_reference
from tests.training.conftest import events_of, make_row, turn, write_snapshot
from tests.training.test_losses import assert_same, build, disturb, step
from training import base_model, dpo, reward
from training.data.chat import encode_chat
from training.formats import checkpoints
from training.formats.templates import TOOL_USE
from training.model import models
from training.run import runner

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("smollm2")]  # converted once


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "smollm2"
    base_model.convert(folder)
    return folder


def test_the_bundled_model_is_converted_once_and_speaks_chatml(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = (base / "model.safetensors").stat().st_mtime_ns
    assert base_model.main([str(base)]) == 0
    assert (base / "model.safetensors").stat().st_mtime_ns == written
    assert "is ready in" in capsys.readouterr().out
    assert TOOL_USE in checkpoints.read(base).files
    model = AutoModelForCausalLM.from_pretrained(base)
    tokenizer = models.load_tokenizer(str(base))
    assert model.dtype == torch.bfloat16
    model.float()  # so that the test is quick on processors without bf16 instructions, too
    ids = encode_chat(
        tokenizer, [{"role": "user", "content": "What is the capital of France?"}], add_generation_prompt=True
    )
    answer = model.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False)[0, len(ids) :]
    assert "Paris" in tokenizer.decode(answer)


def test_a_damaged_base_model_is_refused_by_file(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(base, tmp_path / "copy")
    with (tmp_path / "copy" / "model.safetensors").open("r+b") as stream:
        stream.seek(100_000_000)
        byte = stream.read(1)
        stream.seek(100_000_000)
        stream.write(bytes([byte[0] ^ 1]))
    assert base_model.main([str(tmp_path / "copy")]) == 2
    assert "model.safetensors has changed since it was written" in capsys.readouterr().err


def test_a_round_on_the_real_model_learns_what_was_preferred(base: Path, tmp_path: Path) -> None:
    preferred = "Certainly. {} Let me know if you would like more detail."
    rows = [
        make_row(
            number,
            chosen=turn(preferred.format(f"Number {number} is easily explained.")),
            rejected=turn(f"idk, number {number}, look it up"),
            split="train" if number < 24 else "held_out",
        )
        for number in range(30)
    ]
    write_snapshot(tmp_path / "snapshot", rows)
    for kind, train in (("reward", reward.build_trainer), ("dpo", dpo.build_trainer)):
        (tmp_path / kind).mkdir()
        path = tmp_path / kind / "run.toml"
        settings = {
            "seed": 17,
            "snapshot": "../snapshot",
            "base_model": str(base),
            "output": "final",
            "name": f"{kind}-r1",
            "evaluation": {"every_steps": 0},
        }
        path.write_text(tomli_w.dumps(settings))
        assert runner.main(kind, train, [str(path)]) == 0  # type: ignore[arg-type]
        [final] = events_of(path, "final")
        assert final["metrics"]["held_out/accuracy"] >= 5 / 6
        assert [event["step"] for event in events_of(path, "step")] == [1, 2, 3, 4, 5, 6]
        assert checkpoints.verify(tmp_path / kind / "final").base_model == str(base)

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tokenizer = models.load_tokenizer(str(base))
    said = tokenizer(preferred.format("Number 99 is easily explained."))["input_ids"]
    prompt = encode_chat(tokenizer, make_row(99)["prompt"], add_generation_prompt=True)

    def likelihood() -> float:
        with torch.no_grad():
            logits = model(torch.tensor([prompt + said])).logits[0, len(prompt) - 1 : -1].float()
        return torch.gather(logits.log_softmax(-1), 1, torch.tensor(said)[:, None]).sum().item()

    before = likelihood()
    model = PeftModel.from_pretrained(model, tmp_path / "dpo" / "final")
    assert likelihood() > before, "what was preferred must have become more likely"
    assert json.loads((tmp_path / "dpo" / "final" / "metrics.json").read_text())["baseline"]


@pytest.mark.parametrize("kind", ["reward", "dpo"])  # a tiny model stands for imitation elsewhere
def test_rows_that_share_a_prompt_have_trls_loss_and_gradients_on_the_real_model(
    base: Path, tmp_path: Path, kind: str
) -> None:
    """In float32, the adapter: the rows of a ranking of three with an edit, and of a pair."""
    answers = ["A kettle heats water.", "It gets hot, and the water with it.", "No idea!"]
    rows = [
        make_row(0, id=f"{a}:{b}", chosen=turn(answers[a]), rejected=turn(answers[b]), edited=turn("It boils water."))
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    rows.append(make_row(1))
    write_snapshot(tmp_path / "snapshot", rows)
    path = tmp_path / "run.toml"
    settings: dict[str, Any] = {
        "seed": 17,
        "snapshot": "snapshot",
        "base_model": str(base),
        "output": "final",
        "name": f"{kind}-r1",
        "model": {"dtype": "float32", "pack_tokens": 128},
        "cache": "cache",
    }
    if kind == "dpo":
        settings["dpo"] = {"mask_format_tokens": False}
    path.write_text(tomli_w.dumps(settings))
    trainer, prepared = build(path, kind)
    reference = getattr(trl_reference, kind)
    options = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2], "beta": 0.1} if kind == "dpo" else {}
    theirs = reference(trainer.config, tmp_path, trainer.processing_class, prepared.train, **options)
    if kind == "dpo":
        trainer.know_reference()
    disturb(trainer.model, size=0.02)
    disturb(theirs.model, size=0.02)
    batch = theirs._prepare_inputs(
        theirs.data_collator([theirs.train_dataset[i] for i in range(len(theirs.train_dataset))])
    )
    theirs.model.train()
    assert_same(step(trainer, trainer.rows), trl_reference.gradients(theirs, batch))
