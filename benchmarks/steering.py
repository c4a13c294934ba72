"""Hold the checks of instructions to IFEval's own 834: a response that follows each, and a twin that just does not.

    python -m benchmarks.steering [FOLDER]

FOLDER holds ifeval.jsonl; without the file nothing is measured. Where the reference implementation can be imported
(`instruction_following_eval`, with langdetect and NLTK), both are asked of every text, and where they differ is printed.
"""

import json
import logging
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from app.kernel.settings import ROOT
from benchmarks.budget import Budget, verdict
from workers.verifiers.instruction_kinds import KINDS
from workers.verifiers.instructions import outcomes_of

FOLDER = ROOT.parent / "shared" / "data" / "capabilities"
FILE = "ifeval.jsonl"
KINDS_WANTED, COMPARED_WANTED = 25, 757
ENGLISH = "the weather is fine today and we are going for a long walk along the river"
IN = {
    "ar": "هذه جملة طويلة مكتوبة باللغة العربية عن الطقس اليوم. سوف تمطر غدا في المدينة.",
    "bg": "Това е дълго изречение на български език за времето. Утре ще вали дъжд в града.",
    "bn": "এটি বাংলা ভাষায় লেখা একটি বাক্য। আজ আবহাওয়া খুব ভালো।",
    "de": "Das ist ein langer Satz auf Deutsch über das Wetter. Morgen wird es regnen.",
    "fa": "این یک جمله طولانی است که به زبان فارسی درباره هوا نوشته شده است.",
    "fi": "Tämä on pitkä lause, joka on kirjoitettu suomeksi säästä. Huomenna sataa koko kaupungissa.",
    "gu": "આ ગુજરાતીમાં લખાયેલું લાંબું વાક્ય છે. આજે હવામાન ખૂબ સારું છે.",
    "hi": "यह एक वाक्य है जो हिन्दी में लिखा गया है। मौसम आज बहुत अच्छा है।",
    "it": "Questa è una frase lunga scritta in italiano sul tempo. Domani pioverà in tutta la città.",
    "kn": "ಇದು ಕನ್ನಡದಲ್ಲಿ ಬರೆದ ಉದ್ದವಾದ ವಾಕ್ಯ. ಇಂದು ಹವಾಮಾನ ತುಂಬಾ ಚೆನ್ನಾಗಿದೆ.",
    "ko": "이것은 한국어로 쓰여진 긴 문장입니다. 오늘 날씨가 매우 좋습니다.",
    "mr": "हे मराठीत लिहिलेले एक मोठे वाक्य आहे. आज हवामान खूप चांगले आहे आणि आम्ही बाहेर जात आहोत.",
    "ne": "यो नेपाली भाषामा लेखिएको लामो वाक्य हो। आज मौसम धेरै राम्रो छ र हामी बाहिर जाँदैछौं।",
    "pa": "ਇਹ ਪੰਜਾਬੀ ਵਿੱਚ ਲਿਖਿਆ ਇੱਕ ਲੰਮਾ ਵਾਕ ਹੈ। ਅੱਜ ਮੌਸਮ ਬਹੁਤ ਵਧੀਆ ਹੈ।",
    "pt": "Esta é uma frase longa escrita em português sobre o tempo. Amanhã vai chover em toda a cidade.",
    "ru": "Это длинное предложение на русском языке о погоде. Завтра будет дождь в городе.",
    "sw": "Hii ni sentensi ndefu iliyoandikwa kwa Kiswahili kuhusu hali ya hewa. Kesho mvua itanyesha mjini.",
    "ta": "இது தமிழில் எழுதப்பட்ட ஒரு நீண்ட வாக்கியம். இன்று வானிலை மிகவும் நன்றாக உள்ளது.",
    "te": "ఇది తెలుగులో వ్రాసిన పొడవైన వాక్యం. ఈరోజు వాతావరణం చాలా బాగుంది.",
    "th": "นี่คือประโยคยาวที่เขียนเป็นภาษาไทยเกี่ยวกับสภาพอากาศ วันนี้อากาศดีมาก",
    "ur": "یہ اردو زبان میں لکھا گیا ایک لمبا جملہ ہے۔ کل شہر میں بارش ہوگی اور ہم گھر میں رہیں گے۔",
    "vi": "Đây là một câu dài được viết bằng tiếng Việt về thời tiết. Ngày mai trời sẽ mưa.",
}
Kwargs = dict[str, Any]
Twins = tuple[str, str]


