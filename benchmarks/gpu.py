"""What one CUDA GPU makes of a training, beside TRL's best on the same card.

    python -m benchmarks.gpu                  all workloads (about 20 minutes on an H100, 40 GB of disk)
    python -m benchmarks.gpu --only "1b dpo"  those whose name begins so
    python -m benchmarks.gpu --smoke          a tiny model on a processor, a minute: shows that it runs, and no more

Models are drawn at random from the configurations of Llama 3: they cost what trained ones do. Rows are random tokens of uneven
lengths, half to one and a half of what the table names. Every measurement is a process of its own on the same rows in the same
order, with the adapter of the recipe `llama3`. The first steps, in which kernels are compiled, do not count; nor do references,
which both compute before their first step.

    Corral          as `python -m training.*` trains: masks in blocks, logits in parts, packs ahead
    Corral, dense   whole masks and whole logits: what the above is held to, and beside
    compiled        the first with every layer compiled
    TRL's best      bfloat16 weights, no gradient checkpointing, the largest micro-batch that fits, references first

Tokens are those of rows, each prompt once, whoever reads them; so tokens/s compare as pairs/s do. MFU is 4 operations a weight
and token (an adapter needs no gradient of the other weights), of what the card's maker says it multiplies. The bars are those
of docs/training.md.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.budget import Budget, verdict

ROOT = Path(__file__).parents[1]
OURS, DENSE, COMPILED, BEST = "Corral", "Corral, dense", "Corral, compiled", "TRL's best"
WHOLE = 2**31
"""Tokens of the head that no pass has: all logits at once."""
IN_PARTS = 64
"""What a smoke test takes instead of a GPU's, so that there are parts."""
WARM_UP = 2
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}
"""bfloat16 operations a second, dense, by a part of the card's name."""
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 512, "tie_word_embeddings": True},
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 128_256, "tie_word_embeddings": True},
    "8b": {"hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 128_256, "tie_word_embeddings": False},
}  # fmt: skip
Result = dict[str, Any]
Key = tuple[str, str]
Found = dict[Key, Result]


