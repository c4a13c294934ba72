"""Find texts that people read and that are not marked for translation: ``python -m scripts.translations --bare``.

A template may hold no word outside of ``_()`` and ``{% trans %}``, neither in its text nor in attributes that are read nor in
strings that look like sentences; a script no sentence outside of ``t()`` and ``tn()``; Python under ``app/`` none in an
error for people, a flash or a label. What is a sentence is guessed from its shape, so this finds the kind rather than each.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from jinja2 import nodes
from pygments import token
from pygments.lexers.javascript import JavascriptLexer

from app.kernel.settings import ROOT
from app.shell.web import templates

KINDS = {"good", "warn", "bad"}
"""Of notices: classes, which scripts pass along with what is said."""
NAMES = {"Corral", "API", "DPO", "SFT", "GRPO", "GPU", "CSV", "JSON", "JSONL", "Parquet", "TRL", "URL", "UTC", "KL"}
READ_ATTRIBUTES = {"title", "aria-label", "aria-description", "aria-roledescription", "placeholder", "alt", "label"}
NOT_READ = {"code", "kbd", "pre", "script", "style", "samp"}
PERSONAL_ERRORS = {
    *(
        "BadInput",
        "Conflict",
        "Forbidden",
        "LeaseLost",
        "NotFound",
        "StaleVersion",
        "TooLarge",
        "TooMany",
        "Unauthenticated",
    ),
    *("Unavailable", "refused"),
}
SHOWN_BY = {
    "announce",
    "hint",
    "say",
    "toast",
    "notice",
    "confirm",
    "ask",
    "textContent",
    "ariaLabel",
    "title",
    "placeholder",
}
MARKS = {"_", "gettext", "ngettext", "N_", "pgettext"}
SPOKEN = {"t", "tn"}
PROGRAMS = (
    *("app/client", "app/commands", "app/laptop", "app/registry/adapters.py", "app/services", "app/site/health.py"),
    "app/upkeep",
)
"""What is read in a terminal and by programs, in English."""
_HOLE, _BLOCK = "\x01", "\x02"
_WORD = re.compile(r"[A-Za-z]{2,}")
_SENTENCE = re.compile(r"[A-Za-z]{2,},? [a-z]{2,}|^[A-Z][a-z]+( |$|[.!?…])")


def found(paths: list[Path]) -> Iterator[str]:
    """Every place in ``paths`` (files or folders) that holds one, as ``path:line: text``."""
    for path in paths or [ROOT / "templates", ROOT / "static" / "js", ROOT / "app"]:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            shown = file.resolve().relative_to(ROOT).as_posix()
            looks = (
                None
                if shown.startswith(PROGRAMS)
                else {".html": _in_template, ".js": _in_script, ".py": _in_python}.get(file.suffix)
            )
            if looks:
                yield from (f"{shown}:{line}: {' '.join(text.split())[:100]}" for line, text in looks(file.read_text()))


# ── Templates ────────────────────────────────────────────────────────────────────────────────────────────────────────
class _Read(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.texts: list[tuple[int, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {
            "input",
            "link",
            "meta",
            "br",
            "img",
            "hr",
            "path",
            "source",
            "wbr",
            "col",
            "circle",
            "rect",
            "line",
        }:
            self.open.append("code" if ("translate", "no") in attrs else tag)
        kind = dict(attrs).get("type")
        for name, value in attrs:
            button = name == "value" and tag == "input" and kind in {"submit", "button", "reset"}
            said = name.startswith("data-") and value and _SENTENCE.search(value) and " " in value
            if value and (name in READ_ATTRIBUTES or button or said):
                self.texts.append((self.getpos()[0], value))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        for at in range(len(self.open) - 1, -1, -1):
            if self.open[at] == tag or (self.open[at] == "code" and tag not in self.open[at:]):
                del self.open[at:]
                return

    def handle_data(self, data: str) -> None:
        if not NOT_READ & set(self.open):
            lines = data[: len(data) - len(data.lstrip())].count("\n")
            self.texts.append((self.getpos()[0] + lines, data))


def _in_template(source: str) -> Iterator[tuple[int, str]]:
    reader = _Read()
    reader.feed(_flat(source))
    reader.close()
    for line, text in reader.texts:
        plain = re.sub(r"[\w-]+--[\w-]+", " ", text.replace(_HOLE, " ").replace(_BLOCK, " "))  # a CSS class of a page
        words = set(_WORD.findall(plain)) - NAMES
        if words:
            yield line, text.replace(_HOLE, "…").replace(_BLOCK, " ")
    yield from _strings(templates().parse(source))


def _flat(source: str) -> str:
    """The template without its expressions, blocks and marked texts, line by line where it was."""
    flat: list[str] = []
    marked = False
    block: list[str] | None = None
    for _line, kind, value in templates().lex(source):
        if kind == "block_begin":
            block = []
        elif kind == "block_end":
            names = block or [""]
            marked = names[0] == "trans" or (marked and names[0] != "endtrans")
            block = None
            flat.append(_BLOCK)
        elif kind == "variable_begin":
            flat.append(_HOLE)
        elif kind == "data" and not marked:
            flat.append(value)
            continue
        elif kind == "name" and block is not None:
            block.append(value)
        flat.append("\n" * value.count("\n"))
    return "".join(flat)


def _strings(node: nodes.Node) -> Iterator[tuple[int, str]]:
    """Strings in expressions that look like sentences."""
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in MARKS:
        return
    if isinstance(
        node,
        nodes.Compare | nodes.Getitem | nodes.Test | nodes.FromImport | nodes.Import | nodes.Include | nodes.Extends,
    ):
        return
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        if re.search(r"\{:[^}]*[,%]", node.value):
            yield node.lineno, f"{node.value} (a number: | number or | percent)"
        elif _SENTENCE.search(node.value) and not (
            {*_WORD.findall(node.value)} <= NAMES or re.search(r"[<>=#]|__|--|^button", node.value)
        ):
            yield node.lineno, node.value
        return
    for child in node.iter_child_nodes():
        yield from _strings(child)


# ── Scripts ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _in_script(source: str) -> Iterator[tuple[int, str]]:
    callers: list[str] = []
    before = ["", ""]
    for at, kind, value in _pieces(source):
        if kind == "text":
            text = re.sub(r"\$\{[^}]*\}", " ", value[1:-1])
            inside = callers[-1] if callers else ""
            shown = text not in KINDS and bool({inside, *before} & SHOWN_BY) and bool(re.search(r"[A-Za-z]{3,}", text))
            sentence = re.search(
                r"[A-Za-z]{2,},? [a-z]{2,}.*[.?!:…]$|^[A-Z][a-z]+ [a-z]+|^[a-z]+ (of|and|to|is) ", text
            )
            named = {*_WORD.findall(text)} <= NAMES
            if (
                inside not in SPOKEN
                and not named
                and (shown or sentence)
                and not re.search(r"^[.#\[]|[<>=]|^\w+-\w+|^button", text)
            ):
                yield source.count("\n", 0, at) + 1, value
            continue
        if value in {"(", "[", "{"}:
            callers.append(before[-1] if value == "(" else "")
        elif value in {")", "]", "}"} and callers:
            callers.pop()
        if value not in {"=", ":", "."}:
            before = [before[-1], value.lstrip("#")]


def _pieces(source: str) -> Iterator[tuple[int, str, str]]:
    """Where each starts, ``"text"`` or ``"code"``, and what it is; a template literal is one text, whatever it is filled with."""
    filled: list[str] = []
    start = depth = 0
    for at, kind, value in JavascriptLexer().get_tokens_unprocessed(source):
        if filled:
            filled.append(value)
            depth += (value == "${") - (kind in token.String.Interpol and value == "}")
            if value == "`" and kind in token.String.Backtick and depth == 0:
                yield start, "text", "".join(filled)
                filled = []
        elif kind in token.String.Backtick:
            start, depth, filled = at, 0, [value]
        elif kind in token.String:
            yield at, "text", value
        elif kind in token.Name or kind in token.Keyword:
            yield at, "code", value
        elif kind in token.Punctuation or kind in token.Operator:
            for offset, each in enumerate(value):
                yield at + offset, "code", each


# ── Python ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _in_python(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        given = node.args if name in PERSONAL_ERRORS else []
        given = [*given, *(each.value for each in node.keywords if each.arg in {"flash", "label", "note"})]
        for each in given:
            text = _literal(each)
            if text and re.search(r"[A-Za-z]{2,},? [a-z]{2,}", text):
                yield each.lineno, text


def _literal(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_literal(each) if isinstance(each, ast.Constant) else "…" for each in node.values)
    if isinstance(node, ast.BinOp):
        return _literal(node.left) + _literal(node.right)
    if isinstance(node, ast.IfExp):
        return _literal(node.body) or _literal(node.orelse)
    return ""
