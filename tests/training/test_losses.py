"""The loss of each run, term by term, on a model small enough to differentiate in a blink."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch.nn.functional import logsigmoid
from trl import DPOConfig, DPOTrainer

from tests.training.conftest import RunFile, make_rows
from training import checkpoints, dpo, models, reward
from training import config as configs
from training.checkpoints import Manifest
from training.data import Prepared, prepare
from training.dpo import PolicyTrainer
from training.events import EventLog
from training.progress import Progress, training_arguments

Trainer = Any


def load(path: Path, kind: Any) -> tuple[configs.RunConfig, Any, Prepared, Progress]:
    config = configs.load(path, kind)
    tokenizer = models.load_tokenizer(config.base_model)
    prepared = prepare(config.snapshot, config.data, tokenizer, max_held_out=9)
    return config, tokenizer, prepared, Progress(config, prepared.snapshot_sha256, EventLog(path.parent))


@pytest.fixture
def policy(run_file: RunFile) -> Callable[..., PolicyTrainer]:
    def build(dtype: str = "float32", **dpo_settings: Any) -> PolicyTrainer:
        path = run_file("dpo", dpo=dpo_settings, model={"dtype": dtype})
        config, tokenizer, prepared, progress = load(path, "dpo")
        trainer = dpo.build_trainer(config, path.parent, tokenizer, prepared, progress)
        disturb(trainer.model)
        return trainer

    return build


def disturb(model: Any) -> None:
    """Move the adapter away from zero, the same way every time, so that policy and reference differ."""
    generator = torch.Generator().manual_seed(3)
    for _, parameter in sorted(trainable(model).items()):
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3


def trainable(model: Any) -> dict[str, Any]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def batch_of(trainer: Trainer, size: int = 4) -> dict[str, Any]:
    rows = [trainer.train_dataset[index] for index in range(size)]
    batch: dict[str, Any] = trainer._prepare_inputs(trainer.data_collator(rows))
    return batch


def gradients(trainer: Trainer, batch: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, dict(batch))
    loss.backward()
    return loss.item(), {name: parameter.grad.clone() for name, parameter in trainable(trainer.model).items()}


def test_without_its_mask_the_loss_and_its_gradient_are_those_of_trl(
    policy: Callable[..., PolicyTrainer], run_file: RunFile
) -> None:
    ours = policy(mask_format_tokens=False)
    path = run_file("dpo")
    config, tokenizer, prepared, _ = load(path, "dpo")
    theirs = DPOTrainer(
        model=models.load_policy(config),
        args=DPOConfig(
            **training_arguments(config, path.parent), beta=0.1, loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.2]
        ),
        train_dataset=conversations(prepared, tokenizer),
        processing_class=tokenizer,
        peft_config=models.lora(config),
    )
    disturb(theirs.model)
    rows = [theirs.train_dataset[index] for index in range(4)]
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    assert [[row[name] for name in columns] for row in rows] == [
        [ours.train_dataset[index][name] for name in columns] for index in range(4)
    ], "both must see the same tokens"

    loss, gradient = gradients(ours, batch_of(ours))
    their_loss, their_gradient = gradients(theirs, batch_of(theirs))
    assert loss == pytest.approx(their_loss, rel=1e-5)
    assert gradient.keys() == their_gradient.keys()
    for name, value in gradient.items():
        torch.testing.assert_close(value, their_gradient[name], rtol=1e-4, atol=1e-6)


def conversations(prepared: Prepared, tokenizer: Any) -> Dataset:
    """The rows of the snapshot as messages, in the order and with the expansion of `prepared`."""
    by_id = {str(row["annotation_id"]): row for row in make_rows()}

    def message(response: Any) -> list[dict[str, str]]:
        said = [token for token, content in zip(response.ids, response.content, strict=True) if content]
        return [{"role": "assistant", "content": tokenizer.decode(said)}]

    return Dataset.from_list(
        [
            {
                "prompt": by_id[example.row_id]["prompt"],
                "chosen": message(example.chosen),
                "rejected": message(example.rejected),
            }
            for example in prepared.train
        ]
    )


def gradient_by_token(trainer: PolicyTrainer, batch: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """How much the loss wants each token's log-probability to change; [2B, T-1]."""
    whole = trainer.token_logps
    logps = whole(trainer.model, batch).detach().requires_grad_()
    answers = iter([logps, whole(trainer.model, batch).detach() - 0.5])
    monkeypatch.setattr(trainer, "token_logps", lambda *_: next(answers))
    torch.autograd.backward(trainer.compute_loss(trainer.model, batch))
    return logps.grad


