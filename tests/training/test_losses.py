"""Every loss is TRL's, to its value and to the gradient of every weight, though a row here holds many pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import logsigmoid

from benchmarks import trl_reference
from tests.training.conftest import RunFile, make_row, turn
from training import dpo, reward, sft
from training.data.rows import Example, Prepared, prepare
from training.formats.events import EventLog
from training.formats.settings import RunConfig
from training.model import layouts, losses, models
from training.model.packing import ADDED, PLAIN, Form, pack
from training.run import config as configs
from training.run.progress import Progress
from training.run.trainer import RowTrainer

MODULES: dict[Any, Any] = {"reward": reward, "dpo": dpo, "sft": sft}
RELATIVE = 1e-5


def build(path: Path, kind: Any) -> tuple[Any, Prepared]:
    """Our trainer of a run, and its data."""
    config = configs.load(path, kind)
    tokenizer = models.load_tokenizer(config.base_model)
    prepared = prepare(config.snapshot, config.data, tokenizer, max_held_out=9, consumer=kind)
    progress = Progress(config, prepared.snapshot_sha256, EventLog(path.parent))
    return MODULES[kind].build_trainer(config, path.parent, tokenizer, prepared, progress), prepared


def disturb(model: Any, size: float = 0.3) -> None:
    """Move what is trained the same way every time, so that policy and reference differ."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in sorted(trainable(model).items()):
        moved = torch.randn(parameter.shape, generator=generator) * size
        parameter.data = parameter.data + 0.1 * moved if "lora" not in name else moved


def trainable(model: Any) -> dict[str, Any]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def step(trainer: RowTrainer, rows: Sequence[Any]) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one step over rows."""
    trainer.model.zero_grad()
    loss = trainer.training_step(trainer.model, list(rows)).item()
    return loss, {name: parameter.grad.clone() for name, parameter in trainable(trainer.model).items()}


def assert_same(ours: tuple[float, Any], theirs: tuple[float, Any]) -> None:
    assert ours[0] == pytest.approx(theirs[0], rel=RELATIVE)
    assert ours[1].keys() == theirs[1].keys()
    difference = sum((value - theirs[1][name]).square().sum().item() for name, value in ours[1].items())
    size = sum(value.square().sum().item() for value in theirs[1].values())
    assert size > 0
    assert (difference / size) ** 0.5 <= RELATIVE


def long_rows() -> list[Any]:
    """Prompts with two to five responses: rankings, some with an edit, lengths that differ."""
    rows = []
    for number in range(6):
        answers = [turn(f"Answer {place} of {number}. " * (place + 1)) for place in range(2 + number % 3)]
        edit = turn(f"An improved answer to {number}.") if number % 2 else None
        rows += [
            make_row(number, id=f"{number}:{a}:{b}", chosen=better, rejected=worse, edited=edit if a == 0 else None)
            for a, better in enumerate(answers)
            for b, worse in enumerate(answers[a + 1 :])
        ]
    return rows


Setting = tuple[Path, RunConfig, Any, Prepared]


@pytest.fixture(params=["adapter", "all"])
def trains(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def theirs_on(trainer: Any, kind: str) -> tuple[float, Any]:
    """TRL's loss and gradients on all its rows as one batch."""
    disturb(trainer.model)
    rows = [trainer.train_dataset[index] for index in range(len(trainer.train_dataset))]
    batch = trainer._prepare_inputs(trainer.data_collator(rows))
    trainer.model.train()
    return trl_reference.gradients(trainer, batch)


def run(run_file: RunFile, kind: str, trains: str, **settings: Any) -> tuple[Any, Prepared]:
    path = run_file(
        kind, rows=long_rows(), data={"max_length": 512}, model={"trains": trains, "pack_tokens": 400}, **settings
    )
    trainer, prepared = build(path, kind)
    assert len(trainer.packs(prepared.rows)) > 1, "a step of several packs"
    assert max(len(row.responses) for row in prepared.rows) >= (1 if kind == "sft" else 4)
    return trainer, prepared


@pytest.mark.parametrize("options", [{}, {"center_rewards": 0.1}, {"margins": [0.0, 0.1, 0.2, 0.7]}])
def test_the_reward_loss_is_trls(run_file: RunFile, tmp_path: Path, trains: str, options: dict[str, Any]) -> None:
    trainer, prepared = run(run_file, "reward", trains, reward=options)
    trls = {{"center_rewards": "center_rewards_coefficient"}.get(name, name): value for name, value in options.items()}
    theirs = trl_reference.reward(trainer.config, tmp_path, trainer.processing_class, prepared.train, **trls)
    disturb(trainer.model)
    assert_same(step(trainer, prepared.rows), theirs_on(theirs, "reward"))


