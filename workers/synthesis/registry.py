"""The generators by name. A new one is one file in this folder, one line here and one in ``app/synthesis/catalogue.py``."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Final

from workers.synthesis.protocol import Generator

_PLACES: Final[dict[str, str]] = {
    "arithmetic": "arithmetic:Arithmetic",
    "format_rules": "format_rules:FormatRules",
    "reasoning_gym": "gym:Gym",
    "needle": "needle:Needle",
    "document_questions": "document_questions:DocumentQuestions",
    "document_summaries": "document_summaries:DocumentSummaries",
    "facts": "facts:Facts",
    "repository": "repository:Repository",
    "code_examples": "code_examples:CodeExamples",
    "translation": "translation:Translation",
}
"""Name of a generator → the class, as ``module:Class`` under this folder; imported when it is first needed."""


def names() -> list[str]:
    """The names of all generators."""
    return list(_PLACES)


@cache
def find(name: str) -> Generator:
    """The generator of that name.

    Raises:
        KeyError: there is none.
    """
    module, _, kind = _PLACES[name].partition(":")
    generator: Generator = getattr(import_module(f"workers.synthesis.{module}"), kind)()
    return generator
