"""Corral's own words in the reader's language: gettext catalogues in ``app/translations``, one ``.po`` file a language.

English is what stands in the code. A message is marked where it stands: ``_("Nothing waits.")`` here and in scripts,
``{% trans %}`` in templates; ``make translations`` collects them. A ``.po`` file is read as it is, so that there is no
compiled copy to forget. The language is that of the request at hand: the reader's choice, which a cookie carries, else what
their browser asks for. Programs (a token, a command, a worker) read English.
"""

from __future__ import annotations

import gettext as stdlib
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from app.kernel import origin

if TYPE_CHECKING:
    from babel import Locale as Rules
    from babel.messages import Catalog
    from starlette.types import Scope

COOKIE = "locale"
FOLDER = Path(__file__).parent.parent / "translations"
SOURCE = "en"
PSEUDO = ("en-XA", "ar-XB")
"""Made up, to find what is not marked and what breaks from right to left; offered to nobody."""
_KEPT = re.compile(r"(%\(\w+\)s|%%|\{\w*\}|<[^>]*>|&\w+;)")
_ACCENTED = str.maketrans("AEIOUaeiounc", "ÅÉÎÖÛåéîöûñç")


class _Pseudo(stdlib.NullTranslations):
    """Every message in brackets, longer and with accents: what stands outside of brackets is not marked."""

    def gettext(self, message: str) -> str:
        parts = _KEPT.split(message)
        words = "".join(part if at % 2 else part.translate(_ACCENTED) for at, part in enumerate(parts))
        return f"⟦{words}{' ·' * (len(''.join(parts[::2])) // 8)}⟧"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


@dataclass(frozen=True)
class Locale:
    """A language in which Corral can be read."""

    code: str

    @cached_property
    def rules(self) -> Rules:
        """How it writes numbers and dates."""
        import babel

        return babel.Locale.parse({"en-XA": "en", "ar-XB": "ar"}.get(self.code, self.code), sep="-")

    @cached_property
    def name(self) -> str:
        """In its own words."""
        if self.code == SOURCE:
            return "English"
        name = str(self.rules.get_display_name())
        return name[:1].upper() + name[1:]

    @cached_property
    def direction(self) -> str:
        """``ltr`` or ``rtl``."""
        return "ltr" if self.code == SOURCE else str(self.rules.text_direction)

    @cached_property
    def translations(self) -> stdlib.NullTranslations:
        """What each message is in it."""
        if self.code == SOURCE:
            return stdlib.NullTranslations()
        if self.code in PSEUDO:
            return _Pseudo()
        from babel.messages.mofile import write_mo

        compiled = io.BytesIO()
        write_mo(compiled, read(self.code))
        compiled.seek(0)
        return stdlib.GNUTranslations(compiled)

    @cached_property
    def script(self) -> str:
        """A script that tells ours their messages in this language; empty in English."""
        if self.code == SOURCE:
            return ""
        said: dict[str, str | list[str]] = {}
        catalog = read(SOURCE if self.code in PSEUDO else self.code)
        for message in catalog:
            if any(path.startswith("static/") for path, _line in message.locations):
                one, *more = [message.id] if isinstance(message.id, str) else message.id
                forms = message.string or ""
                if self.code in PSEUDO:
                    forms = [self.translations.gettext(each) for each in (one, *more)]
                said[one] = list(forms) if more else forms if isinstance(forms, str) else forms[0]
        texts = json.dumps(said, ensure_ascii=False, sort_keys=True)
        # gettext writes as C does which form goes with n; that is JavaScript, too
        return f"window.corralTexts = {texts};\nwindow.corralForm = (n) => Number({catalog.plural_expr});\n"

    @cached_property
    def script_address(self) -> str:
        """Where that script is, with the hash of what it says; empty in English."""
        if not self.script:
            return ""
        return f"/static/texts/{self.code}.js?{hashlib.sha256(self.script.encode()).hexdigest()[:16]}"


def read(code: str) -> Catalog:
    """The catalogue of a language; of English (``en.po``) it holds the messages alone."""
    from babel.messages.pofile import read_po

    with (FOLDER / f"{code}.po").open("rb") as file:
        return read_po(file, locale=code.replace("-", "_"))


@lru_cache(maxsize=1)
def offered() -> dict[str, Locale]:
    """The languages that there are, by code; English first."""
    codes = sorted({path.stem for path in FOLDER.glob("*.po")} - {SOURCE})
    return {code: Locale(code) for code in (SOURCE, *codes)}


