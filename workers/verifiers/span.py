"""Citations: what a response quotes must stand in the source, word for word.

A test is ``{"kind": "span", "source": text or list of texts, "spans": [texts of the source], "quotes": 1}``. Each text in
quotation marks, each block quote and each ``<quote>`` of at least three words is a citation, unless it repeats the question.
``spans`` are passages that must be cited; ``quotes`` is how many citations there must be at least.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from workers.verifiers.counting import count_words
from workers.verifiers.protocol import LIMIT_S, Case, Finding, Test, unchecked

VERSION: Final = "1"
FEWEST_WORDS: Final = 3
"""Of a citation; fewer in quotation marks are a title, a word that is spoken of, or irony."""
FEWEST_LETTERS: Final = 6
"""The same in scripts without spaces."""

_CODE: Final = re.compile(r"^ {0,3}```.*?(?:^ {0,3}```|\Z)|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_QUOTED: Final = re.compile(
    r'(?<!\w)"([^"\n]+)"(?!\w)|“([^“”\n]+)”|„([^„“”\n]+)[“”]|«([^«»\n]+)»|»([^»«\n]+)«|「([^「」\n]+)」|『([^『』\n]+)』'
    r"|(?<!\w)‘([^\n‘]+?)’(?!\w)|<(?:quote|cite|q)>((?:(?!<(?:quote|cite|q)>).)+?)</(?:quote|cite|q)>",
    re.DOTALL,
)
"""No mark is looked past the next of its kind, so that marks without an end cost nothing."""
_BLOCK: Final = re.compile(r"(?:^ {0,3}>.*(?:\n|\Z))+", re.MULTILINE)
_GAP: Final = re.compile(r"\[[^\]\n]{0,40}\]|\(\s*(?:…|\.{3})\s*\)|…|\.{3,}")
"""What was left out of a citation, or put into it: three dots, or a few words in square brackets."""
_SAME: Final = {
    **dict.fromkeys("“”„«»‟＂「」『』", '"'),
    **dict.fromkeys("‘’‚‛´`", "'"),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    "\u00ad": "",
}
_TABLE: Final = str.maketrans(_SAME)
_EDGES: Final = " \t\n.,;:!?\"'-*_。，、；：！？،؛؟"
_SPACED: Final = re.compile(r"[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
"""A letter or digit of a script that puts spaces between words."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A test as it is checked: texts are normal."""

    sources: list[str]
    spans: list[str]
    quotes: int


class Span:
    """What a response cites, held against its source."""

    name = "span"
    version = VERSION
    limit_s = LIMIT_S

    def applies(self, case: Case) -> bool:
        """Whether the case has tests of this kind."""
        return bool(case.tests_of("span"))

    def check(self, case: Case) -> Finding:
        """Whether every citation stands in a source, and what had to be cited is."""
        try:
            wanted = [wanted_of(test) for test in case.tests_of("span")]
        except ValueError as error:
            return unchecked(self, str(error))
        asked = [normal(str(message.get("content") or "")) for message in case.prompt if message.get("role") == "user"]
        sources = [source for each in wanted for source in each.sources]
        cited = [(text, stands(text, sources)) for text in citations(case.response)]
        cited = [(text, held) for text, held in cited if held or not stands(text, asked)]
        missing = [span for each in wanted for span in each.spans if not _is_cited(span, cited)]
        wrong = [text for text, held in cited if not held]
        needed = max(each.quotes for each in wanted)
        right = len(cited) - len(wrong)
        message = f"{right} of {len(cited)} citations stand in the source"
        if wrong:
            message += f"; not in it: “{wrong[0][:120]}”"
        elif missing:
            message += f"; not cited: “{missing[0][:120]}”"
        elif right < needed:
            message += f"; {needed} wanted"
        return Finding(
            verifier=self.name,
            version=self.version,
            passed=not wrong and not missing and right >= needed,
            score=right / len(cited) if cited else None,
            message=message,
            evidence={"citations": [{"text": text, "stands": held} for text, held in cited], "not_cited": missing},
        )


