"""HumanEval and what has its form: the head of a function in Python, and tests that are given the function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.kernel.locales import N_
from app.prompts.benchmarks import Benchmark, without
from app.prompts.bounded_json import Refused

_NAME, _TEST, _REST = "entry_point", "test", "canonical_solution"


def _read(record: Mapping[str, Any]) -> dict[str, Any] | None:
    prompt, name, test = (record.get(key) for key in ("prompt", _NAME, _TEST))
    if not all(isinstance(each, str) and each.strip() for each in (prompt, name, test)):
        return None
    if not str(name).isidentifier():
        raise Refused(
            N_('has an "{name}" that is no name of a function: write the name that its "{test}" checks'),
            name=_NAME,
            test=_TEST,
        )
    if "def check(" not in str(test):
        raise Refused(
            N_('has a "{test}" without a function check(candidate): define it, or use "tests" of your own'), test=_TEST
        )
    read = without(record, _NAME, _TEST, _REST)
    if isinstance(record.get(_REST), str) and "reference" not in read:
        read["reference"] = f"{prompt}{record[_REST]}"
    told = {"kind": "calls", "language": "python", "names": [name], "given": prompt, "code": test, "check": True}
    return read | {"tests": [told]}


BENCHMARK = Benchmark(name="HumanEval", capability="code", read=_read)
