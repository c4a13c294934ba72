"""What a pair costs to learn from, beside plain TRL 1.16: reward model, DPO and fine-tuning.

    python -m benchmarks.training                       everything, once (about 15 minutes on two idle cores)
    python -m benchmarks.training --only dpo --repeat 3
    python -m benchmarks.training --file pairs.jsonl    rows of a file with prompt, chosen and rejected instead of made-up ones

Every measurement is a process of its own on the same rows in the same order, with the laptop recipe's adapter, batch and
rate. It counts the CPU seconds of the trainer's `train()` and nothing around it; for DPO also what the reference costs.

    TRL defaults       float32 weights under bf16 autocast, gradient checkpointing
    TRL best           weights in the precision of ours, no gradient checkpointing
    ours               as `python -m training.*` trains
    ours, next night   DPO whose references are stored, as they are for all but the new rows
    ours, in TRL's memory   activations computed twice, as TRL's defaults do it: what ours costs where memory is short

A row of three is edited > chosen > rejected: three pairs for the reward model, two for DPO. TRL takes as many pairs a step
as there are in ours. Tokens are those that went through the model. Figures are medians; the table is followed by the
budgets, and the losses of every step are drawn into a picture, `--plot FILE.svg`.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.budget import Budget, verdict

ROOT = Path(__file__).parents[1]
DEFAULTS, BEST, OURS, KNOWN, TWICE = "TRL defaults", "TRL best", "ours", "ours, next night", "ours, in TRL's memory"
PACK_TOKENS = 512  # as in the recipes for laptops
WORKLOADS = {
    "reward, rows of three": ("reward", (DEFAULTS, BEST, OURS)),
    "reward, pairs": ("reward", (DEFAULTS, BEST, OURS, TWICE)),
    "dpo, pairs": ("dpo", (DEFAULTS, BEST, OURS, KNOWN)),
    "dpo, rows of three": ("dpo", (DEFAULTS, BEST, OURS, KNOWN)),
    "sft": ("sft", (DEFAULTS, BEST, OURS)),
}
# how many times more a pair may cost with TRL: (workload, beside what, ours, at least)
GOALS = [
    ("reward, rows of three", BEST, OURS, 2.5),
    ("reward, pairs", BEST, OURS, 1.3),
    ("dpo, pairs", DEFAULTS, OURS, 2.0),
    ("dpo, pairs", BEST, OURS, 1.4),
    ("sft", DEFAULTS, OURS, 1.6),
]
WORDS = (
    "the", "water", "slowly", "turns", "because", "a", "small", "wheel", "pushes", "against", "its", "neighbour", "and",
    "then", "heat", "moves", "from", "warm", "places", "to", "cold", "ones", "people", "noticed", "this", "long", "ago",
)  # fmt: skip
Result = dict[str, Any]


def main() -> int:
    """Print the table; exit with 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rows", type=int, default=4, help="rows of a step")
    parser.add_argument("--only", default="", help="workloads whose name begins so")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--dtype", choices=("auto", "bfloat16", "float32"), default="auto")
    parser.add_argument("--plot", type=Path, default=Path(tempfile.gettempdir()) / "training-losses.svg")
    parser.add_argument("--measure", nargs=3, metavar=("WORKLOAD", "VARIANT", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        workload, variant, folder = given.measure
        print(json.dumps(measure(workload, variant, Path(folder), given.steps)))
        return 0
    workloads = [name for name in WORKLOADS if name.startswith(given.only)]
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name), given, workloads)
        runs: dict[tuple[str, str], list[Result]] = {}
        for turn in range(given.repeat):
            for workload in workloads:
                for variant in WORKLOADS[workload][1]:
                    run = in_a_process(workload, variant, Path(name), given.steps)
                    runs.setdefault((workload, variant), []).append(run)
                    print(f"{turn + 1}. {workload}, {variant}: {run['cpu']:.1f} CPU-s", file=sys.stderr, flush=True)
    middle = {
        key: {f: statistics.median(run[f] for run in found) for f in found[0] if f != "losses"}
        for key, found in runs.items()
    }
    print(
        f"{given.steps} steps of {given.rows} rows, SmolLM2-135M, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the end"
    )
    table(middle)
    draw(given.plot, runs)
    print(f"\nthe losses of every step are drawn in {given.plot}\n")
    return verdict(
        *(
            Budget(
                f"{workload}: {beside} over {variant}, CPU-s a pair",
                cost(middle, workload, beside, variant),
                least,
                "×",
                at_least=True,
            )
            for workload, beside, variant, least in GOALS
            if workload in workloads
        ),
        *(
            Budget(
                f"{workload}: the least peak memory of ours over the least of TRL's",
                least_memory(middle, workload, (OURS, KNOWN, TWICE)) / least_memory(middle, workload, (DEFAULTS, BEST)),
                1.0,
                "×",
            )
            for workload in workloads
        ),
    )


def least_memory(middle: dict[tuple[str, str], Result], workload: str, variants: tuple[str, ...]) -> float:
    """Bytes that the frugalest of these variants takes at its peak."""
    return min(float(run["rss"]) for (of, variant), run in middle.items() if of == workload and variant in variants)