TRL_LOSSES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sigmoid": ({"beta": 0.1}, {"loss_type": ["sigmoid"]}),
    "sigmoid with nll": (
        {"beta": 0.1, "nll_weight": 0.2},
        {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2]},
    ),
    "sigmoid_norm": ({"beta": 5.0, "loss_type": "sigmoid_norm"}, {"loss_type": ["sigmoid_norm"]}),
    "robust": (
        {"beta": 0.1, "loss_type": "robust", "label_smoothing": 0.2},
        {"loss_type": ["robust"], "label_smoothing": 0.2},
    ),
    "ipo": ({"beta": 0.1, "loss_type": "ipo"}, {"loss_type": ["ipo"]}),
}


@pytest.mark.parametrize("name", TRL_LOSSES)
def test_the_dpo_losses_are_trls_where_its_one_mask_is_used(
    run_file: RunFile, tmp_path: Path, trains: str, name: str
) -> None:
    mine, options = TRL_LOSSES[name]
    trainer, prepared = run(run_file, "dpo", trains, dpo={"mask_format_tokens": False, "nll_weight": 0.0} | mine)
    options = options | {"beta": mine["beta"]}
    theirs = trl_reference.dpo(trainer.config, tmp_path, trainer.processing_class, prepared.train, **options)
    trainer.know_reference()
    disturb(trainer.model)
    expected = theirs_on(theirs, "dpo")
    assert_same(step(trainer, trainer.rows), expected)
    metrics = {name: total / count for name, (total, count) in trainer._sums.items()}
    for metric in ("rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen"):
        assert metrics[metric].item() == pytest.approx(theirs._metrics["train"][metric][0], rel=1e-4, abs=1e-6)


def test_the_fine_tuning_loss_is_trls(run_file: RunFile, tmp_path: Path, trains: str) -> None:
    trainer, prepared = run(run_file, "sft", trains)
    theirs = trl_reference.sft(trainer.config, tmp_path, trainer.processing_class, prepared.rows)
    disturb(trainer.model)
    assert_same(step(trainer, prepared.rows), theirs_on(theirs, "sft"))


def test_how_a_step_is_cut_into_packs_changes_nothing(run_file: RunFile, trains: str) -> None:
    trainer, _ = run(run_file, "dpo", trains)
    trainer.know_reference()
    disturb(trainer.model)
    small = step(trainer, trainer.rows)
    trainer.config = replace(trainer.config, model=replace(trainer.config.model, pack_tokens=100_000))
    assert len(trainer.packs(trainer.rows)) == 1
    assert_same(step(trainer, trainer.rows), small)


