"""The keys of the judging page, in one table: the sheet behind ``?``, the scripts and the profile all read it here."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.judgements.vocabulary import CHOICES, Outcome, SpanLabel, Strength
from app.kernel.errors import BadInput
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from training.formats import words


class Where(StrEnum):
    """On which items a key works. Two actions may share a key only where no item has both.

    ``compared``: on those with responses that are compared. ``steps``: where the steps of one are labelled.
    """

    ALL = "all"
    COMPARED = "compared"
    PAIR = "pair"
    RANKED = "ranked"
    STEPS = "steps"


@dataclass(frozen=True, slots=True)
class Action:
    """Something that one key does."""

    name: str
    key: str
    message: str
    where: Where = Where.ALL
    selecting: bool = False
    """Only while text of a response is selected: then it does this and nothing else."""
    side: str = ""
    strength: Strength | None = None
    """Of which ``message`` speaks."""

    @property
    def words(self) -> str:
        """What it does, for the reader."""
        if self.strength is None:
            return _(self.message)
        return _(self.message, name=self.side, strength=self.strength.words)


@dataclass(frozen=True, slots=True)
class Fixed:
    """Keys that nobody can change; where ``action`` does not apply, they do not either."""

    key: str
    message: str
    where: Where = Where.ALL
    action: str = ""

    @property
    def words(self) -> str:
        """What it does, for the reader."""
        return _(self.message)


_MARKING = {
    SpanLabel.FALSE: N_("the selected text: false"),
    SpanLabel.UNSUPPORTED: N_("the selected text: not supported"),
    SpanLabel.UNSAFE: N_("the selected text: unsafe"),
    SpanLabel.UNCLEAR: N_("the selected text: unclear"),
    SpanLabel.GOOD: N_("the selected text: good"),
}
ACTIONS = (
    *(
        Action(
            f"pick_{side}{level.value}",
            str(number),
            N_("{name} is {strength}"),
            Where.PAIR,
            side=side,
            strength=level,
        )
        for number, (side, level) in enumerate(CHOICES, 1)
    ),
    Action("step_wrong", "1", N_("the step is wrong"), Where.STEPS),
    Action("step_neutral", "2", N_("the step is neither right nor wrong, or you cannot tell"), Where.STEPS),
    Action("step_right", "3", N_("the step is right"), Where.STEPS),
    Action("step_back", "b", N_("back to the step before"), Where.STEPS),
    Action("ranking", "r", N_("rank: type the letters, best first"), Where.RANKED),
    *(
        Action(
            f"strength_{level.value}",
            str(level.value),
            N_("{strength} than the next one"),
            Where.RANKED,
            strength=level,
        )
        for level in Strength
    ),
    Action("same", "=", N_("as good as the next one, or no longer"), Where.RANKED),
    Action("stronger", "+", N_("better than the next one by more"), Where.RANKED),
    Action("weaker", "-", N_("better than the next one by less"), Where.RANKED),
    Action("tie", "t", words.OUTCOMES[Outcome.TIE], Where.COMPARED),
    Action("unacceptable", "u", words.OUTCOMES[Outcome.ALL_UNACCEPTABLE], Where.COMPARED),
    Action("attributes", "a", N_("jump to the next missing rating"), Where.COMPARED),
    Action("flags", "f", N_("flag a response"), Where.COMPARED),
    Action("mark", "h", N_("select a passage of a response to mark it, then of the next response"), Where.COMPARED),
    *(
        Action(
            f"mark_{label.value}",
            str(number),
            message,
            Where.COMPARED,
            selecting=True,
        )
        for number, (label, message) in enumerate(_MARKING.items(), 1)
    ),
    Action("note", "k", N_("write a note on the last mark"), Where.COMPARED),
    Action("improve", "e", N_("improve the chosen response, or write the answer or the right step")),
    Action("changes", "v", N_("show what the edit changes, or the edit again"), Where.COMPARED),
    Action("nothing", "n", N_("nothing to improve"), Where.COMPARED),
    Action("revise", "m", N_("ask the model for a revision"), Where.COMPARED),
    Action("comment", "c", N_("comment")),
    Action("layout", "l", N_("next layout: side by side, stacked, one at a time"), Where.COMPARED),
    Action("previous", "[", N_("one at a time: the previous response"), Where.COMPARED),
    Action("next", "]", N_("one at a time: the next response"), Where.COMPARED),
    Action("together", "y", N_("side by side: scroll the responses together"), Where.COMPARED),
    Action("raw", "w", N_("show the text as it was written"), Where.COMPARED),
    Action("differences", "d", N_("differences between two responses"), Where.COMPARED),
    Action("outline", "o", N_("outline of a long response"), Where.COMPARED),
    Action("guidelines", "g", N_("guidelines")),
    Action("skip", "s", N_("skip, giving a reason")),
    Action("undo", "z", N_("back to what you did last, to undo it; again: to the one before")),
)
FIXED = (
    Fixed("?", N_("this list")),
    Fixed("Ctrl Enter", N_("submit and continue (also Enter on a choice)")),
    Fixed("Esc", N_("leave the field, or close what is open")),
    Fixed("Enter", N_("on a revision: accept it; Esc goes back to the text before"), Where.COMPARED, "revise"),
    Fixed("1 … 7", N_("on a rating: give it, and go on to the next one"), Where.COMPARED, "attributes"),
    Fixed(
        "↑ ↓ → ←", N_("while selecting a passage: sentences and words; with Shift more or less of them"), Where.COMPARED
    ),
    Fixed("A … H", N_("while ranking by typing: the next best response; the last one follows by itself"), Where.RANKED),
    Fixed(
        "= 1 … 4",
        N_("while ranking by typing: how the last letter compares with the next, or the places one by one"),
        Where.RANKED,
    ),
    Fixed("↑ ↓", N_("in the ranking: to the response above or below"), Where.RANKED),
    Fixed("Alt ↑ ↓", N_("in the ranking: move the response"), Where.RANKED),
)
APART = ({Where.PAIR, Where.RANKED}, *({Where.STEPS, each} for each in (Where.COMPARED, Where.PAIR, Where.RANKED)))
"""No item has both."""
RESERVED = "?"
DIGITS = "12345678"
_BY_NAME = {action.name: action for action in ACTIONS}


def keymap(preferences: Mapping[str, Any]) -> dict[str, str]:
    """The key of every action for somebody with ``preferences``; what is stored wrongly does not count."""
    own = preferences.get("keys")
    chosen = {action.name: action.key for action in ACTIONS}
    if not isinstance(own, dict):
        return chosen
    changed = chosen | {name: key for name, key in own.items() if name in chosen and isinstance(key, str)}
    # an action that came with a newer version may need a key that somebody gave to another one: theirs are then put aside
    return chosen if problems(changed) else changed


def problems(chosen: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with the keys in ``chosen``, by action."""
    wrong: dict[str, str] = {}
    taken: list[Action] = []
    for action in ACTIONS:
        key = chosen[action.name]
        clash = next((other for other in taken if chosen[other.name] == key and _meet(action, other)), None)
        flaw = _flaw(action, key)
        if flaw:
            wrong[action.name] = flaw
        elif clash:
            wrong[action.name] = _(
                "“{key}” already does something else: {other}. Choose another key.", key=key, other=clash.words
            )
        taken.append(action)
    return wrong


