"""Which precision this machine computes fast: what `dtype = "auto"` means, and what a policy answers in.

bfloat16 is quick only where the processor has instructions for it. Without them (most laptops: AVX2, no AVX512-BF16) its
products run in plain loops, 5 to 40 times slower than float32's. AVX512-BF16 without AMX lies between: it answers faster,
because an answer waits for weights to be read and these are half as large, but multiplies whole rows at half the speed of
float32 (docs/decisions/0012). The flags are read, not timed: the answer must be the same every time a run is resumed on
its machine.
"""

from typing import Literal

import torch

MULTIPLIES_FASTER = ("amx_bf16", "bf16", "sve_bf16")
READS_FASTER = (*MULTIPLIES_FASTER, "avx512_bf16")
Dtype = Literal["bfloat16", "float32"]


def training_dtype() -> Dtype:
    """The precision to hold the base model in where whole rows are read: in training, and when rewards are computed."""
    return _fast(MULTIPLIES_FASTER)


def serving_dtype() -> Dtype:
    """The precision to hold a policy in that answers token by token; the engine of this machine takes the same."""
    return _fast(READS_FASTER)


def _fast(instructions: tuple[str, ...]) -> Dtype:
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    has = torch.cpu.get_capabilities()
    return "bfloat16" if any(has.get(name) for name in instructions) else "float32"
