"""Catalogues that a test writes, and reading in one of their languages without a request."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from babel.messages import Catalog
from babel.messages.pofile import write_po

from app.kernel import locales, origin

Answer = TypeVar("Answer")
Said = Mapping[str | tuple[str, str], str | tuple[str, ...]]
GERMAN: Said = {
    "Sign in": "Anmelden",
    "Language": "Sprache",
    "Not found": "Nicht gefunden",
    "Please correct: {problems}.": "Bitte korrigieren Sie: {problems}.",
    "This is not your current password.": "Das ist nicht Ihr derzeitiges Passwort.",
    "The password may have at most {most} characters.": "Das Passwort darf höchstens {most} Zeichen haben.",
    "Field required": "Dieses Feld muss ausgefüllt sein",
    ("Text should have at most {n} character", "Text should have at most {n} characters"): (
        "Der Text darf höchstens {n} Zeichen haben",
        "Der Text darf höchstens {n} Zeichen haben",
    ),
    "Input should be {expected}": "Erlaubt ist hier {expected}",
    "This is for admins. Ask one of them if you should have it.": "Dies ist für Admins.",
    "This is for reviewers and admins. Ask an admin if you should have it.": "Dies ist für Reviewer und Admins.",
}


def write(folder: Path, code: str, said: Said = GERMAN, *, place: str = "static/js/base.js") -> None:
    """The catalogue ``code`` of ``folder``; ``place`` is where all of it is said."""
    catalog = Catalog(locale=code.replace("-", "_"))
    for message, translation in said.items():
        catalog.add(message, translation, locations=[(place, 0)])
    with (folder / f"{code}.po").open("wb") as file:
        write_po(file, catalog)
    forget()


def forget() -> None:
    """Look anew at which catalogues there are."""
    locales.offered.cache_clear()
    locales._known.cache_clear()


def read_in(code: str, ask: Callable[[], Answer], **headers: str) -> Answer:
    """What ``ask`` gives to somebody who chose ``code``."""
    sent = [(name.encode(), value.encode()) for name, value in {"cookie": f"locale={code}", **headers}.items()]

    def asked() -> Answer:
        origin.of_request({"type": "http", "headers": sent}, "a-test")
        return ask()

    return contextvars.copy_context().run(asked)
