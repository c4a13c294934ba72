"""What this machine's processor computes fast. Needs the standard library only: ``make secrets`` asks it as well."""

from __future__ import annotations

from pathlib import Path

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})
"""How Linux names bfloat16 instructions, on x86 and on ARM."""


def fast_dtype(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """``bfloat16`` where the processor has instructions for it, else ``float32``.

    Without them bfloat16 is computed in plain loops. Measured with SmolLM2-135M in vLLM, two cores with AVX2: 38 tokens a
    second in bfloat16, 114 in float32.
    """
    try:
        words = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return "float32"
    return "bfloat16" if words & BF16_FLAGS else "float32"
