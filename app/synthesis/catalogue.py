"""The generators that prompts can be ordered from, as people choose them. What they do is in :mod:`workers.synthesis`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from app.kernel.locales import N_
from app.kernel.locales import gettext as _


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
        Kind("arithmetic", N_("Arithmetic"), N_("Sums and word problems of growing size; the answer is checked.")),
        Kind(
            "format_rules",
            N_("Rules of form"),
            N_("Everyday questions with one to three rules for the answer; each rule is checked."),
        ),
        Kind(
            "reasoning_gym",
            N_("Reasoning Gym"),
            N_("Problems of reasoning-gym whose answers are numbers. Needs that package beside the control worker."),
            options=frozenset({"tasks"}),
        ),
        Kind(
            "needle",
            N_("Needle"),
            N_(
                "A number hidden in a text of 500 to 32,000 tokens, at five depths: measures what of its context a model uses."
            ),
        ),
        Kind(
            "document_questions",
            N_("Questions about documents"),
            N_(
                "A question for each piece of a document, asked with the whole document in view. "
                "A model writes question and answer."
            ),
            asks=True,
            material=Material.DOCUMENTS,
        ),
        Kind(
            "document_summaries",
            N_("Summaries of documents"),
            N_(
                "Each document is to be summarised. A model summarises its pieces and then the summaries; that is the reference."
            ),
            asks=True,
            material=Material.DOCUMENTS,
        ),
        Kind(
            "facts",
            N_("Facts of documents"),
            N_(
                "A question about each piece of a document, asked without it; a judge holds answers against it. A model writes."
            ),
            asks=True,
            material=Material.DOCUMENTS,
        ),
        Kind(
            "repository",
            N_("Repository less one file"),
            N_(
                "The files of a repository without one that others import: how many need it? "
                "The answer is checked; no model writes."
            ),
            material=Material.CODE,
        ),
        Kind(
            "code_examples",
            N_("Problems from code"),
            N_(
                "A model writes problem, solution and tests from each piece of code; tests that tell right from wrong are kept."
            ),
            asks=True,
            material=Material.CODE,
        ),
        Kind(
            "translation",
            N_("Translation and back"),
            N_("Prompts in other languages, kept only where the translation back says the same. A model translates."),
            asks=True,
            material=Material.PROMPTS,
            options=frozenset({"languages"}),
        ),
    )
}


def in_words(kind: Kind) -> Kind:
    """The same, as pages say it."""
    return replace(kind, title=_(kind.title), purpose=_(kind.purpose))
