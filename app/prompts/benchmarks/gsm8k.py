"""GSM8K: a word problem, and its solution with the final answer after ``####``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.prompts.benchmarks import Benchmark

_FINAL = re.compile(r"^####[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)


def _read(record: Mapping[str, Any]) -> dict[str, Any] | None:
    answer = record.get("answer")
    finals = _FINAL.findall(answer) if isinstance(answer, str) and record.get("question") else []
    return {**record, "tests": [{"kind": "answer", "value": finals[-1]}]} if finals else None


BENCHMARK = Benchmark(name="GSM8K", capability="maths", read=_read)
