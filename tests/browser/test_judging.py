"""Alice says more than a place: ratings, flags, marked passages, other layouts, her own keys, and what she takes back."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from app.accounts.models import User
from app.annotations.keys import ACTIONS, FIXED, Action, Fixed, Where
from app.judgements.vocabulary import EditPolicy
from app.prompts.models import Batch
from tests.browser.conftest import Site
from tests.browser.items import item_of, open_item, stored, wait_for_next
from tests.factories import make_batch, make_comparison

pytestmark = [pytest.mark.browser]

ASKED = [{"name": "helpful", "label": "Helpful", "scale": ["no", "partly", "yes"]}]


def reload(page: Page) -> None:
    page.reload()
    page.wait_for_load_state("networkidle")


def set_batch(site: Site, batch: Batch, **values: object) -> None:
    row = site.session.get_one(Batch, batch.id)
    for name, value in values.items():
        setattr(row, name, value)
    site.session.commit()


def test_ratings_and_flags_by_keys_alone(site: Site) -> None:
    page, _, batch = open_item(site)
    set_batch(site, batch, attributes=ASKED)
    reload(page)
    item = item_of(page)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator("#work-problem, [data-problem=submit]").first).to_contain_text("Rate every response")
    for _ in "AB":
        page.keyboard.press("a")
        page.keyboard.press("ArrowRight")  # from the first step to the second, which is thereby chosen
    page.keyboard.press("f")
    page.keyboard.press("Space")
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    [said] = stored(site.session)
    first, second = (str(each) for each in said.order_shown)
    assert said.attributes == {first: {"helpful": 2}, second: {"helpful": 2}}
    assert said.flags == {first: ["unsafe"]}


def test_ratings_are_in_the_draft(site: Site) -> None:
    page, _, batch = open_item(site)
    set_batch(site, batch, attributes=ASKED)
    reload(page)
    page.locator('[name="attribute.B.helpful"]').nth(2).check()
    expect(page.locator("[data-save-state]")).to_contain_text("Saved")
    reload(page)
    expect(page.locator('[name="attribute.B.helpful"]').nth(2)).to_be_checked()


def test_a_passage_is_marked_by_keys_alone(site: Site) -> None:
    page, _, _ = open_item(site)
    item = item_of(page)
    page.keyboard.press("h")
    expect(page.locator("[data-response=A] .response__text")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("1")
    expect(page.locator("[data-mark-said]")).to_have_text("False")
    page.keyboard.press("k")
    page.keyboard.type("not so")
    page.keyboard.press("Enter")
    expect(page.locator("[data-mark-bar]")).to_be_hidden()
    expect(page.locator("[data-marks=A] mark")).to_have_text("Answer")
    expect(page.locator("[data-save-state]")).to_contain_text("Saved")
    reload(page)
    expect(page.locator("[data-marks=A]")).to_contain_text("False: not so")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    wait_for_next(page, item)
    [said] = stored(site.session)
    assert said.spans == [
        {"candidate_id": said.order_shown[0], "start": 0, "end": 6, "label": "false", "note": "not so"}
    ]


def test_a_note_is_whole_however_slowly_its_field_opens(site: Site) -> None:
    page, _, _ = open_item(site)
    page.keyboard.press("h")
    expect(page.locator("[data-response=A] .response__text")).to_be_focused()
    page.keyboard.press("1")
    expect(page.locator("[data-mark-said]")).to_have_text("False")
    page.evaluate("corralKeys.hold()")
    page.keyboard.press("k")
    page.keyboard.type("not so")
    page.keyboard.press("Enter")
    page.evaluate("corralKeys.release()")
    expect(page.locator("[data-marks=A]")).to_contain_text("False: not so")
    expect(page.locator("[data-mark-bar]")).to_be_hidden()
    expect(page.locator("[data-response=A] .response__text")).to_be_focused()


def test_a_layout_is_remembered_and_one_response_is_flipped(site: Site) -> None:
    page, alice, _ = open_item(site, 3)
    with page.expect_response("**/preferences/display"):
        page.keyboard.press("]")
    expect(page.locator('[data-response="B"]')).to_be_visible()
    expect(page.locator('[data-response="A"]')).to_be_hidden()
    page.keyboard.press("[")
    expect(page.locator('[data-response="A"]')).to_be_visible()
    with page.expect_response("**/preferences/display"):
        page.get_by_role("button", name="Stacked").click()
    reload(page)
    expect(page.locator("#work")).to_have_attribute("data-layout", "stacked")
    site.session.expire_all()
    assert site.session.get_one(User, alice.id).preferences["layout"] == "stacked"


def test_a_text_is_shown_as_written_and_compared(site: Site) -> None:
    page, _, _ = open_item(site)
    page.keyboard.press("w")
    expect(page.locator('[data-response="A"] .response__raw')).to_be_visible()
    page.keyboard.press("d")
    expect(page.locator("[data-difference] ins").first).to_be_visible()
    expect(page.locator("[data-difference] del").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#differences")).to_be_hidden()


def test_an_order_that_was_never_touched_is_asked_about(site: Site) -> None:
    page, _, _ = open_item(site, 3)
    item = item_of(page)
    page.keyboard.type("22")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Is that your ranking?")).to_be_visible()
    page.get_by_role("button", name="No, keep ranking").click()
    expect(page.locator("#order")).to_be_hidden()
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Yes, submit").click()
    wait_for_next(page, item)
    assert len(stored(site.session)) == 1


def test_what_was_submitted_is_taken_back_by_one_key(site: Site) -> None:
    page, _, _ = open_item(site)
    item = item_of(page)
    page.keyboard.press("2")
    page.keyboard.press("c")
    page.keyboard.type("in haste")
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    page.keyboard.press("z")
    expect(page.locator(f'#work[data-assignment="{item}"]')).to_be_visible()
    expect(page.locator("#comment")).to_have_value("in haste")
    expect(page.locator("input[value=A3]")).to_be_checked()
    page.keyboard.press("7")
    page.keyboard.press("Enter")
    wait_for_next(page, item)
    first, second = stored(site.session)
    assert first.withdrawn_at is not None
    assert second.ranking[0] == [second.order_shown[1]]


def test_keys_that_come_before_the_scripts_still_count(site: Site) -> None:
    page, _, _ = open_item(site)
    url = page.url

    def late(route: Route) -> None:
        page.wait_for_timeout(600)
        route.continue_()

    page.route("**/js/annotate.js*", late)
    page.goto(url, wait_until="commit")
    page.locator("[data-response=A]").wait_for()
    page.keyboard.press("1")
    page.keyboard.press("e")
    expect(page.locator(".improve__text")).to_be_focused()
    expect(page.locator("input[value=A4]")).to_be_checked()


def test_the_last_item_can_be_taken_back_too(site: Site) -> None:
    page, _, _ = open_item(site, items=1)
    item = item_of(page)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Nothing left to annotate")).to_be_visible()
    expect(page.locator("[data-undo] kbd")).to_have_text("z")
    page.keyboard.press("z")
    expect(page.locator(f'#work[data-assignment="{item}"]')).to_be_visible()
    assert stored(site.session)[0].withdrawn_at is not None


@pytest.mark.parametrize("window", [(1280, 860), (1920, 1080), (800, 600)], ids=str)
def test_taking_back_is_within_reach_of_the_mouse(site: Site, window: tuple[int, int]) -> None:
    page, _, _ = open_item(site, items=2)
    page.set_viewport_size({"width": window[0], "height": window[1]})
    item = item_of(page)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.locator("[data-undo] button").click(timeout=5000)  # refused by the browser where something lies over it
    expect(page.locator(f'#work[data-assignment="{item}"]')).to_be_visible()


def test_a_submitted_item_is_corrected_from_the_queue(site: Site) -> None:
    page, _, _ = open_item(site)
    item = item_of(page)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    wait_for_next(page, item)
    page.goto(f"{site.url}/assignments/{item}?correct=1")
    page.wait_for_load_state("networkidle")
    expect(page.locator("#work-title")).to_have_text("Correct your judgement")
    page.keyboard.press("8")
    page.keyboard.press("Enter")
    page.wait_for_url("**/queues/submitted")
    first, second = stored(site.session)
    assert (first.superseded_by_id, second.strengths) == (second.id, [4])


def test_nothing_to_improve_is_an_act_where_an_edit_is_asked_for(site: Site) -> None:
    page, _, batch = open_item(site)
    set_batch(site, batch, edit_policy=EditPolicy.REQUIRED)
    reload(page)
    item = item_of(page)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator("[data-problem=submit]")).to_contain_text("requires an improved text")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    assert stored(site.session)[0].nothing_to_improve


def test_a_key_that_was_changed_works_and_the_old_one_does_not(site: Site) -> None:
    page, _, _ = open_item(site)
    url = page.url
    page.goto(f"{site.url}/profile/keys")
    page.get_by_label("equally good", exact=True).fill("u")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("already does something else").first).to_be_visible()
    page.get_by_label("equally good", exact=True).fill("q")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Keyboard shortcuts saved")).to_be_visible()
    page.goto(url)
    page.wait_for_load_state("networkidle")
    expect(page.locator("label:has(input[value=tie]) kbd")).to_have_text("q")
    page.keyboard.press("t")
    expect(page.locator("input[value=tie]")).not_to_be_checked()
    page.keyboard.press("q")
    expect(page.locator("input[value=tie]")).to_be_checked()


def test_the_sheet_lists_every_key_of_the_item_on_the_page(site: Site) -> None:
    page, _, _ = open_item(site, items=1)
    item = item_of(page)
    make_comparison(site.session, n=3, batch=make_batch(site.session, candidates_per_prompt=3))
    sheet = page.locator(".keys__list > dt[data-where]")

    def listed(*where: Where) -> list[str]:
        every: list[Action | Fixed] = [*ACTIONS, *FIXED]
        rating = {"attributes", "1 … 7"}  # neither batch asks for one
        return [
            each.key for each in every if each.where in where and not rating & {each.key, getattr(each, "name", "")}
        ]

    page.set_viewport_size({"width": 800, "height": 400})
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys", exact=True)).to_be_in_viewport()
    expect(sheet.filter(visible=True)).to_have_text(listed(Where.ALL, Where.COMPARED, Where.PAIR))
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    wait_for_next(page, item)
    page.keyboard.press("?")
    expect(sheet.filter(visible=True)).to_have_text(listed(Where.ALL, Where.COMPARED, Where.RANKED))
