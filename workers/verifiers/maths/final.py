"""Where a response says its final answer: in a box, behind ``####``, behind "the answer is", in its conclusion.

What is no mark is no answer: the last number of a text may be anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Where = Literal["\\boxed{}", "####", "the answer is", "the conclusion", "the whole response"]

_WORDS: Final = (
    r"(?:\b(?:(?:final|correct)\s+)?(?:answer|solution|result)s?|\bendergebnis|\bergebnis|\bantwort|\blösung|\br[ée]ponse|"
    r"\brésultat|\bsolution|\brespuesta|\bresultado|\bsolución|\brisposta|\brisultato|\bsoluzione|\bresposta|"
    r"\bsolução|\bantwoord|\bsvar(?:et)?|\bvastaus|\bodpowiedź|\bodpověď|\bválasz|\brăspuns(?:ul)?|\bответ|\bвідповідь|"
    r"\bотговор(?:ът)?|\bαπάντηση|\bcevap|\bjawaban(?:nya)?|đáp án|đáp số|câu trả lời|\bjibu|答案|答え|回答|正解|答|정답|답|"
    r"الجواب|الإجابة|الاجابة|תשובה|उत्तर|คำตอบ)"
)
_IS: Final = (
    r"(?:\s+(?:to [^.:\n]{1,60}?|for [^.:\n]{1,60}?|of [^.:\n]{1,40}?|finale?|final|der [^.:\n]{1,40}?))?[\s*_\"')\]]{0,12}"
    r"(?:[:=：＝]|\b(?:is|was|equals|ist|lautet|beträgt|est|es|è|é|jest|to|är|er|on|adalah|ni|είναι|là|este|be)\b|"
    r"は|是|为|為|는|은|هو|هي|है|คือ|[-–—]{1,3}>|→|\s[-–—]\s|\n)"
)
_MARK: Final = re.compile(
    _WORDS + _IS + r"|(?:^|\n)[*_#\s]{0,10}" + _WORDS + r"[*_\s]{1,10}(?=[-$€£¥\d*(\\])", re.IGNORECASE
)
_FILLING: Final = re.compile(
    r"(?:[\s*_`\"“”«»:=：＝≈]|\\\(|\\\[|\\approx|\b(?:approximately|about|roughly|exactly|simply|just|therefore|thus|then|"
    r"equal to|ungefähr|etwa|genau|also|environ|aproximadamente|circa|"
    r"约|約)\b)*",
    re.IGNORECASE,
)
_CONCLUDES: Final = re.compile(
    r"\b(?:therefore|so|thus|hence|in total|altogether|consequently|in conclusion|finally|"
    r"daher|also|somit|folglich|insgesamt|deshalb|damit|donc|ainsi|au total|por lo tanto|por tanto|así que|entonces|en total|"
    r"quindi|dunque|perciò|in totale|portanto|logo|então|assim|no total|dus|daarom|därför|alltså|derfor|więc|zatem|dlatego|"
    r"proto|tedy|tehát|deci|итак|значит|следовательно|поэтому|отже|тому|demek ki|dolayısıyla|jadi|maka|vậy|kwa hivyo|άρα)\b|"
    r"因此|所以|故|よって|したがって|従って|따라서|그러므로|إذن|لذلك|وبالتالي|לכן|इसलिए|अतः|ดังนั้น",
    re.IGNORECASE,
)
_SENTENCE: Final = re.compile(
    r"(?<!\bapprox)(?<!\bca)(?<!\bRs)(?<!\bNo)(?<!\bNr)[.!?]{1,5}(?=[*_`\"”)\]}$\\]{0,8}(?:\s|$))|[。！？।؟؛]|\n"
)
_CLAUSE: Final = re.compile(
    r",\s{1,3}(?=(?!(?:or|and|oder|und|ou|et|o|y|e|of|en|или|и)\b)[^\W\d_])|\s{1,3}\((?=[^\W\d_])|;\s"
)
_STARTS: Final = re.compile(
    r"[\s({]*(?:-\s*)?(?:[^\W\d_]{0,3}[$€£¥₹]|USD|EUR|Rs\.?)?[\s({*]*(?:-\s*)?(?:\d|\.\d|\\d?frac)"
)
SEARCHED: Final = 40_000
"""Characters at the end of a response in which marks are looked for."""
_WHOLE: Final = 80
_BOX: Final = re.compile(r"\\(?:boxed|fbox)\s?(?=[{\d])")
_BETWEEN_BOXES: Final = re.compile(
    r"[\s$.,;*_\\()\[\]]*(?:\\text\{[^{}]{0,20}\}|or|and|oder|und|ou|et|或|または|&)?[\s$.,;*_\\()\[\]]*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Place:
    """What stands where a final answer stands.

    Attributes:
        text: As the response writes it.
        where: What marks it.
        phrase: It is the beginning of a sentence, so that other numbers may follow; else it stands alone.
    """

    text: str
    where: Where
    phrase: bool = False


def final(response: str) -> Place | None:
    """The last thing that the response marks as its final answer; None where it marks nothing."""
    response = response.rstrip()[-SEARCHED:]
    strong = max(filter(None, (_boxed(response), _behind_hashes(response))), default=None)
    weak = _behind_words(response)
    if strong is None:
        return Place(weak[1], "the answer is", phrase=True) if weak is not None else _conclusion(response)
    if weak is not None and weak[0] > strong[0] and _STARTS.match(weak[1]):
        return Place(weak[1], "the answer is", phrase=True)
    return Place(*strong[1:])


def boxed(response: str) -> Place | None:
    """What the last box holds."""
    found = _boxed(response[-SEARCHED:])
    return None if found is None else Place(*found[1:])


def hashed(response: str) -> Place | None:
    """What follows the last ``####``."""
    found = _behind_hashes(response[-SEARCHED:])
    return None if found is None else Place(*found[1:])


