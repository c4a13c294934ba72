"""IFEval: instructions that a program can check, by id and kwargs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.kernel.locales import N_
from app.prompts.benchmarks import Benchmark, cell, without
from app.prompts.bounded_json import Refused

IDS, KWARGS = "instruction_id_list", "kwargs"


def _read(record: Mapping[str, Any]) -> dict[str, Any] | None:
    ids = cell(record.get(IDS))
    if ids in (None, "", []):
        return None
    kwargs = cell(record.get(KWARGS))
    kwargs = [{} for _ in ids] if kwargs in (None, "") else kwargs
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise Refused(N_('has an "{ids}" that is not a list of texts: write the ids of IFEval'), ids=IDS)
    if not isinstance(kwargs, list) or len(kwargs) != len(ids) or not all(_is_kwargs(each) for each in kwargs):
        raise Refused(
            N_('has "{kwargs}" that are not one object for each of its "{ids}": write {{}} where there are none'),
            kwargs=KWARGS,
            ids=IDS,
        )
    named = [{key: value for key, value in (each or {}).items() if value is not None} for each in kwargs]
    return without(record, IDS, KWARGS) | {"tests": [{"kind": "instructions", "ids": ids, "kwargs": named}]}


def _is_kwargs(value: Any) -> bool:
    """Whether it names what an instruction wants; tables fill the keys of other instructions with nulls."""
    return value is None or isinstance(value, Mapping)


BENCHMARK = Benchmark(name="IFEval", capability="steerable", read=_read)
