"""Where things stand: what one presses stays where it is, in sight and uncovered, on a phone and beside open guidelines."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from app.annotations import service
from tests.browser.conftest import Site
from tests.browser.items import item_of, open_item, wait_for_next
from tests.factories import make_batch, make_comparison, make_user

pytestmark = [pytest.mark.browser]

TEXT = "A response of some lines, so that the page is longer than the window of a phone. " * 6
COVERED = """() => [...document.querySelectorAll(".pick, .response, .judge__submit")].filter((each) => {
    const [a, b] = [each, document.querySelector("[data-undo]")].map((one) => one.getBoundingClientRect());
    return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}).length"""
CROWDED = """() => {
    const faces = [...document.querySelectorAll(".scale .pick__face")];
    const boxes = faces.map((face) => face.getBoundingClientRect());
    const meet = boxes.some((a, i) => boxes.slice(i + 1).some(
        (b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
    return meet || faces.some((face) => face.scrollWidth > face.clientWidth);
}"""


def open_with_guidelines(site: Site, width: int, height: int) -> Page:
    """Alice at the first of two pairs, the guidelines open where there is room beside the work."""
    alice = make_user(site.session)
    alice.preferences = {"guidelines": True}
    batch = make_batch(site.session, guidelines="Prefer what is *true*.")
    for _ in range(2):
        make_comparison(site.session, batch=batch, texts=[f"First. {TEXT}", f"Second. {TEXT}"])
    held = service.next_assignment(site.session, alice, batch.id)
    assert held is not None
    site.session.commit()
    page = site.context(alice, viewport={"width": width, "height": height}).new_page()
    page.goto(f"{site.url}/assignments/{held.id}")
    page.wait_for_load_state("networkidle")
    expect(page.locator("[data-guidelines]")).to_be_visible(visible=width >= 1200)
    return page


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_choosing_moves_nothing_and_undo_covers_no_answer(site: Site, width: int) -> None:
    page = open_with_guidelines(site, width, 700)
    item = item_of(page)
    submit = page.locator(".judge__submit")
    expect(submit).to_be_in_viewport(ratio=1)
    answer = page.locator("label.pick--3").first
    answer.scroll_into_view_if_needed()
    before = answer.bounding_box()
    answer.click()
    expect(page.locator("[data-improve]")).to_be_visible()
    expect(submit).to_be_in_viewport(ratio=1)
    assert before is not None
    assert answer.bounding_box() == pytest.approx(before, abs=2)
    submit.click()
    wait_for_next(page, item)
    expect(page.locator("[data-undo]")).to_be_in_viewport(ratio=1)
    assert page.evaluate(COVERED) == 0


@pytest.mark.parametrize("width", [1000, 1280, 1440, 1600, 1920])
def test_the_answers_have_room_beside_open_guidelines(site: Site, width: int) -> None:
    page = open_with_guidelines(site, width, 900)
    assert not page.evaluate(CROWDED)


def test_a_pointer_that_rests_on_the_list_drags_on_the_next_item(site: Site) -> None:
    page, _, _ = open_item(site, n=3)
    item = item_of(page)
    rows = page.locator("[data-place-row]")
    rows.nth(2).locator(".letter").hover()
    page.wait_for_function("() => globalThis.Sortable?.get(document.querySelector('[data-ranking-list]'))")
    page.keyboard.press("t")
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    page.wait_for_function("() => globalThis.Sortable.get(document.querySelector('[data-ranking-list]'))")
    page.mouse.down()
    first = rows.first.bounding_box()
    assert first is not None
    page.mouse.move(first["x"] + 60, first["y"] + 3, steps=6)
    page.mouse.up()
    expect(page.locator("#status")).to_have_text(re.compile("C moved to [12] of 3"))
