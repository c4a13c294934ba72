"""Files in, files out: a snapshot of preferences becomes a reward model or a policy.

Nothing here imports the web application or its workers, and of all this they import `training.formats` only. A run is
one command on one TOML file::

    python -m training.reward run.toml
    python -m training.sft run.toml
    python -m training.dpo run.toml
"""

import os
import sys

if not {"app", "workers"} & sys.modules.keys():  # those read `training.formats`; the engines that they start may spin
    # OpenMP threads that spin while they wait starve a language model server on the same machine: a training run beside
    # vLLM stood still. libgomp reads both when it is loaded, so they are set before anything can import torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    # Rows are tokenised in one process; a forked tokenizer would only warn that its threads are gone.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
