"""Why a sampled answer is not worth learning from, decided without a model (Llama 3, arXiv 2407.21783, 4.2.3).

Each rule has a name under which what it drops is counted. They are coarse on purpose: a good answer lost costs one of K,
a bad one that is kept is imitated.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from training import texts

EMOJI = re.compile("[\U0001f300-\U0001faff\U00002600-\U000027bf\U0001f1e6-\U0001f1ff]")
APOLOGY = re.compile(
    r"\b(?:i(?:'|’)?m (?:so |very |really )?sorry|i am (?:so |very |really )?sorry|i apologi[sz]e|my apologies|"
    r"apologies for|es tut mir leid|entschuldigung|je suis désolée?|lo siento|mi dispiace|desculpe)\b",
    re.IGNORECASE,
)
# The commonest words of languages that share the Latin script, none of them in two lists.
FUNCTION_WORDS = {
    "english": "the and is of to that it for you with this are have not from",
    "german": "der die das und ist nicht ein eine mit für auf den sich auch wird",
    "french": "le les et est des une pour dans qui pas vous sur avec sont nous",
    "spanish": "el los las y del por una con para como más pero está son muy",
    "italian": "il gli della che di per sono con più anche nel questo alla ed ha",
    "portuguese": "os um uma não em dos ao com mais mas foi pelo também isso você",
    "dutch": "het een van en niet zijn op te dat voor met aan ook naar wordt",
}
LANGUAGE_OF = {
    word: language
    for language, listed in FUNCTION_WORDS.items()
    for word in listed.split()
    if sum(word in other.split() for other in FUNCTION_WORDS.values()) == 1
}
# Who asks for another language wants one: translations, and "in French".
ASKS_FOR_LANGUAGE = re.compile(
    r"translat|übersetz|tradui|tradu[cz]|vertaal|\b(?:in|into|to) (?:english|german|french|spanish|italian|portuguese|"
    r"dutch|russian|chinese|japanese|korean|arabic|hindi|greek|hebrew|ukrainian|polish|turkish|latin)\b",
    re.IGNORECASE,
)
FEW_LETTERS = 12
FEW_WORDS = 3


@dataclass(frozen=True)
class Rules:
    """How much is too much. `repetition` is a share of 4-grams, the others are counts."""

    repetition: float = 0.3
    emoji: int = 3
    exclamations: int = 5
    apologies: int = 1


def broken_rule(prompt: str, answer: str, finish_reason: str | None, rules: Rules) -> str | None:
    """The name of the first rule that an answer to the last user turn `prompt` breaks; None where it breaks none."""
    checks: dict[str, Callable[[], bool]] = {
        "empty": lambda: not any(letter.isalnum() for letter in answer),
        "truncated": lambda: finish_reason not in {None, "stop"},
        "repetition": lambda: texts.repeated(texts.words(answer)) > rules.repetition,
        "emoji": lambda: len(EMOJI.findall(answer)) > rules.emoji,
        "exclamations": lambda: answer.count("!") + answer.count("！") > rules.exclamations,
        "apologies": lambda: len(APOLOGY.findall(answer)) > rules.apologies,
        "language": lambda: _other_language(prompt, answer),
    }
    return next((name for name, breaks in checks.items() if breaks()), None)


def _other_language(prompt: str, answer: str) -> bool:
    if ASKS_FOR_LANGUAGE.search(prompt):
        return False
    asked, said = _language(prompt), _language(answer)
    return asked is not None and said is not None and asked != said


def _language(text: str) -> str | None:
    """The script that most letters are of; for Latin letters the language, where its words are plain to see."""
    letters = texts.scripts(text)
    if letters.total() < FEW_LETTERS:
        return None
    script = letters.most_common(1)[0][0]
    if script in {"HIRAGANA", "KATAKANA"} or (script == "CJK" and letters["HIRAGANA"] > 0):
        return "JAPANESE"
    if script != "LATIN":
        return script
    found = Counter(LANGUAGE_OF[word] for word in texts.words(text) if word in LANGUAGE_OF).most_common(2)
    if not found or found[0][1] < FEW_WORDS or (len(found) > 1 and found[0][1] < 2 * found[1][1]):
        return None
    return found[0][0]
