"""Alice labels a response to its first wrong step, by keyboard alone: the right step is asked for, and a reload loses nothing."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.annotations import service
from app.annotations.keys import ACTIONS, FIXED, Action, Fixed, Where
from app.annotations.models import STANDING, Annotation, StepLabel
from app.judgements.vocabulary import Outcome
from tests.browser.conftest import Site
from tests.browser.items import item_of, wait_for_next
from tests.factories import make_labelling, make_user

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

SOLUTION = "2 + 2 = 4\n4 + 1 = 6\n所以是 6。\nSo it is 6."


def open_steps(site: Site) -> Page:
    """Alice at the first of two responses."""
    alice = make_user(site.session)
    make_labelling(site.session, SOLUTION, "One step.")
    held = service.next_assignment(site.session, alice)
    assert held is not None
    site.session.commit()
    page = site.context(alice).new_page()
    page.goto(f"{site.url}/assignments/{held.id}")
    expect(page.get_by_role("heading", name="Which step is the first wrong one?")).to_be_visible()
    page.wait_for_load_state("networkidle")
    return page


def test_the_sheet_lists_the_keys_of_steps_and_none_of_comparing(site: Site) -> None:
    page = open_steps(site)
    page.keyboard.press("?")
    every: list[Action | Fixed] = [*ACTIONS, *FIXED]
    listed = [each.key for each in every if each.where in {Where.ALL, Where.STEPS}]
    expect(page.locator(".keys__list > dt[data-where]").filter(visible=True)).to_have_text(listed)


def test_a_response_is_labelled_by_keyboard_to_its_first_wrong_step(site: Site) -> None:
    page = open_steps(site)
    item = item_of(page)
    size, right = page.locator("[data-steps-size]"), page.get_by_role("textbox", name="What should stand")
    rows = page.locator(".step__row")
    expect(right).to_be_hidden()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#work-problem")).to_contain_text("Label step 1 of 4")
    expect(rows.nth(0)).to_be_focused()
    page.keyboard.press("3")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("2")
    expect(size).to_have_text("2 of 4 labelled")
    page.keyboard.press("b")
    expect(rows.nth(1)).to_be_focused()
    page.evaluate(  # on a French keyboard the key of the 1, without Shift
        """() => document.activeElement.dispatchEvent(
            new KeyboardEvent("keydown", { key: "&", code: "Digit1", bubbles: true, cancelable: true }))"""
    )
    expect(right).to_be_focused()
    page.keyboard.type("4 + 1 = 五")
    expect(size).to_have_text("2 of 4 labelled")
    expect(rows.nth(2).get_by_role("radio").first).to_be_hidden()
    expect(page.locator("[data-save-state]")).to_have_text("Saved")
    page.reload()
    expect(right).to_have_value("4 + 1 = 五")
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    expect(page.locator("#status")).to_contain_text("Recorded. Next item.")
    page.keyboard.press("z")
    expect(page.locator(f'#work[data-assignment="{item}"]')).to_be_visible()
    expect(right).to_have_value("4 + 1 = 五")
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    site.session.rollback()
    labels = site.session.execute(
        select(Annotation.outcome, StepLabel.label, StepLabel.correction)
        .join(StepLabel, StepLabel.annotation_id == Annotation.id)
        .where(STANDING)
        .order_by(StepLabel.place)
    ).all()
    assert [tuple(each) for each in labels] == [(Outcome.LABELLED, 1, None), (Outcome.LABELLED, -1, "4 + 1 = 五")]
