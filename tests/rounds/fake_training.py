"""Stands in for ``training``: keeps the same contract of files and exit statuses, in a second and without a model.

``FAKE_TRAINING`` says how it behaves: empty for a good run, else ``crash``, ``bad-data``, ``nan``, ``disk``, ``hang``,
``null-loss``, ``busy`` (another process holds the folder), ``flip`` (a byte of the result changes after its manifest),
``deaf`` (hangs and ignores SIGTERM), ``reversed`` (surely worse than chance), ``unsure`` (the same of too few prompts).

Of several processes the first does all that, and says in ``ranks.jsonl`` as what it was started; the others wait for its result.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

STEPS = 6
WRONG = {"held_out/accuracy": 0.1, "held_out/accuracy/low": 0.0, "held_out/accuracy/high": 0.304}
RESULTS = {"reversed": WRONG | {"held_out/prompts": 10.0}, "unsure": WRONG | {"held_out/prompts": 9.0}}


def emit(folder: Path, event: str, **body: Any) -> None:
    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps({"event": event, "time": time.time(), **body}) + "\n")


def finish(config: dict[str, Any], snapshot: dict[str, Any], metrics: dict[str, float]) -> None:
    output = Path(config["output"])
    draft = output.parent / f".{output.name}.tmp"
    draft.mkdir(parents=True)
    weights = f"weights of {config['name']}".encode()
    (draft / "adapter_model.safetensors").write_bytes(weights)
    manifest = {
        "format": 1,
        "name": config["name"],
        "kind": "reward" if config["kind"] == "reward" else "policy",
        "base_model": config["base_model"],
        "parent": None,
        "snapshot_sha256": snapshot["sha256"],
        "seed": config["seed"],
        "config": {},
        "versions": {},
        "metrics": metrics,
        "files": {"adapter_model.safetensors": {"sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)}},
        "created_at": "2026-01-01T00:00:00+00:00",
    }
    (draft / "manifest.json").write_text(json.dumps(manifest))
    draft.rename(output)


def save(saved: Path, step: int) -> None:
    draft = saved.with_suffix(".tmp")
    draft.write_text(str(step))
    draft.replace(saved)


def last_words(sentence: str, status: int) -> None:
    sys.stderr.write(f"Loading…\n{sentence}\n")
    sys.exit(status)


def main(run_file: Path) -> None:
    fault = os.environ.get("FAKE_TRAINING", "")
    folder = run_file.parent
    config = tomllib.loads(run_file.read_text())
    signal.signal(signal.SIGTERM, signal.SIG_IGN if fault == "deaf" else lambda *_: sys.exit(143))
    leaked = [name for name in os.environ if name.startswith("CORRAL_") or name.endswith("_URL")]
    if leaked:
        last_words(f"secrets in the environment: {leaked}", 1)
    if fault == "busy":
        last_words("another process is training here", 5)
    output = Path(config["output"])
    if output.exists():
        if (output / "adapter_model.safetensors").read_bytes() == b"x":
            last_words(f"{output.name} has changed since it was written", 2)
        return
    snapshot = json.loads((Path(config["snapshot"]) / "manifest.json").read_text())
    rows = (Path(config["snapshot"]) / "preferences.jsonl").read_bytes()
    if hashlib.sha256(rows).hexdigest() != snapshot["sha256"]:
        last_words("the snapshot has changed", 2)
    saved = folder / "trainer-step"
    start = int(saved.read_text()) if saved.exists() else 0
    if start:
        emit(folder, "resumed", step=start)
    else:
        emit(folder, "data", pairs=snapshot["train_rows"])
        emit(folder, "baseline", metrics={"held_out/accuracy": 0.4, "held_out/pairs": 5})
    for step in range(start + 1, STEPS + 1):
        if step == 4:
            misbehave(fault)
        loss = None if fault == "null-loss" and step == 4 else 1 / step
        save(saved, step)  # before it is said: a test kills this process as soon as it has heard of the step
        emit(folder, "step", step=step, total_steps=STEPS, metrics={"loss": loss, "rewards/accuracies": step / STEPS})
    metrics = {"held_out/accuracy": 0.8, "held_out/pairs": 5} | RESULTS.get(fault, {})
    finish(config, snapshot, metrics)
    emit(folder, "final", metrics=metrics)
    if fault == "flip":
        (Path(config["output"]) / "adapter_model.safetensors").write_bytes(b"x")


def note(folder: Path) -> None:
    """Say as which of several processes this was started."""
    with (folder / "ranks.jsonl").open("a") as file:
        names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "CUDA_VISIBLE_DEVICES")
        file.write(json.dumps({name: os.environ.get(name) for name in names}) + "\n")


def follow(run_file: Path) -> None:
    """What every process but the first does."""
    output = Path(tomllib.loads(run_file.read_text())["output"])
    while not output.exists():
        time.sleep(0.05)


def misbehave(fault: str) -> None:
    if fault == "crash":
        raise RuntimeError("the matrix is not square")
    if fault == "bad-data":
        last_words("row 7 of preferences.jsonl has no prompt: export the snapshot again", 2)
    if fault == "nan":
        last_words("loss is nan at step 4 of 6: lower optim.learning_rate", 3)
    if fault == "disk":
        last_words("no space left for trainer/checkpoint-4: free 1 GB", 4)
    while fault in {"hang", "deaf"}:
        time.sleep(0.1)


if __name__ == "__main__":
    its_run_file = Path(sys.argv[1])
    if "RANK" in os.environ:
        note(its_run_file.parent)
    if os.environ.get("RANK", "0") == "0":
        main(its_run_file)
    else:
        follow(its_run_file)
