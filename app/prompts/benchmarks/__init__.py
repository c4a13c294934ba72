"""Records of public benchmarks, read as they are: one module a benchmark; :func:`translated` tries them.

A new benchmark is a new module here that defines ``BENCHMARK``. It turns a record into one with this project's keys, above all
``tests``, which verifiers read; what it does not name stays in the record, and so in the prompt's metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.kernel.registries import members
from app.prompts.bounded_json import Refused, loads


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One public benchmark."""

    name: str
    capability: str
    """Of its prompts, where a record names none."""
    read: Callable[[Mapping[str, Any]], dict[str, Any] | None]
    """The record with this project's keys; None of a record of anything else. :class:`Refused` says what is wrong with it."""
    place: int = 100


@cache
def benchmarks() -> dict[str, Benchmark]:
    """All benchmarks by name."""
    return members(__name__, __path__, "BENCHMARK", Benchmark)


def translated(record: Mapping[str, Any]) -> dict[str, Any]:
    """``record``, or what a benchmark makes of it. One that brings tests of its own is nobody else's."""
    if record.get("tests") in (None, "", []):
        for benchmark in benchmarks().values():
            read = benchmark.read(record)
            if read is not None:
                named = any(read.get(key) not in (None, "") for key in ("capability", "category"))
                return read if named else read | {"capability": benchmark.capability}
    return dict(record)


def without(record: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The record without these keys."""
    return {key: value for key, value in record.items() if key not in keys}


def cell(value: Any) -> Any:
    """``value``, or the list or object that a table's cell carries as JSON; other text stays text."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return loads(value.encode("utf-8", "surrogatepass"))
    except Refused:
        return value