def wanted_of(test: Test) -> Wanted:
    """A test of citations.

    Raises:
        ValueError: it is none; the message says what is wrong.
    """
    given = test.get("source")
    sources = [given] if isinstance(given, str) else given
    if not isinstance(sources, list) or not any(isinstance(each, str) and each.strip() for each in sources):
        raise ValueError('A test of citations needs a "source", a text or a list of texts.')
    if not all(isinstance(each, str) for each in sources):
        raise ValueError('The "source" of a test of citations holds what is no text.')
    normals = [normal(each) for each in sources]
    spans = test.get("spans") or []
    if not isinstance(spans, list):
        raise ValueError('The "spans" of a test of citations must be a list.')  # noqa: TRY004  # one error for every test that is none
    quotes = test.get("quotes", 1)
    if not isinstance(quotes, int) or isinstance(quotes, bool) or quotes < 0:
        raise ValueError('"quotes" of a test of citations must be a whole number.')
    return Wanted(normals, [_span(span, sources, normals) for span in spans], quotes)


def citations(response: str) -> list[str]:
    """What a response cites, in its order; code is left out."""
    text = _CODE.sub(" ", response)
    found: list[tuple[int, str]] = []
    for block in _BLOCK.finditer(text):
        lines = (line.strip().removeprefix(">").strip() for line in block[0].splitlines())
        found.append((block.start(), " ".join(lines)))
    unblocked = _BLOCK.sub(lambda block: " " * len(block[0]), text)
    found += [(quote.start(), next(filter(None, quote.groups()), "")) for quote in _QUOTED.finditer(unblocked)]
    return [cited.strip() for _, cited in sorted(found) if _is_long(cited)]


def stands(cited: str, sources: Sequence[str]) -> bool:
    """Whether a citation stands in one of the sources, which are normal; what it leaves out stands between its parts."""
    parts = [part for part in (_core(normal(part)) for part in _GAP.split(cited)) if part]
    return any(_stands_in(parts, source) for source in sources)


def normal(text: str) -> str:
    """A text without what typesetting changes: case, white space, kinds of quotation marks and dashes, emphasis."""
    plain = unicodedata.normalize("NFKC", text.translate(_TABLE)).casefold()
    return " ".join(re.sub(r"\*\*|__|(?<!\w)[*_]|[*_](?!\w)", "", plain).split())


def _stands_in(parts: Sequence[str], source: str) -> bool:
    at = 0
    for part in parts:
        at = _find(part, source, at)
        if at < 0:
            return False
        at += len(part)
    return bool(parts)


def _find(part: str, source: str, start: int) -> int:
    """Where the part begins and ends with whole words; -1 where nowhere."""
    at = source.find(part, start)
    while at >= 0:
        before, after = source[at - 1 : at], source[at + len(part) : at + len(part) + 1]
        inside = (_SPACED.match(before) and _SPACED.match(part[0])) or (
            _SPACED.match(after) and _SPACED.match(part[-1])
        )
        if not inside:
            return at
        at = source.find(part, at + 1)
    return -1


def _is_cited(span: str, cited: Sequence[tuple[str, bool]]) -> bool:
    """Whether a citation holds the passage, or the greater part of it."""
    whole = _core(span)
    for text, held in cited:
        plain = _core(normal(text))
        if held and (whole in plain or (plain in whole and 2 * len(plain) >= len(whole))):
            return True
    return False


def _span(span: Any, sources: Sequence[str], normals: Sequence[str]) -> str:
    """A passage as text; two numbers are where it stands in the first source."""
    if isinstance(span, list) and len(span) == 2 and all(isinstance(each, int) for each in span):
        span = sources[0][span[0] : span[1]] if 0 <= span[0] < span[1] else None
    if not isinstance(span, str) or not _core(normal(span)):
        raise ValueError('The "spans" of a test of citations must be texts, or [start, end] in the source.')
    if not stands(span, normals):
        raise ValueError(f"A span of the test does not stand in its source: “{span[:120]}”")
    return normal(span)


def _core(text: str) -> str:
    return text.strip(_EDGES)


def _is_long(text: str) -> bool:
    words = count_words(text)
    spaced = len(_SPACED.findall(text))
    letters = sum(map(str.isalnum, text))
    return words.least >= FEWEST_WORDS if 2 * spaced >= letters else letters >= FEWEST_LETTERS