@lru_cache(maxsize=1)
def _known() -> dict[str, Locale]:
    return offered() | {code: Locale(code) for code in PSEUDO}


def named(code: str) -> Locale | None:
    """The language of a code; None where there is none."""
    return _known().get(code)


def current() -> Locale:
    """That of the request at hand."""
    at_hand = origin.current()
    if at_hand.language is None:
        at_hand.language = _asked_for(at_hand.scope) if at_hand.scope else SOURCE
    return _known()[at_hand.language]


@contextmanager
def in_english() -> Iterator[None]:
    """What is said inside is kept for other readers, so it is said in English."""
    at_hand = origin.current()
    before, at_hand.language = at_hand.language, SOURCE
    try:
        yield
    finally:
        at_hand.language = before


def _asked_for(scope: Scope) -> str:
    headers = {name: value.decode("latin-1") for name, value in scope.get("headers", ())}
    if b"authorization" in headers:
        return SOURCE
    from starlette.requests import cookie_parser  # not for commands, which come by here too

    chosen = cookie_parser(headers.get(b"cookie", "")).get(COOKIE, "")
    if chosen in _known():
        return chosen
    return best_of(headers.get(b"accept-language", ""))


def best_of(accepted: str) -> str:
    """The code of the language that an ``Accept-Language`` likes best, of those that there are."""
    wanted: list[tuple[float, str]] = []
    for part in accepted[:500].lower().replace(" ", "").split(","):
        tag, _, written = part.partition(";q=")
        try:
            wanted.append((float(written or 1), tag))
        except ValueError:
            continue
    by_tag = {code.lower(): code for code in offered()}
    for weight, tag in sorted(wanted, key=lambda each: -each[0]):
        if weight <= 0:  # "anything but this"
            continue
        found = by_tag.get(tag) or by_tag.get(tag.split("-")[0])
        if found:
            return found
    return SOURCE


class Said(str):
    """A text in another language that knows itself in English, in which the logs and the audit log are written."""

    __slots__ = ("english",)
    english: str


def english(text: str) -> str:
    """``text`` as the log has it: in English, whatever its reader reads."""
    return getattr(text, "english", text)


def gettext(message: str, /, **values: object) -> str:
    """``message`` in the reader's language, its ``{names}`` filled in."""
    if not message:  # to a catalogue that is the name of its header
        return ""
    return _filled(current().translations.gettext(message), message, values)


def ngettext(one: str, many: str, n: int, /, **values: object) -> str:
    """The form that goes with ``n``, which is also its ``{n}``."""
    form = current().translations.ngettext(one, many, n)
    return _filled(form, one if n == 1 else many, {"n": number(n), **values})


def _filled(text: str, message: str, values: dict[str, object]) -> str:
    if text == message:
        return text.format(**values) if values else text
    said = Said(text.format(**values) if values else text)
    in_english = {name: english(value) if isinstance(value, str) else value for name, value in values.items()}
    said.english = message.format(**in_english) if values else message
    return said


def N_(message: str) -> str:  # noqa: N802 - as everybody calls it
    """Mark a message where no reader is at hand yet; whoever shows it calls :func:`gettext`."""
    return message


def plural_form(one: str, many: str, n: int) -> str:
    """The form that goes with ``n``, not yet filled in: for templates, which fill in by themselves."""
    return current().translations.ngettext(one, many, n)


def number(value: float, digits: int = 0, *, sign: bool = False) -> str:
    """A number with the reader's separators: 12,345.6 or 12.345,6. ``sign``: a plus stands before what is above zero."""
    written = f"{value:{'+' if sign else ''},.{digits}f}"
    locale = current()
    return written if locale.code == SOURCE else written.translate(_separators(locale))


def percent(share: float, digits: int = 0, *, sign: bool = False) -> str:
    """A share of one, as 42% or 42 %."""
    locale = current()
    if locale.code == SOURCE:
        return f"{share:{'+' if sign else ''}.{digits}%}"
    return _percents(locale)(number(share * 100, digits, sign=sign))


@lru_cache
def _separators(locale: Locale) -> dict[int, str]:
    symbols = locale.rules.number_symbols["latn"]
    return str.maketrans({",": symbols["group"], ".": symbols["decimal"]})


@lru_cache
def _percents(locale: Locale) -> Callable[[str], str]:
    pattern = str(locale.rules.percent_formats[None].pattern).split(";")[0]
    before, _, after = re.sub(r"[#,0.]+", "\0", pattern).partition("\0")
    return lambda written: f"{before}{written}{after}"
