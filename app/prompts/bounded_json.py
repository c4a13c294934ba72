"""JSON from strangers: the same values as :mod:`json`, with a bound on everything that could hurt.

Brackets and keys are counted on the bytes before a single object is built, so a small file cannot become a large heap;
what PostgreSQL's ``jsonb`` cannot hold (NUL, lone surrogates, NaN, infinities) is refused here, with its reason.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from app.kernel.locales import N_
from app.kernel.storable import flaw, quotable

MAX_DEPTH = 64
MAX_FIELDS = 50_000

MAX_MARKS = 10_000_000

# A string that is never closed matches to the end of the text: were it no match, each quote in it would be tried again,
# and a hostile file would take quadratic time.
_STRING = rb'"(?:[^"\\]++|\\.)*+"?+'
_STRUCTURE = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_SEPARATORS = re.compile(_STRING + rb"|[\[\]{},]", re.DOTALL)
_MEMBER = re.compile(rb"(" + _STRING + rb")\s*+:\s*+", re.DOTALL)
_SPACE = b" \t\r\n"
_OPEN, _CLOSE = frozenset(b"[{"), frozenset(b"]}")
_COMMA, _QUOTE = b',"'
_CUT_OFF = N_("is not valid JSON: its brackets are never closed, so it may have been cut off")
_TOO_DEEP = N_("is nested deeper than {max_depth} levels: flatten it")
_NAMES = {
    bool: N_("true or false"),
    int: N_("a number"),
    float: N_("a number"),
    str: N_("text"),
    list: N_("a list"),
    dict: N_("an object"),
}


class Refused(Exception):
    """A record that cannot be imported; the message is the reason with its remedy, shown beside the line's number.

    It is stored with the file, so it is in English; pages show it by :mod:`app.kernel.stored_words`.
    """

    def __init__(self, message: str, **values: object) -> None:
        super().__init__(message.format(**values) if values else message)


def kind_of(value: Any) -> str:
    """What people call the type of ``value``."""
    return N_("empty") if value is None else _NAMES.get(type(value), type(value).__name__)


def check_text(value: Any) -> None:
    """Refuse a NUL or a lone surrogate anywhere inside ``value``, keys included."""
    if isinstance(value, str):
        wrong = flaw(value)
        if wrong:
            raise Refused(N_("contains {wrong}: remove it or write what was meant"), wrong=wrong)
    elif isinstance(value, list):
        for item in value:
            check_text(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key)
            check_text(item)


def loads(raw: bytes) -> Any:
    """One JSON value from UTF-8 ``raw``; :class:`Refused` says why not."""
    _check_shape(raw)
    try:
        value = json.loads(
            raw.decode("utf-8", "surrogatepass"),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        raise Refused(
            N_("is not valid JSON at character {pos} ({msg}): correct it there"), pos=error.pos + 1, msg=error.msg
        ) from None
    except UnicodeDecodeError as error:
        raise Refused(N_("is not UTF-8 at byte {start} of the line"), start=error.start + 1) from None
    except ValueError:
        raise Refused(N_("holds a number with more than 4,300 digits: write it as text, in quotes")) from None
    # Only an escape, or the bytes of half a character, make what cannot be stored: a bare NUL is no JSON.
    if b"\\u" in raw or b"\xed" in raw:
        check_text(value)
    return value


def _check_shape(raw: bytes) -> None:
    opened = raw.count(b"[") + raw.count(b"{")
    if opened <= MAX_DEPTH and opened + sum(raw.count(mark) for mark in (b"]", b"}", b",", b":")) <= MAX_FIELDS:
        return  # most records: there are no more marks than that even where those inside of texts are counted
    depth = 0
    for fields, match in enumerate(_STRUCTURE.finditer(raw)):
        mark = raw[match.start()]
        if mark in _OPEN:
            depth += 1
            if depth > MAX_DEPTH:
                raise Refused(_TOO_DEEP, max_depth=MAX_DEPTH)
        elif mark in _CLOSE:
            depth -= 1
        if fields > MAX_FIELDS:
            raise Refused(
                N_("has more than {max_fields} fields: a prompt needs only a few; keep the rest elsewhere"),
                max_fields=f"{MAX_FIELDS:,}",
            )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        # not checked yet: this runs while the object is still read, and the reason is stored
        raise Refused(N_('has the key "{key}" twice: keep one'), key=quotable(twice, 60))
    return made


def _no_constant(name: str) -> Any:
    raise Refused(N_("holds {name}, which is not JSON: use null or a number"), name=name)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Refused(
            N_("holds the number {digits}, which is too large: write it as text, in quotes"), digits=digits[:40]
        )
    return number


def elements(raw: bytes, start: int, max_bytes: int, *, alone: bool) -> Iterator[bytes]:
    """The elements of the list that opens at ``start``, one by one and without building any of them.

    Only brackets, commas and strings are looked at; what is wrong inside an element is found when that element is
    loaded. A list that never closes, an element of more than ``max_bytes``, or something after a list that should stand
    ``alone``, is :class:`Refused`.
    """
    depth, begin, number = 0, start + 1, 1
    for position in _outside_strings(raw, start):
        mark = raw[position]
        if position - begin > max_bytes:
            raise Refused(
                N_("has an item {number} of more than {max_bytes} bytes: shorten it"),
                number=number,
                max_bytes=f"{max_bytes:,}",
            )
        depth += (mark in _OPEN) - (mark in _CLOSE)
        if depth == 0:
            if raw[begin:position].strip(_SPACE):
                yield raw[begin:position]
            if alone:
                _check_end(raw, position)
            return
        if depth == 1 and mark == _COMMA:
            yield raw[begin:position]
            begin, number = position + 1, number + 1
    raise Refused(_CUT_OFF)


def members(raw: bytes, start: int) -> dict[str, int]:
    """The keys of the object that opens at ``start`` and where their values begin, without building the values."""
    found: dict[str, int] = {}
    depth = 0
    for position in _outside_strings(raw, start):
        mark = raw[position]
        if mark == _QUOTE:
            member = _MEMBER.match(raw, position) if depth == 1 else None
            if member:
                found[member[1][1:-1].decode("utf-8", "replace")] = member.end()
        depth += (mark in _OPEN) - (mark in _CLOSE)
        if depth > MAX_DEPTH:
            raise Refused(_TOO_DEEP, max_depth=MAX_DEPTH)
        if len(found) > 1000:
            raise Refused(N_("is an object of more than 1,000 keys: make it a list of prompts"))
        if depth == 0:
            _check_end(raw, position)
            return found
    raise Refused(_CUT_OFF)


def _check_end(raw: bytes, end: int) -> None:
    if raw[end + 1 :].strip(_SPACE):
        raise Refused(N_("is not valid JSON: there is more text after its end, at byte {end}"), end=f"{end + 2:,}")


def _outside_strings(raw: bytes, start: int) -> Iterator[int]:
    """Where brackets and commas outside strings are, and where strings begin."""
    for count, match in enumerate(_SEPARATORS.finditer(raw, start)):
        if count > MAX_MARKS:
            raise Refused(
                N_("has more than {max_marks} brackets and commas: split the file"), max_marks=f"{MAX_MARKS:,}"
            )
        yield match.start()
