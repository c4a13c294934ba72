"""Markdown, code and maths of people and models → HTML that can do nothing but be read.

Two walls. The renderer never passes HTML through: a tag in the text is shown as text, images become their description,
and links name only web and mail addresses. Whatever it produced then goes through nh3 with an allowlist that knows no
script, no style, no id and nothing that loads. Work is bounded in size and in CPU time: what would cost more is shown as
the plain text that it is.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING

import nh3
from latex2mathml.converter import convert as to_mathml
from markdown_it import MarkdownIt
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES

from app.kernel import markdown_rules, thinking
from app.kernel.locales import gettext as _
from app.kernel.markdown_rules import INLINE_TAGS, MATHS_LIMIT

if TYPE_CHECKING:
    from markdown_it.renderer import RendererHTML
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

RENDER_LIMIT = 100_000
"""Characters beyond which text is shown as it is."""
CODE_LIMIT = 20_000
CPU_LIMIT = 0.5
"""Seconds of this thread's CPU for one text."""
NESTING_LIMIT = 40
"""Quotes in quotes; the renderer would drop what lies deeper, so such a text is shown as it is."""
HEADING_SHIFT = 3
"""The page's own headings are h1 to h3, so a text's begin at h4."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LANGUAGES = _words("""
    bash c c++ cpp csharp css diff dockerfile go graphql haskell html ini java javascript js json julia kotlin
    latex lua makefile markdown matlab nginx perl php powershell python py r ruby rust scala sh shell sql swift tex
    toml ts typescript xml yaml yml zig
""")

_MATHS_TAGS = _words("""
    math menclose merror mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms mspace msqrt
    mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none semantics
""")
_MATHS_ATTRIBUTES = {
    "math": {"display", "xmlns"},
    "menclose": {"notation"},
    "mfrac": {"linethickness"},
    "mi": {"mathvariant"},
    "mo": {"accent", "fence", "form", "largeop", "lspace", "movablelimits", "rspace", "separator", "stretchy"},
    "mover": {"accent"},
    "mspace": {"width"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "mtable": {"columnalign", "columnlines", "rowlines"},
    "mtd": {"columnalign"},
    "munder": {"accentunder"},
}
_TEXT_TAGS = INLINE_TAGS | _words("""
    a blockquote div h4 h5 h6 hr li ol p pre span table tbody td th thead tr ul
