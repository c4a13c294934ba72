"""The texts of an annotation, of a prompt: what patterns find in them, and the same with placeholders in its place.

Every text that leaves with an export is looked at: prompt, responses, the annotator's own words, and what the imported file
said beside. All shapes and formats are made of what comes out here, so a passage is masked in all of them or in none. What
counts characters of a text (marked passages, steps) counts those of the masked one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from app.preferences.columns import Source
from app.preferences.forms import Treatment
from app.preferences.private.kinds import Kind, Passage
from app.preferences.private.passages import passages

TEXTS = ("source_id", "comment", "reference")
JSONS = ("prompt", "tests", "metadata", "tools")
OF_RESPONSES = ("steps", "said_of_response")
STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
"""A text inside JSON. What stands between stays as it is: a number of thirty digits is one that no encoder takes."""
SHORTEST = 7
"""Characters of the shortest passage, a@bc.de."""


@dataclass(frozen=True, slots=True)
class Where:
    """Passages of one text."""

    column: str
    candidate_id: int | None
    """Whose response, or the edit of whose, or what is said of it; None where it is the judgement's or the prompt's."""
    text: str
    passages: list[Passage]


@dataclass
class Counted:
    """What was found so far, over an export."""

    passages: Counter[Kind] = field(default_factory=Counter)
    judgements: int = 0
    """In which anything was found: masked or left out."""


@dataclass
class Masker:
    """Masks the texts of one annotation or prompt, and notes what it finds."""

    language: str | None
    found: list[Where] = field(default_factory=list)

    def text(self, column: str, text: str | None, candidate_id: int | None = None) -> str | None:
        """The text with a placeholder for each passage."""
        if text is None or len(text) < SHORTEST:
            return text
        there = passages(text, self.language)
        if not there:
            return text
        self.found.append(Where(column, candidate_id, text, there))
        return masked(text, there)

    def json(self, column: str, said: str | None, candidate_id: int | None = None) -> str | None:
        """JSON, as the database says it, with each of its texts masked."""
        if said is None:
            return None

        def inner(token: re.Match[str]) -> str:
            if len(token[0]) < SHORTEST + 2:
                return token[0]
            before: str = orjson.loads(token[0])
            after = self.text(column, before, candidate_id)
            return token[0] if after is before else orjson.dumps(after).decode()

        return STRING.sub(inner, said)

    def kinds(self) -> list[str]:
        """Which kinds were found, each once, in the order of their names."""
        return sorted({each.kind.value for where in self.found for each in where.passages})


def masked(text: str, there: Sequence[Passage]) -> str:
    """The text with a placeholder for each passage."""
    pieces, read = [], 0
    for each in there:
        pieces += [text[read : each.start], each.kind.placeholder]
        read = each.end
    return "".join((*pieces, text[read:]))


def moved(place: int, there: Sequence[Passage], *, ends: bool) -> int:
    """Where a place of a text stands once it is masked; one inside a passage goes to the begin of the placeholder, or its end."""
    shift = 0
    for each in there:
        if each.start >= place:
            break
        length = len(each.kind.placeholder)
        if each.end > place:
            return each.start + shift + (length if ends else 0)
        shift += length - (each.end - each.start)
    return place + shift


def treated(source: Source, how: Treatment | None, counted: Counted | None = None) -> Source | None:
    """The annotation as it is exported: masked, or None where it is left out. ``counted`` is added to."""
    if how is None:
        return source
    safe, found = _masked_source(source)
    if found and counted is not None:
        counted.judgements += 1
        counted.passages.update(each.kind for where in found for each in where.passages)
    return None if found and how is Treatment.LEAVE_OUT else safe


def found_in(source: Source) -> list[Where]:
    """Where an annotation has private data."""
    return _masked_source(source)[1]


def treated_prompt(row: dict[str, Any], how: Treatment | None, counted: Counted | None = None) -> dict[str, Any] | None:
    """A line of prompts, its columns as the database says them: masked, or None where it is left out."""
    if how is None:
        return row
    masker = Masker(row.get("language"))
    safe = row | _own(row, masker)
    if masker.found and counted is not None:
        counted.judgements += 1
        counted.passages.update(each.kind for where in masker.found for each in where.passages)
    return None if masker.found and how is Treatment.LEAVE_OUT else safe


def _own(row: dict[str, Any], masker: Masker) -> dict[str, Any]:
    return {name: masker.json(name, row[name]) for name in JSONS if name in row} | {
        name: masker.text(name, row[name]) for name in TEXTS if name in row
    }


def _masked_source(source: Source) -> tuple[Source, list[Where]]:
    masker = Masker(source.selected.get("language"))
    own = _own(source.selected, masker)
    ids = source.candidate_ids
    texts = [masker.text("response", text, key) or "" for key, text in zip(ids, source.texts, strict=True)]
    edited = masker.text("edited", source.edited_text, source.edited_candidate_id)
    responses = {where.candidate_id: where.passages for where in masker.found if where.column == "response"}
    more = {
        name: [masker.json(name, said, key) for key, said in zip(ids, source.of_candidates[name], strict=True)]
        for name in OF_RESPONSES
        if name in source.of_candidates
    }
    own |= _marks(source, responses, masker)
    safe = replace(
        source,
        selected=source.selected | own,
        texts=texts,
        edited_text=edited,
        of_candidates=source.of_candidates | more,
        masked=masker.kinds(),
    )
    return safe, masker.found


def _marks(source: Source, responses: dict[int | None, list[Passage]], masker: Masker) -> dict[str, str]:
    """What counts characters of a response, in those of the masked one, with its own words masked too."""
    found = {}
    for name, start, end, words in (("spans", "start", "end", "note"), ("step_labels", "starts", "ends", "correction")):
        said = source.selected.get(name)
        if not said:
            continue
        marks = orjson.loads(said)
        for mark in marks:
            key = mark.get("candidate_id", source.candidate_ids[0] if source.candidate_ids else None)
            there = responses.get(key, [])
            mark[start], mark[end] = moved(mark[start], there, ends=False), moved(mark[end], there, ends=True)
            if mark.get(words):
                mark[words] = masker.text(name, mark[words], key)
        found[name] = orjson.dumps(marks).decode()
    return found
