"""The rules that drop a sampled answer before a reward model sees it, each by its name."""

from __future__ import annotations

import pytest

from training.data.rules import FUNCTION_WORDS, LANGUAGE_OF, Rules, broken_rule

ENGLISH = "What is the best way to learn about the history of bread?"


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        ("Read a good book that is about it.", None),
        (" \n…", "empty"),
        ("and so on and so on and so on and so on", "repetition"),
        ("Great 🎉🎉 idea 🙌 of course ✨", "emoji"),
        ("Yes! Yes! Go! Now! Really! Do it!", "exclamations"),
        ("I'm sorry, I don't know. I apologize for that.", "apologies"),
        ("I'm sorry, but that is not known.", None),
        ("Das ist nicht leicht, und der Weg ist lang.", "language"),
        ("Это очень хороший вопрос.", "language"),
        ("`SELECT * FROM bread`", None),
    ],
)
def test_each_rule_has_a_name(answer: str, rule: str | None) -> None:
    assert broken_rule(ENGLISH, answer, "stop", Rules()) == rule


def test_an_answer_that_was_cut_off_is_dropped_and_a_translation_is_not() -> None:
    assert broken_rule(ENGLISH, "Read a good book that is about it.", "length", Rules()) == "truncated"
    german = "Das ist nicht leicht, und der Weg ist lang."
    assert broken_rule("Translate into German: this is not easy and the way is long.", german, "stop", Rules()) is None
    assert (
        broken_rule(
            "好的面包是怎么做的，请你详细地告诉我。", "好的面包需要时间、面粉、水和一点耐心才行。", "stop", Rules()
        )
        is None
    )
    assert (
        broken_rule(
            "おいしいパンの作り方をくわしく教えてください", "好的面包需要时间、面粉、水和一点耐心。", "stop", Rules()
        )
        == "language"
    )


SPANISH = "¿En qué parte de los países y de las islas vive el primo?"


FRENCH = "Où est la maison des amis, et quelles sont les pièces dans cette maison ?"


GERMAN = "Wann ist der Zug da, und wie lang ist die Fahrt?"


DUTCH = "Welke is het, en waarom is dat niet voor een kind?"


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (SPANISH, "Vive en Madrid, en España, en una casa grande."),
        (SPANISH, "Van Gogh vivió en Arlés; Van Gogh pintó, Van Gogh murió."),
        (FRENCH, "En ville, en Bretagne, en bord de mer."),
        (FRENCH, "Il mange, il boit, puis il dort."),
        (GERMAN, "Um acht, um neun, um zehn."),
        (GERMAN, "Des Meeres, des Himmels, des Waldes."),
        (DUTCH, "Die daar, die blauwe, die grote."),
        (DUTCH, "Is goed of is slecht."),
        ("E você não tem uma em casa, ou não são muito bonitas?", "Das flores, das folhas, das pedras."),
        ("Quali sono le cose che fanno più bene nella vita?", "Le mele, le pere, le uve."),
        ("Where does the best of the fruit come from, and which is it?", "See a.com, b.com, c.com."),
    ],
)
def test_a_word_that_two_languages_share_makes_no_right_answer_a_foreign_one(prompt: str, answer: str) -> None:
    assert broken_rule(prompt, answer, "stop", Rules()) is None


@pytest.mark.parametrize(
    "answer",
    [
        "Die beste Art ist, ein Buch zu lesen, und man lernt auch mit den Augen.",
        "La meilleure façon est de lire une histoire dans un livre, avec une carte pour vous.",
        "La mejor forma es leer los libros y las recetas, pero también hay que probar el pan.",
        "Il modo migliore è leggere la storia della cucina, che è anche quella dei campi.",
        "A melhor forma é ler um livro, mas não uma receita: você também pode provar o pão.",
        "De beste manier is het lezen van een boek, maar ook het bakken is niet moeilijk.",
    ],
)
def test_an_answer_in_another_language_than_the_question_is_dropped(answer: str) -> None:
    assert broken_rule(ENGLISH, answer, "stop", Rules()) == "language"


def test_no_function_word_is_in_two_lists() -> None:
    assert len(LANGUAGE_OF) == sum(len(listed.split()) for listed in FUNCTION_WORDS.values())


@pytest.mark.parametrize(
    ("request_", "asks"),
    [
        ("in Swedish", True),
        ("in\nJapanese", True),
        ("in Brazilian Portuguese", True),
        ("auf Deutsch", True),
        ("ins Spanische", True),
        ("en français", True),
        ("en español", True),
        ("in het Engels", True),
        ("em inglês", True),
        ("in England", False),
        ("to polish the bread", False),
    ],
)
def test_who_asks_for_a_language_gets_it(request_: str, asks: bool) -> None:  # noqa: FBT001
    german = "Das ist nicht leicht, und der Weg ist lang."
    rule = broken_rule(f"{ENGLISH} Say it {request_}, with all that you know.", german, "stop", Rules())
    assert rule == (None if asks else "language")


@pytest.mark.parametrize(
    ("mark", "rule"),
    [("✓", None), ("✔", None), ("✔\ufe0f", None), ("☑", None), ("➜", None), ("✅", "emoji"), ("❤\ufe0f", "emoji")],
)
def test_ticks_and_arrows_are_typography(mark: str, rule: str | None) -> None:
    items = "\n".join(f"{mark} {item}" for item in ("Flour for the bread", "Water", "Salt", "A good oven"))
    assert broken_rule(ENGLISH, items, "stop", Rules()) == rule
