"""How often a right final answer is refused and a wrong one taken: made answers, and GSM8K's where its file is given.

Every right answer stands in every form of its language, each beside three wrong ones. None may be refused, none taken.

    python -m benchmarks.answers [--answers 12000] [gsm8k_test.jsonl]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from benchmarks.budget import Budget, verdict
from workers.verifiers.answer import Answer
from workers.verifiers.protocol import Case


class Made(NamedTuple):
    """One response with its problem's right answer, and whether the response gives that."""

    language: str
    form: str
    notation: str
    prompt: str
    response: str
    reference: str
    right: bool


PROMPTS = {
    "en": "Janet sells 16 eggs a day for 2 dollars each, and her neighbour sells half of that. How much do they make together?",
    "de": "Johanna verkauft täglich 16 Eier für je 2 Euro, ihr Nachbar verkauft halb so viele. Wie viel verdienen sie zusammen?",
    "fr": "Jeanne vend 16 œufs par jour à 2 euros chacun, et son voisin en vend la moitié. Combien gagnent-ils ensemble ?",
    "es": "Juana vende 16 huevos al día por 2 euros cada uno, y su vecino vende la mitad. ¿Cuánto ganan los dos juntos?",
    "ru": "Жанна продаёт 16 яиц в день по 2 рубля, а её сосед продаёт половину. Сколько они зарабатывают вместе?",
    "zh": "珍妮每天卖16个鸡蛋，每个2元，她的邻居卖一半。他们一共赚多少钱？",
    "ja": "ジャネットは毎日16個の卵を1個2円で売り、隣人はその半分を売ります。二人合わせていくら稼ぎますか。",
    "ar": "تبيع جانيت ١٦ بيضة يوميا مقابل دولارين لكل منها، ويبيع جارها نصف ذلك. كم يكسبان معا؟",
    "hi": "जेनेट हर दिन १६ अंडे दो रुपये में बेचती है और उसका पड़ोसी आधे बेचता है। वे मिलकर कितना कमाते हैं?",
}
MARKS: dict[str, dict[str, str]] = {
    "en": {
        "hashes": "First 3 + 4 = 7.\n#### {}",
        "boxed": "Let us add 3 and 4.\nSo the total is $\\boxed{{{}}}$.",
        "boxed with words": "There are 7 of them.\nThus \\boxed{{{} \\text{{ in all}}}}.",
        "the answer is": "First 3 + 4 = 7. The answer is {}.",
        "answer, bold": "2 boxes hold 5 each.\n\n**Answer:** **{}**",
        "answer, next line": "2 boxes hold 5 each.\n\n## Answer\n{}",
        "with another number behind": "Therefore the answer is {}, which she makes in 1 day.",
        "second thoughts": "The answer is 999999. No, that counts 3 twice. The final answer is {}.",
        "in LaTeX": "We have 5 boxes. The final answer is \\({}\\).",
    },
    "de": {
        "lautet": "Zuerst rechnen wir 3 + 4 = 7 aus. Die Antwort lautet {}.",
        "Antwort:": "In 2 Kisten sind je 5 Stück, das gibt zusammen zehn.\n\n**Antwort:** {}",
        "boxed": "Also verdienen die beiden zusammen so viel: $\\boxed{{{}}}$.",
        "hashes": "Die beiden verdienen zusammen, was 2 Kisten kosten.\n#### {}",
    },
    "fr": {"est": "On ajoute d'abord 3 et 4, ce qui donne 7. La réponse est {}.",
        "Réponse :": "Ils gagnent 7 euros par jour.\n\nRéponse : {}"},
    "es": {"es": "Primero sumamos 3 y 4, que son 7. La respuesta es {}.",
        "Respuesta:": "Ganan 7 euros cada día.\n\n**Respuesta:** {}"},
    "ru": {"Ответ:": "Сначала сложим 3 и 4, получится 7.\n\nОтвет: {}."},
    "zh": {"答案是": "首先3加4等于7。答案是{}。", "答案：": "一共有7个。\n答案：{}"},
    "ja": {"答えは": "まず3と4を足すと7になります。答えは{}です。"},
    "ar": {"الإجابة": "أولا نجمع ٣ و ٤ فيكون الناتج ٧.\nالإجابة هي {}"},
    "hi": {"उत्तर": "पहले ३ और ४ जोड़ें, सात मिलता है।\nउत्तर: {}"},
}  # fmt: skip
COMMA = {"de", "fr", "es", "ru"}
_FULL_WIDTH = str.maketrans("0123456789.,-", "０１２３４５６７８９．，－")
_ARABIC = str.maketrans("0123456789.,", "٠١٢٣٤٥٦٧٨٩٫٬")
_DEVANAGARI = str.maketrans("0123456789", "०१२३४५६७८९")


