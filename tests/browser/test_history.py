"""The way back by keyboard and touch, item by item and forward again; and the way in, through the tour."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import func, select, text, update

from app.annotations import recording
from app.comparisons.models import Assignment, AssignmentState
from tests.browser.conftest import Site
from tests.browser.items import comment, item_of, open_item, stored, wait_for_next
from tests.factories import make_user

pytestmark = [pytest.mark.browser]


@pytest.fixture(autouse=True)
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every submission were some minutes old."""
    monkeypatch.setattr(recording, "UNDO_SECONDS", -recording.UNDO_PATIENCE - 1)


def judge(page: Page, key: str) -> str:
    """Judge the item on the page and wait for the next one; returns which it was."""
    item = item_of(page)
    page.keyboard.press(key)
    page.keyboard.press("Enter")
    wait_for_next(page, item)
    return item


def expect_item(page: Page, item: str) -> None:
    expect(page.locator(f'#work[data-assignment="{item}"]')).to_be_visible()


def test_the_key_goes_back_item_by_item_and_a_correction_forward_again(site: Site) -> None:
    page, _, _ = open_item(site, items=3)
    first, second = judge(page, "1"), judge(page, "8")
    third = item_of(page)
    comment(page, "begun z")
    expect(page.get_by_label("Comment (optional)")).to_have_value("begun z")
    page.keyboard.press("Escape")
    page.keyboard.press("z")
    expect_item(page, second)
    expect(page.locator("input[name=choice][value=B4]")).to_be_checked()
    page.keyboard.press("z")
    expect_item(page, first)
    expect(page.locator("#work-title")).to_have_text("Correct your judgement")
    expect(page.locator("input[name=choice][value=A4]")).to_be_checked()
    page.keyboard.press("z")
    expect(page.locator("[data-hint]")).to_contain_text("Nothing to undo")
    page.keyboard.press("7")
    page.keyboard.press("Enter")
    expect_item(page, third)
    expect(page.get_by_label("Comment (optional)")).to_have_value("begun z")
    one, two, now = stored(site.session)
    assert (one.superseded_by_id, two.superseded_by_id, now.strengths) == (now.id, None, [3])


def test_a_correction_is_kept_as_it_is_typed(site: Site) -> None:
    page, _, _ = open_item(site, items=2)
    first = judge(page, "1")
    page.keyboard.press("z")
    expect_item(page, first)
    comment(page, "on second thoughts")
    expect(page.locator("[data-save-state]")).to_have_text("Saved")
    page.get_by_role("link", name="Leave it as it is").click()
    expect(page.locator("#work-title")).to_have_text("Which response is better?")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("z")
    expect_item(page, first)
    expect(page.get_by_label("Comment (optional)")).to_have_value("on second thoughts")
    assert len(stored(site.session)) == 1


def test_a_correction_needs_no_lease(site: Site) -> None:
    page, _, _ = open_item(site, items=2)
    first = judge(page, "1")
    site.session.execute(update(Assignment).values(lease_until=func.now() - text("interval '1 day'")))
    site.session.commit()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.install()
    page.goto(f"{site.url}/assignments/{first}?correct=1", wait_until="networkidle")
    page.keyboard.press("2")
    page.clock.run_for(10_000)
    expect(page.locator("[data-save-state]")).to_have_text("Saved")
    assert not [url for url in asked if url.endswith("/lease")]
    expect(page.locator("[data-problem=lease]")).to_be_empty()


def test_a_skip_is_undone_by_touch(site: Site) -> None:
    page, alice, _ = open_item(site, items=2)
    url, item = page.url, item_of(page)
    page = site.context(alice, has_touch=True, viewport={"width": 320, "height": 700}).new_page()
    page.goto(url, wait_until="networkidle")
    page.locator("[data-skip] > summary").tap()
    page.get_by_label("The prompt makes no sense").tap()
    page.get_by_role("button", name="Skip this item").tap()
    wait_for_next(page, item)
    page.get_by_role("button", name="Previous item").tap()
    expect_item(page, item)
    site.session.rollback()
    states = site.session.scalars(select(Assignment.state)).all()
    assert set(states) == {AssignmentState.ACTIVE}


def test_the_tour_is_taken_by_keyboard(site: Site) -> None:
    page = site.context(make_user(site.session)).new_page()
    page.goto(f"{site.url}/tour")
    for choice in ("B4", "tie", "A4"):
        page.locator(f"input[name=choice][value={choice}]").focus()
        page.keyboard.press("Space")
        page.keyboard.press("Enter")
        expect(page.locator("#told-head")).to_have_text("We would say the same")
        expect(page.locator("#told-head")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#told-head")).to_have_count(0)
    expect(page.get_by_role("status").first).to_contain_text("You have finished the tour")


def test_the_tour_is_taken_by_touch_without_scripts(site: Site) -> None:
    alice = make_user(site.session)
    page = site.context(
        alice, has_touch=True, java_script_enabled=False, viewport={"width": 320, "height": 700}
    ).new_page()
    page.goto(f"{site.url}/tour/3")
    page.get_by_label("A is better", exact=True).tap()
    page.get_by_role("button", name="See what we would say").tap()
    page.get_by_role("button", name="Finish the tour").tap()
    page.wait_for_url("**/annotate")
    site.session.refresh(alice)
    assert alice.toured_at is not None
