"""Sentences that were said in English, because no reader was at hand, in the language of whoever reads them later.

The report of a file is stored, and so is why a worker failed; a child process speaks English. What they said is a message of
the catalogue with its values filled in, so it is found there again by its words, and said anew. Anything else stays as it is.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from string import Formatter

from app.kernel.locales import SOURCE, current, gettext, number, read

_FEWEST = 3
"""Letters that a message has beside its values: one of fewer would be found in everything."""
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+|\d+")

Form = tuple[str, re.Pattern[str], str]
"""How a message with values begins, what it looks like once they are filled in, and the message."""


def retold(said: str | None) -> str:
    """``said`` in the reader's language; empty where nothing was said."""
    if not said or current().code == SOURCE:
        return said or ""
    found = _found(said)
    if found is None:
        return said
    message, values = found
    return gettext(message, **{name: _value(value) for name, value in values.items()})


def _value(value: str) -> str:
    return number(int(value.replace(",", ""))) if _NUMBER.fullmatch(value) and len(value) < 20 else retold(value)


@lru_cache(maxsize=4096)
def _found(said: str) -> tuple[str, dict[str, str]] | None:
    """The message that was said, with its values."""
    whole, forms = _messages()
    if said in whole:
        return said, {}
    for before, form, message in forms:
        match = form.fullmatch(said) if said.startswith(before) else None
        if match is not None:
            return message, match.groupdict()
    return None


@cache
def _messages() -> tuple[frozenset[str], list[Form]]:
    """What Python says: all messages, and those with values, the most telling first."""
    there = [
        message.id
        for message in read(SOURCE)
        if isinstance(message.id, str) and any(path.startswith("app/") for path, _line in message.locations)
    ]
    forms = [(form, letters) for message in there for form, letters in _form(message)]
    forms.sort(key=lambda each: -each[1])
    return frozenset(there), [form for form, _letters in forms]


def _form(message: str) -> list[tuple[Form, int]]:
    """That of a message, with the number of its own letters; none where it has no values, or begins with one."""
    try:
        parts = [(text, name) for text, name, _spec, _conversion in Formatter().parse(message)]
    except ValueError:
        return []  # a brace that is meant: a message that is never filled in
    names = [name for _text, name in parts if name is not None]
    letters = sum(map(str.isalpha, "".join(text for text, _name in parts)))
    fit = names and len(set(names)) == len(names) and all(map(str.isidentifier, names))
    if not fit or letters < _FEWEST or not parts[0][0]:
        return []
    form = "".join(re.escape(text) + (f"(?P<{name}>.+?)" if name else "") for text, name in parts)
    return [((parts[0][0], re.compile(form, re.DOTALL), message), letters)]
