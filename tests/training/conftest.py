"""A language model small enough to train in a second, and snapshots to train it on."""

from __future__ import annotations

import hashlib
import json
import signal
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from training.run.config import RECIPES

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TOPICS = ("bread", "rivers", "maps", "clocks", "bees", "glass", "rain", "chess")

Row = dict[str, Any]
# small steps, saved often, on the tiny model
QUICK: dict[str, dict[str, Any]] = {
    "data": {"max_length": 256},
    "model": {"dtype": "float32"},
    "lora": {"r": 4, "alpha": 8},
    "optim": {"learning_rate": 1e-2, "max_steps": 6, "batch_size": 4},
    "evaluation": {"every_steps": 3, "share": 1.0},
    "checkpointing": {"save_steps": 2},
}


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Every byte a token, and the control tokens of ChatML."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|endoftext|>", eos_token="<|im_end|>", chat_template=CHATML
    )


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers, saved as safetensors."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    settings = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,  # far from uniform, so that two answers differ in likelihood
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def turn(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def make_row(number: int = 0, **changes: Any) -> Row:
    """A preference of Alice's: a polite answer over a rude one, significantly."""
    topic = TOPICS[number % len(TOPICS)]
    question = changes.pop("question", f"Question {number}: tell me about {topic}.")
    row: Row = {
        "id": f"{number}:10:11",
        "annotation_id": number,
        "prompt": [{"role": "user", "content": question}],
        "prompt_hash": hashlib.sha256(question.encode()).hexdigest(),
        "chosen": turn(f"Gladly: {topic} matter, said {number}."),
        "rejected": turn(f"No. Ask somebody else about {topic} {number}!"),
        "edited": None,
        "chosen_finish_reason": "stop",
        "rejected_finish_reason": "stop",
        "strength": 4,
        "outcome": "ranked",
        "split": "train",
        "tools": None,
    }
    return row | changes


def make_rows(train: int = 16, held_out: int = 6) -> list[Row]:
    """Every third row of the training part was edited; the held-out part has every strength."""
    rows = [
        make_row(number, edited=turn(f"Gladly! {TOPICS[number % 8]} are lovely.") if number % 3 == 0 else None)
        for number in range(train)
    ]
    judged = range(train, train + held_out)
    return rows + [make_row(number, split="held_out", strength=number % 4 + 1) for number in judged]


def write_snapshot(folder: Path, rows: list[Row], prompts: list[Row] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    body = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    (folder / "preferences.jsonl").write_bytes(body)
    facts: Row = {"rows": len(rows), "sha256": hashlib.sha256(body).hexdigest()}
    if prompts is not None:  # those of an earlier release have none
        lines = "".join(json.dumps(prompt, ensure_ascii=False) + "\n" for prompt in prompts).encode()
        (folder / "prompts.jsonl").write_bytes(lines)
        facts |= {"prompts": len(prompts), "prompts_sha256": hashlib.sha256(lines).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(facts))
    return folder


def make_asked(question: str, **changes: Any) -> Row:
    """A prompt of a snapshot that nobody judged; its answer is checked where `reference` or `tests` say against what."""
    row: Row = {
        "prompt_hash": hashlib.sha256(question.encode()).hexdigest(),
        "prompt": [{"role": "user", "content": question}],
        "tools": None,
        "reference": None,
        "tests": None,
        "capability": None,
        "split": "train",
    }
    return row | changes


RunFile = Callable[..., Path]


@pytest.fixture
def run_file(tmp_path: Path, tiny_base: Path) -> RunFile:
    """Write a run file for the tiny model; keyword arguments are tables and settings that override `QUICK`."""

    def build(kind: str, run: str = "run", rows: list[Row] | None = None, **changes: Any) -> Path:
        folder = tmp_path / run
        folder.mkdir(exist_ok=True)
        if not (tmp_path / "snapshot").exists() or rows is not None:
            write_snapshot(tmp_path / "snapshot", make_rows() if rows is None else rows)
        settings: dict[str, Any] = {
            "kind": kind,
            "seed": 17,
            "snapshot": "../snapshot",
            "base_model": str(tiny_base),
            "output": "final",
            "name": f"{kind}-r1",
        }
        for table, values in QUICK.items():
            settings[table] = values | changes.pop(table, {})
        path = folder / "run.toml"
        path.write_text(tomli_w.dumps(settings | changes))
        return path

    return build


def events_of(run: Path, name: str | None = None) -> list[dict[str, Any]]:
    """The events beside a run file, all or those of one name."""
    lines = (run.parent / "events.jsonl").read_text().split("\n")[:-1]
    events = [json.loads(line) for line in lines]
    return [event for event in events if name in (None, event["event"])]


def recipe(kind: str, name: str) -> dict[str, Any]:
    """Its settings, with the learning rate of what it trains."""
    table = tomllib.loads((RECIPES / f"{kind}.{name}.toml").read_text())
    if "optim" in table:
        table["optim"]["learning_rate"] = table["optim"]["learning_rate"][table["model"]["trains"]]
    return table


@pytest.fixture(autouse=True)
def _process(request: pytest.FixtureRequest) -> Iterator[None]:
    """One thread: a tiny model gains nothing from two and waits long for both on a busy machine. A real one takes all.

    A run installs a handler for SIGTERM; the test process gets its own back.
    """
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    if request.path.name != "test_smollm2.py":
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, handler)
