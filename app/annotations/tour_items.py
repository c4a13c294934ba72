"""The three examples of the tour, in the words that people read: what is asked, how it is answered, and why.

Nothing here comes from a model or goes to one. Texts are Markdown, translated where they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.kernel.locales import N_


@dataclass(frozen=True, slots=True)
class Example:
    """One item with two responses, what we would answer, and what is to be said of each."""

    title: str
    teaches: str
    prompt: str
    responses: tuple[str, str]
    right: tuple[str, ...]
    """The answers that we would give, by the value of the choice, the first one first."""
    ours: str
    """The same in a sentence."""
    of_each: tuple[str, str]
    """What is to be said of each response."""
    why: str
    """With ``{strength}`` where it names the weakest one."""
    edited: str = ""
    """Our edit of the better response, where the item asks for one; it is the first of ``right``."""


EXAMPLES = (
    Example(
        title=N_("One answer is sure of itself, and wrong"),
        teaches=N_("Check what can be checked. How sure an answer sounds tells you nothing about whether it is right."),
        prompt=N_("How many days did February have in the year 1900?"),
        responses=(
            (
                N_(
                    "February 1900 had **29 days**. Every year that can be divided by four is a leap year, and "
                    "1900 divided by four is exactly 475, so there is no doubt: 1900 was a leap year."
                )
            ),
            N_("28 days. Years that end in 00 are leap years only if they can be divided by 400, and 1900 cannot."),
        ),
        right=("B4", "B3"),
        ours=N_("B is significantly better."),
        of_each=(
            (
                N_(
                    "The calculation is right, but the rule is not complete: in the calendar that we use, 1700, "
                    "1800 and 1900 were not leap years. The answer is wrong, and “there is no doubt” makes that "
                    "worse, because a reader would believe it."
                )
            ),
            N_("Right, and it gives the rule that decides. It is short and plain, and nothing is missing."),
        ),
        why=(
            N_(
                "One answer is right and the other is wrong, so the difference is as large as it can be. “Better”"
                " is a fair answer as well. Bold type, length and a sure tone do not count; where you cannot "
                "check a fact, skip the item and say why."
            )
        ),
    ),
    Example(
        title=N_("Two answers that are equally good"),
        teaches=N_("Equally good is an answer like any other. It says something true that a guess would hide."),
        prompt=N_("Write one sentence to thank a colleague who took over my shift."),
        responses=(
            N_("Thank you so much for taking over my shift; it was a great help."),
            N_("Many thanks for covering my shift, I really appreciate it."),
        ),
        right=("tie", "A1", "B1"),
        ours=N_("Equally good."),
        of_each=(
            N_("One sentence, friendly, says what the thanks are for."),
            (
                N_(
                    "One sentence, friendly, says what the thanks are for. The comma could be a full stop; few "
                    "readers would notice."
                )
            ),
        ),
        why=(
            N_(
                "Both do all that was asked, and what differs is taste. If you do prefer one by a little, "
                "“{strength}” is right, too. A strong choice here would teach a model that something "
                "matters which does not. “Both unacceptable” is for two answers that nobody should be given; "
                "neither is one."
            )
        ),
    ),
    Example(
        title=N_("The better answer, improved"),
        teaches=N_("Change what has to change and keep the rest: what you changed is what a model learns from."),
        prompt=N_("Explain to a six-year-old in one sentence why the sky is blue."),
        responses=(
            (
                N_(
                    "Sunlight is made of all colours, and the air bounces the blue part around the most (Rayleigh"
                    " scattering, which goes with the inverse fourth power of the wavelength), so blue reaches "
                    "your eyes from all over the sky."
                )
            ),
            N_("The sky is blue because it reflects the sea, which is blue."),
        ),
        right=("A4", "A3"),
        ours=N_("A is significantly better, and its bracket goes."),
        of_each=(
            N_("Right, and in one sentence. But nobody who is six can read the bracket."),
            N_("A child could read it, and it is wrong: the sky is blue far from any sea."),
        ),
        why=(
            N_(
                "A wrong answer is not saved by being easy to read, so A is better. It still has one fault, and "
                "taking out the bracket mends it. You need not rewrite what is good; where there is nothing to "
                "improve, say so instead."
            )
        ),
        edited=(
            N_(
                "Sunlight is made of all colours, and the air bounces the blue part around the most, so blue "
                "reaches your eyes from all over the sky."
            )
        ),
    ),
)