def so_many(piece: str, number: int, relation: str = "at least", *, before: str = "- ") -> Twins:
    """The piece as often as wanted, and once too seldom or too often."""
    enough, few = before + piece * number, before + piece * (number - 1)
    return (enough, few) if relation == "at least" else (few, enough)


def lines(line: Callable[[int], str], right: int, wrong: int) -> Twins:
    """So many lines, and another number of them."""
    one, other = ("\n".join(["Text.", *map(line, range(1, number + 1))]) for number in (right, wrong))
    return one, other


def nth_paragraph(wanted: Kwargs) -> Twins:
    """Paragraphs of which one starts with the word, and the same with another word."""
    parts = ["Other words."] * wanted["num_paragraphs"]
    wrong = "\n\n".join(parts)
    parts[wanted["nth_paragraph"] - 1] = f"{wanted['first_word'].capitalize()}, it begins."
    return "\n\n".join(parts), wrong


def words(wanted: Kwargs) -> Twins:
    """So many words, and one fewer or more."""
    enough, few = ("word " * number for number in (wanted["num_words"], wanted["num_words"] - 1))
    return (enough, few or "!") if wanted["relation"] == "at least" else (few or "!", enough)


TWINS: dict[str, Callable[[Kwargs], Twins]] = {
    "keywords:existence": lambda k: (" and ".join(k["keywords"]), " and ".join(["nothing", *k["keywords"][1:]])),
    "keywords:frequency": lambda k: so_many(k["keyword"] + " ", k["frequency"], k["relation"]),
    "keywords:forbidden_words": lambda k: ("None at all.", f"There is {k['forbidden_words'][-1].upper()}!"),
    "keywords:letter_frequency": lambda k: so_many(k["letter"] + " ", k["let_frequency"], k["let_relation"]),
    "language:response_language": lambda k: (IN[k["language"]], ENGLISH),
    "length_constraints:number_sentences": lambda k: so_many("It rains. ", k["num_sentences"], k["relation"]),
    "length_constraints:number_paragraphs": lambda k: (
        "\n***\n".join(["A part."] * k["num_paragraphs"]),
        "\n***\n".join(["A part."] * (k["num_paragraphs"] + 1)),
    ),
    "length_constraints:number_words": words,
    "length_constraints:nth_paragraph_first_word": nth_paragraph,
    "detectable_content:number_placeholders": lambda k: so_many("[name] ", k["num_placeholders"]),
    "detectable_content:postscript": lambda k: (f"Bye.\n{k['postscript_marker']} More.", "Bye. More."),
    "detectable_format:number_bullet_lists": lambda k: lines(lambda _: "* a", k["num_bullets"], k["num_bullets"] + 1),
    "detectable_format:constrained_response": lambda _: ("My answer is maybe.", "Maybe."),
    "detectable_format:number_highlighted_sections": lambda k: so_many("*a part* ", k["num_highlights"]),
    "detectable_format:multiple_sections": lambda k: lines(
        lambda number: f"{k['section_spliter']} {number}\nText.", k["num_sections"], k["num_sections"] - 1
    ),
    "detectable_format:json_format": lambda _: ('```json\n{"a": [1, 2]}\n```', '{"a": [1, 2}'),
    "detectable_format:title": lambda _: ("<<A title>>\nText.", "<A title>\nText."),
    "combination:two_responses": lambda _: ("One.\n******\nTwo.", "One.\n***\nTwo."),
    "combination:repeat_prompt": lambda k: (
        f"{k['prompt_to_repeat']}\nSo be it.",
        f"So be it. {k['prompt_to_repeat']}",
    ),
    "startend:end_checker": lambda k: (f"So it is. {k['end_phrase']}", f"{k['end_phrase']} So it is!"),
    "startend:quotation": lambda _: ('"All of it."', '"All" of it.'),
    "change_case:capital_word_frequency": lambda k: so_many("NASA ", k["capital_frequency"], k["capital_relation"]),
    "change_case:english_capital": lambda _: (ENGLISH.upper(), ENGLISH.capitalize()),
    "change_case:english_lowercase": lambda _: (ENGLISH, ENGLISH.capitalize()),
    "punctuation:no_comma": lambda _: ("None here; none there.", "One, two."),
}


