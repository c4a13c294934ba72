"""Phone numbers: :mod:`phonenumbers` says which numbers a country gives out, and how it writes them.

With a country code a number is found in any text. Without one it is looked for as the countries of the prompt's language write
it, and has to be written in groups or to follow a word for it: a bare number of ten digits is more often something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from phonenumbers import Leniency, PhoneNumberMatch, PhoneNumberMatcher

REGIONS = {
    "ar": ("SA", "EG", "AE"),
    "cs": ("CZ",),
    "da": ("DK",),
    "de": ("DE", "AT", "CH"),
    "el": ("GR",),
    "en": ("US", "GB"),
    "es": ("ES", "MX"),
    "fa": ("IR",),
    "fi": ("FI",),
    "fr": ("FR",),
    "he": ("IL",),
    "hi": ("IN",),
    "hu": ("HU",),
    "id": ("ID",),
    "it": ("IT",),
    "ja": ("JP",),
    "ko": ("KR",),
    "nb": ("NO",),
    "nl": ("NL",),
    "no": ("NO",),
    "pl": ("PL",),
    "pt": ("BR", "PT"),
    "ro": ("RO",),
    "ru": ("RU",),
    "sv": ("SE",),
    "th": ("TH",),
    "tr": ("TR",),
    "uk": ("UA",),
    "vi": ("VN",),
    "zh": ("CN", "TW", "HK"),
}
"""Whose numbers are looked for without a country code, by the language of the prompt."""
WORD = re.compile(
    r"(?:tel|phone|fono|mobil|m[óo]vil|handy|celular|cell|call|fax|whats ?app|sms|ring|numéro|rufnummer|"
    r"电话|電話|手机|手機|联系|微信|"
    r"전화|연락|هاتف|جوال|اتصل|رقم|тел|фон|फ़ोन|फोन|मोबाइल|โทร|điện thoại)\W{0,3}(?:\w{1,8}\W{1,3}){0,2}\Z",
    re.IGNORECASE,
)
"""What stands before a bare number that is one of a phone."""
NUMBER = re.compile(r"\d+")
DECIMAL = re.compile(r"\d+\.\d+")
LEAST, MOST = 7, 15
"""Digits of a phone number."""
CHINESE = re.compile(r"1[3-9]\d{9}\Z")
"""Mobile numbers of China are written without groups."""
BEFORE = 40
"""Characters in which that word may stand."""


def phones(candidate: str, before: str, language: str | None) -> Iterator[tuple[int, int]]:
    """Where phone numbers begin and end in ``candidate``, digits with what may stand between them.

    Args:
        candidate: A short piece of a text, with the character on either side.
        before: What stands before it.
        language: Of the prompt, a code of ISO 639-1; None where nobody knows.
    """
    digits = sum(1 for each in candidate if each.isdecimal())
    if "+" in candidate or "＋" in candidate:
        yield from _found(PhoneNumberMatcher(candidate, None, leniency=Leniency.VALID))
    elif digits > MOST:
        for word in NUMBER.finditer(candidate):
            if LEAST <= len(word[0]) <= MOST:
                for start, end in _national(word[0], before + candidate[: word.start()], language):
                    yield word.start() + start, word.start() + end
    elif digits >= LEAST:
        yield from _national(candidate, before, language)


def _found(matcher: Iterable[PhoneNumberMatch]) -> Iterator[tuple[int, int]]:
    return ((each.start, each.end) for each in matcher)


def _national(candidate: str, before: str, language: str | None) -> list[tuple[int, int]]:
    number = NUMBER.search(candidate)
    bare = number is not None and sum(1 for each in number[0] if each.isdecimal()) >= LEAST
    named = bool(WORD.search(before[-BEFORE:]))
    for region in REGIONS.get(language or "", ()):
        if bare and not named and not (region == "CN" and CHINESE.match(number[0] if number else "")):
            continue
        matcher = PhoneNumberMatcher(candidate, region, leniency=Leniency.STRICT_GROUPING)
        found = [(each.start, each.end) for each in matcher if named or not DECIMAL.fullmatch(each.raw_string)]
        if found:
            return found
    return []