def _boxed(text: str) -> tuple[int, str, Where] | None:
    """The last box; boxes that are joined to it by "or" or a comma belong to the same answer."""
    content, end, start = "", -1, -1
    for opening in reversed(list(_BOX.finditer(text))[-8:]):
        inside, closed = _inside(text, opening.end())
        if closed < 0:
            continue
        if start < 0:
            content, start, end = inside, opening.start(), closed
        elif _BETWEEN_BOXES.fullmatch(text, closed, start) and "\n\n" not in text[closed:start]:
            content, start = content if inside == content else f"{inside}, {content}", opening.start()
        else:
            break
    return (end, content, "\\boxed{}") if end >= 0 else None


def _inside(text: str, at: int) -> tuple[str, int]:
    """The balanced content of the brace at ``at`` and its end; end -1 where it is not closed."""
    if text[at] != "{":
        digits = re.compile(r"\d+(?:\.\d+)?").match(text, at)
        return (digits[0], digits.end()) if digits else ("", -1)
    depth = 0
    for index in range(at, min(len(text), at + 4000)):
        depth += (text[index] == "{") - (text[index] == "}")
        if depth == 0:
            return text[at + 1 : index], index + 1
    closed = text.find("}", at + 4000)
    return (text[at + 1 : at + 4000], closed + 1) if closed >= 0 else ("", -1)


def _behind_hashes(text: str) -> tuple[int, str, Where] | None:
    at = text.rfind("####")
    line = text[at + 4 :].strip().split("\n", 1)[0].strip() if at >= 0 else ""
    return (at, line, "####") if line else None


def _behind_words(text: str) -> tuple[int, str] | None:
    """The phrase behind the last "the answer is" that has a number; where none has, behind the last of all."""
    last = None
    for mark in reversed(list(_MARK.finditer(text))[-20:]):
        filling = _FILLING.match(text, mark.end())
        begins = filling.end() if filling else mark.end()
        ends = _SENTENCE.search(text, begins)
        phrase = text[begins : ends.start() if ends else len(text)]
        phrase = _CLAUSE.split(phrase, maxsplit=1)[0].strip()
        if any(character.isdecimal() for character in phrase) or "\\" in phrase:
            return mark.start(), phrase
        if phrase and last is None:
            last = mark.start(), phrase
    return last


def _conclusion(text: str) -> Place | None:
    """The last sentence, where a word says that it concludes, or a response that is nothing but its answer."""
    sentences = [
        each.strip() for each in _SENTENCE.split(text[-2 * _WHOLE * 4 :]) if each and each.strip(' *_`"”)]}$\\')
    ]
    if not sentences:
        return None
    if len(sentences) == 1 and len(text) <= _WHOLE:
        return Place(sentences[0], "the whole response")
    if _CONCLUDES.search(sentences[-1]):
        return Place(sentences[-1], "the conclusion")
    return None
