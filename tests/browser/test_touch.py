"""Alice works with her fingers on a narrow screen: no key, no mouse, and nothing that can only be dragged."""

from __future__ import annotations

import pytest
from playwright.sync_api import CDPSession, Page, expect
from sqlalchemy import select

from app.comparisons.models import Assignment, AssignmentState
from app.prompts.models import Batch
from tests.browser.conftest import Site
from tests.browser.items import item_of, stored, wait_for_next
from tests.factories import make_assignment, make_batch, make_comparison, make_user

pytestmark = [pytest.mark.browser]

ASKED = [{"name": "helpful", "label": "Helpful", "scale": ["no", "partly", "yes"]}]


def open_by_touch(
    site: Site, n: int = 2, *, asked: bool = False, width: int = 320, texts: list[str] | None = None
) -> Page:
    """Alice at the first of two items of ``n`` responses, on a screen of ``width`` by 640 pixels."""
    alice = make_user(site.session)
    batch: Batch = make_batch(site.session, candidates_per_prompt=n)
    batch.attributes = ASKED if asked else []
    for _ in range(2):
        comparison = make_comparison(site.session, n=n, batch=batch, texts=texts)
    held = make_assignment(site.session, alice, comparison)
    page = site.context(alice, has_touch=True, viewport={"width": width, "height": 640}).new_page()
    page.goto(f"{site.url}/assignments/{held.id}")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    return page


def test_a_pair_is_judged_and_rated(site: Site) -> None:
    page = open_by_touch(site, asked=True)
    item = item_of(page)
    for name in "AB":
        page.locator(f'[name="attribute.{name}.helpful"]').last.tap()
    page.locator("label:has(input[value=B3])").tap()
    page.get_by_role("button", name="Submit").tap()
    wait_for_next(page, item)
    [said] = stored(site.session)
    assert said.strengths == [3]
    site.session.rollback()
    states = site.session.scalars(select(Assignment.state).order_by(Assignment.id)).all()
    assert states[0] is AssignmentState.SUBMITTED


def test_four_responses_are_ranked(site: Site) -> None:
    page = open_by_touch(site, n=4)
    item = item_of(page)
    page.get_by_role("button", name="Move D up").tap()
    page.get_by_role("button", name="Move D up").tap()
    page.get_by_role("button", name="Move A down").tap()
    order = page.locator("[data-place]").evaluate_all("items => items.map(item => item.dataset.place).join('')")
    assert order == "DABC"
    for strength in ("better", "as good as", "slightly better"):  # each goes on to the next gap
        page.locator("[data-strip]").get_by_role("button", name=strength, exact=True).tap()
    page.get_by_role("button", name="Submit").tap()
    wait_for_next(page, item)
    [said] = stored(site.session)
    a, b, c, d = said.order_shown
    assert said.ranking == [[d], [a, b], [c]]
    assert said.strengths == [3, 2]


def test_what_is_missing_is_said_where_submit_was_tapped(site: Site) -> None:
    page = open_by_touch(site, texts=["A line.\n\n" * 60, "Another.\n\n" * 60])
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    page.get_by_role("button", name="Submit").tap()
    expect(page.get_by_role("alert").filter(has_text="First choose")).to_be_in_viewport(ratio=1)


def touch(finger: CDPSession, kind: str, *points: tuple[float, float]) -> None:
    """What a finger does, in pixels of the window."""
    finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})


def swipe(page: Page, start: float, end: float) -> None:
    """From left to right, or back, in the middle of the window."""
    finger = page.context.new_cdp_session(page)
    touch(finger, "touchStart", (start, 300))
    for step in range(1, 16):
        touch(finger, "touchMove", (start + (end - start) * step / 15, 300))
        page.evaluate("() => new Promise(requestAnimationFrame)")  # a finger takes its time
    touch(finger, "touchEnd")


