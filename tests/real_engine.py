"""A real vLLM with the bundled model, for tests and benchmarks: started as ``corral up`` starts it, stopped at the end."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.kernel.settings import ROOT, Settings
from app.laptop import engine_command
from app.services.embedded import free_port
from tests.patience import PATIENCE

START_SECONDS = 240
KEY = "test-key"


def base_model() -> Path:
    """The bundled base model, converted once a machine."""
    folder = Path(tempfile.gettempdir()) / f"corral-test-model-{os.getuid()}" / "SmolLM2-135M-Instruct"
    if not (folder / "manifest.json").is_file():
        subprocess.run(
            [sys.executable, "-m", "training.base_model", str(folder)], cwd=ROOT, check=True, timeout=START_SECONDS
        )
    return folder


@dataclass(frozen=True)
class Vllm:
    """One of several engines."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Its address, up to ``/v1``."""
        return f"http://127.0.0.1:{self.port}/v1"


@contextmanager
def running_vllm(model: Path, log: Path, served: Path | None = None) -> Iterator[str]:
    """Start vLLM over ``model`` and yield its address (``…/v1``) once it lists its models; the key is ``KEY``.

    It finds adapters in ``served``; none, where that is not given.
    """
    with tempfile.TemporaryDirectory() as none, running_vllms(model, [log], served or Path(none)) as (engine,):
        yield engine.url


@contextmanager
def running_vllms(model: Path, logs: Sequence[Path], served: Path) -> Iterator[list[Vllm]]:
    """The same with as many as there are logs, which find adapters in ``served``; they start at the same time."""
    engines: list[Vllm] = []
    try:
        engines.extend(_start(model, log, served) for log in logs)
        for engine in engines:
            _wait(engine.process, engine.url, engine.log)
        yield engines
    finally:
        for engine in engines:
            engine.process.terminate()
        for engine in engines:
            try:
                engine.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                engine.process.kill()
                engine.process.wait(PATIENCE)


def _start(model: Path, log: Path, served: Path) -> Vllm:
    port = free_port()
    settings = Settings(base_model=str(model))
    environment = os.environ | engine_command.environment(settings, KEY) | {"VLLM_LORA_RESOLVER_CACHE_DIR": str(served)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            engine_command.command(settings, sys.executable, port),
            env=environment,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    return Vllm(process, port, log)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        said = log.read_text(errors="replace")[-3000:]
        assert process.poll() is None, f"vLLM ended with {process.returncode}:\n{said}"
        assert time.monotonic() < deadline, f"vLLM is not ready after {START_SECONDS} s:\n{said}"
        try:
            if httpx.get(f"{url}/models", headers={"authorization": f"Bearer {KEY}"}, timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)


def write_lora(folder: Path, model: Path, *, seed: int = 0, rank: int = 4) -> str:
    """A LoRA adapter with random weights, large enough to change answers; returns its manifest's SHA-256."""
    import numpy as np
    from safetensors.numpy import save_file

    config = json.loads((model / "config.json").read_text())
    width = config["hidden_size"]
    heads = {"q_proj": config["num_attention_heads"], "v_proj": config["num_key_value_heads"]}
    dice = np.random.default_rng(seed)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for name, count in heads.items():
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            out = count * width // config["num_attention_heads"]
            tensors[f"{prefix}.lora_A.weight"] = dice.normal(0, 0.08, (rank, width)).astype(np.float32)
            tensors[f"{prefix}.lora_B.weight"] = dice.normal(0, 0.08, (out, rank)).astype(np.float32)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    adapter = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(heads),
        "base_model_name_or_path": str(model),
    }
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    files = {
        file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "bytes": file.stat().st_size}
        for file in sorted(folder.iterdir())
    }
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "name": folder.name, "files": files}))
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