def prepare(folder: Path, options: argparse.Namespace, workloads: list[str]) -> None:
    """The base model, and for every workload its rows and its run file."""
    from training import base_model

    base_model.convert(folder / "base")
    draw = random.Random(17)
    lines = options.file.read_text(encoding="utf-8").splitlines() if options.file else []
    given, wanted = [json.loads(line) for line in lines], options.steps * options.rows
    for workload in workloads:
        where = folder / workload
        where.mkdir()
        rows = given[:wanted] or [made_up(draw, number) for number in range(wanted)]
        if not workload.endswith("three"):
            rows = [{name: text for name, text in row.items() if name != "edited"} for row in rows]
        (where / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        settings = {
            "seed": 17, "snapshot": "rows.jsonl", "base_model": "../base", "output": "final", "name": "bench",
            "cache": "cache",
        }  # fmt: skip
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        lines += ["[data]", "held_out_percent = 0", "max_length = 1024", "[optim]", f"batch_size = {options.rows}"]
        lines += [
            "[model]",
            f'dtype = "{options.dtype}"',
            "gradient_checkpointing = false",
            f"pack_tokens = {PACK_TOKENS}",
        ]
        (where / "run.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def made_up(draw: random.Random, number: int) -> dict[str, str]:
    """A question of about 100 tokens and answers of about 100, each with a spread as wide as people have it."""

    def text(least: int, most: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(least, most)))

    question = f"Question {number}: {text(30, 150)}?"
    return {"prompt": question, "chosen": text(50, 150), "rejected": text(50, 150), "edited": text(50, 150)}


def in_a_process(workload: str, variant: str, folder: Path, steps: int) -> Result:
    """What one process measured."""
    command = [sys.executable, "-m", "benchmarks.training", "--measure", workload, variant, str(folder)]
    command += ["--steps", str(steps)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{workload}, {variant}: {done.stderr[-2000:]}")
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(workload: str, variant: str, folder: Path, steps: int) -> Result:
    """CPU and wall seconds of `train()`, pairs, tokens, peak memory and the losses."""
    from transformers.trainer_utils import SaveStrategy

    from benchmarks import trl_reference
    from training import dpo, reward, sft
    from training.data.rows import prepare as rows_of
    from training.formats.events import EventLog
    from training.model import models
    from training.model.precision import serving_dtype
    from training.run import config
    from training.run.progress import Progress

    kind, _ = WORKLOADS[workload]
    where = folder / workload
    settings = config.load(where / "run.toml", kind)  # type: ignore[call-overload]
    tokenizer = models.load_tokenizer(settings.base_model)
    prepared = rows_of(settings.snapshot, settings.data, tokenizer, max_held_out=1, consumer=settings.kind)
    pairs = len(prepared.train) if kind != "sft" else len(prepared.rows)
    cached = sorted((where / "cache").rglob("*.jsonl"))
    if variant == OURS:
        for file in cached:
            file.unlink()
    if variant in {OURS, KNOWN, TWICE}:
        if variant == TWICE:
            settings = replace(settings, model=replace(settings.model, gradient_checkpointing=True))
        module: Any = {"reward": reward, "dpo": dpo, "sft": sft}[kind]
        progress = Progress(settings, "", EventLog(where))
        trainer = module.build_trainer(settings, where, tokenizer, prepared, progress)
    else:
        plain = settings
        options: dict[str, Any] = {"per_device_train_batch_size": pairs // steps}
        if variant == DEFAULTS:
            plain = replace(settings, model=replace(settings.model, dtype="float32"))
            options |= {"bf16": serving_dtype() == "bfloat16", "gradient_checkpointing": True}
        if kind == "dpo":
            options |= {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2], "beta": 0.1}
        data = prepared.rows if kind == "sft" else prepared.train
        trainer = getattr(trl_reference, kind)(plain, where, tokenizer, data, **options)
    trainer.args.save_strategy = SaveStrategy.NO
    trainer.args.train_sampling_strategy = "sequential"
    cpu, wall = time.process_time(), time.monotonic()
    if hasattr(trainer, "know_reference"):
        trainer.know_reference()
    trainer.train()
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    return {
        "cpu": cpu,
        "wall": wall,
        "pairs": pairs,
        "tokens": logged[-1]["num_tokens"],
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "losses": [entry["loss"] for entry in logged],
    }


def table(middle: dict[tuple[str, str], Result]) -> None:
    """One line a variant, with what the defaults of TRL cost as the measure."""
    print(
        f"{'':<22}{'':<23}{'pairs':>6}{'tokens':>8}{'CPU-s/pair':>11}{'tokens/s':>9}{'peak GB':>8}{'÷ defaults':>11}{'÷ best':>7}"
    )
    for (workload, variant), run in middle.items():
        of_defaults, of_best = (cost(middle, workload, beside, variant) for beside in (DEFAULTS, BEST))
        print(
            f"{workload:<22}{variant:<23}{run['pairs']:>6.0f}{run['tokens']:>8.0f}{run['cpu'] / run['pairs']:>11.2f}"
            f"{run['tokens'] / run['wall']:>9.0f}{run['rss'] / 1e9:>8.1f}{of_defaults:>10.2f}×{of_best:>6.2f}×"
        )


def cost(middle: dict[tuple[str, str], Result], workload: str, beside: str, variant: str) -> float:
    """How many times more CPU time a pair takes with `beside` than with `variant`."""
    first, second = middle[workload, beside], middle[workload, variant]
    return float((first["cpu"] / first["pairs"]) / (second["cpu"] / second["pairs"]))


def draw(file: Path, runs: dict[tuple[str, str], list[Result]]) -> None:
    """The losses of every step, TRL's beside ours, a panel a workload."""
    from training.measure.plots import Line, Panel, panels

    def line(workload: str, variant: str) -> Line:
        losses = runs[workload, variant][0]["losses"]
        return Line(
            variant.removeprefix("TRL "), tuple((float(step), loss) for step, loss in enumerate(losses, start=1))
        )

    file.write_text(
        panels(
            [Panel(name, tuple(line(name, v) for v in (DEFAULTS, BEST, OURS))) for name in {w: None for w, _ in runs}]
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    sys.exit(main())