def decimal(number: Fraction, groups: str, point: str) -> str:
    """The number in decimals, with these separators; at most four places."""
    sign, number = ("-" if number < 0 else ""), abs(number)
    whole, rest = divmod(number, 1)
    places = f"{float(rest):.4f}"[2:].rstrip("0")
    return sign + f"{int(whole):,}".replace(",", groups) + (point + places if places else "")


def is_decimal(number: Fraction) -> bool:
    """Whether four places say it exactly."""
    return 10_000 % number.denominator == 0


def _indian(number: Fraction) -> str:
    text = decimal(number, "", ".")
    sign, (whole, _, rest) = ("-" if number < 0 else ""), text.lstrip("-").partition(".")
    pairs = whole[:-3]
    heads = [pairs[max(0, end - 2) : end] for end in range(len(pairs), 0, -2)]
    return sign + ",".join([*heads[::-1], whole[-3:]]) + ("." + rest if rest else "")


def _latex_fraction(number: Fraction) -> str:
    return ("-" if number < 0 else "") + f"\\frac{{{abs(number.numerator)}}}{{{number.denominator}}}"


ANYWHERE: dict[str, Callable[[Fraction], str | None]] = {
    "a/b": lambda n: f"{n.numerator}/{n.denominator}" if n.denominator > 1 else None,
    "\\frac": lambda n: _latex_fraction(n) if n.denominator > 1 else None,
    "mixed": lambda n: f"{int(n)} {n - int(n)}" if n > 1 and n.denominator > 1 else None,
    "whole": lambda n: str(n) if n.denominator == 1 else None,
    "whole, U+2212": lambda n: str(n).replace("-", "−") if n.denominator == 1 and n < 0 else None,
    "apostrophes": lambda n: decimal(n, "'", ".") if is_decimal(n) and abs(n) >= 1000 and n.denominator == 1 else None,
    "thin spaces": lambda n: decimal(n, "\u202f", ",") if n.denominator == 1 and abs(n) >= 1000 else None,
    "{,}": lambda n: decimal(n, "{,}", ".") if n.denominator == 1 and abs(n) >= 1000 else None,
    "\\,": lambda n: decimal(n, "\\,", ".") if n.denominator == 1 and abs(n) >= 1000 else None,
}
WITH_POINT: dict[str, Callable[[Fraction], str | None]] = {
    "plain": lambda n: decimal(n, "", ".") if is_decimal(n) else None,
    "1,234.5": lambda n: decimal(n, ",", ".") if is_decimal(n) else None,
    "12,34,567": lambda n: _indian(n) if is_decimal(n) and abs(n) >= 100_000 else None,
    "full width": lambda n: decimal(n, ",", ".").translate(_FULL_WIDTH) if is_decimal(n) else None,
    "Arabic-Indic": lambda n: decimal(n, ",", ".").translate(_ARABIC) if is_decimal(n) else None,
    "Devanagari": lambda n: decimal(n, "", ".").translate(_DEVANAGARI) if is_decimal(n) else None,
    "$": lambda n: ("-" if n < 0 else "") + "$" + decimal(abs(n), ",", ".") if is_decimal(n) else None,
    "\\$": lambda n: ("-" if n < 0 else "") + "\\$" + decimal(abs(n), ",", ".") if is_decimal(n) else None,
    "units": lambda n: decimal(n, ",", ".") + " apples" if is_decimal(n) else None,
    "km/h": lambda n: decimal(n, "", ".") + " km/h" if is_decimal(n) else None,
    "m²": lambda n: decimal(n, "", ".") + " m²" if is_decimal(n) else None,
    "\\text": lambda n: decimal(n, "", ".") + " \\text{ dollars}" if is_decimal(n) else None,
    ".00": lambda n: f"{n}.00" if n.denominator == 1 else None,
    "%": lambda n: decimal(n, "", ".") + "%" if is_decimal(n) and (abs(n) >= 1 or n == 0) else None,
    "% of one": lambda n: decimal(n * 100, "", ".") + "%" if is_decimal(n * 100) and 0 < abs(n) < 1 else None,
    "×10": lambda n: (
        decimal(n / 1000, "", ".") + "\\times 10^{3}" if is_decimal(n / 1000) and n.denominator == 1 else None
    ),
    "sum": lambda n: f"{n - 7} + 7" if n.denominator == 1 and n > 7 else None,
}
WITH_COMMA: dict[str, Callable[[Fraction], str | None]] = {
    "1.234,5": lambda n: decimal(n, ".", ",") if is_decimal(n) else None,
    "1234,5": lambda n: decimal(n, "", ",") if is_decimal(n) else None,
    "1 234,5": lambda n: decimal(n, " ", ",") if is_decimal(n) else None,
    "€": lambda n: decimal(n, ".", ",") + " €" if is_decimal(n) else None,
    "1,234 all the same": lambda n: decimal(n, ",", ".") if n.denominator == 1 else None,
}


