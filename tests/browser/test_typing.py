"""Keys of other keyboards and of input methods, keys pressed between two items, and keys that do nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Site
from tests.browser.items import comment, item_of, open_item, stored, wait_for_next

pytestmark = [pytest.mark.browser]

DISPATCH = """given => {
    const event = new KeyboardEvent("keydown", {bubbles: true, cancelable: true, ...given});
    document.activeElement.dispatchEvent(event);
}"""


def press(page: Page, key: str, code: str = "", **more: Any) -> None:
    """A keydown as a keyboard of another layout, or an input method, sends it."""
    page.evaluate(DISPATCH, {"key": key, "code": code or key, **more})


def hold_submits(page: Page) -> list[Route]:
    """From now on what is submitted waits in this list for its answer."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/submit", hold)
    return held


def test_ctrl_enter_and_escape_belong_to_the_input_method_while_it_composes(site: Site) -> None:
    page, _, _ = open_item(site)
    item = item_of(page)
    page.keyboard.press("2")
    comment(page, "にほ")
    field = page.get_by_label("Comment (optional)")
    for state in ({"isComposing": True}, {"keyCode": 229}):
        press(page, "Enter", ctrlKey=True, **state)
        press(page, "Escape", **state)
        expect(field).to_be_focused()
    assert item_of(page) == item
    press(page, "Enter", ctrlKey=True)
    wait_for_next(page, item)
    assert [each.comment for each in stored(site.session)] == ["にほ"]


@pytest.mark.parametrize(
    ("keys", "choice"),
    [
        pytest.param([("é", "Digit2")], "A3", id="AZERTY"),
        pytest.param([("-", "Digit6")], "B2", id="AZERTY, a key that means something in rankings"),
        pytest.param([("е", "KeyT")], "tie", id="Cyrillic"),
        pytest.param([("θ", "KeyU")], "all_unacceptable", id="Greek"),
        pytest.param([("א", "KeyT")], "tie", id="Hebrew"),
        pytest.param([("٣", "Digit3")], "A2", id="Arabic"),
        pytest.param([("８", "Digit8")], "B4", id="full-width"),
    ],
)
def test_a_keyboard_that_has_it_elsewhere_chooses_too(site: Site, keys: list[tuple[str, str]], choice: str) -> None:
    page, _, _ = open_item(site, items=1)
    for key, code in keys:
        press(page, key, code)
    expect(page.locator(f"input[name=choice][value={choice}]")).to_be_checked()


def test_a_ranking_is_made_on_another_keyboard(site: Site) -> None:
    page, _, _ = open_item(site, n=3, items=1)
    press(page, "к", "KeyR")  # Russian
    line = page.get_by_role("textbox", name="Ranking")
    expect(line).to_be_focused()
    press(page, "с", "KeyC")
    press(page, "＝", "Equal")
    press(page, "a", "KeyQ")  # AZERTY: a Latin letter is what it says
    press(page, "٣", "Digit3")  # Arabic
    expect(line).to_have_value("C=A3")
    expect(page.locator("#status")).to_have_text("Ranked C, A, B")
    press(page, "b", isComposing=True)
    press(page, "Process", "KeyB", keyCode=229)
    expect(line).to_have_value("C=A3")
    page.evaluate("document.querySelector('[data-rank-line]').setSelectionRange(0, 9)")
    page.keyboard.insert_text("Ｂ＝Ｃ")  # what an input method leaves
    expect(page.get_by_role("group", name="Response C, place 1 of 3")).to_be_visible()


def test_what_is_pressed_while_the_next_item_comes_is_for_that_one(site: Site) -> None:
    page, _, _ = open_item(site)
    first = item_of(page)
    held = hold_submits(page)
    page.keyboard.press("1")
    with page.expect_request("**/submit"):
        page.keyboard.press("Control+Enter")
    page.keyboard.press("8")
    page.keyboard.press("e")
    page.keyboard.type("mine ")
    assert item_of(page) == first
    expect(page.locator("input[name=choice][value=A4]")).to_be_checked()
    held[0].continue_()
    wait_for_next(page, first)
    expect(page.locator("input[name=choice][value=B4]")).to_be_checked()
    expect(page.get_by_label("Improved text")).to_have_value(re.compile("mine "))
    assert [each.strengths for each in stored(site.session)] == [[4]]


def test_what_is_pressed_while_a_submit_is_lost_is_for_the_item_that_stays(site: Site) -> None:
    page, _, _ = open_item(site)
    held = hold_submits(page)
    page.keyboard.press("1")
    with page.expect_request("**/submit"):
        page.keyboard.press("Control+Enter")
    page.keyboard.press("8")
    held[0].abort()
    expect(page.locator("input[name=choice][value=B4]")).to_be_checked()


@pytest.mark.parametrize(
    ("n", "key", "said"),
    [
        (2, "e", "Choose a response first"),
        (2, "r", "Two responses need no ranking"),
        (2, "z", "othing to undo"),
        (2, "x", "“x” does nothing here"),
        (2, "Enter", "Enter submits from a choice"),
        (2, "k", "There is no mark to write a note on"),
        (2, "a", "no ratings"),
        (3, "5", "“5” does nothing here"),
    ],
)
def test_a_key_that_does_nothing_says_so_on_the_page(site: Site, n: int, key: str, said: str) -> None:
    page, _, _ = open_item(site, n=n, items=1)
    page.keyboard.press(key)
    expect(page.locator("[data-hint]")).to_contain_text(said)
    expect(page.locator("[data-hint]")).to_be_in_viewport()
