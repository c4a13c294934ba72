"""The verifiers by name. A new one is one file in this folder and one line here."""

from __future__ import annotations

from typing import Final

from workers.registries import Registry
from workers.verifiers.protocol import Case, Verifier

VERIFIERS: Final[Registry[Verifier]] = Registry("verifier", "workers.verifiers")
VERIFIERS.register("instructions", "instructions:Instructions")  # in the order in which they are run: quick ones first
VERIFIERS.register("tool_calls", "tool_calls:ToolCalls")
VERIFIERS.register("span", "span:Span")
VERIFIERS.register("static", "code.static:Static")
VERIFIERS.register("code_tests", "code.running:CodeTests")
VERIFIERS.register("program", "code.program:Program")
VERIFIERS.register("steps", "steps:Steps")
VERIFIERS.register("answer", "answer:Answer")
VERIFIERS.register("language", "language:Language")
VERIFIERS.register("facts", "facts:Facts")

names = VERIFIERS.names
find = VERIFIERS.find


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
    VERIFIERS.check(name)
    try:
        return find(name).applies(case)
    except Exception:  # noqa: BLE001  # `checked` turns what is wrong into a null finding with its reason
        return True


def applying(case: Case) -> list[str]:
    """The names of the verifiers that have something to check in this case."""
    return [name for name in names() if applies(name, case)]
