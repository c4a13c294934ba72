"""Collect the messages that people read, and bring the catalogues in ``app/translations`` up to date: ``make translations``.

``en.po`` holds the messages, another ``.po`` what each is in its language. What is new is left empty there for a translator;
what is gone is dropped. ``--check`` writes nothing and fails where a catalogue is behind, or where a translation lacks a
``{name}``, a ``%(name)s`` or a tag of its message. ``--bare`` names what is not marked (:mod:`scripts.bare_texts`).
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from babel.messages import Catalog
from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import write_po

from app.comparisons.purposes import PURPOSES
from app.kernel.locales import FOLDER, SOURCE, read
from app.kernel.settings import ROOT
from app.rounds.choosing import COUNTED
from scripts import bare_texts
from training.formats import mix
from training.formats.words import FROM_SCRATCH, OF_MORE, OF_TWO, OUTCOMES, STRENGTHS
from workers.board.computing import METHOD

PLACES: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    (
        "templates",
        "**.html",
        "jinja2",
        {"silent": "false", "trimmed": "true", "trim_blocks": "true", "lstrip_blocks": "true"},
    ),
    ("app", "**.py", "python", {}),
    ("static/js", "**.js", "javascript", {}),
)
KEYWORDS = {"_": None, "gettext": None, "N_": None, "ngettext": (1, 2), "t": None, "tn": (1, 2)}
_MADE = {*mix.AS_IN_PAPER, *(name.removeprefix("rows/") for name in COUNTED if name.startswith("rows/"))}
VOCABULARIES: tuple[Iterable[str], ...] = (
    STRENGTHS.values(),
    OUTCOMES.values(),
    OF_TWO.values(),
    OF_MORE.values(),
    (FROM_SCRATCH,),
    (*mix.PAPER, *mix.DIMENSIONS, mix.UNKNOWN, mix.MISSING),
    [source.replace("_", " ") for source in sorted(_MADE)],
    (METHOD,),
    [purpose.words for purpose in PURPOSES.values() if purpose.words],
)
"""Words that are not marked where they stand: also values in files and in the database, or said where no reader is known."""
_TO_KEEP = re.compile(r"%\(\w+\)s|%%|\{\w+\}|</?\w+[^>]*>")


def collected() -> Catalog:
    """Every message that is marked, with the files that say it."""
    catalog = Catalog(locale=SOURCE, project="Corral", charset="utf-8")
    for folder, pattern, method, options in PLACES:
        found = extract_from_dir(ROOT / folder, [(pattern, method)], {pattern: options}, keywords=KEYWORDS)
        for name, _line, message, _comments, context in found:
            catalog.add(message, locations=[(f"{folder}/{name}", 0)], context=context)
    for words in VOCABULARIES:
        for word in words:
            catalog.add(str(word), locations=[("app/vocabularies", 0)])
    return catalog


def problems(code: str) -> Iterator[str]:
    """What is wrong with the catalogue of a language, a sentence each."""
    wanted = {message.id for message in collected() if message.id}
    there = [message for message in read(code) if message.id]
    for missing in sorted(wanted - {message.id for message in there}, key=str):
        yield f"{code}.po lacks {missing!r}: run make translations."
    for message in there:
        if message.id not in wanted:
            yield f"{code}.po holds {message.id!r}, which nothing says any more: run make translations."
        elif code != SOURCE:
            yield from _faults(code, message)


def _faults(code: str, message: Message) -> Iterator[str]:
    ids = [message.id] if isinstance(message.id, str) else list(message.id)
    forms = [message.string or ""] if isinstance(message.string, str | None) else list(message.string)
    for form in forms:
        if not form:
            yield f"{code}.po does not translate {message.id!r}."
        elif all(_kept(form) != _kept(each) for each in ids):
            yield f"{code}.po translates {message.id!r} with other placeholders or tags: {form!r}."


def _kept(text: str) -> Counter[str]:
    return Counter(_TO_KEEP.findall(text))


def update(code: str) -> None:
    """Bring one catalogue up to date."""
    new = collected()
    if (FOLDER / f"{code}.po").exists():
        old = {message.id: message for message in read(code)}
        for message in new:
            if message.id and message.id in old and code != SOURCE:
                message.string = old[message.id].string
    catalog = Catalog(locale=code.replace("-", "_"), project="Corral", charset="utf-8", fuzzy=False)
    for message in new:
        if message.id:
            catalog.add(message.id, message.string, locations=sorted(set(message.locations)), context=message.context)
    catalog.header_comment = f"# What Corral says, in {catalog.locale.english_name if catalog.locale else code}."
    written = io.BytesIO()
    write_po(written, catalog, width=0, sort_output=True, include_lineno=False)
    # without its dates, a file changes only with its messages
    lines = [line for line in written.getvalue().splitlines(keepends=True) if not re.match(rb'"PO[T-].*-Date:', line)]
    (FOLDER / f"{code}.po").write_bytes(b"".join(lines))


def main() -> int:
    """Update or check the catalogues; the exit code is 1 where a check found something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("languages", nargs="*", help="such as de; all that there are when none is named")
    parser.add_argument("--check", action="store_true")
    parser.add_argument(
        "--bare", nargs="*", type=Path, help="name what is not marked, in these files and folders or in all"
    )
    asked = parser.parse_args()
    if asked.bare is not None:
        bare = list(bare_texts.found(asked.bare))
        print(*bare, sep="\n")
        return 1 if bare else 0
    codes = asked.languages or sorted({SOURCE, *(path.stem for path in Path(FOLDER).glob("*.po"))})
    if asked.check:
        found = [each for code in codes for each in problems(code)]
        print(*found, sep="\n")
        return 1 if found else 0
    for code in codes:
        update(code)
        empty = sum(not message.string for message in read(code) if message.id)
        print(f"{code}: {len(read(code))} messages" + ("" if code == SOURCE else f", {empty} to translate"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