@dataclass(frozen=True)
class Workload:
    """Rows of one kind, and what is expected of them."""

    shape: str
    kind: Literal["reward", "dpo", "sft"]
    prompt: int
    response: int
    responses: int
    rows: int
    """Of a step."""
    pack_tokens: int
    micro: int
    """Pairs, or completions, that TRL is first given at once."""
    over_trl: float = 0.0
    """How many times as fast as TRL's best, at least; 0 is not asked for."""
    tokens_a_second: float = 0.0
    over_dense: float = 0.0

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Better and worse response of each pair of a row, edited > chosen > rejected."""
        every = {1: [], 2: [(0, 1)], 3: [(0, 1), (0, 2), (1, 2)]}[self.responses]
        return every[1:] if self.kind == "dpo" and self.responses == 3 else every  # edited over chosen is left out

    @property
    def of_trl(self) -> int:
        """Pairs or completions of a step, which is what TRL counts."""
        return self.rows * (len(self.pairs) or self.responses)


WORKLOADS = {
    "1b dpo, pairs": Workload("1b", "dpo", 512, 512, 2, 32, 16_384, 16, 1.3, 40_000),
    "1b reward, threes": Workload("1b", "reward", 512, 512, 3, 32, 16_384, 16, 2.5),
    "1b sft": Workload("1b", "sft", 512, 512, 1, 32, 16_384, 32, 1.0),
    "8b dpo, pairs": Workload("8b", "dpo", 512, 512, 2, 16, 8_192, 8, 1.3, 9_000),
    "8b reward, threes": Workload("8b", "reward", 512, 512, 3, 16, 16_384, 8, 2.5),
    "8b dpo, long threes": Workload("8b", "dpo", 2048, 1024, 3, 8, 16_384, 4, 1.9, over_dense=1.15),
}
SMOKE = {
    "tiny dpo, pairs": Workload("tiny", "dpo", 40, 30, 2, 4, 512, 4),
    "tiny reward, threes": Workload("tiny", "reward", 40, 30, 3, 4, 512, 12),
}
EVERY = WORKLOADS | SMOKE


def main() -> int:
    """Print the table and how it stands to the bars; 1 where one is missed, 2 where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="workloads whose name begins so")
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--smoke", action="store_true", help="a tiny model, on whatever there is")
    parser.add_argument("--measure", nargs=3, metavar=("WORKLOAD", "VARIANT", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--micro", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        workload, variant, folder = given.measure
        print(json.dumps(measure(workload, variant, Path(folder), given.steps, given.micro)))
        return 0
    import torch

    on_gpu = torch.cuda.is_available()
    if not on_gpu and not given.smoke:
        sys.stderr.write(
            "corral: this benchmark measures a CUDA GPU, and torch sees none: start it on a machine that has one with "
            "the CUDA build (make ENGINE=gpu), or with --smoke to see that it runs.\n"
        )
        return 2
    workloads = {name: w for name, w in (SMOKE if given.smoke else WORKLOADS).items() if name.startswith(given.only)}
    peak = _peak()
    print(f"{torch.cuda.get_device_name() if on_gpu else 'a processor, not CUDA'}, torch {torch.__version__}")
    found: Found = {}
    with tempfile.TemporaryDirectory() as name:
        for each in workloads.values():
            draw_base(Path(name) / each.shape, each.shape)
        for workload in workloads:
            for variant in (OURS, DENSE, *([] if given.smoke else [COMPILED]), BEST):
                found[workload, variant] = in_a_process(workload, variant, Path(name), given.steps)
                print(f"{workload}, {variant}: {found[workload, variant]['second']:.3f} s", file=sys.stderr, flush=True)
    table(found, peak)
    return verdict(*(bar for name in workloads for bar in bars(name, found, judged=not given.smoke)))


def bars(name: str, found: Found, *, judged: bool) -> list[Budget]:
    """What is expected of a workload; of a smoke test nothing but its losses."""
    work, ours, dense, best = EVERY[name], *(found[name, variant] for variant in (OURS, DENSE, BEST))
    apart = max(abs(one - other) for one, other in zip(ours["losses"], dense["losses"], strict=True))
    bars = [Budget(f"{name}: largest difference of a loss from dense masks and whole logits", apart, 5e-3)]
    if not judged:
        return bars
    bars += [
        Budget(f"{name}: speed over TRL's best", best["second"] / ours["second"], work.over_trl, "×", at_least=True),
        Budget(f"{name}: peak memory over TRL's best", ours["bytes"] / best["bytes"], 1.0, "×"),
        Budget(f"{name}: making packs, of a step", 100 * ours["packing"] / ours["second"], 5.0, "%"),
    ]
    if work.tokens_a_second:
        speed = ours["tokens"] / ours["second"]
        bars.append(Budget(f"{name}: tokens/s", speed, work.tokens_a_second, at_least=True))
    if work.over_dense:
        faster = dense["second"] / ours["second"]
        bars.append(Budget(f"{name}: speed over dense masks", faster, work.over_dense, "×", at_least=True))
    return bars


def table(found: Mapping[Key, Result], peak: float) -> None:
    """One line a variant; MFU where the card is a GPU."""
    print(f"\n{'':<22}{'':<18}{'s a step':>9}{'tokens/s':>10}{'TFLOP/s':>9}{'MFU':>7}{'peak GB':>9}{'÷ TRL':>8}")
    for (workload, variant), run in found.items():
        speed = run["tokens"] / run["second"]
        operations = 4 * run["weights"] * speed
        used = f"{operations / peak:.0%}" if peak else "–"
        ratio = found[workload, BEST]["second"] / run["second"]
        print(
            f"{workload:<22}{variant:<18}{run['second']:>9.3f}{speed:>10,.0f}{operations / 1e12:>9.1f}{used:>7}"
            f"{run['bytes'] / 1e9:>9.1f}{ratio:>7.2f}×"
        )


def in_a_process(workload: str, variant: str, folder: Path, steps: int) -> Result:
    """What one process measured; TRL is given half as many at once where its memory runs out."""
    micro = divisor(EVERY[workload].of_trl, EVERY[workload].micro)
    while True:
        command = [sys.executable, "-m", "benchmarks.gpu", "--measure", workload, variant, str(folder)]
        command += ["--steps", str(steps), "--micro", str(micro)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if not done.returncode:
            result: Result = json.loads(done.stdout.splitlines()[-1])
            return result
        if variant != BEST or micro == 1 or "OutOfMemoryError" not in done.stderr:
            raise SystemExit(f"{workload}, {variant}: {done.stderr[-2000:]}")
        micro = divisor(EVERY[workload].of_trl, micro // 2)


def divisor(of: int, most: int) -> int:
    """The largest number up to ``most`` that divides ``of``: parts of a step weigh the same only where they are as large."""
    return next(size for size in range(min(of, most), 0, -1) if of % size == 0)


def measure(name: str, variant: str, folder: Path, steps: int, micro: int) -> Result:
    """Seconds and tokens of a step, seconds for its packs, peak memory and losses."""
    from transformers.trainer_utils import SaveStrategy

    from training.formats.events import EventLog
    from training.model import models
    from training.run import config

    work, where = EVERY[name], Path(tempfile.mkdtemp(dir=folder))
    rows = made_up(work, steps)
    settings = config.load(run_file(work, folder / work.shape, where, steps), work.kind)
    settings = replace(settings, model=replace(settings.model, **held(work, variant)))
    tokenizer = models.load_tokenizer(settings.base_model)
    if variant == BEST:
        trainer = trls(settings, where, tokenizer, rows, work, micro)
    else:
        trainer = ours(settings, where, tokenizer, rows, EventLog(where))
    trainer.args.save_strategy = SaveStrategy.NO
    trainer.args.train_sampling_strategy = "sequential"
    if hasattr(trainer, "know_reference"):
        trainer.know_reference()
    seconds = clocked(trainer)
    trainer.train()
    began = time.perf_counter()
    if variant != BEST:
        trainer.packs(trainer.rows[: work.rows])
    packing = time.perf_counter() - began
    return {
        "second": statistics.median(seconds[min(WARM_UP, steps - 1) :]),
        "tokens": sum(row.length for row in rows) / steps,
        "packing": packing,
        "bytes": peak_bytes(),
        "weights": sum(
            parameter.numel()
            for name, parameter in trainer.model.named_parameters()
            if "lora_" not in name and "embed_tokens" not in name
        ),
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
    }


def held(work: Workload, variant: str) -> dict[str, Any]:
    """The settings of the model in which the variants differ."""
    if variant == DENSE:
        return {"attention": "dense", "head_tokens": WHOLE}
    return {"compile": variant == COMPILED, "head_tokens": IN_PARTS if work.shape == "tiny" else 0}


def clocked(trainer: Any) -> list[float]:
    """The seconds of each step, as they come, with all that the device was given in it."""
    from transformers import TrainerCallback

    seconds: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Begins and ends with the device idle."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = now()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(now() - self.began)

    trainer.add_callback(Clock())
    return seconds


def now() -> float:
    """Seconds, once the device has done what it was given."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_bytes() -> int:
    """What torch held at most of the GPU's memory; on a processor the whole process."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ours(settings: Any, where: Path, tokenizer: Any, rows: list[Any], events: Any) -> Any:
    """Corral's trainer over the rows."""
    from training import dpo, reward, sft
    from training.data.rows import Prepared
    from training.run.progress import Progress

    module: Any = {"reward": reward, "dpo": dpo, "sft": sft}[settings.kind]
    progress = Progress(settings, "", events)
    return module.build_trainer(settings, where, tokenizer, Prepared(rows, [], {}, ""), progress)


def trls(settings: Any, where: Path, tokenizer: Any, rows: list[Any], work: Workload, micro: int) -> Any:
    """TRL's trainer over the same, as pairs, with the settings that cost it least."""
    from benchmarks import trl_reference
    from training.data.rows import Prepared

    options: dict[str, Any] = {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": work.of_trl // micro,
        "gradient_checkpointing": False,
    }
    if work.kind == "dpo":
        options |= {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2], "beta": settings.dpo.beta}
        options |= {"precompute_ref_log_probs": True}
    data = rows if work.kind == "sft" else Prepared(rows, [], {}, "").train
    return getattr(trl_reference, work.kind)(settings, where, tokenizer, data, **options)


def made_up(work: Workload, steps: int) -> list[Any]:
    """Rows for so many steps, of random tokens."""
    from training.data.chat import Response
    from training.data.rows import Row, RowPair

    dice = random.Random(17)

    def tokens(mean: int) -> list[int]:
        return [dice.randrange(250) for _ in range(round(mean * dice.uniform(0.5, 1.5)))]

    def response() -> Response:
        ids = tokens(work.response)
        return Response(ids, [1] * (len(ids) - 1) + [0])

    return [
        Row(
            str(number),
            tokens(work.prompt),
            tuple(response() for _ in range(work.responses)),
            tuple(RowPair(better, worse, "chosen_over_rejected", 4) for better, worse in work.pairs),
        )
        for number in range(steps * work.rows)
    ]


def run_file(work: Workload, base: Path, where: Path, steps: int) -> Path:
    """The settings of a run: the recipe's, in packs and steps of this workload."""
    (where / "rows.jsonl").write_text("{}\n", encoding="utf-8")  # the rows are made up
    settings = {
        "recipe": "llama3", "seed": 17, "snapshot": "rows.jsonl", "base_model": str(base), "output": "final",
        "name": "gpu", "cache": "cache",
    }  # fmt: skip
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    lines += ["[data]", "max_length = 8192", "[optim]", f"batch_size = {work.rows}", f"max_steps = {steps}"]
    lines += ["[model]", f"pack_tokens = {work.pack_tokens}", "gradient_checkpointing = false"]
    lines += ['dtype = "float32"'] if work.shape == "tiny" else []
    (where / "run.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return where / "run.toml"


def draw_base(folder: Path, shape: str) -> None:
    """A base model of this shape with weights drawn at random, as safetensors, and one token a byte."""
    if folder.exists():
        return
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|pad|>", "<|end|>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>")  # noqa: S106
    fast.save_pretrained(folder)
    settings = LlamaConfig(
        **SHAPES[shape], max_position_embeddings=8192, pad_token_id=fast.pad_token_id, eos_token_id=fast.eos_token_id
    )
    torch.manual_seed(17)
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    with torch.device(device):
        LlamaForCausalLM._from_config(settings, dtype=dtype).save_pretrained(folder)  # noqa: SLF001
    if device == "cuda":
        torch.cuda.empty_cache()


def _peak() -> float:
    """bfloat16 operations a second: as the maker says, else as a large product shows; 0 on a processor."""
    import torch

    if not torch.cuda.is_available():
        return 0.0
    name = torch.cuda.get_device_name()
    known = next((peak for part, peak in PEAKS.items() if part in name), 0.0)
    side, times = 8192, 10
    square = torch.randn(side, side, device="cuda", dtype=torch.bfloat16)
    square @ square
    began = now()
    for _ in range(times):
        square @ square
    reached = 2 * side**3 * times / (now() - began)
    print(f"a product of {side} x {side}: {reached / 1e12:.0f} TFLOP/s" + (f" of {known / 1e12:.0f}" if known else ""))
    return known or reached


if __name__ == "__main__":
    sys.exit(main())