def gradient_by_token(trainer: Any, batch: Any, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """How much the loss wants each response token's log-probability to change; [N]."""
    logps = trainer.token_logps(trainer.model, batch).detach().requires_grad_()
    monkeypatch.setattr(trainer, "token_logps", lambda *_: logps)
    trainer.loss(trainer.model, batch, trainer.totals(batch)).backward()
    gradient: torch.Tensor = logps.grad
    return gradient


@pytest.mark.parametrize("nll_weight", [0.0, 0.2])
def test_format_tokens_move_only_the_likelihood_of_the_chosen_response(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch, nll_weight: float
) -> None:
    trainer, _ = build(run_file("dpo", dpo={"nll_weight": nll_weight}), "dpo")
    trainer.know_reference()
    batch = pack([trainer.rows[1:5]], trainer.pad)
    gradient = gradient_by_token(trainer, batch, monkeypatch)
    won = losses.wins(batch.better, batch.weight, len(batch.ends))[batch.owner] > 0
    assert (gradient[batch.content] != 0).all()
    assert (~batch.content).sum() == 2 * len(batch.ends), "<|im_end|> and a newline in every response"
    assert (gradient[~batch.content & ~won] == 0).all()
    tokens = trainer.totals(batch)[1]
    torch.testing.assert_close(
        gradient[~batch.content & won], -nll_weight / tokens * torch.ones(int((~batch.content & won).sum()))
    )


def test_a_weight_counts_a_pair_as_often_and_doubt_is_what_annotators_disagreed_on() -> None:
    rewards, better, worse = torch.tensor([[1.0], [0.5], [-1.0]]), torch.tensor([0, 0]), torch.tensor([1, 2])
    assert losses.bradley_terry(rewards, better, worse)[1] == pytest.approx(-logsigmoid(torch.tensor(2.0)).item())
    ratios, lengths = torch.tensor([2.0, 1.0, -1.0]), torch.ones(3)

    def robust(doubt: float) -> torch.Tensor:
        return losses.preference("robust", 0.5, ratios, lengths, better, worse, torch.full((2,), doubt))

    torch.testing.assert_close(
        robust(0.0), losses.preference("sigmoid", 0.5, ratios, lengths, better, worse, torch.zeros(2))
    )
    assert torch.isfinite(robust(0.5)).all(), "a coin flip is taken for what it nearly is"
    assert not torch.allclose(robust(0.3), robust(0.1))


def test_a_pair_with_a_weight_weighs_that_much(run_file: RunFile) -> None:
    trainer, prepared = build(run_file("reward"), "reward")
    disturb(trainer.model)
    first, second = prepared.rows[1:3]

    def weighed(weight: float) -> Any:
        return [replace(first, pairs=tuple(replace(pair, weight=weight) for pair in first.pairs)), second]

    alone, both = step(trainer, [first])[0], step(trainer, [first, second])[0]
    other = step(trainer, [second])[0]
    assert both == pytest.approx((alone + other) / 2, rel=1e-5)
    assert step(trainer, weighed(3.0))[0] == pytest.approx((3 * alone + other) / 4, rel=1e-5)
    assert step(trainer, weighed(0.0))[0] == pytest.approx(other, rel=1e-5)
    assert step(trainer, weighed(0.0)[:1])[0] == 0.0, "not a division by nothing"


@pytest.mark.parametrize("kind", ["dpo", "sft"])
def test_a_row_of_weight_two_counts_as_two_and_one_of_weight_nothing_teaches_nothing(
    run_file: RunFile, kind: Any
) -> None:
    trainer, _ = build(run_file(kind), kind)
    if kind == "dpo":
        trainer.know_reference()
    disturb(trainer.model)
    first, second = trainer.rows[1:3]

    def weighed(weight: float) -> Any:
        return replace(first, weight=weight, pairs=tuple(replace(pair, weight=weight) for pair in first.pairs))

    assert_same(step(trainer, [weighed(2.0), second]), step(trainer, [first, first, second]))
    assert_same(step(trainer, [weighed(0.0), second]), step(trainer, [second]))


def test_an_ensemble_learns_with_every_head_and_answers_with_the_lowest(run_file: RunFile) -> None:
    trainer, prepared = build(run_file("reward", reward={"heads": 3}), "reward")
    disturb(trainer.model)
    [batch] = trainer.packs(prepared.rows[:3])
    rewards = trainer.rewards(trainer.model, batch)
    assert rewards.shape == (len(batch.ends), 3)
    _, gradient = step(trainer, prepared.rows[:3])
    [head] = [value for name, value in gradient.items() if "score" in name]
    assert (head.abs().sum(dim=1) > 0).all()
    sequence = prepared.rows[0].prompt_ids + prepared.rows[0].responses[0].ids
    assert trainer.score([sequence])[0] == pytest.approx(rewards.detach()[0].min().item(), rel=1e-5)
    mean_less = losses.ensemble(torch.tensor([[1.0, 3.0]]), "mean_minus_std", 0.5)
    assert mean_less.item() == pytest.approx(2.0 - 0.5 * 1.0)


def test_rewards_and_logps_do_not_depend_on_what_else_is_in_the_pack(run_file: RunFile) -> None:
    trainer, prepared = build(run_file("reward"), "reward")
    sequences = [example.prompt_ids + example.chosen.ids for example in prepared.held_out]
    together = trainer.score(sequences)
    assert together == pytest.approx([trainer.score([ids])[0] for ids in sequences], abs=1e-5)
    assert len(set(together)) == len(together)
    policy, prepared = build(run_file("dpo"), "dpo")
    disturb(policy.model)
    pairs = policy.logps_of(prepared.held_out)
    assert pairs == [pytest.approx(policy.logps_of([example])[0], rel=1e-5) for example in prepared.held_out]


@pytest.mark.parametrize("kind", ["reward", "sft"])
@pytest.mark.parametrize("form", [ADDED, PLAIN])
def test_another_form_of_a_pack_has_the_same_loss_and_is_said(
    run_file: RunFile, kind: Any, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run_file(kind)
    shared, prepared = build(path, kind)
    expected = step(shared, prepared.rows)[0]
    monkeypatch.setattr(layouts, "form_for", lambda *_, **__: form)
    other, _ = build(path, kind)
    other.model.load_state_dict(shared.model.state_dict())
    assert step(other, prepared.rows)[0] == pytest.approx(expected, rel=1e-4)
    said = [event["message"] for event in EventLog(path.parent).every() if event["event"] == "warning"]
    assert any(layouts.SAID[form] in message for message in said)


def test_a_policy_without_its_reference_has_no_loss(run_file: RunFile) -> None:
    trainer, prepared = build(run_file("dpo"), "dpo")
    assert math.isnan(step(trainer, prepared.rows[:2])[0]), "and not one against a reference of nothing"


def test_the_compact_head_scores_like_the_whole_one(run_file: RunFile) -> None:
    trainer, prepared = build(run_file("dpo"), "dpo")
    disturb(trainer.model)
    [batch] = trainer.packs(prepared.rows[:3])
    logits = trainer.model(**batch.inputs, use_cache=False).logits.flatten(0, 1)[batch.picks]
    whole = logits.log_softmax(dim=-1).gather(1, batch.labels[:, None]).squeeze(1)
    torch.testing.assert_close(trainer.token_logps(trainer.model, batch), whole, rtol=1e-5, atol=1e-5)
    assert trainer.model(**batch.inputs).logits.shape[1] == batch.input_ids.shape[1], "outside of it the head is whole"


@pytest.mark.parametrize("reference", [False, True])
def test_training_and_measuring_see_a_pair_in_the_same_precision(run_file: RunFile, reference: bool) -> None:  # noqa: FBT001
    trainer, _ = build(run_file("dpo", model={"dtype": "bfloat16"}), "dpo")
    if not reference:
        disturb(trainer.model)
    trainer.know_reference()
    for row in trainer.rows[:3]:
        if len(row.responses) == 2:
            pair = Example(row.id, "", 4, row.prompt_ids, *row.responses)
            assert trainer.logps_of([pair])[0] == pytest.approx(row.reference, rel=1e-4)


def dropout(model: Any) -> dict[str, float]:
    return {name: module.p for name, module in model.named_modules() if isinstance(module, torch.nn.Dropout)}


@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_the_adapters_dropout_is_the_runs_and_the_reference_has_none(run_file: RunFile, kind: str) -> None:
    trainer, _ = build(run_file(kind, lora={"dropout": 0.5}), kind)
    rates = dropout(trainer.model)
    assert len(rates) == 2 * 7, "seven matrices, two layers"
    assert set(rates.values()) == {0.5}
    disturb(trainer.model)
    if kind == "dpo":
        trainer.know_reference()
        pair = Example("", "", 4, trainer.rows[1].prompt_ids, *trainer.rows[1].responses)
        assert trainer.logps_of([pair])[0] == pytest.approx(trainer.rows[1].reference, rel=1e-6)
    one, other = (step(trainer, trainer.rows[:2])[0] for _ in range(2))
    assert one != other


def test_the_reward_head_is_trained_in_full_and_in_float32(run_file: RunFile) -> None:
    trainer, _ = build(run_file("reward", model={"dtype": "bfloat16"}), "reward")
    heads = {name: p for name, p in trainable(trainer.model).items() if "score" in name}
    assert [(parameter.dtype, tuple(parameter.shape)) for parameter in heads.values()] == [(torch.float32, (1, 32))]


@pytest.mark.parametrize("kind", ["reward", "dpo", "sft"])
def test_every_trained_parameter_moves_and_no_other(run_file: RunFile, kind: str, trains: str) -> None:
    path = run_file(kind, optim={"max_steps": 3, "warmup_steps": 0}, model={"trains": trains})
    trainer, _ = build(path, kind)
    if kind == "dpo":
        trainer.know_reference()
    learns = set(trainable(trainer.model))
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    moved = {name for name, parameter in trainer.model.named_parameters() if not torch.equal(before[name], parameter)}
    assert moved == learns
    if trains == "all":
        assert learns == set(before)
        assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
    else:
        assert all("lora_" in name or "score" in name for name in learns)
        assert len([name for name in learns if "lora_" in name]) == 2 * 7 * 2  # A and B, seven matrices, two layers


def test_bfloat16_products_over_float32_masters_learn_in_small_steps(run_file: RunFile) -> None:
    path = run_file("sft", model={"trains": "all", "dtype": "bfloat16"}, optim={"max_steps": 2, "learning_rate": 1e-6})
    trainer, _ = build(path, "sft")
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    for name, parameter in trainer.model.named_parameters():
        assert not torch.equal(before[name], parameter), "a step of 1e-6 is below what bfloat16 can add"