def changes(chosen: Mapping[str, str]) -> dict[str, str]:
    """Check a whole table of keys and return what differs from the defaults, as it is stored.

    Raises:
        BadInput: a key is missing, reserved or taken twice; names each action.
    """
    given = {name: clean(chosen.get(name, "")) for name in _BY_NAME}
    wrong = problems(given)
    if wrong:
        first = next(iter(wrong.values()))
        raise BadInput(first, errors=[{"loc": name, "msg": message} for name, message in wrong.items()])
    return {name: key for name, key in given.items() if key != _BY_NAME[name].key}


def known(chosen: Mapping[str, Any]) -> None:
    """Refuse a table that names an action which there is not."""
    strange = sorted(chosen.keys() - _BY_NAME.keys())
    if strange:
        raise BadInput(_("No key exists for {name}.", name=repr(strange[0][:40])), errors=[])


def clean(key: str) -> str:
    """A key as it is compared: capitals count as their small letters, full-width signs as plain ones."""
    return unicodedata.normalize("NFKC", key.strip()).lower()


def _meet(one: Action, other: Action) -> bool:
    return one.selecting == other.selecting and {one.where, other.where} not in APART


def _flaw(action: Action, key: str) -> str:
    if not key:
        return _("Choose a key for this.")
    if len(key) != 1 or not key.isprintable() or key.isspace():
        return _("One letter, digit or sign that a single key types; Enter, Tab, Space and the arrows are reserved.")
    if key == RESERVED:
        return _("“{key}” always opens the list of keys. Choose another key.", key=RESERVED)
    if key in DIGITS and action.where not in {Where.PAIR, Where.RANKED, Where.STEPS} and not action.selecting:
        return _("“{key}” says how much better a response is. Choose another key.", key=key)
    return ""
