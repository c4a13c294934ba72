"""Alice annotates in a real browser: by keys alone, by dragging, in two windows, and with a network that comes and goes."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Route, expect
from sqlalchemy import func, select

from app.annotations import service
from app.annotations.models import Annotation
from app.comparisons.models import Assignment
from app.judgements.judgement import Draft
from app.judgements.vocabulary import Outcome
from tests.browser.conftest import Site
from tests.browser.items import item_of, open_item, stored, wait_for_next
from tests.factories import make_assignment, make_batch, make_comparison, make_user

pytestmark = [pytest.mark.browser]


def middle(element: Locator) -> tuple[float, float]:
    """The middle of what is on the page, in pixels of the window."""
    box = element.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_two_keys_judge_a_pair_and_bring_the_next(site: Site) -> None:
    page, _, _ = open_item(site)
    item = item_of(page)
    page.keyboard.press("6")
    expect(page.locator('[data-response="B"]')).to_have_attribute("data-chosen", "")
    page.keyboard.press("Enter")
    wait_for_next(page, item)
    expect(page.locator("#work-title")).to_be_focused()
    assert page.url.endswith(f"/assignments/{item_of(page)}")
    expect(page.locator("#status")).to_contain_text("Next item")
    annotation = stored(site.session)[0]
    assert annotation.ranking == [[annotation.order_shown[1]], [annotation.order_shown[0]]]
    assert annotation.strengths == [2]
    assert annotation.active_seconds is not None


@pytest.mark.parametrize(("key", "outcome"), [("t", Outcome.TIE), ("u", Outcome.ALL_UNACCEPTABLE)])
def test_a_tie_and_all_unacceptable_have_keys(site: Site, key: str, outcome: Outcome) -> None:
    page, _, _ = open_item(site)
    item = item_of(page)
    page.keyboard.press(key)
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    assert stored(site.session)[0].outcome is outcome


def test_the_chosen_response_is_improved_with_its_changes_in_sight(site: Site) -> None:
    page, _, _ = open_item(site)
    item = item_of(page)
    page.keyboard.press("1")
    page.keyboard.press("e")
    field = page.get_by_label("Improved text")
    expect(field).to_be_focused()
    original = field.input_value()
    page.keyboard.press("Control+Home")
    page.keyboard.type("In short: ")
    expect(page.locator("[data-improve-size]")).to_contain_text("2 words added to")
    page.keyboard.press("Escape")
    page.keyboard.press("v")
    expect(page.locator("[data-improve-diff] ins")).to_have_text("In short: ")
    expect(field).to_be_hidden()
    page.keyboard.press("e")
    expect(field).to_be_focused()
    page.get_by_role("button", name="Undo all changes").click()
    expect(field).to_have_value(original)
    page.get_by_role("button", name="Restore my changes").click()
    expect(field).to_have_value(f"In short: {original}")
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    annotation = stored(site.session)[0]
    assert annotation.edited_text == f"In short: {original}"
    assert annotation.edited_candidate_id == annotation.order_shown[0]


def test_changing_ones_mind_keeps_the_edit_of_each_response(site: Site) -> None:
    page, _, _ = open_item(site)
    page.keyboard.press("1")
    page.keyboard.press("e")
    page.keyboard.type("mine ")
    page.keyboard.press("Escape")
    page.keyboard.press("8")
    field = page.get_by_label("Improved text")
    expect(field).not_to_have_value(re.compile("mine "))
    page.keyboard.press("1")
    expect(field).to_have_value(re.compile("mine "))


def test_four_responses_are_ranked_by_keys_alone(site: Site) -> None:
    page, _, _ = open_item(site, n=4)
    item = item_of(page)
    status = page.locator("#status")
    page.keyboard.press("r")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Alt+ArrowDown")
    expect(status).to_have_text("A moved to 2 of 4")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("=")
    expect(status).to_have_text("C as good as D")
    expect(page.get_by_role("group", name="Response B, place 1 of 4")).to_be_focused()  # there the next is unsaid
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#work-problem")).to_contain_text("how much better A is than C")
    page.keyboard.press("3")  # what is missing has the focus
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    annotation = stored(site.session)[0]
    a, b, c, d = annotation.order_shown
    assert annotation.ranking == [[b], [a], [c, d]]
    assert annotation.strengths == [2, 3]


def test_four_responses_are_ranked_by_dragging_and_by_buttons(site: Site) -> None:
    page, _, _ = open_item(site, n=4)
    rows = page.locator("[data-place-row]")
    with page.expect_response("**/sortable.js*"):
        rows.first.hover()
    page.wait_for_function("() => globalThis.Sortable?.get(document.querySelector('[data-ranking-list]'))")
    page.get_by_role("group", name="Response D").locator(".letter").drag_to(
        rows.first, target_position={"x": 60, "y": 3}
    )
    expect(page.locator("#status")).to_contain_text("D moved to 1 of 4")
    page.get_by_role("button", name="Move B up").click()
    expect(page.locator("#status")).to_have_text("B moved to 2 of 4")
    order = page.locator("[data-place]").evaluate_all("items => items.map(item => item.dataset.place).join('')")
    assert order == "DBAC"


def test_dropping_a_response_onto_another_makes_them_equally_good(site: Site) -> None:
    page, _, _ = open_item(site, n=4)
    item = item_of(page)
    rows = page.locator("[data-place-row]")
    with page.expect_response("**/sortable.js*"):
        rows.first.hover()
    page.wait_for_function("() => globalThis.Sortable?.get(document.querySelector('[data-ranking-list]'))")

    def drag(name: str, to: str) -> None:
        page.get_by_role("group", name=f"Response {name}").locator(".letter").hover()
        page.mouse.down()
        x, y = middle(page.get_by_role("group", name=f"Response {to}"))
        page.mouse.move(x, y, steps=4)
        page.mouse.move(x + 1, y)  # a hand is never still: what is under it is asked again once the list has moved
        expect(page.locator("[data-onto]")).to_have_attribute("data-place", to)
        page.mouse.up()
        expect(page.locator("#status")).to_have_text(f"{name} as good as {to}")
        expect(page.locator("[data-onto]")).to_have_count(0)

    drag("A", "C")
    drag("D", "B")
    page.keyboard.press("3")  # the only strength that is open
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    annotation = stored(site.session)[0]
    a, b, c, d = annotation.order_shown
    assert annotation.ranking == [[b, d], [c, a]]
    assert annotation.strengths == [3]


def test_a_submit_that_was_lost_is_sent_again_by_itself_and_counts_once(site: Site) -> None:
    page, _, _ = open_item(site)
    item = item_of(page)
    lost: list[object] = []

    def lose_the_answer(route: Route) -> None:
        if len(lost) == 3:
            route.continue_()
            return
        lost.append(route.fetch())  # the server hears it, the browser does not hear the server
        route.abort()

    page.route("**/submit", lose_the_answer)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator("#work-problem")).to_contain_text("Your judgement is sent again")
    expect(page.locator(f'#work[data-assignment="{item}"]')).to_have_count(0)
    assert len(lost) == 3
    assert len(stored(site.session)) == 1


def test_an_item_that_somebody_else_finished_leaves_the_text_on_the_page(site: Site) -> None:
    page, alice, batch = open_item(site, items=1)
    page.keyboard.press("c")
    page.keyboard.type("written with care")
    expect(page.locator("[data-save-state]")).to_have_text("Saved")
    service.release(site.session, alice, int(item_of(page)))
    site.session.commit()
    rita = make_user(site.session, name="Rita")
    assert service.next_assignment(site.session, rita, batch.id)
    site.session.commit()
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#work-problem")).to_contain_text("somebody else has finished this item")
    expect(page.get_by_label("Comment (optional)")).to_have_value("written with care")


def test_skipping_takes_a_reason_and_no_single_key(site: Site) -> None:
    page, _, _ = open_item(site)
    item = item_of(page)
    page.keyboard.press("s")
    assert item_of(page) == item
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    wait_for_next(page, item)
    site.session.rollback()
    reasons = site.session.scalars(select(Assignment.skip_reason).where(Assignment.skip_reason.is_not(None))).all()
    assert reasons == ["I do not know enough about this topic"]
    expect(page.locator("#status")).to_have_text("Skipped. Next item.")


def test_in_the_skip_panel_keys_are_not_about_the_responses(site: Site) -> None:
    page, _, _ = open_item(site)
    item = item_of(page)
    page.keyboard.press("2")
    page.keyboard.press("s")
    for key in ("7", "t", "u", "Control+Enter"):
        page.keyboard.press(key)
    expect(page.locator("[data-hint]")).to_have_text("Keys are about skipping here: Esc goes back to the responses")
    page.get_by_label("In your own words").press("Control+Enter")
    expect(page.locator('input[value="A3"]')).to_be_checked()
    assert item_of(page) == item
    assert stored(site.session) == []


def test_an_edit_of_the_draft_goes_along_however_fast_the_submit_is(site: Site) -> None:
    alice, batch = make_user(site.session), make_batch(site.session)
    held = make_assignment(site.session, alice, make_comparison(site.session, batch=batch))
    make_comparison(site.session, batch=batch)
    draft = Draft(outcome=Outcome.RANKED, ranking=[["B"], ["A"]], strengths=[2], edits={"B": "drafted with care"})
    service.save_draft(site.session, alice, held.id, draft, 0)
    site.session.commit()
    page = site.context(alice).new_page()
    late: list[Route] = []

    def hold(route: Route) -> None:
        late.append(route)

    page.route("**/annotate-edit.js*", hold)
    with page.expect_request("**/annotate-edit.js*"):
        page.goto(f"{site.url}/assignments/{held.id}")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#work-problem")).to_be_empty()
    assert stored(site.session) == []
    late[0].continue_()
    wait_for_next(page, str(held.id))
    assert stored(site.session)[0].edited_text == "drafted with care"


def test_back_and_forward_leave_a_page_that_works(site: Site) -> None:
    page, _, _ = open_item(site)
    item = item_of(page)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    wait_for_next(page, item)
    following = item_of(page)
    page.go_back()
    expect(page.get_by_role("heading", name="What you said")).to_be_visible()
    page.go_forward()
    expect(page.locator(f'#work[data-assignment="{following}"]')).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    wait_for_next(page, following)
    expect(page.locator("#status")).to_have_text("Recorded. Next item.")


def test_the_title_names_the_batch_of_the_item(site: Site) -> None:
    page, _, batch = open_item(site, items=1)
    other = make_batch(site.session, name="Another batch")
    make_comparison(site.session, batch=other)
    assert page.title() == f"{batch.name} · Corral"
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page).to_have_title("Another batch · Corral")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page).to_have_title("Annotate · Corral")
    expect(page.locator("#status")).to_have_text("Recorded. Nothing left for now.")


def test_eight_responses_are_ranked_by_keys_and_buttons(site: Site) -> None:
    page, _, _ = open_item(site, n=8)
    item = item_of(page)
    page.get_by_role("button", name="Move C up").click()
    page.get_by_role("button", name="Move C up").click()
    expect(page.locator("#status")).to_have_text("C moved to 1 of 8")
    page.get_by_role("group", name="Response C").focus()
    for strength in (1, 2, 3, 4, 1, 2, 3):
        for _ in range(strength):
            page.keyboard.press("+")
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    annotation = stored(site.session)[0]
    shown = dict(zip("ABCDEFGH", annotation.order_shown, strict=True))
    assert annotation.ranking == [[shown[name]] for name in "CABDEFGH"]
    assert annotation.strengths == [1, 2, 3, 4, 1, 2, 3]


def test_after_a_ranking_the_best_response_is_improved_with_its_changes_in_sight(site: Site) -> None:
    page, _, _ = open_item(site, n=3)
    item = item_of(page)
    page.keyboard.press("r")
    page.keyboard.type("bac11")
    expect(page.locator('[data-response="B"]')).to_have_attribute("data-chosen", "")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    field = page.get_by_label("Improved text")
    expect(field).to_be_focused()
    original = field.input_value()
    page.keyboard.press("Control+Home")
    page.keyboard.type("In short: ")
    expect(page.locator("[data-response=B] [data-improve-size]")).to_contain_text("2 words added to")
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    annotation = stored(site.session)[0]
    assert annotation.edited_text == f"In short: {original}"
    assert annotation.edited_candidate_id == annotation.order_shown[1]


def test_single_keys_can_be_turned_off(site: Site) -> None:
    page, _, _ = open_item(site)
    page.keyboard.press("?")
    page.get_by_role("checkbox").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    expect(page.locator("input[name=choice]:checked")).to_have_count(0)


def test_nothing_is_stored_while_nothing_was_judged(site: Site) -> None:
    page, _, _ = open_item(site)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#work-problem")).to_contain_text("First choose which response is better")
    site.session.rollback()
    assert site.session.scalar(select(func.count()).select_from(Annotation)) == 0
