"""The words of a judgement: what can be concluded, how strongly, and what can be said of a response."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from training.formats import pairs, steps, words


def initial(text: str) -> str:
    """``text`` as it begins a line: nothing but its first letter changes, since some languages have capitals within."""
    return text[:1].upper() + text[1:]


class Strength(IntEnum):
    """How much better a response is than the next one."""

    MARGINALLY_BETTER = 1
    SLIGHTLY_BETTER = 2
    BETTER = 3
    SIGNIFICANTLY_BETTER = 4

    @property
    def words(self) -> str:
        """As in "A is significantly better"."""
        return _(words.STRENGTHS[self.value])

    @property
    def label(self) -> str:
        """The same at the beginning of a line."""
        return initial(self.words)


class Outcome(StrEnum):
    """What the annotator concluded. "All unacceptable" is not a tie: nothing in it may be called chosen.

    ``written``: there was nothing to conclude from; the annotator wrote the answer, and it prefers nothing. ``labelled``: the
    steps of one response were labelled, which prefers nothing either.
    """

    RANKED = pairs.RANKED
    TIE = pairs.TIE
    ALL_UNACCEPTABLE = pairs.ALL_UNACCEPTABLE
    WRITTEN = pairs.WRITTEN
    LABELLED = pairs.LABELLED

    @property
    def label(self) -> str:
        """What it is called where it is counted or filtered by."""
        return initial(self.words)

    @property
    def words(self) -> str:
        """The same within a line."""
        return _(words.OUTCOMES[self.value])

    def said_of(self, shown: int) -> str:
        """What it is called beside ``shown`` responses: "Equally good". Empty where they are ranked."""
        if self is Outcome.WRITTEN:
            return initial(_(words.FROM_SCRATCH))
        if self is Outcome.LABELLED:
            return self.label
        said = (words.OF_TWO if shown == 2 else words.OF_MORE).get(self.value)
        return initial(_(said)) if said else ""


class EditPolicy(StrEnum):
    """Whether the chosen response is opened for editing."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class ShowFindings(StrEnum):
    """When annotators see what checks found of the responses: earlier, it would be their anchor."""

    AFTER = "after"
    JUDGING = "judging"
    NEVER = "never"

    @property
    def label(self) -> str:
        """In words, for a form."""
        return {"after": _("After they submit"), "judging": _("While they judge"), "never": _("Never")}[self.value]


class EditSource(StrEnum):
    """How the edited text came about."""

    DIRECT = "direct"
    """Written by the annotator."""
    REVISION = "revision"
    """Written by the model after the annotator's feedback, and accepted as it came."""
    ADJUSTED = "adjusted"
    """A revision by the model that the annotator then changed."""


class StepLabel(IntEnum):
    """What a step of a response is, as in PRM800K."""

    WRONG = steps.WRONG
    NEUTRAL = 0
    RIGHT = 1

    @property
    def label(self) -> str:
        """What people read."""
        return _(_STEPS[self])


class Flag(StrEnum):
    """What is wrong with a response beyond its quality."""

    UNSAFE = "unsafe"
    PRIVATE_DATA = "private_data"
    BROKEN_RENDERING = "broken_rendering"

    @property
    def label(self) -> str:
        """What people read."""
        return _(_FLAGS[self])


class SpanLabel(StrEnum):
    """What a marked passage is."""

    FALSE = "false"
    UNSUPPORTED = "unsupported"
    UNSAFE = "unsafe"
    UNCLEAR = "unclear"
    GOOD = "good"

    @property
    def label(self) -> str:
        """What people read."""
        return _(_MARKS[self])


_STEPS = {StepLabel.WRONG: N_("Wrong"), StepLabel.NEUTRAL: N_("Neutral"), StepLabel.RIGHT: N_("Right")}
_FLAGS = {
    Flag.UNSAFE: N_("Unsafe"),
    Flag.PRIVATE_DATA: N_("Private data"),
    Flag.BROKEN_RENDERING: N_("Not displayed properly"),
}
_MARKS = {
    SpanLabel.FALSE: N_("False"),
    SpanLabel.UNSUPPORTED: N_("Not supported"),
    SpanLabel.UNSAFE: N_("Unsafe"),
    SpanLabel.UNCLEAR: N_("Unclear"),
    SpanLabel.GOOD: N_("Good"),
}
STRONGEST_FIRST = tuple(sorted(Strength, reverse=True))
CHOICES = (*(("A", level) for level in STRONGEST_FIRST), *(("B", level) for level in reversed(STRONGEST_FIRST)))
"""What can be said of two responses that differ, in reading order: A at its strongest … B at its strongest."""
