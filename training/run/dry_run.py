"""What a run would do, said before it does anything: rows, lengths, memory, disk and time. No model is loaded.

Time is the arithmetic of the run over the speed of this machine's matrix products, measured for a moment at the width of
the model. It is good to a factor of two, as long as the machine stays as busy as it is then.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch

from training.data.left_out import UNUSABLE
from training.data.rows import Prepared, unrenderable
from training.formats.rankings import PREFERS_NOTHING
from training.formats.settings import RunConfig
from training.formats.trainers import words
from training.model import layouts, models
from training.model.packing import PLAIN, SHARED, Form, alone, lay_out, length, widest
from training.run import pace, room, stages
from training.run.backends import steps

MEASURED_SECONDS = 0.3
OVERHEAD = 2.0  # attention, norms, adapters and the optimizer, beside the products with the model's matrices


def report(config: RunConfig, run_dir: Path) -> None:
    """Print it.

    Raises:
        TrainingError: what would stop the run before its first step.
    """
    tokenizer, prepared = stages.rows_of(config)
    shape = room.shape_of(config)
    rows = prepared.rows
    form = layouts.expected(config.base_model, rows, tokenizer.pad_token_id)
    longest = steps.longest(config, rows, widest(rows, form))
    fitted = room.fit(config, shape, longest)
    taken = pace.steps_of(config, prepared)
    needed, on_disk = room.memory(fitted, shape, longest), room.bytes_of(config, tokenizer)
    twice = fitted.model.gradient_checkpointing
    padding = f", {_padding(prepared, fitted.model.pack_tokens, form):.0%} of the packs padding"
    if config.trainer != "corral":
        padding = ""
    once, unshared = sum(row.length for row in rows), sum(row.unshared_length for row in rows)
    table = {
        **_data(prepared),
        "lengths": f"{_spread([row.length for row in rows])} tokens a row",
        "tokens": f"{once:,} with each prompt once, {unshared:,} as pairs",
        "trainer": words(config.trainer, config.kind, config.loss_type),
        "steps": f"{taken:,} of {config.optim.batch_size} {steps.unit(config)}{padding}",
        "trained": f"{shape.trained / 1e6:,.2f} of {shape.weights / 1e6:,.1f} million weights",
        "packs": f"{fitted.model.pack_tokens:,} tokens" + (", activations computed twice" if twice else ""),
        **({"layout": f"the base model {layouts.SAID[form]}"} if form in layouts.SAID else {}),
        "memory": f"about {needed / 1e9:,.1f} GB of {room.available() / 1e9:,.1f} GB that are free",
        "disk": f"about {on_disk / 1e6:,.0f} MB in {run_dir}",
        "time": f"about {_duration(seconds(fitted, shape, prepared, taken, form))}, at this machine's present load",
    }
    sys.stdout.writelines(f"{name:<12}{value}\n" for name, value in table.items())


def seconds(config: RunConfig, shape: room.Shape, prepared: Prepared, taken: int, form: Form = SHARED) -> float:
    """Two operations a weight and token forward, and what `pace` counts beside it: backward, and held-out evaluations."""
    evaluation = pace.evaluation_in_steps(config, prepared)
    every = pace.evaluated_every(config, evaluation)
    evaluations = 2 + ((taken - 1) // every if every else 0)  # before, after and in between
    once = sum(length(row, form) for row in prepared.rows)
    reference = once if config.kind == "dpo" else 0
    a_step = pace.tokens_a_step(config, prepared)  # Corral's steps are there of rows that share their prompts
    trained = a_step * once / sum(row.length for row in prepared.rows) if config.trainer == "corral" else a_step
    tokens = pace.passes(config) * (trained * taken + a_step * evaluation * evaluations)
    work = 2 * shape.weights * (tokens + reference)
    return OVERHEAD * work / _flops(shape.hidden, models.DTYPES[config.model.dtype])


def _data(prepared: Prepared) -> dict[str, str]:
    counts = prepared.counts
    lines = {
        "ties": "ties",
        "all_unacceptable": "all unacceptable",
        "written": "answers written from scratch, which are in no pair",
        "empty_responses": "with an empty response",
        "same_text": "with the same text twice",
        "filtered_by_strength": "not strong enough",
        "left_out_by_checkpoint": "of models that may not be learnt from",
        "left_to_other_batches": "of other batches",
        "dropped_contaminated": "repeat a held-out prompt",
    } | {reason: f"that {words}" for reason, words in UNUSABLE.items()}
    pairs = {
        "merged_weak": "pairs that most found weaker",
        "dropped_contradictory": "pairs contradictory",
        "dropped_too_long": "pairs too long",
    }
    reasons = [f"{counts[key]:,} {words}" for key, words in (lines | pairs).items() if counts[key]]
    unjudged = sum(counts[f"held_out_{reason}"] for reason in PREFERS_NOTHING)
    named = {"too long": ", ".join(counts["too_long_rows"])} if counts["too_long_rows"] else {}
    if counts["refusal"]:
        named["cannot be rendered"] = unrenderable(counts)
    return {
        "read": f"{counts['train_rows']:,} lines to train on, {counts['held_out_rows']:,} held out",
        "left out": ", ".join(reasons) or "nothing",
        **named,
        "rows": f"{counts['prompts']:,} prompts, {counts['responses']:,} responses, {counts['pairs']:,} pairs",
        "held out": f"{counts['held_out_pairs']:,} pairs"
        + (f", {unjudged:,} lines prefer nothing" if unjudged else ""),
    }


def _spread(values: Sequence[int]) -> str:
    return f"{min(values)} to {max(values)}, median {median(values):g}"


def _padding(prepared: Prepared, budget: int, form: Form) -> float:
    """Of packs over all rows at once; those of a step are a little worse."""
    packs = [alone(lines) if form == PLAIN else lines for lines in lay_out(prepared.rows, budget, form)]
    area = sum(len(lines) * max(sum(row.length for row in line) for line in lines) for lines in packs)
    return 1 - sum(length(row, form) for row in prepared.rows) / area


def _flops(width: int, dtype: torch.dtype) -> float:
    """Operations a second of a product of matrices as wide as the model."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    one, other = (torch.ones(shape, dtype=dtype, device=device) for shape in ((1024, width), (width, 4 * width)))
    count, started = 0, time.monotonic()
    while time.monotonic() - started < MEASURED_SECONDS:
        (one @ other)[0, 0].item()  # waits for the device
        count += 1
    return count * 2 * 1024 * width * 4 * width / (time.monotonic() - started)


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return (
        f"{seconds:.0f} seconds"
        if minutes < 2
        else f"{minutes:.0f} minutes"
        if minutes < 120
        else f"{minutes / 60:.1f} hours"
    )
