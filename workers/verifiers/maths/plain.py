"""Mathematical text in one spelling: ASCII digits, one minus, LaTeX that only decorates left out."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

LONGEST: Final = 400
"""Characters of a number or an expression that is read; what is longer is no answer that anybody wrote down."""

_SUPERSCRIPTS: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SUPERSCRIPT: Final = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
_THIN: Final = re.compile(r"(?<=\d)(?:[\u00a0\u2007\u2009\u202f]|\\[,;:! ]|\{,\}|’)(?=\d{3}(?!\d))")
_VULGAR: Final = re.compile("[¼-¾⅐-⅞↉]")
_MINUS: Final = re.compile("[−﹣－‐‑]|[–‒](?=\\s?[$€£¥]?\\d)(?<![\\d\\w]\\S)")
_SCIENTIFIC: Final = re.compile(r"(?<=\d)[eE]\+?(-?\d{1,3})(?![\w.])")
_RENAMED: Final = {
    r"\\[dtc]frac\b": r"\\frac",
    r"\\(?:times|cdot|ast)(?![a-zA-Z])": "*",
    r"\\div(?![a-zA-Z])": "/",
    r"\\(?:approx|simeq|sim)(?![a-zA-Z])": "≈",
    r"\^\s*\{?\s*\\circ\s*\}?|\\degree\b|°": " degrees ",
    r"\\(?:left|right|big|Big|bigl|bigr|displaystyle|limits|boldsymbol)(?![a-zA-Z])": "",
    r"\\(?:quad|qquad)(?![a-zA-Z])|\\[,;: ]|~": " ",
    r"\\!": "",
    r"\\([$%#&_])": r"\1",
    r"\\[()\[\]]": " ",
}
_DECORATION: Final = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|mbox|operatorname|boxed|fbox)\s*\{([^{}]*)\}"
)
_RENAMES: Final = [(re.compile(pattern), new) for pattern, new in _RENAMED.items()]


def plain(text: str) -> str:
    """The text with digits, minus signs, fractions and decoration in their one spelling.

    What groups digits beyond doubt (thin spaces, LaTeX's ``{,}``, apostrophes) becomes ``'``; Arabic separators stay.
    """
    text = _SUPERSCRIPT.sub(lambda found: "^{" + found[0].translate(_SUPERSCRIPTS) + "}", text)
    text = _VULGAR.sub(lambda found: " " + unicodedata.normalize("NFKC", found[0]).replace("⁄", "/") + " ", text)
    text = _MINUS.sub("-", _THIN.sub("'", text))
    text = unicodedata.normalize("NFKC", text)
    text = "".join(str(unicodedata.digit(c)) if c.isdecimal() and not c.isascii() else c for c in text)
    text = text.translate({ord("×"): "*", ord("·"): "*", ord("⋅"): "*", ord("÷"): "/", ord("⁄"): "/", ord("٪"): "%"})
    text = _SCIENTIFIC.sub(r" * 10^{\1}", text)
    for pattern, new in _RENAMES:
        text = pattern.sub(new, text)
    for _ in range(4):  # \textbf{\text{…}}
        text, changed = _DECORATION.subn(r" \1 ", text)
        if not changed:
            break
    return text
