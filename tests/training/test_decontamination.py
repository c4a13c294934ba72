"""A training prompt that repeats a held-out one is found in every script, and with words behind it."""

from __future__ import annotations

import pytest

from training.data import texts
from training.data.decontamination import contains_any


def repeats(held_out: str, training: str, *, n: int = 8, overlap: float = 0.8) -> bool:
    asked = contains_any([[{"role": "user", "content": held_out}]], n, overlap)
    return asked([{"role": "system", "content": "Be brief."}, {"role": "user", "content": training}])


@pytest.mark.parametrize(
    ("held_out", "training"),
    [
        ("Name a fish.", "Name a fish"),
        ("Name a fish.", "name a fish, please"),
        ("Name a fish.", "Please, name a fish!"),
        ("Hi", "Hi there"),
        ("写一首关于春天的诗", "写一首关于春天的诗。"),
        ("写一首关于春天的诗", "写一首关于春天的诗，谢谢你"),
        ("写一首诗", "请写一首诗，谢谢"),
        ("東京の天気はどうですか", "東京の天気はどうですか？お願いします"),
        ("Сколько будет два плюс два", "Сколько будет два плюс два, пожалуйста"),
        ("भारत की राजधानी क्या है", "भारत की राजधानी क्या है, कृपया"),
        ("ما هي عاصمة فرنسا", "ما هي عاصمة فرنسا من فضلك"),
        ("บอกชื่อปลาหนึ่งชนิดหน่อย", "บอกชื่อปลาหนึ่งชนิดหน่อยครับ"),
        (
            "What is the capital of France and when was it founded?",
            "what is the capital of France and when was it founded",
        ),
    ],
)
def test_the_same_with_a_comma_or_a_polite_word_is_the_same(held_out: str, training: str) -> None:
    assert repeats(held_out, training)
    assert not repeats(held_out, training, n=0), "switched off"


@pytest.mark.parametrize(
    ("held_out", "training"),
    [
        ("Hi", "Hi, can you tell me how to bake bread?"),
        ("Name a fish.", "Name a fish that lives in rivers and say what it eats in winter"),
        ("Name a fish.", "Name a bird."),
        ("写一首关于春天的诗", "写一首关于冬天的歌"),
        ("写一首诗", "写一封信"),
        ("भारत की राजधानी क्या है", "नेपाल की मुद्रा क्या है"),
        ("???", "!!!"),
    ],
)
def test_what_only_shares_words_is_kept(held_out: str, training: str) -> None:
    assert not repeats(held_out, training)


def test_a_system_message_that_many_prompts_share_says_nothing() -> None:
    shared = {"role": "system", "content": "You are a helpful assistant."}
    found = contains_any([[shared, {"role": "user", "content": "Name a fish."}]], 8, 0.8)
    assert not found([shared, {"role": "user", "content": "Bake some bread."}])


def test_words_keep_their_vowel_signs_and_letters_of_scripts_without_spaces_stand_alone() -> None:
    assert texts.words("हिन्दी में लिखो") == ["हिन्दी", "में", "लिखो"]
    assert texts.words("用Python写代码") == ["用", "python", "写", "代", "码"]
    assert texts.words("น้ำ") == ["น้", "ำ"]
    assert texts.words("Ça va, l’été_2?") == ["ça", "va", "l", "été_2"]
    assert sorted(texts.marks_and_words("Hi, a_b ₿!")) == sorted(["hi", ",", "a_b", "₿", "!"])
