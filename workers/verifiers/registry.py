"""The verifiers by name. A new one is one file in this folder and one line here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Final

from workers.verifiers.protocol import Case, Verifier

_PLACES: Final[dict[str, str]] = {
    "instructions": "instructions:Instructions",
    "tool_calls": "tool_calls:ToolCalls",
    "span": "span:Span",
    "static": "code.static:Static",
    "code_tests": "code.running:CodeTests",
    "program": "code.program:Program",
    "steps": "steps:Steps",
    "answer": "answer:Answer",
    "language": "language:Language",
    "facts": "facts:Facts",
}
"""Name of a verifier → the class, as ``module:Class`` under this folder; imported when it is first needed."""


def names() -> list[str]:
    """The names of all verifiers, in the order in which they are run: quick ones first."""
    return list(_PLACES)


@cache
def find(name: str) -> Verifier:
    """The verifier of that name.

    Raises:
        KeyError: there is none.
    """
    module, _, kind = _PLACES[name].partition(":")
    verifier: Verifier = getattr(import_module(f"workers.verifiers.{module}"), kind)()
    return verifier


def load(verifier: Verifier, case: Case) -> None:
    """Have what a check of this case needs in memory: reading it from disk is slow on a busy machine, and no part of a check.

    A verifier that has something to load has a method ``load``.
    """
    loads = getattr(verifier, "load", None)
    if loads is not None:
        loads(case)


def applies(name: str, case: Case) -> bool:
    """Whether the verifier of that name has something to check; one that cannot say so is asked to check and say why.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in _PLACES:
        raise ValueError(f"No verifier is called {name!r}; there are {', '.join(names())}")
    try:
        return find(name).applies(case)
    except Exception:  # noqa: BLE001  # `checked` turns what is wrong into a null finding with its reason
        return True


def applying(case: Case) -> list[str]:
    """The names of the verifiers that have something to check in this case."""
    return [name for name in names() if applies(name, case)]
