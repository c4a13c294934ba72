"""How many keys, or touches, each task takes: counted, and no more than docs/pages.md says. Nothing that opens moves a text."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from app.prompts.models import Batch
from tests.browser.conftest import Site
from tests.browser.hand import Hand
from tests.browser.items import item_of, stored, wait_for_next
from tests.browser.test_reading import open_texts, select
from tests.factories import make_assignment, make_batch, make_comparison, make_user

pytestmark = [pytest.mark.browser]

TWO = [
    {"name": "helpful", "label": "Helpful", "scale": ["no", "partly", "yes"]},
    {"name": "true", "label": "True", "scale": ["no", "yes"]},
]
BOXES = """() => [...document.querySelectorAll(".response__text")].map((each) => {
    const { left, top, width } = each.getBoundingClientRect();
    return [left, top + scrollY, width].map(Math.round);
})"""


def open_four(site: Site, *, asked: bool = False, **options: object) -> tuple[Page, Hand]:
    """Alice at the first of two items of four responses."""
    alice = make_user(site.session)
    batch: Batch = make_batch(site.session, candidates_per_prompt=4)
    batch.attributes = TWO if asked else []
    texts = [f"{name}. Some words that fill a line or two of a column, and then some more. " * 3 for name in "ABCD"]
    for _ in range(2):
        comparison = make_comparison(site.session, batch=batch, texts=texts)
    held = make_assignment(site.session, alice, comparison)
    page = site.context(alice, **options).new_page()
    page.goto(f"{site.url}/assignments/{held.id}")
    page.wait_for_load_state("networkidle")
    return page, Hand(page)


def test_four_responses_with_strengths_take_eight_keys(site: Site) -> None:
    page, hand = open_four(site)
    item, before = item_of(page), page.evaluate(BOXES)
    hand.press("r", "d", "a", "b")
    expect(page.locator("[data-mark]")).to_have_text(["Place 2", "Place 3", "Place 4", "Place 1"])
    expect(page.locator("[data-strip-of]")).to_have_text("D compared with A")
    hand.press("3", "=", "1")
    expect(page.get_by_role("textbox", name="Ranking")).to_have_value("D3A=B1C")
    assert page.evaluate(BOXES) == before
    hand.press("Enter")
    wait_for_next(page, item)
    [said] = stored(site.session)
    a, b, c, d = said.order_shown
    assert (said.ranking, said.strengths) == ([[d], [a, b], [c]], [3, 1])
    assert hand.acts <= 8


def test_two_attributes_of_four_responses_take_sixteen_keys_in_all(site: Site) -> None:
    page, hand = open_four(site, asked=True)
    item, before = item_of(page), page.evaluate(BOXES)
    hand.press("r", "d", "a", "b", "3", "2", "1")
    current = page.locator(".rating[aria-current=true]")
    expect(current).to_contain_text("Helpful of response A")
    expect(page.locator("[data-hint]")).to_have_text("Digits rate now; Esc goes back")
    hand.press("3", "1", "2", "2", "3", "1", "2", "2")
    expect(page.locator("[data-hint]")).to_have_text("Everything is rated: Enter submits")
    assert page.evaluate(BOXES) == before
    hand.press("Enter")
    wait_for_next(page, item)
    [said] = stored(site.session)
    a, b, c, d = (str(each) for each in said.order_shown)
    assert said.strengths == [3, 2, 1]
    first, second = {"helpful": 3, "true": 1}, {"helpful": 2, "true": 2}
    assert said.attributes == {a: first, b: second, c: first, d: second}
    assert hand.acts <= 16


def test_what_is_wrong_with_a_typed_ranking_stands_under_it(site: Site) -> None:
    page, hand = open_four(site)
    said, line = page.locator("[data-rank-said]"), page.get_by_role("textbox", name="Ranking")
    before = page.evaluate(BOXES)
    hand.press("r", "d", "d")
    expect(said).to_have_text("D is ranked already.")
    expect(line).to_have_value("D")
    hand.press("e")
    expect(said).to_have_text("There is no response E: they are A to D.")
    hand.press("=", "b")
    expect(said).to_have_text("Not ranked yet: A, C.")
    expect(page.locator("[data-mark]")).to_have_text(["", "Place 1", "", "Place 1"])
    hand.press("Enter")
    expect(page.locator("#work-problem")).to_contain_text("Not ranked yet: A, C.")
    expect(line).to_be_focused()
    expect(line).to_have_attribute("aria-invalid", "true")
    page.locator("#work-problem").evaluate("(each) => each.replaceChildren()")
    hand.press("Backspace", "Backspace", "a")
    expect(line).to_have_value("DA")
    assert page.evaluate(BOXES) == before
    page.reload()
    page.wait_for_load_state("networkidle")
    expect(line).to_have_value("D>A>B>C")  # as the draft says


def test_three_touches_say_how_much_better_four_responses_are(site: Site) -> None:
    page, hand = open_four(site, has_touch=True, viewport={"width": 390, "height": 780})
    item, before = item_of(page), page.evaluate(BOXES)
    hand.tap(*[page.get_by_role("button", name="Move B up")])
    strip = page.locator("[data-strip]")
    for words in ("significantly better", "as good as", "better"):
        hand.tap(strip.get_by_role("button", name=words, exact=True))
    assert page.evaluate(BOXES) == before
    hand.tap(page.get_by_role("button", name="Submit"))
    wait_for_next(page, item)
    [annotation] = stored(site.session)
    a, b, c, d = annotation.order_shown
    assert (annotation.ranking, annotation.strengths) == ([[b], [a, c], [d]], [4, 3])
    assert hand.acts == 5


ANSWER = "No. It is **not so**. No. It is not so, see [no](http://no.example/no). No. It is not so."
PAINTED = """() => [...CSS.highlights].flatMap(([name, highlight]) => [...highlight].map((range) => {
    const before = document.createRange();
    before.setStart(range.startContainer.parentElement.closest(".response__text"), 0);
    before.setEnd(range.startContainer, range.startOffset);
    return [name, String(before).length, String(range)];
})).sort((a, b) => a[1] - b[1])"""


def test_a_selected_passage_is_marked_by_one_key_and_noted_by_three_acts(site: Site) -> None:
    page = open_texts(site, ANSWER, "Yes.")
    hand = Hand(page)
    item, before = item_of(page), page.evaluate(BOXES)
    text: str = page.locator("[data-response=A] .response__text").inner_text()
    places = [match.start() for match in re.finditer("It is not so", text)]
    select(page, "It is not so", 1)
    hand.press("1")
    expect(page.locator("[data-mark-said]")).to_have_text("False")
    assert page.evaluate(PAINTED) == [["marked", places[1], "It is not so"]]
    assert hand.acts == 1
    select(page, "It is not so", 2)
    hand.press("5", "k")
    page.keyboard.type("as it should be")
    hand.press("Enter")
    expect(page.locator("[data-mark-bar]")).to_be_hidden()
    assert hand.acts - 1 <= 3
    assert page.evaluate(PAINTED) == [
        ["marked", places[1], "It is not so"],
        ["marked-good", places[2], "It is not so"],
    ]
    assert page.evaluate(BOXES) == before
    hand.press("2", "Control+Enter")  # nothing is selected: a digit is about the pair again
    wait_for_next(page, item)
    [said] = stored(site.session)
    raw = [match.start() for match in re.finditer("It is (\\*\\*)?not so", ANSWER)]
    assert [(each["start"], each["label"], each["note"]) for each in said.spans] == [
        (raw[1], "false", ""),
        (raw[2], "good", "as it should be"),
    ]
    assert said.strengths == [3]


def test_a_passage_is_selected_by_keys_in_any_script_and_of_any_response(site: Site) -> None:
    arabic = "السطر الأول هنا. والثاني هناك."
    page = open_texts(site, "一二三。四五六。", arabic)
    before = page.evaluate(BOXES)
    page.keyboard.press("h")
    expect(page.locator("[data-hint]")).to_contain_text("Response A")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("2")
    expect(page.locator("[data-marks=A] mark")).to_have_text("四五六。")
    assert [words for _, _, words in page.evaluate(PAINTED)] == ["四五六。"]
    page.evaluate("corralKeys.hold()")  # whoever is quicker than the page loses no key, arrows neither
    page.keyboard.press("h")
    page.keyboard.press("ArrowLeft")  # the way that Arabic is read
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("3")
    page.evaluate("corralKeys.release()")
    expect(page.locator("[data-marks=B] mark")).to_have_text("الأول هنا")
    assert page.evaluate(BOXES) == before
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    expect(page.locator("input[value=A4]")).to_be_checked()


def test_a_finger_marks_what_it_selected_and_takes_the_mark_away(site: Site) -> None:
    page = open_texts(site, ANSWER, "Yes.", width=320, has_touch=True)
    before = page.evaluate(BOXES)
    select(page, "It is not so", 1)
    bar = page.locator("[data-mark-bar]")
    box = bar.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 320
    bar.get_by_role("button", name="Unclear").tap()
    expect(page.locator("[data-marks=A]")).to_contain_text("Unclear")
    bar.get_by_label("Note").fill("of what?")
    page.get_by_role("button", name="Submit").focus()
    expect(page.locator("[data-marks=A]")).to_contain_text("Unclear: of what?")
    assert page.evaluate(BOXES) == before
    bar.get_by_role("button", name="Remove").tap()
    expect(page.locator("[data-marks=A] mark")).to_have_count(0)
    expect(bar).to_be_hidden()
