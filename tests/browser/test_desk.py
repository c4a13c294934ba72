"""Rita works at the desk by keys: fifty are returned in four acts, and one judgement is said to hold in three."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.accounts.models import Role
from app.annotations.models import Adjudication, Decision, Review
from tests.browser.conftest import Site
from tests.factories import make_annotation, make_comparison, make_user

pytestmark = [pytest.mark.browser]


def opened(site: Site, *, query: str = "") -> Page:
    page = site.context(make_user(site.session, Role.REVIEWER, "Rita")).new_page()
    page.goto(f"{site.url}/desk{query}")
    expect(page.locator("[data-desk-keys]")).to_be_visible()
    return page


def test_many_are_returned_in_four_acts(site: Site) -> None:
    alice = make_user(site.session)
    said = {make_annotation(site.session, alice).id for _ in range(3)}
    page = opened(site)
    page.get_by_label("Select all rows on this page").check()
    expect(page.locator("[data-count]")).to_have_text("3 selected")
    page.keyboard.press("r")
    expect(page.locator("#desk-note")).to_be_focused()
    page.keyboard.type("Look at a, r and x again.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".site-notices")).to_contain_text("Returned 3 annotations.")
    site.session.expire_all()
    found = site.session.execute(select(Review.annotation_id, Review.verdict)).all()
    assert {tuple(row) for row in found} == {(each, Decision.RETURNED) for each in said}


def test_rows_are_walked_and_chosen_by_keys(site: Site) -> None:
    alice = make_user(site.session)
    said = [make_annotation(site.session, alice).id for _ in range(4)]
    page = opened(site)
    page.keyboard.press("x")
    expect(page.locator("input[name=row]:checked")).to_have_count(0)  # the keys are the table's
    page.locator("[data-open]").first.focus()
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Shift+X")
    expect(page.locator("[data-count]")).to_have_text("3 selected")
    page.keyboard.press("k")
    page.keyboard.press("x")
    expect(page.locator("[data-count]")).to_have_text("2 selected")
    page.keyboard.press("a")
    expect(page.locator(".site-notices")).to_contain_text("Accepted 2 annotations.")
    site.session.expire_all()
    assert set(site.session.scalars(select(Review.annotation_id))) == {said[3], said[1]}


def test_all_that_match_are_chosen_beyond_the_page(site: Site) -> None:
    alice = make_user(site.session)
    for _ in range(2):
        make_annotation(site.session, alice, comment="otter")
    make_annotation(site.session, alice)
    page = opened(site, query="?q=otter")
    page.get_by_role("button", name="Select all that match").click()
    expect(page.locator("[data-count]")).to_have_text("2 selected on all pages")
    page.get_by_role("button", name="Accept").click()
    expect(page.locator(".site-notices")).to_contain_text("Accepted 2 annotations.")


def test_one_judgement_is_said_to_hold_in_three_acts(site: Site) -> None:
    item = make_comparison(site.session, wanted=2)
    said = [make_annotation(site.session, make_user(site.session), item).id for _ in range(2)]
    page = opened(site)
    page.locator("[data-open]").first.focus()
    page.keyboard.press("Enter")  # opens the row
    dialog = page.get_by_role("dialog", name="All judgements of the item")
    dialog.get_by_text("Settle on this judgement…").first.click()
    dialog.get_by_label("Why").first.fill("Only this one gives a source.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".site-notices")).to_contain_text("This judgement is settled")
    site.session.expire_all()
    assert list(site.session.scalars(select(Adjudication.annotation_id))) == [said[1]]


def test_a_row_that_is_closed_again_gives_the_focus_back(site: Site) -> None:
    make_annotation(site.session, make_user(site.session))
    page = opened(site)
    page.locator("[data-open]").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#desk-item h2").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#desk-item")).to_be_hidden()
    expect(page.locator("[data-open]").first).to_be_focused()


@pytest.mark.parametrize("width", [1280, 1440, 1920])
def test_header_notices_content_and_footer_stand_on_the_same_edges(site: Site, width: int) -> None:
    make_annotation(site.session, make_user(site.session))
    page = opened(site)
    page.set_viewport_size({"width": width, "height": 900})
    for path, widest in (("/desk", 112), ("/batches", 76)):
        page.goto(site.url + path)
        frame = ".site-header__inner, .site-notices, .site-main, .site-footer__inner"
        boxes = [each.bounding_box() for each in page.locator(frame).all()]
        edges = {(box["x"], box["width"]) for box in boxes if box}
        assert len(boxes) == 4
        assert edges == {(max(0, (width - 16 * widest) / 2), min(width, 16 * widest))}, path
