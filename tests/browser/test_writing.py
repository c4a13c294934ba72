"""Alice writes an answer from scratch, by keyboard alone: it survives a reload, and input methods keep their keys."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from app.annotations import service
from app.judgements.vocabulary import Outcome
from app.prompts.models import Prompt
from tests.browser.conftest import Site
from tests.browser.items import item_of, stored, wait_for_next
from tests.browser.test_typing import press
from tests.factories import make_user, make_writing

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def open_blank(site: Site) -> Page:
    """Alice at the first of two items without responses."""
    alice = make_user(site.session)
    items = make_writing(site.session, "What is 6 · 7?", "And 7 · 6?")
    site.session.get_one(Prompt, items[0].prompt_id).reference = "42"
    held = service.next_assignment(site.session, alice)
    assert held is not None
    site.session.commit()
    page = site.context(alice).new_page()
    page.goto(f"{site.url}/assignments/{held.id}")
    expect(page.get_by_role("heading", name="Write the answer")).to_be_visible()
    page.wait_for_load_state("networkidle")
    return page


def test_an_answer_is_written_by_keyboard_and_survives_a_reload(site: Site) -> None:
    page = open_blank(site)
    item = item_of(page)
    answer, size = page.get_by_role("textbox", name="Your answer"), page.locator("[data-improve-size]")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#work-problem")).to_contain_text("Write the answer before you submit it.")
    page.keyboard.press("Escape")
    page.keyboard.press("1")  # chooses nothing where there is nothing to choose from
    page.keyboard.press("e")
    expect(answer).to_be_focused()
    page.keyboard.type("It is 四十二.")
    expect(size).to_have_text("5 words")
    expect(page.locator("[data-save-state]")).to_have_text("Saved")
    page.reload()
    expect(answer).to_have_value("It is 四十二.")
    expect(page.get_by_role("button", name="Run checks")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(answer).to_have_value("")
    page.get_by_role("button", name="Restore my text").click()
    expect(answer).to_have_value("It is 四十二.")
    for state in ({"isComposing": True}, {"keyCode": 229}):
        press(page, "Enter", ctrlKey=True, **state)
    assert item_of(page) == item, "the input method keeps its Enter"
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    expect(page.locator("#status")).to_contain_text("Recorded. Next item.")
    page.keyboard.press("z")
    expect(page.locator(f'#work[data-assignment="{item}"]')).to_be_visible()
    expect(answer).to_have_value("It is 四十二.")
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    written = stored(site.session)
    assert {each.edited_text for each in written} == {"It is 四十二."}
    assert [each.outcome for each in written] == [Outcome.WRITTEN] * 2
    assert [each.withdrawn_at is None for each in written] == [False, True]
