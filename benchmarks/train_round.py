"""What one training round costs: a reward model and a policy on 90 pairs, beside plain TRL in the same run.

    python -m benchmarks.train_round                      90 made-up pairs
    python -m benchmarks.train_round --file pairs.jsonl   the first 90 of a file with prompt, chosen and rejected
    python -m benchmarks.train_round --pairs 24           fewer, where time is short

Every run is a process of its own, from its start to its saved checkpoint; CPU seconds are those of the process and
count both cores. Ours is the laptop recipe as it is. "Plain TRL" is RewardTrainer and DPOTrainer with the same base
model, LoRA, batch, rate and one epoch, and TRL's own defaults otherwise (float32 weights under bf16 autocast, gradient
checkpointing, one mask for both losses); it evaluates nothing, ours evaluates before and after. The budget is 5 minutes
of wall time for ours on two idle cores.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

from benchmarks.budget import Budget, verdict
from training import base_model
from training.model.precision import serving_dtype
from training.run.config import RECIPES

ROOT = Path(__file__).parents[1]
BUDGET_SECONDS = 300
HELD_OUT = 10
KINDS = ("reward", "dpo")
SUBJECTS = ("a kettle", "the tide", "compost", "a bicycle chain", "sourdough", "a lighthouse", "paper", "a compass")
OPENINGS = ("In short,", "Put simply,", "First of all,", "Roughly speaking,", "As far as people know,")
CLAIMS = (
    "it works because heat moves from where there is more of it to where there is less",
    "small parts push on each other until the whole thing turns",
    "water finds its way down and takes fine sand along",
    "patience matters more than the tools that are used",
    "the first people who tried it wrote down what went wrong",
)


def main() -> int:
    """Print the table; exit with 1 where ours is over its budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=90)
    parser.add_argument("--file", type=Path, help="JSONL with prompt, chosen and rejected (text or messages)")
    parser.add_argument("--reference", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reference:
        plain_trl(options.reference, options.folder)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = read_pairs(options.file) if options.file else made_up_pairs(options.pairs + HELD_OUT)
        prepare(folder, rows[: options.pairs + HELD_OUT])
        print(f"{options.pairs} pairs, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the first run\n")
        print(f"{'run':<18}{'CPU-s':>8}{'wall-s':>8}{'CPU / TRL':>11}   held-out accuracy")
        total = 0.0
        for kind in KINDS:
            reference = measure("benchmarks.train_round", "--reference", kind, "--folder", str(folder))
            ours = measure(f"training.{kind}", str(folder / kind / "run.toml"))
            total += ours[1]
            print(f"{'TRL ' + kind:<18}{reference[0]:>8.0f}{reference[1]:>8.0f}{1:>11.2f}")
            print(
                f"{kind:<18}{ours[0]:>8.0f}{ours[1]:>8.0f}{ours[0] / reference[0]:>11.2f}   {accuracies(folder / kind)}"
            )
    return verdict(Budget("reward + dpo on two idle cores, wall time", total, BUDGET_SECONDS, "s"))


def made_up_pairs(count: int) -> list[dict[str, str]]:
    """Questions with a considered answer and a curt one, of the lengths that a small model writes."""
    draw = random.Random(17)
    pairs = []
    for number in range(count):
        subject = draw.choice(SUBJECTS)
        chosen = " ".join(f"{draw.choice(OPENINGS)} {draw.choice(CLAIMS)}." for _ in range(draw.randint(5, 11)))
        rejected = " ".join(f"{draw.choice(CLAIMS)}!" for _ in range(draw.randint(3, 10)))
        prompt = f"Question {number}. How would you explain {subject} to a neighbour in {draw.randint(3, 9)} sentences?"
        pairs.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    return pairs


def read_pairs(file: Path) -> list[dict[str, str]]:
    """Pairs of a public file; of a conversation the last message counts."""

    def text(value: Any) -> str:
        return str(value if isinstance(value, str) else value[-1]["content"])

    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [{name: text(line[name]) for name in ("prompt", "chosen", "rejected")} for line in lines]


def prepare(folder: Path, pairs: list[dict[str, str]]) -> None:
    """The base model, a snapshot, a file for plain TRL and the two run files."""
    base_model.convert(folder / "base")
    rows = [row(number, pair, "held_out" if number < HELD_OUT else "train") for number, pair in enumerate(pairs)]
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (folder / "snapshot").mkdir()
    (folder / "snapshot" / "preferences.jsonl").write_bytes(body)
    manifest = {"rows": len(rows), "sha256": hashlib.sha256(body).hexdigest()}
    (folder / "snapshot" / "manifest.json").write_text(json.dumps(manifest))
    for kind in KINDS:
        (folder / kind).mkdir()
        settings = {"snapshot": "../snapshot", "base_model": "../base", "output": "final", "name": f"{kind}-bench"}
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        lines += ["[data]", "ngram = 0"]  # made-up questions differ by a number, and all pairs are to be trained on
        (folder / kind / "run.toml").write_text("\n".join(["seed = 17", *lines]) + "\n")


def row(number: int, pair: dict[str, str], split: str) -> dict[str, Any]:
    """One preference as a snapshot has it."""
    return {
        "id": f"{number}:a:b",
        "annotation_id": str(number),
        "prompt": [{"role": "user", "content": pair["prompt"]}],
        "prompt_hash": hashlib.sha256(pair["prompt"].encode()).hexdigest(),
        "chosen": [{"role": "assistant", "content": pair["chosen"]}],
        "rejected": [{"role": "assistant", "content": pair["rejected"]}],
        "edited": None,
        "strength": 4,
        "outcome": "ranked",
        "split": split,
        "tools": None,
    }


def measure(module: str, *arguments: str) -> tuple[float, float]:
    """CPU and wall seconds of `python -m module`, start to end."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{module} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - started


def accuracies(run: Path) -> str:
    """Held-out accuracy before and after, from the checkpoint's metrics."""
    metrics = json.loads((run / "final" / "metrics.json").read_text())
    before, after = (metrics[name]["held_out/accuracy"] for name in ("baseline", "final"))
    return f"{before:.2f} -> {after:.2f}"


def plain_trl(kind: str, folder: Path) -> None:
    """Train with TRL alone, on the same pairs."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer

    recipe = tomllib.loads((RECIPES / f"{kind}.laptop.toml").read_text(encoding="utf-8"))
    lines = (folder / "snapshot" / "preferences.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    columns = ("prompt", "chosen", "rejected")
    data = Dataset.from_list([{name: row[name] for name in columns} for row in rows if row["split"] == "train"])
    common = {
        "output_dir": str(folder / f"trl-{kind}"),
        "learning_rate": recipe["optim"]["learning_rate"],
        "per_device_train_batch_size": recipe["optim"]["batch_size"],
        "num_train_epochs": recipe["optim"]["epochs"],
        "warmup_steps": recipe["optim"]["warmup_steps"],
        "max_length": recipe["data"]["max_length"],
        "bf16": serving_dtype()
        == "bfloat16",  # TRL's default is to use it; without instructions for it that takes hours
        "use_cpu": not torch.accelerator.is_available(),
        "report_to": [],
        "disable_tqdm": True,
    }
    lora = {"r": recipe["lora"]["r"], "lora_alpha": recipe["lora"]["alpha"], "target_modules": "all-linear"}
    trainer: Any
    if kind == "reward":
        trainer = RewardTrainer(
            model=str(folder / "base"),
            args=RewardConfig(**common),
            train_dataset=data,
            peft_config=LoraConfig(task_type="SEQ_CLS", modules_to_save=["score"], **lora),
        )
    else:
        weights = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, recipe["dpo"]["nll_weight"]]}
        trainer = DPOTrainer(
            model=str(folder / "base"),
            args=DPOConfig(**common, **weights, beta=recipe["dpo"]["beta"]),
            train_dataset=data,
            peft_config=LoraConfig(task_type="CAUSAL_LM", **lora),
        )
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    sys.exit(main())
