"""The 25 kinds of instructions of IFEval, each a function of the response and of what the instruction names.

They follow the published definitions (Zhou et al. 2023, arXiv:2311.07911) as far as these speak of English, so that numbers
can be compared; beyond English they take a language's own commas, quotation marks, words and sentences. Each returns
whether the instruction holds (None where it cannot be told) and what was found.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from typing import Final

from workers.verifiers.counting import count_capital_words, count_sentences, count_words, exactly, spaced, stands_alone
from workers.verifiers.languages import alike, code_of, language_of

Held = tuple[bool | None, str]
Kind = Callable[..., Held]

_QUOTES: Final = ('""', "“”", "„“", "„”", "«»", "»«", "「」", "『』", "＂＂", "””")
_FIRST_WORD_ENDS: Final = ".,?!'\"" + "。，、！？；：،؟؛।“”‘’«»「」…"
_MARKERS: Final = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
_ANSWERS: Final = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_NUMERALS: Final = r"[\d零〇一二三四五六七八九十百]+"


# ── Keywords ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def existence(text: str, keywords: list[str]) -> Held:
    """Every keyword occurs, in capitals or not."""
    missing = [word for word in keywords if not re.search(re.escape(word), text, re.IGNORECASE)]
    return not missing, f"without {_listed(missing)}" if missing else "all keywords"


def frequency(text: str, keyword: str, frequency: int, relation: str) -> Held:
    """A keyword occurs that often."""
    return _counted(
        len(re.findall(re.escape(keyword.strip()), text, re.IGNORECASE)), f"“{keyword}”", relation, frequency
    )


def forbidden_words(text: str, forbidden_words: list[str]) -> Held:
    """None of the words occurs."""
    found = [word for word in forbidden_words if stands_alone(word).search(text)]
    return not found, f"has {_listed(found)}" if found else "no forbidden word"


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> Held:
    """A letter, or another character, occurs that often, in capitals or not."""
    return _counted(text.lower().count(letter.strip().lower()), f"“{letter}”", let_relation, let_frequency)


# ── Language and lengths ─────────────────────────────────────────────────────────────────────────────────────────────
def response_language(text: str, language: str) -> Held:
    """The response is in that language, an ISO 639-1 code."""
    held = _is_in(text, language)
    return (
        held,
        f"in {language}"
        if held
        else f"too short for a language: {language} wanted"
        if held is None
        else f"not in {language}",
    )


def number_sentences(text: str, num_sentences: int, relation: str) -> Held:
    """So many sentences."""
    count = count_sentences(text)
    return count.holds(relation, num_sentences), f"{count} sentences, {relation} {num_sentences} wanted"


def number_words(text: str, num_words: int, relation: str) -> Held:
    """So many words."""
    count = count_words(text)
    return count.holds(relation, num_words), f"{count} words, {relation} {num_words} wanted"


def number_paragraphs(text: str, num_paragraphs: int) -> Held:
    """So many paragraphs, with ``***`` between them and none of them blank."""
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    inner = parts[1:-1]
    number = len(inner) + sum(map(bool, {0: parts[0], 1: parts[-1]}.values() if len(parts) > 1 else parts))
    if not all(inner):
        return False, "a blank paragraph between two ***"
    return number == num_paragraphs, f"{number} paragraphs between ***, {num_paragraphs} wanted"


def nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> Held:
    """So many paragraphs with blank lines between them, and that one starts with the word."""
    parts = text.split("\n\n")
    number = sum(bool(part.strip()) for part in parts)
    if number != num_paragraphs:
        return False, f"{number} paragraphs, {num_paragraphs} wanted"
    part = parts[nth_paragraph - 1].strip() if 1 <= nth_paragraph <= number else ""
    start, wanted = _first_word(part), first_word.strip().lower()
    held = start == wanted if spaced(wanted) else start.startswith(wanted)
    return held, f"paragraph {nth_paragraph} starts with “{start[:40]}”, “{first_word}” wanted"


# ── What must stand in it ────────────────────────────────────────────────────────────────────────────────────────────
def number_placeholders(text: str, num_placeholders: int) -> Held:
    """At least so many placeholders in square brackets."""
    number = sum(_bracketed(line, "[", "]") + _bracketed(line, "［", "］") for line in text.split("\n"))
    return _counted(number, "placeholders", "at least", num_placeholders)


def postscript(text: str, postscript_marker: str) -> Held:
    """There is a postscript with that marker."""
    marker = _MARKERS.get(postscript_marker.strip(), re.escape(postscript_marker.strip().lower()))
    held = re.search(marker, text.lower()) is not None
    return held, f"a postscript with {postscript_marker}" if held else f"no postscript with {postscript_marker}"


def number_bullet_lists(text: str, num_bullets: int) -> Held:
    """Exactly so many bullet points in Markdown, with ``*`` or ``-``."""
    stars, dashes = (re.findall(rf"^[^\S\n]*{mark}.*$", text, re.MULTILINE) for mark in (r"\*[^*]", "-"))
    number = len(stars) + len(dashes)
    return number == num_bullets, f"{number} bullet points, {num_bullets} wanted"


def constrained_response(text: str) -> Held:
    """One of the three given answers occurs."""
    held = any(answer in text for answer in _ANSWERS)
    return held, "one of the given answers" if held else "none of the given answers"


def number_highlighted_sections(text: str, num_highlights: int) -> Held:
    """At least so many highlights in Markdown, ``*so*`` or ``**so**``."""
    single = [found for found in re.findall(r"\*[^\n*]*\*", text) if found.strip("*").strip()]
    double = [found for found in re.findall(r"\*\*[^\n*]*\*\*", text) if found[2:-2].strip()]
    return _counted(len(single) + len(double), "highlights", "at least", num_highlights)


def multiple_sections(text: str, section_spliter: str, num_sections: int) -> Held:
    """At least so many sections, each after the word and a number."""
    number = len(re.findall(rf"{re.escape(section_spliter.strip())}\s?{_NUMERALS}", text))
    return _counted(number, "sections", "at least", num_sections)


def json_format(text: str) -> Held:
    """All of it is JSON, in a code block or not."""
    inner = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        inner = inner.removeprefix(fence)
    try:
        json.loads(inner.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False, "not JSON"
    return True, "JSON"


def title(text: str) -> Held:
    """There is a title in double angular brackets."""
    held = any(_between(line) for line in text.split("\n"))
    return held, "a title in << >>" if held else "no title in << >>"


# ── Two in one ───────────────────────────────────────────────────────────────────────────────────────────────────────
def two_responses(text: str) -> Held:
    """Two responses that differ, with ``******`` between them."""
    parts = [part.strip() for part in text.split("******")]
    if not all(parts[1:-1]):
        return False, "nothing between two ******"
    given = [part for part in parts if part]
    held = len(given) == 2 and given[0] != given[1]
    return held, "two responses" if held else f"{len(given)} responses between ******, 2 different ones wanted"


def repeat_prompt(text: str, prompt_to_repeat: str) -> Held:
    """The response begins with the request, word for word."""
    held = text.strip().lower().startswith(prompt_to_repeat.strip().lower())
    return held, "begins with the request" if held else "does not begin with the request"


# ── Start, end, case, punctuation ────────────────────────────────────────────────────────────────────────────────────
def end_checker(text: str, end_phrase: str) -> Held:
    """It ends with the phrase, quotation marks after it left out."""
    held = text.strip().strip('"“”„«»').lower().endswith(end_phrase.strip().lower())
    return held, "ends with the phrase" if held else f"does not end with “{end_phrase}”"


def quotation(text: str) -> Held:
    """All of it stands in double quotation marks."""
    whole = text.strip()
    held = len(whole) > 1 and whole[0] + whole[-1] in _QUOTES
    return held, "in quotation marks" if held else "not in quotation marks"


def english_capital(text: str) -> Held:
    """English, in capitals alone."""
    return _english(text, "capital", held=text.isupper())


def english_lowercase(text: str) -> Held:
    """English, without a capital."""
    return _english(text, "small", held=text.islower())


def capital_word_frequency(text: str, capital_frequency: int, capital_relation: str) -> Held:
    """So many words in capitals alone."""
    return _counted(count_capital_words(text), "words in capitals", capital_relation, capital_frequency)


def no_comma(text: str) -> Held:
    """No comma of any script."""
    found = next((c for c in text if c == "," or (c > "\x7f" and _is_comma(c))), None)
    return found is None, "no comma" if found is None else f"has the comma “{found}”"


KINDS: Final[dict[str, Kind]] = {
    "keywords:existence": existence,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_words": number_words,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:constrained_response": constrained_response,
    "detectable_format:number_highlighted_sections": number_highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": json_format,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": end_checker,
    "startend:quotation": quotation,
    "change_case:capital_word_frequency": capital_word_frequency,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "punctuation:no_comma": no_comma,
}


def _counted(number: int, what: str, relation: str, wanted: int) -> Held:
    return exactly(number).holds(relation, wanted), f"{number} {what}, {relation} {wanted} wanted"


def _bracketed(line: str, opening: str, closing: str) -> int:
    """The pairs of brackets of a line, none inside another. A pattern would look through the line once a bracket."""
    number, at = 0, line.find(opening)
    while at >= 0 and (end := line.find(closing, at)) >= 0:
        number, at = number + 1, line.find(opening, end)
    return number


def _between(line: str) -> str:
    """What stands between the first << of a line and its last >>."""
    start, end = line.find("<<"), line.rfind(">>")
    return line[start:end].strip("<>").strip() if 0 <= start < end - 2 else ""


def _is_in(text: str, language: str) -> bool | None:
    """Whether a text is in the language; None where it has too few words to tell."""
    code = code_of(language)
    told = language_of(text, wanted=frozenset({code}))
    return None if told is None else alike(told, code)


def _english(text: str, case: str, *, held: bool) -> Held:
    if not held:
        return False, f"not in {case} letters alone"
    if _is_in(text.lower(), "en") is False:
        return False, f"in {case} letters, but not in English"
    return True, f"English in {case} letters"


def _first_word(paragraph: str) -> str:
    word = (paragraph.split() or [""])[0].lstrip("'\"“„‘«「『")
    return re.split(f"[{re.escape(_FIRST_WORD_ENDS)}]", word, maxsplit=1)[0].lower()


def _is_comma(character: str) -> bool:
    return unicodedata.category(character) == "Po" and "COMMA" in unicodedata.name(character, "")


def _listed(words: list[str]) -> str:
    return ", ".join(f"“{word}”" for word in words)
