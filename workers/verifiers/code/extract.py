"""The code in a response, by language."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

ALIASES: Final = {
    "python": ("python", "py", "python3", "py3"),
    "javascript": ("javascript", "js", "node", "nodejs", "mjs", "cjs", "ecmascript"),
    "typescript": ("typescript", "ts", "mts", "cts"),
    "shell": ("shell", "bash", "sh"),
    "sql": ("sql", "sqlite", "sqlite3"),
}
"""The languages that can be run, each with the words that a fence is marked with."""
TITLES: Final = {
    "python": "Python",
    "javascript": "JavaScript",
    "typescript": "TypeScript",
    "shell": "shell",
    "sql": "SQL",
}
MOST_CODE: Final = 200_000
"""Characters of code that are still looked at."""

_LANGUAGE: Final = {alias: language for language, aliases in ALIASES.items() for alias in aliases}
_FENCE: Final = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*([^\s`{]*)[^\n`]*$")
_DEFINED: Final = {
    "python": r"^(?:(?:async\s+)?def|class)\s+{0}\b|^{0}\s*(?::[^=\n]+)?=(?!=)|^(?:from\s+\S+\s+)?import\b.*\b{0}\b",
    "javascript": (
        r"\b(?:function\s*\*\s*|(?:function|class|const|let|var|enum)\s+){0}\b|\bexports\.{0}\b|^[ \t]*{0}\s*=(?!=)"
        r"|\b(?:const|let|var)\s*\{{[^}}]{{0,300}}\b{0}\b"
    ),
}
_HELPS: Final = re.compile(r"(?:import|from|(?:async\s+)?def|class)\s|@|#|[)\]}]|[A-Z_]+\s*=")
_BEGINS: Final = {
    "python": r"(?:from\s+[\w.]+\s+import|import\s+\w|(?:async\s+)?def\s+\w+\s*\(|class\s+\w+\s*[(:]|@\w|if __name__)",
    "javascript": r"(?:import\b|export\b|const\s|let\s|var\s|(?:async\s+)?function\b|class\s+\w|[\"']use strict)",
    "shell": r"#!",
    "sql": r"(?i:select|with|insert|update|delete|create|drop|alter)\b",
}


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: the language that its fence names (lower case, as written) and its text."""

    label: str
    text: str


def language_of(label: object) -> str | None:
    """The language that a fence or a test names, None where it cannot be run."""
    return _LANGUAGE.get(str(label).strip().lower())


def language_of_test(test: Mapping[str, Any]) -> str | None:
    """The language of a test; Python where it names none."""
    return language_of(test.get("language") or "python")


def blocks(response: str) -> list[Block]:
    """The fenced blocks in their order. One that is never closed ends with the response."""
    found: list[Block] = []
    opening: re.Match[str] | None = None
    lines: list[str] = []
    for line in response.splitlines():
        fence = _FENCE.match(line)
        if opening is None:
            if fence:
                opening, lines = fence, []
        elif fence and not fence[3] and fence[2].startswith(opening[2]):
            found.append(Block(opening[3].lower(), "\n".join(lines) + "\n"))
            opening = None
        else:
            indent = len(opening[1])
            lines.append(line[indent:] if not line[:indent].strip() else line.lstrip())
    if opening is not None:
        found.append(Block(opening[3].lower(), "\n".join(lines) + "\n"))
    return found


def defines(code: str, name: str, language: str) -> bool:
    """Whether the code seems to define that name at its top."""
    pattern = _DEFINED["python" if language == "python" else "javascript"]
    return re.search(pattern.format(re.escape(name)), code, re.MULTILINE) is not None


def code_in(response: str, language: str, names: tuple[str, ...] = ()) -> str | None:
    """The response's program in that language, None where it holds none.

    Of several blocks the last counts that defines all ``names``, with imports and helpers before it: an answer ends with what
    it means, and an example of its use defines nothing. Where no block alone does, they belong together. Without names the
    longest block is the program. A response without any block is code itself, from its first line that looks like it.
    """
    fenced = blocks(response)
    fitting = [each.text for each in fenced if language_of(each.label) == language] or [
        each.text for each in fenced if each.label in {"", "text", "txt", "code"}
    ]
    if language == "typescript" and not fitting:  # every program in JavaScript is one in TypeScript
        fitting = [each.text for each in fenced if language_of(each.label) == "javascript"]
    if not fenced:
        return _bare(response, language)
    if not fitting:
        return None
    if not names:
        return max(reversed(fitting), key=len)
    whole = [place for place, text in enumerate(fitting) if all(defines(text, name, language) for name in names)]
    if not whole:
        return "\n".join(fitting)
    before = [text for text in fitting[: whole[-1]] if _helps(text, names, language)]
    return "\n".join([*before, fitting[whole[-1]]])


def _helps(text: str, names: tuple[str, ...], language: str) -> bool:
    """Whether a block only defines what a later one may use: imports, helpers and constants."""
    lines = [line for line in text.splitlines() if line.strip() and not line[0].isspace()]
    other = not any(defines(text, name, language) for name in names)
    return language == "python" and other and all(_HELPS.match(line) for line in lines)


def _bare(response: str, language: str) -> str | None:
    """Code without a fence: what stands before it is left out, and what follows is left to the language to refuse."""
    if not response.strip():
        return None
    begins = re.compile(_BEGINS.get(language, _BEGINS["javascript"]))
    lines = response.splitlines(keepends=True)
    if lines[0][:1].isspace() and language == "python":
        return response  # it goes on where the prompt ended
    start = next((number for number, line in enumerate(lines) if begins.match(line)), None)
    return None if start is None else "".join(lines[start:])


def complete(code: str, given: str, names: tuple[str, ...]) -> str:
    """Python that can be loaded: code that only goes on where ``given`` ended is put behind it."""
    first = next((line for line in code.splitlines() if line.strip()), "")
    if first[:1].isspace() and given and not any(defines(code, name, "python") for name in names):
        return given.rstrip("\n") + "\n" + code
    return code