def numbers(rng: random.Random) -> Iterator[Fraction]:
    """Small and large, negative, decimal and broken ones, without end."""
    while True:
        whole = rng.choice([rng.randint(1, 99), rng.randint(100, 9_999), rng.randint(10_000, 9_999_999)])
        kind = rng.random()
        number = Fraction(whole)
        if kind > 0.85:
            number = Fraction(rng.randint(1, 40), rng.choice([2, 3, 4, 5, 7, 8, 9, 12]))
        elif kind > 0.6:
            number += Fraction(rng.randint(1, 99), 100)
        yield -number if rng.random() < 0.2 else number


def wrong(number: Fraction, rng: random.Random) -> list[Fraction]:
    """Three that are not it: a little off, ten times it, half of it, its negative."""
    every = [number + 1, number - 1, number * 10, -number, number / 2, number + Fraction(1, 10)]
    return rng.sample([each for each in every if each != number], 3)


def reference(number: Fraction) -> str:
    """As a data set writes it."""
    return decimal(number, "", ".") if is_decimal(number) else str(number)


def made(count: int, seed: int = 7) -> Iterator[Made]:
    """So many right answers, and three wrong ones beside each, in the same form and notation."""
    rng = random.Random(seed)
    forms = [(language, form) for language, marks in MARKS.items() for form in marks]
    left = count
    for number in numbers(rng):
        others = wrong(number, rng)
        for language, form in rng.sample(forms, 4):
            notations = ANYWHERE | (WITH_COMMA if language in COMMA else WITH_POINT)
            name = rng.choice([name for name, write in notations.items() if write(number) is not None])
            for each in (number, *others):
                text = notations[name](each)
                if text is not None:
                    response = MARKS[language][form].format(text)
                    yield Made(language, form, name, PROMPTS[language], response, reference(number), each == number)
            left -= 1
            if not left:
                return


def gsm8k(path: Path) -> Iterator[Made]:
    """GSM8K's answers in all English forms, each beside three wrong ones."""
    rng = random.Random(7)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        number = Fraction(row["answer"].rsplit("####", 1)[1].strip().replace(",", ""))
        steps = row["answer"].rsplit("####", 1)[0]
        for form, mark in {**MARKS["en"], "its own": steps.replace("{", "(").replace("}", ")") + "#### {}"}.items():
            for each in (number, *wrong(number, rng)):
                response = mark.format(decimal(each, ",", "."))
                yield Made("en", form, "GSM8K", row["question"], response, row["answer"], each == number)


def measure(title: str, answers: Iterator[Made]) -> list[Budget]:
    """Print how many were refused, taken and left open; every right answer must be taken, and no wrong one."""
    verifier, counts, examples = Answer(), Counter[tuple[bool, bool | None]](), list[Made]()
    began = time.perf_counter()
    for each in answers:
        case = Case([{"role": "user", "content": each.prompt}], each.response, each.reference)
        found = verifier.check(case).passed
        counts[each.right, found] += 1
        if found is not each.right:
            examples.append(each)
    took = time.perf_counter() - began
    right, not_right = (sum(counts[side, found] for found in (True, False, None)) for side in (True, False))
    print(
        f"{title}: {right:,} right answers, {counts[True, False]} refused, {counts[True, None]} left open; "
        f"{not_right:,} wrong ones, {counts[False, True]} taken, {counts[False, None]} left open; "
        f"{1000 * took / (right + not_right):.2f} ms each"
    )
    for each in examples[:10]:
        print(f"    {each.right} {each.notation!r} {each.reference!r}: {each.response[-90:]!r}")
    return [
        Budget(f"{title}: right answers of {right:,} not taken", right - counts[True, True], 0),
        Budget(f"{title}: wrong answers of {not_right:,} taken", counts[False, True], 0),
    ]


def main() -> int:
    """Print the table; 1 where a right answer was refused or a wrong one taken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=12_000)
    parser.add_argument("gsm8k", nargs="?", type=Path, default=os.environ.get("GSM8K"))
    arguments = parser.parse_args()
    found = measure("made", made(arguments.answers))
    if arguments.gsm8k and Path(arguments.gsm8k).is_file():
        found += measure("GSM8K", gsm8k(Path(arguments.gsm8k)))
    else:
        print("skipped: gsm8k_test.jsonl: give its path")
    return verdict(*found)


if __name__ == "__main__":
    sys.exit(main())
