"""Where Markdown is read otherwise than CommonMark says: marks in every script, dollars, brackets and tags.

CommonMark was made for words between spaces and for authors who preview. A response is written once, in any script, and is
judged as it is shown, so a mark that was meant shows and a sign that was no mark stays as it was written.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import TYPE_CHECKING

from markdown_it.parser_inline import ParserInline
from markdown_it.rules_block.table import escapedSplit, getLine
from markdown_it.rules_block.table import table as gfm_table
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned
from markdown_it.token import Token
from mdit_py_plugins.dollarmath.index import math_block_dollar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.utils import EnvType

MATHS_LIMIT = 2_000
INLINE_TAGS = frozenset(
    {"b", "br", "code", "del", "em", "i", "ins", "kbd", "mark", "s", "small", "strong", "sub", "sup", "u"}
)
"""Tags without attributes that mean the same as a mark of Markdown, or have none."""
_BEYOND = 8
"""Signs to look across for the letter beside a mark."""


# ── Emphasis ─────────────────────────────────────────────────────────────────────────────────────────────────────────
class Inline(ParserInline):
    """The inline parser, with marks that open and close beside any script."""

    def parse(self, src: str, md: MarkdownIt, env: EnvType, tokens: list[Token]) -> list[Token]:
        """The tokens of ``src``, put into ``tokens``: as its parent does it, with a state that knows these marks."""
        state = _State(src, md, env, tokens)
        self.tokenize(state)
        for rule in self.ruler2.getRules(""):
            rule(state)
        return state.tokens


class _State(StateInline):
    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:  # noqa: FBT001, N802, N803 - markdown-it's signature
        """Whether the run of marks at ``start`` can open and close.

        CommonMark tells by the spaces around punctuation, which many scripts do not write: in ``**重要：**请`` nothing would
        close. So punctuation holds a mark back only among ASCII, where ``a*(b+c)*d`` is no emphasis.
        """
        scanned = super().scanDelims(start, canSplitWord)
        end = start + scanned.length
        last, following = (self.src[start - 1] if start else " "), (self.src[end] if end < self.posMax else " ")
        if last.isspace() or following.isspace():
            return scanned
        if not (_wide(self.src, start - 1, -1) or _wide(self.src, end, 1)):
            ends_a_sentence = scanned.length > 1 and last in ".:!?"  # as in **Note:**text
            return Scanned(scanned.can_open, scanned.can_close or ends_a_sentence, scanned.length)
        if canSplitWord:
            return Scanned(True, True, scanned.length)
        # underscores also join the parts of a name, so between letters only two of them are a mark, and only in wide text
        doubled = scanned.length > 1 and not last.isascii() and not following.isascii()
        can_open = scanned.can_open or doubled or not last.isalnum()
        can_close = scanned.can_close or doubled or not following.isalnum()
        if not last.isalnum() and following.isalnum():
            can_close = can_close or unicodedata.category(last) in {"Pe", "Pf", "Po"}
        if last.isalnum() and not following.isalnum():
            can_open = can_open or unicodedata.category(following) in {"Ps", "Pi"}
        return Scanned(can_open, can_close, scanned.length)


def _wide(text: str, at: int, step: int) -> bool:
    """Whether the sign at ``at``, or the letter behind the punctuation that begins there, lies beyond ASCII."""
    for _ in range(_BEYOND):
        if not 0 <= at < len(text):
            return False
        if not text[at].isascii():
            return True
        if text[at].isalnum() or text[at].isspace():
            return False
        at += step
    return False


# ── Maths ────────────────────────────────────────────────────────────────────────────────────────────────────────────
_DOLLARS = re.compile(r"(?P<mark>\$\$?)(?P<content>[^$\\]*(?:\\.[^$\\]*)*)(?P=mark)(?!\$)", re.DOTALL)
_RUN = re.compile(r"\$+")
_BRACED = re.compile(r"\\[A-Za-z]+|\{[^{}]*\}")
_PLACEHOLDER = re.compile(r"\{[\w.\[\]()]*\}")
_FUNCTIONS = "arg|cos|cot|det|deg|dim|exp|gcd|inf|ker|lcm|lim|ln|log|max|min|mod|sec|sin|sup|tan"
_PROSE = re.compile(rf"(?<=\s)\(?(?!(?:{_FUNCTIONS})\b)[A-Za-z]{{2,}}[,.;:!?)]*(?=\s)")
_PRICES = re.compile(
    r"\d[\d.,]*[kKmMbB]?(?:\s*[,;、，]\s+\S*\d[\d.,]*[kKmMbB]?)+|\d[\d.,]*\s*/\s*[A-Za-z]{2,}.*", re.DOTALL
)
_MATHS_SIGNS = re.compile(r"\\[A-Za-z]+|[\^_={}<>+]")
_ENDING = re.compile(r"(?:th|st|nd|rd|s)\b")


def dollars(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - markdown-it's signature
    """``$…$`` and ``$$…$$``, where they hold maths: prices, variables of a shell and placeholders keep their dollars."""
    at = state.pos
    run = _RUN.match(state.src, at, state.posMax)
    if run is None:
        return False
    found = _DOLLARS.match(state.src, at, state.posMax)
    if found is None or len(run[0]) > 2 or not _is_dollar_maths(state.src, found):
        if len(run[0]) == 1:
            return False
        if not silent:
            state.append_pending(run[0])  # all of it: the second of two dollars opens nothing
        state.pos = run.end()
        return True
    if not silent:
        mark = found["mark"]
        token = state.push("math_inline" if mark == "$" else "math_inline_double", "math", 0)
        token.content, token.markup = found["content"], mark
    state.pos = found.end()
    return True


def _is_dollar_maths(text: str, found: re.Match[str]) -> bool:
    content = found["content"]
    if not content.strip():
        return False
    if found["mark"] == "$$":
        return not _reads_as_prose(content)
    before = text[found.start() - 1 : found.start()]
    if content[0].isspace() or content[-1].isspace() or _in_word(before):
        return False
    after = text[found.end() : found.end() + 1]
    if _in_word(after) or (after and after in "{(" and not content[-1].isalnum()):
        ordinal = _ENDING.match(text, found.end()) and not re.search("[A-Za-z]{2}", _BRACED.sub("", content))
        if not ordinal:
            return False
    if len(content) > 1 and content[-1] in "/=:;,&|@([<{+-" and content[-2] != "\\":
        return False
    return not _reads_as_prose(content)


def _in_word(sign: str) -> bool:
    return sign.isdigit() or (sign.isascii() and (sign.isalnum() or sign == "_"))


def _reads_as_prose(content: str) -> bool:
    """Whether what stands between two signs of maths is text that the signs only happen to be around."""
    bare = _BRACED.sub(" ", content)
    if _PLACEHOLDER.fullmatch(content) or any(sign in bare for sign in '"`€£¥₹'):
        return True
    if _MATHS_SIGNS.search(content) and not bare[:1].isdigit():
        return False
    if _PRICES.fullmatch(content) or (
        re.search(r"\s", bare) and _PROSE.search(f" {bare} ") and not re.search(r"\\[A-Za-z]|\^", content)
    ):
        return True
    return bare[:1].isdigit() and any(sign.isalpha() and sign >= "\u0400" for sign in bare)


_block_dollars = math_block_dollar(allow_labels=False)


def block_dollars(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - markdown-it's signature
    """Lines between ``$$`` and ``$$``, where they hold maths."""
    line, known = state.line, len(state.tokens)
    if not _block_dollars(state, start, end, silent):
        return False
    if len(state.tokens) > known and _reads_as_prose(state.tokens[-1].content.strip()):
        del state.tokens[known:]
        state.line = line
        return False
    return True


def inline_brackets(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - markdown-it's signature
    r"""``\( … \)`` and ``\[ … \]``, the delimiters that models write most; around words and numbers they are escaped brackets."""
    opened = state.src[state.pos : state.pos + 2]
    if opened not in {"\\(", "\\["}:
        return False
    closing = "\\)" if opened == "\\(" else "\\]"
    end = state.src.find(closing, state.pos + 2, state.pos + MATHS_LIMIT)
    content = state.src[state.pos + 2 : end].strip()
    if end < 0 or end >= state.posMax or not content or _reads_as_prose(content):
        return False
    if opened == "\\[" and content.isdigit():
        return False
    if not silent:
        token = state.push("math_inline" if opened == "\\(" else "math_inline_double", "math", 0)
        token.content, token.markup = content, opened
    state.pos = end + 2
    return True


def block_brackets(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - markdown-it's signature
    r"""A paragraph between a line that begins with ``\[`` and one that ends with ``\]``."""
    first = state.bMarks[start] + state.tShift[start]
    if not state.src.startswith("\\[", first) or state.sCount[start] - state.blkIndent >= 4:
        return False
    for line in range(start, min(end, start + 60)):
        if not state.src[state.bMarks[line] : state.eMarks[line]].rstrip().endswith("\\]"):
            continue
        content = state.getLines(start, line + 1, state.blkIndent, False).strip()[2:-2]
        if content.strip().isdigit() or _reads_as_prose(content.strip()):
            return False
        if not silent:
            token = state.push("math_block", "math", 0)
            token.block = True
            token.map = [start, line + 1]
            token.content, token.markup = content, "\\["
        state.line = line + 1
        return True
    return False


# ── Tags ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
_TAG = re.compile(rf"<(?P<name>{'|'.join(sorted(INLINE_TAGS))})\s*/?>", re.IGNORECASE)

_NEWLINE = re.compile(r"[ \t]*\n[ \t]*")


def inline_tags(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - markdown-it's signature
    """``<br>``, and a pair such as ``<sub>…</sub>`` around something; a tag alone is shown as it was written."""
    tag = _TAG.match(state.src, state.pos, state.posMax)
    if tag is None:
        return False
    name = tag["name"].lower()
    if name == "br":
        if not silent:
            state.push("hardbreak", "br", 0)
        state.pos = tag.end()
        if newline := _NEWLINE.match(state.src, state.pos, state.posMax):
            state.pos = newline.end()  # the line ends once
        return True
    closing = _closing(state, name, tag.end())
    if closing is None or not state.src[tag.end() : closing.start()].strip():
        return False
    if not silent:
        _push_pair(state, name, tag.end(), closing.start())
    state.pos = closing.end()
    return True


def _push_pair(state: StateInline, name: str, start: int, end: int) -> None:
    if name == "code":
        state.push("code_inline", "code", 0).content = html.unescape(state.src[start:end])
        return
    state.push(f"{name}_tag_open", name, 1)
    outer, state.pos, state.posMax = state.posMax, start, end
    state.md.inline.tokenize(state)
    state.posMax = outer
    state.push(f"{name}_tag_close", name, -1)


def _closing(state: StateInline, name: str, start: int) -> re.Match[str] | None:
    """The tag that closes the ``name`` opened before ``start``."""
    depth = 1
    for tag in re.compile(rf"<(/?){name}\s*>", re.IGNORECASE).finditer(state.src, start, state.posMax):
        depth += -1 if tag[1] else 1
        if not depth:
            return tag
    return None


# ── Tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def table(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - markdown-it's signature
    """A table with all its cells: GFM drops those that a row has beyond its header, and what is judged must be seen."""
    at = len(state.tokens)
    if not gfm_table(state, start, end, silent):
        return False
    state.tokens[at:] = _with_all_cells(state, state.tokens[at:])
    return True


def _with_all_cells(state: StateBlock, tokens: Sequence[Token]) -> Iterator[Token]:
    shown, line = 0, 0
    for token in tokens:
        if token.type == "tr_open":
            shown, line = 0, token.map[0] if token.map else 0
        shown += token.type in {"th_open", "td_open"}
        if token.type == "tr_close":
            for content in _cells(getLine(state, line))[shown:]:
                yield Token("td_open", "td", 1, level=token.level + 1, block=True)
                yield Token(
                    "inline",
                    "",
                    0,
                    level=token.level + 2,
                    block=True,
                    map=[line, line + 1],
                    content=content,
                    children=[],
                )
                yield Token("td_close", "td", -1, level=token.level + 1, block=True)
        yield token


def _cells(line: str) -> list[str]:
    """What stands between the bars of a row, without empty cells at its end."""
    cells = [each.strip() for each in escapedSplit(line.strip())]
    if cells and not cells[0]:
        cells.pop(0)
    while cells and not cells[-1]:
        cells.pop()
    return cells
