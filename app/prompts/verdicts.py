"""What people said beside a record of which of its responses is better (Argilla, Label Studio): a ``rank`` of each response.

A verdict is a place for each response, 1 the best, ties alike. Where several people gave one, a response has the mean of its
places, so whom two contradict is level. What is no verdict in a known form is left where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.prompts.restating import is_number

RANK = "rank"
Verdict = Sequence[float]
_ASKS = re.compile(r"prefer|best|better|winner|rank|compar|choice|choose|chosen|pairwise|vote", re.IGNORECASE)
"""The name of a question whose answer may be as short as “A” or “2”."""
_NEITHER = re.compile(r"(its)?a?(tie|equal|same|both|neither|draw|nopreference)")
_PLACES = {"first": 0, "left": 0, "second": 1, "right": 1}


def label(question: str, said: Any, names: Sequence[str]) -> Verdict | None:
    """One response was chosen by its name; by its letter, number or side where the question asks for the better one."""
    if not isinstance(said, str):
        return None
    word, known = _plain(said), [_plain(name) for name in names]
    at = known.index(word) if known.count(word) == 1 else None
    if at is None and _ASKS.search(question):
        if _NEITHER.match(word):
            return [1.0] * len(names)
        at = _position(word)
    if at is None or at >= len(names):
        return None
    return [1.0 if place == at else 2.0 for place in range(len(names))]


def order(said: Any, names: Sequence[str]) -> Verdict | None:
    """All responses were put in an order: names, best first, or objects with ``value`` and ``rank``, equal ones tied."""
    if not isinstance(said, list):
        return None
    if all(isinstance(each, str) for each in said):
        said = [{"value": name, "rank": place} for place, name in enumerate(said, 1)]
    if not all(isinstance(each, dict) and is_number(each.get("rank")) for each in said):
        return None
    places = {_plain(str(each.get("value"))): float(each["rank"]) for each in said}
    found = [places.get(_plain(name)) for name in names]
    return [place for place in found if place is not None] if None not in found and len(places) == len(names) else None


def ranked(responses: Sequence[Mapping[str, Any]], verdicts: Iterable[Verdict | None]) -> list[dict[str, Any]]:
    """The responses, each with its rank where there is a verdict; a rank that the file gave itself is kept beside it."""
    given = [each for each in verdicts if each is not None]
    found = []
    for at, response in enumerate(responses):
        said = dict(response)
        if given:
            if RANK in said:
                said["rank_in_file"] = said.pop(RANK)
            mean = sum(each[at] for each in given) / len(given)
            said[RANK] = int(mean) if mean.is_integer() else round(mean, 3)
        found.append(said)
    return found


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _position(word: str) -> int | None:
    """Which response a short word means: ``a``, ``2``, ``left``, or the name of another's field, such as ``answer b``."""
    if word in _PLACES:
        return _PLACES[word]
    short = re.fullmatch(r"(?:response|answer|output|completion|option|model)?([a-h]|[1-8])", word)
    if short is None:
        return None
    return int(short[1]) - 1 if short[1].isdigit() else ord(short[1]) - ord("a")