def budgets(file: Path) -> list[Budget]:
    """What was measured of IFEval's instructions, beside what it may be; what went wrong is printed."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    asked = [pair for row in rows for pair in zip(row["instruction_id_list"], row["kwargs"], strict=True)]
    wrong: list[str] = []
    for name, kwargs in asked:
        for text, wanted in zip(TWINS[name](kwargs), (True, False), strict=True):
            (outcome,) = outcomes_of({"ids": [name], "kwargs": [kwargs]}, text)
            if outcome.passed is not wanted:
                wrong.append(f"  {name} {kwargs}: {outcome.passed}, {outcome.found} ({text[:60]!r})")
    print("\n".join(["steering:", *wrong[:20]]))
    compared = compare(asked)
    kinds = len({name for name, _ in asked} & KINDS.keys())
    found = [
        Budget("kinds of instructions", kinds, KINDS_WANTED, at_least=True),
        Budget(f"twins of {2 * len(asked):,} not told apart", len(wrong), 0),
    ]
    if compared is None:
        return found
    return [*found, Budget(f"as the reference, of {len(asked)}", compared, COMPARED_WANTED, at_least=True)]


def main() -> int:
    """Print the table; 1 where the bar is missed."""
    file = (Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER) / FILE
    if not file.is_file():
        print(f"steering: skipped, {file.name} is missing")
        return 0
    return verdict(*budgets(file))


def compare(asked: list[tuple[str, Kwargs]]) -> int | None:
    """On how many instructions the reference says the same of both twins, or draws by chance; None where it is missing."""
    try:
        registry = import_module("instruction_following_eval.instructions_registry")
    except ImportError as error:
        print(f"  beside the reference: skipped, {error.name} is not installed")
        return None
    logging.disable()
    same, drawn, apart = 0, 0, defaultdict[str, Counter[str]](Counter)
    for name, kwargs in asked:
        if name == "keywords:letter_frequency" and not kwargs["letter"].isalpha():
            apart[name]["the reference draws a letter instead"] += 1
            drawn += 1
            continue
        instruction = registry.INSTRUCTION_DICT[name](name)
        instruction.build_description(**kwargs)
        try:
            theirs = [bool(instruction.check_following(text)) for text in TWINS[name](kwargs)]
        except LookupError:
            apart[name]["needs NLTK's data"] += 1
            continue
        ours = [outcomes_of({"ids": [name], "kwargs": [kwargs]}, text)[0].passed for text in TWINS[name](kwargs)]
        same += theirs == ours
        if theirs != ours:
            apart[name][f"{kwargs}: theirs {theirs}, ours {ours}"] += 1
    wanted = f"{COMPARED_WANTED} wanted, {drawn} of them left to chance by it"
    print(f"  as the reference on {same} of {len(asked)} instructions; {wanted}")
    for name, reasons in apart.items():
        print(f"    {name}: {', '.join(f'{number} × {reason[:120]}' for reason, number in reasons.most_common(3))}")
    return same + drawn


if __name__ == "__main__":
    sys.exit(main())