def test_a_response_is_dragged_by_its_letter(site: Site) -> None:
    page = open_by_touch(site, n=4)
    assert page.evaluate("globalThis.Sortable !== undefined"), "a finger that arrives is dragging already"
    page.locator("[data-ranking]").scroll_into_view_if_needed()
    finger = page.context.new_cdp_session(page)

    def middle(name: str) -> tuple[float, float]:
        box = page.locator(f"[data-place={name}] .letter").bounding_box()
        assert box is not None
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    (x, start), (_, end) = middle("C"), middle("A")
    touch(finger, "touchStart", (x, start))
    for step in range(1, 21):
        touch(finger, "touchMove", (x, start + (end - 18 - start) * step / 20))
        page.wait_for_timeout(20)
    # the list follows the finger by a timer of its own: whoever drags lifts it when the place is seen
    expect(page.locator("[data-place]").first).to_have_attribute("data-place", "C")
    touch(finger, "touchEnd")
    expect(page.locator("[data-place]").first).to_have_attribute("data-place", "C")
    order = page.locator("[data-place]").evaluate_all("items => items.map(item => item.dataset.place).join('')")
    assert order == "CABD"


def test_the_chosen_response_is_improved(site: Site) -> None:
    page = open_by_touch(site)
    item = item_of(page)
    page.locator("label:has(input[value=A4])").tap()
    page.get_by_role("button", name="Improve", exact=True).tap()
    field = page.get_by_label("Improved text")
    expect(field).to_be_focused()
    field.fill("Better said.")
    page.get_by_role("button", name="Changes", exact=True).tap()
    expect(page.locator("[data-improve-diff] ins").first).to_be_visible()
    page.get_by_role("button", name="Submit").tap()
    wait_for_next(page, item)
    assert stored(site.session)[0].edited_text == "Better said."


def test_an_item_is_skipped(site: Site) -> None:
    page = open_by_touch(site)
    item = item_of(page)
    page.locator("[data-skip] > summary").tap()
    panel = page.locator("[data-skip] .menu__panel").bounding_box()
    assert panel is not None
    assert panel["x"] >= 0
    assert panel["x"] + panel["width"] <= 320
    page.get_by_label("The prompt makes no sense").tap()
    page.get_by_role("button", name="Skip this item").tap()
    wait_for_next(page, item)
    site.session.rollback()
    reasons = site.session.scalars(select(Assignment.skip_reason).where(Assignment.skip_reason.is_not(None))).all()
    assert reasons == ["The prompt makes no sense"]


def test_what_was_submitted_is_taken_back(site: Site) -> None:
    page = open_by_touch(site)
    item = item_of(page)
    page.locator("label:has(input[value=A4])").tap()
    page.get_by_role("button", name="Submit").tap()
    wait_for_next(page, item)
    page.get_by_role("button", name="Undo").tap()
    expect(page.locator(f'#work[data-assignment="{item}"]')).to_be_visible()
    assert stored(site.session)[0].withdrawn_at is not None


LONG = "A sentence of a response that is longer than the window of a phone is high. " * 40


@pytest.mark.parametrize("width", [320, 390])
def test_a_tap_or_a_swipe_leads_from_one_response_to_the_other(site: Site, width: int) -> None:
    page = open_by_touch(site, width=width, texts=[LONG, f"{LONG}It ends."])
    submit, bar = page.locator(".judge__submit"), page.get_by_role("navigation", name="Responses")
    first, second = (page.locator(f"[data-response={name}]") for name in "AB")
    expect(first).to_be_in_viewport()
    expect(second).not_to_be_in_viewport()
    page.evaluate("() => scrollTo(0, 1200)")
    expect(submit).to_be_in_viewport(ratio=1)
    bar.get_by_role("link", name="B").tap()
    expect(second).to_be_in_viewport()
    expect(first).not_to_be_in_viewport()
    expect(bar.get_by_role("link", name="B")).to_have_attribute("aria-current", "true")
    swipe(page, 40, width - 40)
    expect(bar.get_by_role("link", name="A")).to_have_attribute("aria-current", "true")
    expect(first).to_be_in_viewport()
    expect(second).not_to_be_in_viewport()
    expect(submit).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_prompt_is_a_line_that_opens_over_the_responses(site: Site) -> None:
    page = open_by_touch(site, texts=[LONG, f"{LONG}It ends."])
    asked, pin = page.locator("#asked"), page.locator("[data-pin]")
    page.evaluate("() => scrollTo(0, 900)")
    expect(asked).not_to_be_in_viewport()
    expect(pin).to_be_in_viewport(ratio=1)
    before = page.locator("[data-response=A]").bounding_box()
    page.touchscreen.tap(160, 18)
    expect(asked).to_be_in_viewport(ratio=1)
    expect(pin).to_have_attribute("aria-expanded", "true")
    assert page.locator("[data-response=A]").bounding_box() == before
    page.touchscreen.tap(160, 18)
    expect(asked).not_to_be_in_viewport()
