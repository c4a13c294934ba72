"""The language of a response is that of its prose; a second one in the same text is found."""

from __future__ import annotations

import pytest

from training.formats.languages import NAMES
from workers.verifiers import languages
from workers.verifiers.language import Language
from workers.verifiers.protocol import Case, Finding

# Of each language one sentence of everyday text.
SENTENCES = {
    "en": "The children went home because it was getting dark and their mother was waiting.",
    "de": "Die Kinder gingen nach Hause, weil es dunkel wurde und ihre Mutter auf sie wartete.",
    "fr": "Les enfants sont rentrés à la maison parce qu'il faisait nuit et que leur mère les attendait.",
    "es": "Los niños se fueron a casa porque ya era de noche y su madre los estaba esperando.",
    "it": "I bambini sono tornati a casa perché si faceva buio e la loro madre li aspettava.",
    "pt": "As crianças foram para casa porque já estava escuro e a mãe delas estava à espera.",
    "nl": "De kinderen gingen naar huis omdat het donker werd en hun moeder op hen wachtte.",
    "sv": "Barnen gick hem eftersom det blev mörkt och deras mamma väntade på dem.",
    "da": "Børnene gik hjem, fordi det blev mørkt, og deres mor ventede på dem derhjemme.",
    "no": "Barna gikk hjem fordi det ble mørkt og moren deres ventet på dem, sa hun etterpå.",
    "fi": "Lapset menivät kotiin, koska tuli pimeä ja heidän äitinsä odotti heitä.",
    "pl": "Dzieci poszły do domu, bo robiło się ciemno, a ich mama na nie czekała.",
    "cs": "Děti šly domů, protože se stmívalo a jejich maminka na ně čekala.",
    "hu": "A gyerekek hazamentek, mert sötétedett, és az anyjuk várta őket.",
    "ro": "Copiii s-au dus acasă pentru că se întuneca și mama lor îi aștepta.",
    "ru": "Дети пошли домой, потому что стемнело и мама их уже ждала.",
    "uk": "Діти пішли додому, бо стемніло і мама вже чекала на них.",
    "bg": "Децата се прибраха вкъщи, защото се стъмни и майка им ги чакаше.",
    "el": "Τα παιδιά πήγαν σπίτι γιατί σκοτείνιαζε και τα περίμενε η μητέρα τους.",
    "tr": "Çocuklar eve gittiler çünkü hava kararıyordu ve anneleri onları bekliyordu.",
    "ar": "ذهب الأطفال إلى البيت لأن الظلام قد حل وكانت أمهم تنتظرهم.",
    "he": "הילדים הלכו הביתה כי החשיך ואמא שלהם חיכתה להם.",
    "hi": "बच्चे घर चले गए क्योंकि अंधेरा हो रहा था और उनकी माँ उनका इंतज़ार कर रही थी।",
    "th": "เด็กๆ กลับบ้านเพราะเริ่มมืดแล้วและแม่กำลังรออยู่",
    "ja": "暗くなってきて、お母さんが待っているので、子どもたちは家に帰りました。",
    "zh": "天黑了，妈妈在等着，所以孩子们都回家了。",
    "ko": "날이 어두워지고 어머니가 기다리고 계셔서 아이들은 집으로 돌아갔다.",
    "vi": "Bọn trẻ đi về nhà vì trời đã tối và mẹ của chúng đang đợi.",
    "id": "Anak-anak pulang ke rumah karena hari mulai gelap dan ibu mereka sudah menunggu.",
    "sw": "Watoto walirudi nyumbani kwa sababu giza lilikuwa linaingia na mama yao alikuwa akiwasubiri.",
}


def told(response: str, wanted: object, prompt: str = "?") -> Finding:
    case = Case([{"role": "user", "content": prompt}], response, None, [{"kind": "language", "wanted": wanted}])
    return Language().check(case)


def test_thirty_languages_and_more_are_told_apart() -> None:
    assert len(SENTENCES) == 30
    assert set(SENTENCES) <= languages.LANGUAGES <= set(NAMES)
    assert {code: languages.language_of(text) for code, text in SENTENCES.items()} == {code: code for code in SENTENCES}


@pytest.mark.parametrize("code", SENTENCES)
def test_a_response_in_another_language_fails_and_so_does_one_that_mixes_them(code: str) -> None:
    other = "en" if code != "en" else "de"

    assert told(SENTENCES[code], code).passed is True
    assert told(SENTENCES[code], other).passed is False
    mixed = told(SENTENCES[code] + "\n\n" + SENTENCES[other], code)
    assert mixed.passed is False
    assert {code, other} <= mixed.evidence["found"].keys()


@pytest.mark.parametrize(
    "response",
    [
        "So geht es:\n```python\ndef add(a, b):\n    # return the sum of two numbers\n    return a + b\n```\nSo wird addiert.",
        'Er sagte: "I am the one who knocks, and nobody else in this house" und ging nach Hause, weil es spät war.',
        "> This is a whole paragraph of the English original text\n\nDas ist die Übersetzung von diesem Absatz.",
        "Das Buch von George Orwell heißt `Nineteen Eighty Four` und steht auf https://example.com/the-books-of-the-year.",
        "1. Erstens nimmt man das Mehl\n2. Zweitens kommt die Butter dazu\n3. Drittens wird gerührt",
        "DAS IST EIN TEXT, DER NUR AUS GROSSEN BUCHSTABEN BESTEHT",
        '"Das ist ein ganz und gar zitierter Satz auf Deutsch."',
        "Es gilt \\(\\text{the sum of all the squares}\\) für jede Zahl, die man einsetzen kann.",
    ],
)  # fmt: skip
def test_code_quotes_and_names_may_be_in_any_language(response: str) -> None:
    assert told(response, "de").passed is True


def test_names_of_products_do_not_make_japanese_english() -> None:
    assert told("PyTorchのDataLoaderはnum_workersで並列化できます。", "ja").passed is True


@pytest.mark.parametrize("response", ["", "42", "OK", "😀😀😀", "```\nhello world, this is code\n```", "3 + 4 = 7"])
def test_too_few_words_say_no_language(response: str) -> None:
    finding = told(response, "de")

    assert finding.passed is None
    assert "Too few words" in finding.message


def test_a_preface_in_another_language_is_found() -> None:
    response = "Sure! Here is the translation that you have asked for:\n\n" + SENTENCES["de"]

    assert told(response, "de").passed is False


def test_what_is_wanted_may_be_named_listed_or_that_of_the_prompt() -> None:
    assert told(SENTENCES["de"], "German").passed is True
    assert told(SENTENCES["de"], "de-CH").passed is True
    assert told(SENTENCES["no"], "nb").passed is True
    assert told(SENTENCES["de"], ["fr", "de"]).passed is True
    assert told(SENTENCES["de"], "prompt", SENTENCES["fr"]).passed is False
    assert told(SENTENCES["fr"], "prompt", SENTENCES["fr"]).passed is True


@pytest.mark.parametrize("wanted", ["xx", "", None, 3, ["de", None]])
def test_a_test_that_names_no_language_is_null_and_says_so(wanted: object) -> None:
    finding = told(SENTENCES["de"], wanted)

    assert finding.passed is None
    assert finding.message.startswith("wanted: ")


@pytest.mark.parametrize(
    "text", ["ก" * 200_000, '"a' * 100_000, "<" * 100_000, "$a" * 100_000, "`" * 99_999, "A B " * 50_000]
)
def test_a_text_of_any_shape_has_a_language_or_none(text: str) -> None:
    assert languages.language_of(text) is None or languages.shares(text)