@pytest.mark.parametrize("nll_weight", [0.0, 0.2])
def test_format_tokens_move_only_the_likelihood_of_the_chosen_response(
    policy: Callable[..., PolicyTrainer], monkeypatch: pytest.MonkeyPatch, nll_weight: float
) -> None:
    trainer = policy(nll_weight=nll_weight)
    batch = batch_of(trainer)
    gradient = gradient_by_token(trainer, batch, monkeypatch)
    completion, content = batch["completion_mask"][:, 1:].bool(), batch["content_mask"][:, 1:].bool()
    chosen = torch.arange(len(gradient))[:, None] < len(gradient) // 2
    of_format = completion & ~content
    assert of_format.sum() == 2 * len(gradient), "<|im_end|> and a newline in every response"
    assert (gradient[content] != 0).all()
    assert (gradient[of_format & ~chosen] == 0).all()
    tokens = (completion & chosen).sum()
    torch.testing.assert_close(gradient[of_format & chosen], torch.full((len(gradient),), -nll_weight / tokens))


def test_prompts_and_padding_are_never_scored(
    policy: Callable[..., PolicyTrainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = policy()
    batch = batch_of(trainer)
    gradient = gradient_by_token(trainer, batch, monkeypatch)
    assert (gradient[batch["completion_mask"][:, 1:] == 0] == 0).all()


def test_the_compact_head_scores_like_the_whole_one(policy: Callable[..., PolicyTrainer]) -> None:
    trainer = policy()
    batch = batch_of(trainer)
    assert trainer.compact_head
    loss, gradient = gradients(trainer, batch)
    compact = trainer.token_logps(trainer.model, batch)
    trainer.compact_head = False
    torch.testing.assert_close(compact, trainer.token_logps(trainer.model, batch), rtol=1e-5, atol=1e-5)
    whole_loss, whole_gradient = gradients(trainer, batch)
    assert loss == pytest.approx(whole_loss, rel=1e-6)
    for name, value in gradient.items():
        torch.testing.assert_close(value, whole_gradient[name], rtol=1e-4, atol=1e-6)


def test_summed_logps_do_not_depend_on_how_rows_are_batched(
    policy: Callable[..., PolicyTrainer], run_file: RunFile
) -> None:
    trainer = policy()
    examples = load(run_file("dpo"), "dpo")[2].held_out
    together = trainer.logps_of(examples)
    alone = [trainer.logps_of([example])[0] for example in examples]
    assert together == [pytest.approx(pair, rel=1e-5) for pair in alone]
    assert trainer.logps_of(examples, reference=True) != together


@pytest.mark.parametrize("head", ["compact", "whole"])
@pytest.mark.parametrize("reference", [False, True])
def test_training_and_measuring_see_a_pair_in_the_same_precision(
    policy: Callable[..., PolicyTrainer],
    run_file: RunFile,
    head: str,
    reference: bool,  # noqa: FBT001
) -> None:
    trainer = policy(dtype="bfloat16")
    trainer.compact_head = head == "compact"
    for example in load(run_file("dpo", model={"dtype": "bfloat16"}), "dpo")[2].held_out[:3]:
        batch = trainer._prepare_inputs(trainer.data_collator([dpo._columns(example)]))
        with trainer.reference() if reference else nullcontext():
            trained = (trainer.token_logps(trainer.model, batch) * batch["content_mask"][:, 1:]).sum(dim=1)
        [measured] = trainer.logps_of([example], reference=reference)
        assert tuple(trained.tolist()) == pytest.approx(measured, rel=1e-6)


def test_the_compact_head_scores_like_the_whole_one_in_bfloat16(policy: Callable[..., PolicyTrainer]) -> None:
    trainer = policy(dtype="bfloat16")
    batch = batch_of(trainer)
    compact = trainer.token_logps(trainer.model, batch)
    trainer.compact_head = False
    torch.testing.assert_close(compact, trainer.token_logps(trainer.model, batch), rtol=0.02, atol=0.1)


def dropout(model: Any) -> dict[str, float]:
    return {name: module.p for name, module in model.named_modules() if isinstance(module, torch.nn.Dropout)}


@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_the_adapters_dropout_is_the_runs(run_file: RunFile, kind: str) -> None:
    path = run_file(kind, lora={"dropout": 0.5})
    config, tokenizer, prepared, progress = load(path, kind)
    build = reward.build_trainer if kind == "reward" else dpo.build_trainer
    trainer = build(config, path.parent, tokenizer, prepared, progress)
    rates = dropout(trainer.model)
    assert len(rates) == 2 * 7, "seven matrices, two layers"
    assert set(rates.values()) == {0.5}
    disturb(trainer.model)
    batch = batch_of(trainer)
    trainer.model.train()
    one, other = (trainer.compute_loss(trainer.model, dict(batch)).item() for _ in range(2))
    assert one != other


def test_a_continued_policy_drops_out_as_its_run_says_and_its_reference_does_not(
    policy: Callable[..., PolicyTrainer], run_file: RunFile
) -> None:
    parent = policy()
    config = load(run_file("dpo"), "dpo")[0]
    with checkpoints.write(config.output, Manifest(name="p", kind="policy", base_model=config.base_model)) as draft:
        models.save_adapter(parent.model, parent.processing_class, draft)
    path = run_file("dpo", "second", parent_adapter="../run/final", lora={"dropout": 0.5})
    config, tokenizer, prepared, progress = load(path, "dpo")
    trainer = dpo.build_trainer(config, path.parent, tokenizer, prepared, progress)
    assert {name.rpartition(".")[2]: rate for name, rate in dropout(trainer.model).items()} == {
        "default": 0.5,
        "ref": 0.0,
    }
    batch = batch_of(trainer)
    trainer.model.train()
    with trainer.reference(), torch.no_grad():
        one, other = (trainer.token_logps(trainer.model, batch) for _ in range(2))
    assert torch.equal(one, other)


@pytest.fixture
def reward_trainer(run_file: RunFile) -> Trainer:
    path = run_file("reward")
    config, tokenizer, prepared, progress = load(path, "reward")
    return reward.build_trainer(config, path.parent, tokenizer, prepared, progress)


def test_the_reward_loss_is_llama_2s_without_its_margin(reward_trainer: Trainer) -> None:
    batch = batch_of(reward_trainer)
    loss = reward_trainer.compute_loss(reward_trainer.model, dict(batch))
    rows = [ids[mask.bool()].tolist() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    chosen, rejected = torch.tensor(reward.score(reward_trainer, rows)).chunk(2)
    assert loss.item() == pytest.approx(-logsigmoid(chosen - rejected).mean().item(), rel=1e-5)


def test_the_reward_is_read_behind_the_last_token_whatever_the_padding(reward_trainer: Trainer) -> None:
    short, long = [5, 6, 7], [5, 6, 7, 8, 9, 10, 11]
    together = reward.score(reward_trainer, [long, short])
    assert together == pytest.approx([reward.score(reward_trainer, [ids])[0] for ids in (long, short)], abs=1e-5)
    assert together[0] != together[1]


def test_the_reward_head_is_trained_in_full_and_in_float32(run_file: RunFile) -> None:
    path = run_file("reward", model={"dtype": "bfloat16"})
    config, tokenizer, prepared, progress = load(path, "reward")
    trainer = reward.build_trainer(config, path.parent, tokenizer, prepared, progress)
    heads = {name: p for name, p in trainable(trainer.model).items() if "score" in name}
    assert [(parameter.dtype, tuple(parameter.shape)) for parameter in heads.values()] == [(torch.float32, (1, 32))]


@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_every_trained_parameter_moves_and_no_other(run_file: RunFile, kind: str) -> None:
    path = run_file(kind, optim={"max_steps": 3, "warmup_steps": 0})
    config, tokenizer, prepared, progress = load(path, kind)
    build = reward.build_trainer if kind == "reward" else dpo.build_trainer
    trainer = build(config, path.parent, tokenizer, prepared, progress)
    learns = set(trainable(trainer.model))
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    moved = {name for name, parameter in trainer.model.named_parameters() if not torch.equal(before[name], parameter)}
    assert moved == learns
    assert all("lora_" in name or "score" in name for name in learns)
    assert len([name for name in learns if "lora_" in name]) == 2 * 7 * 2  # A and B, seven matrices, two layers
