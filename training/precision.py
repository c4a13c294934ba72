"""Which precision this machine computes fast: what `dtype = "auto"` means.

bfloat16 is quick only where the processor has instructions for it. Without them (most laptops: AVX2, no AVX512-BF16) its
products run in plain loops, 5 to 40 times slower than float32's. The flags are read, not timed: the answer must be the same
every time a run is resumed on its machine.
"""

from typing import Literal

import torch

BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")


def fast_dtype() -> Literal["bfloat16", "float32"]:
    """The precision to hold the base model in on this machine."""
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    has = torch.cpu.get_capabilities()
    return "bfloat16" if any(has.get(name) for name in BF16_INSTRUCTIONS) else "float32"