""")
_DIRECTED = ("blockquote", "h4", "h5", "h6", "li", "p", "td", "th")
_HOLDING = ("blockquote", "li", "ol", "table", "ul")
_CLASSES = {
    "code": {"md-maths-source"},
    "div": {"md-maths", "md-scroll"},
    "pre": {"md-code", "md-plain"},
    "span": {"md-image", "md-language", *(name for name in STANDARD_TYPES.values() if name)},
}


class _TooMuch(Exception):
    """The text costs more to render than it is worth."""


class _Budget:
    """CPU time of this thread, so that a busy machine does not turn text plain."""

    def __init__(self, seconds: float) -> None:
        self.end = time.thread_time() + seconds

    def spent(self) -> bool:
        return time.thread_time() > self.end


def to_html(text: str) -> Markup:
    """Render ``text`` as sanitised HTML.

    A block of thinking at the beginning is folded; one that never ends is all there is, so it stands open.
    """
    return _folded(text, _("Thinking"))


@lru_cache(maxsize=512)
def _folded(text: str, called: str) -> Markup:
    """Pure, so the last few hundred answers are kept. ``called`` names what is folded."""
    parts = thinking.parted(text)
    if parts is None:
        return _rendered(text)
    thought, answer = parts
    folded = (
        '<details class="md-thinking"><summary>' if answer.strip() else '<details class="md-thinking" open><summary>'
    )
    shown = Markup("{}</summary>{}</details>{}").format(called, _rendered(thought), _rendered(answer))
    return Markup(folded) + shown  # noqa: S704 - one of two constants


def _rendered(text: str) -> Markup:
    storable = text.encode("utf-8", "replace").decode()
    if len(storable) > RENDER_LIMIT:
        return plain(storable)
    try:
        rendered = _renderer().render(storable, {"budget": _Budget(CPU_LIMIT)})
    except (_TooMuch, RecursionError):
        return plain(storable)
    return Markup(_cleaner().clean(rendered))  # noqa: S704 - this is the place where text becomes safe


def plain(text: str) -> Markup:
    """``text`` as it is, with its line breaks."""
    return Markup('<pre class="md-plain" dir="auto">{}</pre>').format(text)


@lru_cache(maxsize=1)
def _cleaner() -> nh3.Cleaner:
    attributes: dict[str, set[str]] = {tag: set(names) for tag, names in _MATHS_ATTRIBUTES.items()}
    attributes |= {tag: {"dir"} for tag in _DIRECTED}
    attributes |= {
        "a": {"href"},
        "div": {"dir"},
        "ol": {"dir", "start"},
        "pre": {"dir"},
        "table": {"dir"},
        "ul": {"dir"},
    }
    return nh3.Cleaner(
        tags=set(_TEXT_TAGS | _MATHS_TAGS),
        attributes=attributes,
        allowed_classes=_CLASSES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
    )


@lru_cache(maxsize=1)
def _renderer() -> MarkdownIt:
    md = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": 2 * NESTING_LIMIT})
    md.inline = markdown_rules.Inline()
    md.configure("commonmark", {"html": False, "breaks": True, "maxNesting": 2 * NESTING_LIMIT})
    md.enable(["table", "strikethrough"])
    md.block.ruler.at("table", markdown_rules.table, {"alt": ["paragraph", "reference"]})
    md.disable("reference")  # a link definition would vanish from the page, and what is judged must be seen
    md.inline.ruler.before("escape", "math_inline", markdown_rules.dollars)
    md.inline.ruler.before("escape", "maths_brackets", markdown_rules.inline_brackets)
    md.inline.ruler.before("autolink", "tags", markdown_rules.inline_tags)
    md.block.ruler.before("fence", "math_block", markdown_rules.block_dollars)
    md.block.ruler.before(
        "fence", "maths_brackets", markdown_rules.block_brackets, {"alt": ["paragraph", "blockquote", "list"]}
    )
    # the guards come first: they are asked at every position, and stop what goes on for too long
    md.inline.ruler.before(md.inline.ruler.get_all_rules()[0], "guard", _inline_guard)
    md.block.ruler.before(md.block.ruler.get_all_rules()[0], "guard", _block_guard, {"alt": ["paragraph"]})
    md.core.ruler.push("directions", _directions)
    for name, rule in {
        "fence": _fence,
        "code_block": _fence,
        "image": _image,
        "math_inline": _maths_inline,
        "math_inline_double": _maths_block,
        "math_block": _maths_block,
        "table_open": _table_open,
        "table_close": lambda *_: "</table></div>\n",
    }.items():
        md.add_render_rule(name, rule)
    return md


def _inline_guard(state: StateInline, silent: bool) -> bool:  # noqa: ARG001, FBT001 - markdown-it's signature
    if state.env["budget"].spent():
        raise _TooMuch
    return False


def _block_guard(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: ARG001, FBT001 - as above
    if state.level >= NESTING_LIMIT or state.env["budget"].spent():
        raise _TooMuch
    return False


def _directions(state: StateCore) -> None:
    """Let every block find its own writing direction, and move headings below the page's own.

    A browser looks for the direction of a block in its own text alone, so what holds other blocks, and the order of a table's
    columns, follow the first text in them.
    """
    holding: list[Token] = []
    for token in state.tokens:
        if token.type.startswith("heading"):
            token.tag = f"h{min(6, int(token.tag[1]) + HEADING_SHIFT)}"
        if token.nesting == 1 and token.tag in _DIRECTED:
            token.attrs = {"dir": "auto"}  # also drops the inline style with which tables align
        if token.tag in _HOLDING and token.nesting == 1:
            holding.append(token)
        elif token.tag in _HOLDING and token.nesting == -1:
            holding = [each for each in holding if each.level < token.level]
        elif token.type == "inline" and holding and (direction := _direction(token.content)):
            for each in holding:
                if direction == "rtl":
                    each.attrSet("dir", "rtl")
            holding.clear()  # they have found theirs


def _direction(text: str) -> str | None:
    """The direction of the first letter that has one."""
    for sign in text:
        if (kind := unicodedata.bidirectional(sign)) in {"L", "R", "AL"}:
            return "ltr" if kind == "L" else "rtl"
    return None


def _fence(_self: RendererHTML, tokens: Sequence[Token], at: int, _options: OptionsDict, env: EnvType) -> str:
    """Code under the name of its language; another word in the fence is no language, and is not shown as one."""
    token = tokens[at]
    language = token.info.split(maxsplit=1)[0].lower() if token.info.strip() else ""
    body, name = escape(token.content), ""
    if language in LANGUAGES:
        name = f'<span class="md-language">{language}</span>'
        if len(token.content) <= CODE_LIMIT and not env["budget"].spent():
            body = highlight(token.content, get_lexer_by_name(language, stripnl=False), _FORMATTER)
    return f'<pre class="md-code" dir="ltr">{name}<code>{body}</code></pre>\n'


_FORMATTER = HtmlFormatter(nowrap=True)


def _image(self: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
    """An image is its description: loading it would tell its server who is annotating."""
    token = tokens[at]
    described = self.renderInlineAsText(token.children or [], options, env) or str(token.attrGet("src") or "")
    return f'<span class="md-image">{escape(described)}</span>'


def _table_open(_self: RendererHTML, tokens: Sequence[Token], at: int, _options: OptionsDict, _env: EnvType) -> str:
    direction = ' dir="rtl"' if tokens[at].attrGet("dir") == "rtl" else ""
    return f'<div class="md-scroll"{direction}><table{direction}>\n'


def _maths_inline(_self: RendererHTML, tokens: Sequence[Token], at: int, _options: OptionsDict, env: EnvType) -> str:
    return _maths(tokens[at], "inline", env)


def _maths_block(_self: RendererHTML, tokens: Sequence[Token], at: int, _options: OptionsDict, env: EnvType) -> str:
    # inside a paragraph a <div> would end it, so only a block of its own gets one
    maths = _maths(tokens[at], "block", env)
    return f'<div class="md-maths">{maths}</div>\n' if tokens[at].block else maths


def _maths(token: Token, display: str, env: EnvType) -> str:
    """MathML, or the source where it is not understood. Commands that are unknown are shown by their names."""
    source = token.content.strip()
    if len(source) <= MATHS_LIMIT and not env["budget"].spent():
        try:
            return str(to_mathml(source, display=display))
        except Exception:  # noqa: BLE001, S110 - the converter raises whatever its parser stumbles over
            pass
    closing = {"\\(": "\\)", "\\[": "\\]"}.get(token.markup, token.markup)
    return f'<code class="md-maths-source">{escape(token.markup + token.content + closing)}</code>'
