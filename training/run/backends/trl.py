"""TRL's own trainers, on our model and our token ids, in our process: their losses, their batches, their optimizer steps.

Corral's trainer stands beside them on the same model. It has said what the reference thinks, and measures and saves. What
is taken away from TRL: tokenising, its references, its model card, and its message to the Hugging Face Hub that a training began.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import Trainer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

from training.formats.errors import ConfigError
from training.formats.settings import DpoRun, DpoSettings, RewardRun, RewardSettings, RunConfig
from training.formats.trainers import class_of
from training.model import processes
from training.run.backends import rows, steps
from training.run.backends.handed import Handed
from training.run.progress import training_arguments
from training.run.trainer import on_one_device

if TYPE_CHECKING:
    from training.run.trainer import RowTrainer


class Reward(Handed, RewardTrainer):
    """Bradley-Terry over pairs."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The loss, with the model told what the collator pads with; Trainer has told it what the tokenizer does.

        A classification model answers at the last token that does not pad. Where a template closes a turn with the token
        that the tokenizer pads with, that would be the token before it, which nobody reads when the model is served.
        """
        settings = self.model.config.get_text_config()
        known, settings.pad_token_id = settings.pad_token_id, self.data_collator.pad_token_id
        try:
            return super().compute_loss(*args, **kwargs)
        finally:
            settings.pad_token_id = known

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Under the names that all kinds of run have."""
        metrics = self._metrics["train"]
        for its, ours in (("accuracy", "rewards/accuracies"), ("margin", "rewards/margins")):
            if its in metrics:
                metrics[ours] = metrics.pop(its)
        super().log(logs, *args, **kwargs)


class Dpo(Handed, DPOTrainer):
    """The losses over pairs with a reference."""


class Kto(Handed, KTOTrainer):
    """The losses over responses that were preferred, or were not, with a reference."""


class Sft(Handed, SFTTrainer):
    """The likelihood of responses."""


def learner(ours: RowTrainer) -> Trainer:
    """TRL's trainer of a run, ready to train the model that `ours` measures and saves.

    Raises:
        ConfigError: TRL refuses the run, and why.
    """
    try:
        return _made(ours, ours.config)
    except ValueError as error:
        raise ConfigError(f"TRL cannot train this run: {' '.join(str(error).split())}") from error


def _made(ours: RowTrainer, config: RunConfig) -> Trainer:
    if isinstance(config, RewardRun):
        return _reward(ours, config.reward)
    if isinstance(config, DpoRun):
        return PREFERENCE[class_of(config.kind, config.loss_type)](ours, config.dpo)
    return _sft(ours)


def _dpo(ours: RowTrainer, settings: DpoSettings) -> Trainer:
    terms = {settings.loss_type: 1.0} | ({"sft": settings.nll_weight} if settings.nll_weight else {})
    arguments = DPOConfig(
        **_arguments(ours, sequences=2),
        beta=settings.beta,
        loss_type=list(terms),
        loss_weights=list(terms.values()),
        label_smoothing=settings.label_smoothing,
        max_length=None,
        precompute_ref_log_probs=True,  # they are in the rows
        disable_dropout=False,
    )
    return _with_model(ours, Dpo, arguments, rows.of_dpo(ours.rows))


def _kto(ours: RowTrainer, settings: DpoSettings) -> Trainer:
    arguments = _arguments(ours, sequences=4, examples=2)
    alone, liked = rows.unpaired(ours.rows, arguments["per_device_train_batch_size"], ours.config.seed)
    known = ours.known(alone)  # a PolicyTrainer's
    given = KTOConfig(
        **arguments,
        beta=settings.beta,
        loss_type=settings.loss_type,
        max_length=None,
        precompute_ref_log_probs=True,
        disable_dropout=False,
    )
    return _with_model(ours, Kto, given, rows.of_unpaired(known, liked))


def _orpo(ours: RowTrainer, settings: DpoSettings) -> Trainer:
    from training.run.backends import trl_odds  # says on being imported that it may change; see there

    arguments = trl_odds.ORPOConfig(
        **_arguments(ours, sequences=2),
        beta=settings.beta,
        max_length=ours.config.data.max_length,
        disable_dropout=False,
    )
    return _with_model(ours, trl_odds.Odds, arguments, rows.of_odds(ours.rows))


def _reward(ours: RowTrainer, settings: RewardSettings) -> Trainer:
    arguments = RewardConfig(
        **_arguments(ours, sequences=2),
        center_rewards_coefficient=settings.center_rewards or None,
        max_length=None,
        disable_dropout=False,
    )
    examples = rows.of_reward(ours.rows, settings.margins)
    ends = {example[side][-1] for example in examples for side in ("chosen_ids", "rejected_ids")}
    candidates = chain([ours.processing_class.pad_token_id], count())
    collator = DataCollatorForPreference(pad_token_id=next(token for token in candidates if token not in ends))
    return _with_model(ours, Reward, arguments, examples, data_collator=collator)


def _sft(ours: RowTrainer) -> Trainer:
    arguments = SFTConfig(**_arguments(ours, sequences=1), loss_type="nll", max_length=None)
    return _with_model(ours, Sft, arguments, rows.of_sft(ours.rows))


PREFERENCE: dict[str, Callable[[RowTrainer, DpoSettings], Trainer]] = {
    "DPOTrainer": _dpo,
    "KTOTrainer": _kto,
    "ORPOTrainer": _orpo,
}


def _arguments(ours: RowTrainer, sequences: int, examples: int = 1) -> dict[str, Any]:
    """What ours is told, a step being cut so that passes fit into their budget.

    Each of the `optim.batch_size` of a step is `sequences` in memory, and `examples` of those that TRL counts.
    """
    config = ours.config
    given = training_arguments(config, Path(ours.args.output_dir).parent)
    batch = config.optim.batch_size // processes.count()
    widest = max(steps.width(row) for row in ours.rows)
    at_once = steps.micro_batch(batch, sequences, widest, config.model.pack_tokens)
    return given | {
        "per_device_train_batch_size": examples * at_once,
        "gradient_accumulation_steps": batch // at_once,
    }


def _with_model(ours: RowTrainer, trainer: Any, arguments: Any, examples: Any, **given: Any) -> Trainer:
    model = ours.model
    made: Trainer = trainer(
        model=model,
        args=on_one_device(arguments),
        train_dataset=trainer.held(examples),
        processing_class=ours.processing_class,
        callbacks=[ours.progress],
        **given,
    )
    if "ref" in getattr(model, "peft_config", {}):  # a frozen copy of the adapter: the rows know what it would say
        model.delete_adapter("ref")
    return made
