"""The generators that prompts can be ordered from, as people choose them. What they do is in :mod:`workers.synthesis`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Material(StrEnum):
    """What a generator makes prompts of."""

    NOTHING = "nothing"
    DOCUMENTS = "documents"
    CODE = "code"
    PROMPTS = "prompts"
    """Texts, or the prompts of a batch."""


@dataclass(frozen=True)
class Kind:
    """A generator: its name in the registry of the workers, and what a form says of it."""

    name: str
    title: str
    purpose: str
    asks: bool = False
    """Whether it needs a model that writes."""
    material: Material = Material.NOTHING
    options: frozenset[str] = frozenset()
    """``tasks`` or ``languages``, where it takes them."""


KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("arithmetic", "Arithmetic", "Sums and word problems of growing size; the answer is checked."),
        Kind(
            "format_rules",
            "Rules of form",
            "Everyday questions with one to three rules for the answer; each rule is checked.",
        ),
        Kind(
            "reasoning_gym",
            "Reasoning Gym",
            "Problems of reasoning-gym whose answers are numbers. Needs that package beside the control worker.",
            options=frozenset({"tasks"}),
        ),
        Kind(
            "needle",
            "Needle",
            "A number hidden in a text of 500 to 32,000 tokens, at five depths: measures what of its context a model uses.",
        ),
        Kind(
            "document_questions",
            "Questions about documents",
            "A question for each piece of a document, asked with the whole document in view. A model writes question and answer.",
            asks=True,
            material=Material.DOCUMENTS,
        ),
        Kind(
            "document_summaries",
            "Summaries of documents",
            "Each document is to be summarised. A model summarises its pieces and then the summaries; that is the reference.",
            asks=True,
            material=Material.DOCUMENTS,
        ),
        Kind(
            "facts",
            "Facts of documents",
            "A question about each piece of a document, asked without it; a judge holds answers against it. A model writes.",
            asks=True,
            material=Material.DOCUMENTS,
        ),
        Kind(
            "repository",
            "Repository less one file",
            "The files of a repository without one that others import: how many need it? The answer is checked; no model writes.",
            material=Material.CODE,
        ),
        Kind(
            "code_examples",
            "Problems from code",
            "A model writes problem, solution and tests from each piece of code; tests that tell right from wrong are kept.",
            asks=True,
            material=Material.CODE,
        ),
        Kind(
            "translation",
            "Translation and back",
            "Prompts in other languages, kept only where the translation back says the same. A model translates.",
            asks=True,
            material=Material.PROMPTS,
            options=frozenset({"languages"}),
        ),
    )
}
