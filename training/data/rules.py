"""Why a sampled answer is not worth learning from, decided without a model (Llama 3, arXiv 2407.21783, 4.2.3).

Each rule has a name under which what it drops is counted. They are coarse on purpose: a good answer lost costs one of K,
a bad one that is kept is imitated.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from training.data import texts
from training.formats.languages import NAMES

# Pictures and flags; symbols that are drawn as pictures unless told otherwise (Emoji_Presentation in Unicode), and those
# that a variation selector makes pictures of. Ticks, crosses and arrows are typography: a checklist has many.
EMOJI = re.compile(
    "[\U0001f300-\U0001faff\U0001f1e6-\U0001f1ff]"
    "|[☔☕♈-♓♿⚓⚡⚪⚫⚽⚾⛄⛅⛎⛔⛪⛲⛳⛵⛺⛽✅✊✋✨❌❎❓-❕❗\u2795-\u2797➰➿]"
    "|(?![☑✓-✘➔-➾])[☀-➿]\ufe0f|[☹☺❤](?!\ufe0f)"
)
APOLOGY = re.compile(
    r"\b(?:i(?:'|’)?m (?:so |very |really )?sorry|i am (?:so |very |really )?sorry|i apologi[sz]e|my apologies|"
    r"apologies for|es tut mir leid|entschuldigung|je suis désolée?|lo siento|mi dispiace|desculpe)\b",
    re.IGNORECASE,
)
# Common words of languages that share the Latin script. A word that is common in two of them is in no list, however common
# it is in one ("il", "die", "en", "van"): a few of it would make French Italian, and a right answer a wrong one.
FUNCTION_WORDS = {
    "en": "the and to that it you with this are have not from what your they which would",
    "de": "der und ist nicht ein eine mit für auf sich auch wird sind oder kann",
    "fr": "et est une pour dans vous avec sont nous cette aux elle leur comme être ces",
    "es": "el los las más pero muy también fue hay puede cuando hasta tiene sus qué",
    "it": "di che gli della delle è sono più anche nel nella questo questa dei dalla",
    "pt": "os uma não em ao ele também isso você são seu muito pode até",
    "nl": "het een niet zijn op dat voor aan ook naar wordt maar bij uit deze",
}
LANGUAGE_OF = {word: language for language, listed in FUNCTION_WORDS.items() for word in listed.split()}
ONE_LANGUAGE = {"JAPANESE": "ja", "HANGUL": "ko", "THAI": "th", "GREEK": "el", "HEBREW": "he"}
"""Scripts that are of one language each."""
# Who asks for another language wants one: translations, "in French", "auf Deutsch". Names of languages in the languages above;
# "to polish" is something else.
_NAMES = (
    " ".join(NAMES.values()).lower().replace("polish", "(?<!to.)polish") + " "
    "cantonese farsi filipino gaelic hausa igbo javanese kurdish maltese mandarin maori mongolian pashto slovenian xhosa "
    "yiddish yoruba zulu "
    "deutsche? englische? französische? spanische? italienische? portugiesische? niederländische? schwedische? dänische? "
    "norwegische? finnische? polnische? tschechische? ungarische? russische? ukrainische? türkische? griechische? "
    "arabische? chinesische? japanische? koreanische? latein lateinische "
    "français anglais allemand espagnol italien portugais néerlandais suédois danois norvégien polonais russe ukrainien "
    "turc grec arabe chinois japonais coréen "
    "español inglés francés alemán italiano portugués neerlandés holandés sueco polaco ruso ucraniano turco griego árabe "
    "chino japonés coreano latín catalán "
    "inglese francese tedesco spagnolo portoghese olandese svedese russo cinese giapponese arabo latino greco "
    "português inglês francês alemão espanhol holandês chinês japonês "
    "nederlands engels duits frans spaans italiaans portugees zweeds chinees japans "
    "svenska engelska tyska franska spanska italienska danska norska finska"
)
ASKS_FOR_LANGUAGE = re.compile(
    r"translat|übersetz|tradui|tradu[cz]|vertaal|översätt|"
    r"\b(?:in|into|to|auf|ins|en|em|på)\s+(?:het\s+|(?:plain|simple|formal|american|british|brazilian|modern|ancient)\s+)?"
    rf"(?:{_NAMES.replace(' ', '|')})\b",
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
    asked, said = language_of(prompt), language_of(answer)
    return asked is not None and said is not None and asked != said


def language_of(text: str) -> str | None:
    """What a text is written in, as far as it is plain to see; None where it is not.

    The code of a language where its words or its script tell; else the name of the script that most letters are of.
    """
    letters = texts.scripts(text)
    if letters.total() < FEW_LETTERS:
        return None
    script = letters.most_common(1)[0][0]
    if script in {"HIRAGANA", "KATAKANA"} or (script == "CJK" and letters["HIRAGANA"] > 0):
        script = "JAPANESE"
    if script != "LATIN":
        return ONE_LANGUAGE.get(script, script.lower())
    found = Counter(LANGUAGE_OF[word] for word in texts.words(text) if word in LANGUAGE_OF).most_common(2)
    if not found or found[0][1] < FEW_WORDS or (len(found) > 1 and found[0][1] < 2 * found[1][1]):
        return None
    return found[0][0]
