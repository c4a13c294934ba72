"""Train the policy on preferences: DPO with the two additions of Llama 3.

    python -m training.dpo run.toml

For a prompt x, a preferred response w and the other one l (arXiv 2305.18290, eq. 7; arXiv 2407.21783, 4.1.4):

    h(y)  = log p(y|x) - log p_ref(y|x)                  over the content tokens of y
    loss  = -log sigmoid(beta * (h(w) - h(l)))           averaged over pairs
            + nll_weight * mean(-log p(token of w))      over all tokens of all w of the batch

The end of turn token and the newline behind it stand in both responses. As a shared part that one term pushes up and
the other down they make DPO unstable (tails that repeat, answers that stop too early), so the first term masks them.
The second term keeps them: it is what preserves the format. TRL can mix the two losses but has one mask for both, so
`PolicyTrainer` writes them down once, with two. The reference is the same model with its adapter off, or the parent
adapter where a run continues one.

Left out: the other losses of TRL's DPOTrainer, reference log-probabilities stored across runs, and rows that share a
prompt in one sequence.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.functional import logsigmoid
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import use_adapter

from training import models, room, runner, stages
from training.config import RunConfig
from training.data import Example, Prepared, prepare
from training.evaluate import Metrics, policy_metrics
from training.events import EventLog
from training.progress import Progress, resume_point, training_arguments

Batch = dict[str, Tensor]
# Language model heads that are one matrix and nothing else: no scale, no soft cap on the logits.
PLAIN_HEADS = frozenset({"llama", "mistral", "qwen2", "qwen3"})


def train(config: RunConfig, run_dir: Path, events: EventLog) -> None:
    """One run, from the snapshot to the finished checkpoint."""
    # 1. The data, before anything heavy: what is wrong with it should be said within seconds.
    models.check_base(config.base_model)
    tokenizer = models.load_tokenizer(config.base_model)
    held_out_pairs = config.evaluation.max_pairs
    prepared = prepare(config.snapshot, config.data, tokenizer, max_held_out=held_out_pairs, consumer="dpo")
    stages.describe_data(events, prepared)
    room.check(config, run_dir, tokenizer)

    # 2. The model, and what its reference thinks of the held-out pairs.
    progress = Progress(config, prepared.snapshot_sha256, events)
    trainer = build_trainer(config, run_dir, tokenizer, prepared, progress)
    reference = trainer.logps_of(prepared.held_out, reference=True)

    def held_out() -> Metrics:
        return policy_metrics(prepared.held_out, trainer.logps_of(prepared.held_out), reference, trainer.beta)

    # 3. The untrained policy, which is its own reference.
    baseline = stages.baseline(
        config, events, prepared, lambda: policy_metrics(prepared.held_out, reference, reference, trainer.beta)
    )

    # 4. Training, from the last whole state where the run was interrupted.
    progress.evaluate = held_out
    stages.fit(trainer, events, resume_point(config, run_dir, prepared.snapshot_sha256))

    # 5. The result.
    final = stages.result(events, held_out, trainer.state.global_step)
    stages.publish(
        config,
        events,
        prepared,
        {"baseline": baseline, "final": final},
        lambda folder: models.save_adapter(trainer.model, tokenizer, folder),
    )


def build_trainer(
    config: RunConfig, run_dir: Path, tokenizer: Any, prepared: Prepared, progress: Progress
) -> "PolicyTrainer":
    """Our trainer over rows that are tokenised already."""
    assert config.dpo is not None  # noqa: S101  RunConfig holds it
    return PolicyTrainer(
        model=models.load_policy(config),
        args=DPOConfig(
            **training_arguments(config, run_dir),
            beta=config.dpo.beta,
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, config.dpo.nll_weight],
        ),
        mask_format_tokens=config.dpo.mask_format_tokens,
        data_collator=Collator(pad_token_id=tokenizer.pad_token_id),
        train_dataset=Dataset.from_list([_columns(example) for example in prepared.train]),
        processing_class=tokenizer,
        peft_config=models.lora(config),
        callbacks=[progress],
    )


class Collator(DataCollatorForPreference):
    """TRL's batch of [chosen; rejected] rows with one more mask.

    For B pairs whose longest sequence has T tokens, all of shape [2B, T], the chosen responses first: `input_ids`,
    `attention_mask`, `completion_mask` (1 on the response) and `content_mask` (1 on what was said, 0 on format tokens).
    """

    def torch_call(self, examples: list[dict[str, Any]]) -> Batch:
        """Pad to the longest sequence, on the right."""
        batch: Batch = super().torch_call(examples)
        rows = [
            [0] * len(example["prompt_ids"]) + example[side]
            for side in ("chosen_content", "rejected_content")
            for example in examples
        ]
        batch["content_mask"] = torch.zeros_like(batch["completion_mask"])
        for index, row in enumerate(rows):
            batch["content_mask"][index, : len(row)] = torch.tensor(row)
        return batch


class PolicyTrainer(DPOTrainer):
    """TRL's DPOTrainer with the loss of this module and tokens that are ready when they come in."""

    def __init__(self, *args: Any, mask_format_tokens: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mask_format_tokens = mask_format_tokens
        self.nll_weight = self.loss_weights[1]
        models.silence_dropout(self.model, "ref")
        # Off the GPU, TRL's fused head projects every position onto the vocabulary, prompt and padding included, and
        # that is more than a third of a step of a small model.
        self.compact_head = (
            self.accelerator.device.type == "cpu"
            and self.accelerator.num_processes == 1
            and self.model.config.model_type in PLAIN_HEADS
        )

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        """Nothing to do. TRL would render and tokenise, and make control tokens out of text that looks like them."""
        return dataset

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Resume the trained adapter too.

        Where a saved state has a sub-folder with an adapter (the frozen "ref" of a continued policy), transformers
        loads the sub-folders and leaves out the adapter beside them, so that training would start over from its parent.
        """
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if "ref" in self.model.peft_config:
            self.model.load_adapter(resume_from_checkpoint, "default", is_trainable=True)

    def compute_loss(  # the signature is the Trainer's
        self,
        model: Any,
        inputs: Batch,
        return_outputs: bool = False,  # noqa: ARG002, FBT001, FBT002
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Tensor:
        """The loss of the module docstring for one batch of the collator."""
        logps = self.token_logps(model, inputs)  # [2B, T-1]
        with torch.no_grad(), self.reference():
            ref_logps = self.token_logps(model, inputs)
        completion = inputs["completion_mask"][:, 1:].bool()  # the token at t is predicted at t-1
        scored = inputs["content_mask"][:, 1:].bool() if self.mask_format_tokens else completion
        log_ratios = ((logps - ref_logps) * scored).sum(dim=1)  # [2B]
        chosen, rejected = log_ratios.chunk(2)  # [B] each
        preference = -logsigmoid(self.beta * (chosen - rejected)).mean()
        nll = -logps.chunk(2)[0][completion.chunk(2)[0]].mean()
        self._record(inputs, (logps * scored).sum(dim=1), log_ratios, nll)
        loss: Tensor = preference + self.nll_weight * nll
        return loss

    def token_logps(self, model: Any, inputs: Batch) -> Tensor:
        """Log-probability of every response token given what stands before it, zero elsewhere; [2B, T-1]."""
        # The trainer casts inside the forward of the whole model, and only once training has begun. The compact head
        # goes past that, and so would the reference of the held-out pairs: policy and reference in two precisions.
        with self.accelerator.autocast():
            return self._token_logps(model, inputs)

    def _token_logps(self, model: Any, inputs: Batch) -> Tensor:
        wanted = inputs["completion_mask"][:, 1:].bool()
        model_inputs = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
        if not self.compact_head:
            labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
            logps: Tensor = model(**model_inputs, labels=labels, use_cache=False, fused_lm_head=True).log_probs
            return logps
        causal_lm = self.accelerator.unwrap_model(model).get_base_model()
        hidden = causal_lm.base_model(**model_inputs, use_cache=False).last_hidden_state[:, :-1]
        logits = causal_lm.get_output_embeddings()(hidden[wanted]).float()  # [response tokens, vocabulary]
        labels = inputs["input_ids"][:, 1:][wanted]
        picked: Tensor = logits.gather(1, labels[:, None]).squeeze(1) - logits.logsumexp(dim=1)
        return picked.new_zeros(wanted.shape).masked_scatter(wanted, picked)

    def reference(self) -> Any:
        """A context in which the model is the reference: its adapter off, or the frozen copy of the parent's on."""
        model = self.accelerator.unwrap_model(self.model)
        return use_adapter(model, adapter_name="ref" if "ref" in model.peft_config else None)

    def logps_of(self, examples: Sequence[Example], *, reference: bool = False) -> list[tuple[float, float]]:
        """Summed log-probabilities (nats) of the scored tokens of chosen and rejected, for every example."""
        if reference:
            with self.reference():
                return self.logps_of(examples)
        was_training = self.model.training
        self.model.eval()
        sums = [(0.0, 0.0)] * len(examples)
        by_length = sorted(range(len(examples)), key=lambda index: examples[index].length)  # little padding
        size = max(1, self.args.per_device_eval_batch_size // 2)  # two sequences an example
        for start in range(0, len(examples), size):
            indices = by_length[start : start + size]
            batch = self._prepare_inputs(self.data_collator([_columns(examples[index]) for index in indices]))
            mask = batch["content_mask" if self.mask_format_tokens else "completion_mask"][:, 1:]
            with torch.no_grad():
                chosen, rejected = (self.token_logps(self.model, batch) * mask).sum(dim=1).chunk(2)
            for index, pair in zip(indices, zip(chosen.tolist(), rejected.tolist(), strict=True), strict=True):
                sums[index] = pair
        self.model.train(was_training)
        return sums

    def _record(self, inputs: Batch, logps: Tensor, log_ratios: Tensor, nll: Tensor) -> None:
        """Keep TRL's metrics of one batch until the step is logged."""
        metrics = self._metrics["train" if self.model.training else "eval"]
        self._total_train_tokens += int(inputs["attention_mask"].sum())
        chosen, rejected = (self.beta * log_ratios.detach()).chunk(2)
        chosen_logps, rejected_logps = logps.detach().chunk(2)
        for name, value in {
            "rewards/chosen": chosen.mean(),
            "rewards/rejected": rejected.mean(),
            "rewards/accuracies": (chosen > rejected).float().mean(),
            "rewards/margins": (chosen - rejected).mean(),
            "logps/chosen": chosen_logps.mean(),
            "logps/rejected": rejected_logps.mean(),
            "nll_loss": nll.detach(),
        }.items():
            metrics[name].append(self.accelerator.gather(value).mean().item())
        metrics["num_tokens"] = [self._total_train_tokens]


def _columns(example: Example) -> dict[str, list[int]]:
    return {
        "prompt_ids": example.prompt_ids,
        "chosen_ids": example.chosen.ids,
        "rejected_ids": example.rejected.ids,
        "chosen_content": example.chosen.content,
        "rejected_content": example.rejected.content,
    }


if __name__ == "__main__":
    sys.exit(runner.main("dpo", train, sys.argv[1:]))
