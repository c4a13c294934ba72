"""What the fork server of :mod:`tests.training.forked` imports once: libraries, and of training what no test changes."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch makes its threads, of which a fork would have none

import accelerate  # noqa: F401
import peft  # noqa: F401
import torch
import transformers.integrations  # noqa: F401
from transformers import AutoModelForCausalLM, Trainer  # noqa: F401

import training.run.runner  # noqa: F401

torch.set_num_threads(1)
