"""Languages of Corral's own words: whose is chosen, numbers, plurals, made-up languages, and what scripts are told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from app.kernel import locales, validation
from app.kernel.locales import N_, Locale, gettext, ngettext, number, percent
from app.kernel.numbers import Truth, Whole
from tests.catalogues import Said, read_in, write

pytestmark = pytest.mark.usefixtures("german")
POLISH: Said = {("{n} row", "{n} rows"): ("{n} wiersz", "{n} wiersze", "{n} wierszy")}


@pytest.mark.parametrize(
    ("accepted", "best"),
    [
        ("de-CH,de;q=0.9,en;q=0.5", "de"),
        ("en-GB,en;q=0.9,de;q=0.8", "en"),
        ("fr, de; q=0.2", "de"),
        ("fr;q=nonsense, DE ;q=0.4", "de"),
        ("de;q=0, fr", "en"),
        ("pt-br", "pt-BR"),
        ("en-XA", "en"),
        ("*", "en"),
        ("", "en"),
    ],
)
def test_the_language_is_the_one_that_a_browser_likes_best(german: Path, accepted: str, best: str) -> None:
    write(german, "pt-BR")
    assert locales.best_of(accepted) == best


def test_a_choice_counts_more_than_the_browser_and_a_program_reads_english() -> None:
    def code() -> str:
        return locales.current().code

    assert read_in("en", code, **{"accept-language": "de"}) == "en"
    assert read_in("nonsense", code, **{"accept-language": "de"}) == "de"
    assert read_in("de", code, authorization="Bearer corral_x") == "en"
    assert code() == "en", "a worker or a command"


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("en", ["12,345.7", "+5", "-1,000", "42%", "42.6%", "-5%"]),
        ("de", ["12.345,7", "+5", "-1.000", "42\xa0%", "42,6\xa0%", "-5\xa0%"]),
        ("ar-XB", ["12,345.7", "+5", "-1,000", "42%", "42.6%", "-5%"]),
    ],
)
def test_numbers_are_written_as_the_reader_does(code: str, written: list[str]) -> None:
    def numbers() -> list[str]:
        whole = [number(12345.678, 1), number(5, sign=True), number(-1000)]
        return [*whole, percent(0.42), percent(0.426, 1), percent(-0.05, sign=True)]

    assert read_in(code, numbers) == written


def test_a_language_names_itself_and_says_from_where_it_is_read() -> None:
    assert [Locale(code).name for code in ("en", "de", "pt-BR", "ar")] == [
        "English",
        "Deutsch",
        "Português (Brasil)",
        "العربية",
    ]
    assert [Locale(code).direction for code in ("en", "de", "ar", "ar-XB")] == ["ltr", "ltr", "rtl", "rtl"]


def test_made_up_languages_are_offered_to_nobody_and_keep_placeholders_and_tags() -> None:
    assert list(locales.offered()) == ["en", "de"]
    assert locales.named("en-XA") is not None
    message = "%(n)s of {name} in <a href='/x'>here</a>, 50 %%"
    said = read_in("en-XA", lambda: locales.current().translations.gettext(message))
    assert said.startswith("⟦")
    for kept in ("%(n)s", "{name}", "<a href='/x'>", "</a>", "%%"):
        assert kept in said
    assert "here" not in said
    assert len(said) > len(message)


def test_each_number_gets_its_form(german: Path) -> None:
    write(german, "pl", POLISH)

    def rows() -> list[str]:
        return [ngettext("{n} row", "{n} rows", n) for n in (1, 3, 5, 22, 1000)]

    assert read_in("en", rows) == ["1 row", "3 rows", "5 rows", "22 rows", "1,000 rows"]
    assert read_in("pl", rows) == ["1 wiersz", "3 wiersze", "5 wierszy", "22 wiersze", "1\xa0000 wierszy"]
    assert "corralForm = (n) => Number(n == 1 ? 0 :" in Locale("pl").script


def test_what_is_not_translated_is_said_in_english() -> None:
    assert read_in("de", lambda: gettext("Nobody has translated {this}.", this="this")) == "Nobody has translated this."
    assert read_in("de", lambda: gettext("")) == "", "not the header of the catalogue"


def test_a_translated_sentence_knows_itself_in_english_for_the_log() -> None:
    problem = N_("This is not your current password.")

    def said() -> str:
        return gettext("Please correct: {problems}.", problems=gettext(problem))

    assert read_in("de", said) == "Bitte korrigieren Sie: Das ist nicht Ihr derzeitiges Passwort.."
    assert locales.english(read_in("de", said)) == "Please correct: This is not your current password.."
    assert locales.english(read_in("en", said)) == "Please correct: This is not your current password.."


def test_the_script_of_a_language_changes_its_address_with_its_words(german: Path) -> None:
    assert (Locale("en").script, Locale("en").script_address) == ("", "")
    before = Locale("de").script_address
    assert '"Sign in": "Anmelden"' in Locale("de").script
    write(german, "de", {"Sign in": "Einloggen"})
    assert Locale("de").script_address != before
    write(german, "de", {"Sign in": "Einloggen"}, place="templates/base.html")
    assert "Einloggen" not in Locale("de").script, "it holds what scripts say, and no more"
    assert "⟦" in Locale("en-XA").script


class Everything(BaseModel):
    """Fields of every kind that a form has."""

    model_config = ConfigDict(extra="forbid")

    text: str
    short: Annotated[str, Field(max_length=3)] = ""
    long: Annotated[str, Field(min_length=2)] = "ab"
    shape: Annotated[str, Field(pattern="^a+$")] = "a"
    whole: int = 0
    real: float = 0
    finite: FiniteFloat = 0
    is_on: bool = False
    few: Annotated[list[int], Field(max_length=1)] = []
    many: Annotated[list[int], Field(min_length=1)] = [1]
    named: dict[str, int] = {}
    kind: Literal["light", "dark"] = "dark"
    at: AwareDatetime | None = None
    least: Annotated[int, Field(ge=1)] = 1
    most: Annotated[int, Field(le=9)] = 1
    number: Whole = 0
    truth: Truth = False


def problems(**values: Any) -> list[str]:
    """What is said of ``values``, as it is in the language at hand."""
    with pytest.raises(ValidationError) as refused:
        Everything.model_validate({"text": "", **values})
    return [validation.in_words(dict(each)) for each in refused.value.errors()]


WRONG: list[dict[str, Any]] = [
    *({"text": 1}, {"unknown": 1}, {"whole": None}, {"whole": "x"}, {"whole": 1.5}, {"whole": "9" * 5000}),
    *({"real": None}, {"real": "x"}, {"finite": "inf"}, {"is_on": None}, {"is_on": "x"}, {"few": 1}, {"named": 1}),
    *({"at": "2026-01-31T08:00:00"}, {"number": True}, {"truth": 1}),
]


@pytest.mark.parametrize("values", WRONG, ids=lambda values: str(values)[:40])
def test_what_pydantic_says_is_what_translators_see(values: dict[str, Any]) -> None:
    marked = {
        *validation.PLAIN,
        "Input should be a number, not true or false",
        "Input should be true or false, not a number",
    }
    assert set(problems(**values)) <= marked
    assert all(each.startswith("⟦") for each in read_in("en-XA", lambda: problems(**values)))


@pytest.mark.parametrize(
    ("values", "english", "german_words"),
    [
        ({"short": "abcd"}, "String should have at most 3 characters", "Der Text darf höchstens 3 Zeichen haben"),
        ({"kind": "pink"}, "Input should be 'light' or 'dark'", "Erlaubt ist hier 'light', 'dark'"),
        ({"least": 0}, "Input should be greater than or equal to 1", "Input should be greater than or equal to 1"),
    ],
)
def test_what_is_wrong_with_a_field_is_said_with_its_values(
    values: dict[str, Any], english: str, german_words: str
) -> None:
    assert problems(**values) == [english]
    assert read_in("de", lambda: problems(**values)) == [german_words]


@pytest.mark.parametrize(
    "values", [{"long": "a"}, {"shape": "b"}, {"few": [1, 2]}, {"many": []}, {"most": 10}, {"at": "x"}], ids=str
)
def test_no_problem_of_a_form_is_left_in_english(values: dict[str, Any]) -> None:
    assert all(each.startswith("⟦") for each in read_in("en-XA", lambda: problems(**values)))
