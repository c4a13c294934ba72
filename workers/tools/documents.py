"""A search engine over documents: SQLite's full-text index of trigrams, which finds words in every script."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Mapping
from typing import Any, Final

from workers.tools.protocol import ToolFailed, cut

MOST_FOUND: Final = 5
_PART: Final = 600
"""Characters of the passages that are indexed, about."""
_TERM: Final = re.compile(r"\w+")
_TRIGRAM: Final = 3


class Search:
    """Finds passages of documents, given as texts by name."""

    name = "search"
    description = "Search the uploaded documents. The passages that fit best come back, each with its document's name."
    parameters: Final[dict[str, Any]] = {
        "type": "object",
        "properties": {"query": {"type": "string", "description": "A few words that stand in the passage."}},
        "required": ["query"],
    }

    def __init__(self, documents: Mapping[str, str]) -> None:
        self._index = sqlite3.connect(":memory:", check_same_thread=False)
        self._asking = threading.Lock()
        self._index.execute("CREATE VIRTUAL TABLE passages USING fts5(name UNINDEXED, text, tokenize = 'trigram')")
        rows = [(name, part) for name, text in documents.items() for part in _parts(text)]
        self._index.executemany("INSERT INTO passages VALUES (?, ?)", rows)

    def run(self, arguments: dict[str, Any]) -> str:
        """The passages that hold most of the words, the best first.

        Raises:
            ToolFailed: the query has no word, or nothing was found.
        """
        terms = list(dict.fromkeys(_TERM.findall(str(arguments["query"])[:500])))[:32]
        if not terms:
            raise ToolFailed("The query holds no word.")
        with self._asking:
            found = self._matching([term for term in terms if len(term) >= _TRIGRAM]) or self._holding(terms)
        if not found:
            raise ToolFailed("Nothing was found; use other words.")
        return cut("\n\n".join(f"[{name}] {text}" for name, text in found))

    def _matching(self, terms: list[str]) -> list[tuple[str, str]]:
        if not terms:
            return []
        wanted = " OR ".join(f'"{term}"' for term in terms)  # a term is letters and digits alone
        asked = "SELECT name, text FROM passages WHERE passages MATCH ? ORDER BY rank LIMIT ?"
        return self._index.execute(asked, (wanted, MOST_FOUND)).fetchall()

    def _holding(self, terms: list[str]) -> list[tuple[str, str]]:
        """For words of one or two characters, such as most of Chinese: no trigram holds them."""
        score = " + ".join("(instr(lower(text), lower(?)) > 0)" for _ in terms)
        asked = f"SELECT name, text FROM (SELECT name, text, {score} AS score FROM passages) WHERE score > 0 ORDER BY score DESC LIMIT ?"  # noqa: S608, E501  # placeholders alone
        return self._index.execute(asked, (*terms, MOST_FOUND)).fetchall()


def _parts(text: str) -> list[str]:
    """Passages: paragraphs, short ones together, long ones cut where a word ends."""
    parts, open_part = [], ""
    for paragraph in re.split(r"\n\s*\n", text):
        for piece in re.findall(rf"(?s).{{1,{_PART}}}(?:\s|\Z)|.{{1,{_PART}}}", paragraph):
            if open_part and len(open_part) + len(piece) > _PART:
                parts.append(open_part.strip())
                open_part = ""
            open_part += piece + "\n"
    return [part for part in [*parts, open_part.strip()] if part]
