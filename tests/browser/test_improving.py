"""Alice improves the chosen response in its card, by hand or by the model, which writes in the place of the text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect
from sqlalchemy import select

from app.annotations.models import Revision
from app.judgements.vocabulary import EditSource
from app.kernel.settings import Settings, get_settings
from app.registry.models import LoadState
from tests.browser.conftest import Site
from tests.browser.hand import Hand
from tests.browser.items import item_of, open_item, stored, wait_for_next
from tests.browser.revising import PLACE, REVISED, TEXT, ask, open_chosen, open_moon, pane, written
from tests.browser.test_acts import BOXES
from tests.browser.test_reading import open_texts
from tests.browser.test_typing import press
from tests.engine_faults import Mode
from tests.factories import make_deployment
from tests.fake_engine import FakeEngine
from tests.generating import settings_for, tiny_engine
from tests.patience import PATIENCE

pytestmark = [pytest.mark.browser]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with tiny_engine(tmp_path).running() as engine:
        engine.word_delay = 0.01
        yield engine


@pytest.fixture
def settings(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    assert fake.model is not None
    yield settings_for(monkeypatch, fake.url, fake.model, engine_timeout=60)
    monkeypatch.undo()
    get_settings.cache_clear()


def test_the_card_becomes_its_editor_and_the_other_text_does_not_move(site: Site) -> None:
    page = open_moon(site)
    hand = Hand(page)
    item, before = item_of(page), page.evaluate(BOXES)
    chosen, other = page.locator("[data-response=A]"), page.locator("[data-response=B] .response__text")
    place, aside = chosen.evaluate(PLACE), other.bounding_box()
    hand.press("2")
    expect(page.locator("[data-improve-open]")).to_be_visible()
    assert page.evaluate(BOXES) == before, "choosing moves nothing"
    hand.press("e")
    field = page.get_by_label("Improved text")
    expect(field).to_be_focused()
    expect(field).to_have_value(TEXT)
    expect(chosen.locator(".response__text")).to_be_hidden()
    assert chosen.evaluate(PLACE) == pytest.approx(place, abs=1)
    assert other.bounding_box() == aside
    page.keyboard.type("So: ")
    expect(page.locator("[data-improve-size]")).to_have_text("1 word added to 45")
    hand.press("Control+Enter")
    wait_for_next(page, item)
    assert stored(site.session)[0].edited_text == f"So: {TEXT}"
    assert hand.acts == 3, "two of them judge"


def test_changes_and_preview_stand_where_the_text_stands(site: Site) -> None:
    page = open_moon(site)
    card, place = page.locator("[data-response=A]"), page.locator("[data-response=A]").evaluate(PLACE)
    page.keyboard.press("2")
    page.keyboard.press("v")
    expect(pane(page)).to_have_text("No changes yet.")
    page.keyboard.press("e")
    page.keyboard.type("So: ")
    page.keyboard.press("Escape")
    expect(page.locator("input[value=A3]")).to_be_focused()
    page.keyboard.press("v")
    expect(pane(page).locator("ins")).to_have_text("So:")
    assert card.evaluate(PLACE) == pytest.approx(place, abs=1)
    page.keyboard.press("v")
    expect(page.get_by_label("Improved text")).to_be_visible()
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("region", name="Preview")).to_contain_text("So: The near side")
    assert card.evaluate(PLACE) == pytest.approx(place, abs=1)
    page.keyboard.press("Escape")
    expect(page.get_by_label("Improved text")).to_be_focused()


def test_an_editor_without_changes_closes_and_an_edit_stays_in_its_card(site: Site) -> None:
    page = open_moon(site)
    chosen, other = page.locator("[data-response=A]"), page.locator("[data-response=B]")
    page.keyboard.press("2")
    page.keyboard.press("e")
    page.keyboard.press("Escape")
    expect(chosen.locator(".response__text")).to_be_visible()
    page.keyboard.press("e")
    page.keyboard.type("So: ")
    page.keyboard.press("Escape")
    expect(chosen.get_by_label("Improved text")).to_be_visible()
    page.keyboard.press("8")
    expect(chosen.locator("[data-edit-kept]")).to_have_text("your edit is kept")
    expect(chosen.locator(".response__text")).to_be_visible()
    expect(other.locator("[data-improve-open]")).to_be_visible()
    page.keyboard.press("t")
    expect(other.locator("[data-improve-open]")).to_have_count(1)
    expect(page.locator("[data-improve]")).to_be_hidden()
    expect(page.locator("[data-save-state]")).to_have_text("Saved")
    page.reload()
    page.wait_for_load_state("networkidle")
    page.keyboard.press("2")
    expect(chosen.get_by_label("Improved text")).to_have_value(f"So: {TEXT}")
    expect(chosen.locator("[data-edit-kept]")).to_have_count(0)


@pytest.mark.parametrize(
    ("text", "typed", "size"),
    [
        ("月球引起潮汐。每天两次。", "简而言之，", "4 characters added to 10"),
        ("القمر يسبب المد والجزر مرتين كل يوم.", "باختصار: ", "1 word added to 7"),
    ],
    ids=["Chinese", "Arabic"],
)
def test_any_script_is_edited_in_its_own_direction(site: Site, text: str, typed: str, size: str) -> None:
    page = open_texts(site, text, "Tides.")
    item, before = item_of(page), page.evaluate(BOXES)
    page.keyboard.press("2")
    page.keyboard.press("e")
    field = page.get_by_label("Improved text")
    expect(field).to_be_focused()
    for state in ({"isComposing": True}, {"keyCode": 229}):
        press(page, "Escape", **state)
        press(page, "Enter", ctrlKey=True, **state)
        expect(field).to_be_focused()
    page.keyboard.insert_text(typed)
    expect(page.locator("[data-improve-size]")).to_have_text(size)
    assert page.evaluate(BOXES)[1] == before[1]
    direction = "rtl" if typed.startswith("ب") else "ltr"
    assert field.evaluate("(each) => each.matches(':dir(rtl)') ? 'rtl' : 'ltr'") == direction
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    assert stored(site.session)[0].edited_text == f"{typed}{text}"


def test_nothing_to_improve_closes_the_editor_and_an_edit_takes_it_back(site: Site) -> None:
    page = open_moon(site)
    page.keyboard.press("2")
    page.keyboard.press("e")
    page.keyboard.type("So: ")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.locator("[data-response=A] .response__text")).to_be_visible()
    expect(page.locator("[data-nothing]")).to_be_checked()
    page.keyboard.press("e")
    page.get_by_role("button", name="Restore my changes").click()
    expect(page.get_by_label("Improved text")).to_have_value(f"So: {TEXT}")
    expect(page.locator("[data-nothing]")).not_to_be_checked()


def test_a_revision_comes_in_the_place_of_the_text_and_enter_takes_it(
    site: Site, settings: Settings, fake: FakeEngine
) -> None:
    fake.answers["Please revise"] = [REVISED]
    fake.held_after = 20
    page = open_moon(site)
    hand = Hand(page)
    item, card = item_of(page), page.locator("[data-response=A]")
    place, aside = card.evaluate(PLACE), page.locator("[data-response=B] .response__text").bounding_box()
    page.keyboard.press("2")
    hand.press("m")
    page.keyboard.type("Say than what.")
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        hand.press("Enter")
    writing = written(site.session, settings)
    expect(pane(page).locator("ins").first).to_have_text("than that")
    expect(pane(page)).to_be_focused()
    expect(pane(page).locator("del")).to_have_count(0)  # what is not written yet is not taken away
    assert card.evaluate(PLACE) == pytest.approx(place, abs=1)
    assert page.locator("[data-response=B] .response__text").bounding_box() == aside
    page.keyboard.press("Enter")
    expect(page.locator("[data-hint]")).to_contain_text("still being written")
    fake.go_on()
    writing.result(PATIENCE)
    expect(page.locator("[data-revise-state]")).to_have_text("6 words added to 45")
    hand.press("Enter")
    expect(page.get_by_label("Improved text")).to_have_value(REVISED)
    expect(page.locator("input[value=A3]")).to_be_focused()
    assert hand.acts == 3, "beside the feedback"
    page.keyboard.press("Enter")
    wait_for_next(page, item)
    [said] = stored(site.session)
    revision = site.session.scalars(select(Revision)).one()
    assert (said.edit_source, said.revision_id) == (EditSource.REVISION, revision.id)
    assert revision.feedback == "Say than what."
    assert said.edited_text == REVISED


def test_a_revision_that_is_not_taken_leaves_what_was_there(site: Site, settings: Settings, fake: FakeEngine) -> None:
    fake.answers["Please revise"] = [REVISED]
    page = open_moon(site)
    page.keyboard.press("2")
    page.keyboard.press("e")
    page.keyboard.type("So: ")
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    ask(page, "Shorter.")
    written(site.session, settings).result(PATIENCE)
    expect(page.get_by_role("button", name="Accept")).to_be_visible()
    page.keyboard.press("n")
    expect(page.locator("[data-nothing]")).not_to_be_checked()
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-problem=submit]")).to_contain_text("Enter accepts it, Esc goes back")
    expect(pane(page)).to_be_focused()
    page.keyboard.press("Escape")
    field = page.get_by_label("Improved text")
    expect(field).to_have_value(f"So: {TEXT}")
    expect(page.get_by_label("What should change?")).to_be_focused()
    expect(page.get_by_label("What should change?")).to_have_value("Shorter.")
    page.get_by_role("button", name="Show the revision: Shorter.").click()
    expect(pane(page)).to_be_focused()
    page.keyboard.press("8")  # chosen is the other one: the revision waits at its own
    expect(page.locator("[data-response=A] .response__text")).to_be_visible()
    page.keyboard.press("2")
    expect(pane(page).locator("ins").first).to_be_visible()
    page.get_by_role("button", name="Accept").click()
    expect(field).to_have_value(REVISED)
    page.get_by_role("button", name="Restore my changes").click()
    expect(field).to_have_value(f"So: {TEXT}")


def test_a_page_that_goes_in_the_middle_of_a_revision_loses_nothing(
    site: Site, settings: Settings, fake: FakeEngine
) -> None:
    fake.answers["Please revise"] = [REVISED]
    fake.held_after = 20
    page = open_moon(site)
    page.keyboard.press("2")
    page.keyboard.press("e")
    page.keyboard.type("So: ")
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    ask(page, "Say than what.")
    writing = written(site.session, settings)
    expect(pane(page).locator("ins").first).to_be_visible()
    expect(page.locator("[data-save-state]")).to_have_text("Saved")
    page.reload()
    page.wait_for_load_state("networkidle")
    field = page.get_by_label("Improved text")
    expect(field).to_have_value(f"So: {TEXT}")
    page.keyboard.press("m")
    expect(pane(page)).to_contain_text("The near side")  # what was written by then comes again
    expect(pane(page)).to_be_focused()
    page.keyboard.press("Escape")
    expect(field).to_have_value(f"So: {TEXT}")
    fake.go_on()
    writing.result(PATIENCE)
    expect(field).to_have_value(f"So: {TEXT}")


def test_a_revision_whose_connection_breaks_keeps_what_it_has_shown(
    site: Site, settings: Settings, fake: FakeEngine
) -> None:
    fake.answers["Please revise"] = [REVISED]
    page = open_moon(site)
    events: list[Route] = []

    def first_part(route: Route) -> None:
        events.append(route)
        if len(events) > 1:
            route.continue_()
            return
        said = 'event: text\ndata: {"text": "The near side of the Earth"}\n\n'
        route.fulfill(body=f"retry: 1\n{said}", content_type="text/event-stream")

    page.route("**/live/*/events", first_part)
    page.keyboard.press("2")
    page.keyboard.press("m")
    ask(page, "Say than what.")
    expect(pane(page)).to_contain_text("The near side of the Earth")
    expect(page.get_by_label("Improved text")).to_have_value(TEXT)
    written(site.session, settings).result(PATIENCE)
    expect(page.locator("[data-revise-state]")).to_have_text("6 words added to 45")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Improved text")).to_have_value(REVISED)


def test_a_revision_survives_a_reload_and_is_adjusted(site: Site, settings: Settings) -> None:
    page = open_chosen(site)
    item = item_of(page)
    ask(page, "Shorter.")
    expect(page.locator("[data-save-state]")).to_contain_text("Saved")
    page.reload()
    page.locator("[data-improve-open]").wait_for()
    page.keyboard.press("m")
    written(site.session, settings).result(PATIENCE)
    expect(page.get_by_role("button", name="Adjust")).to_be_visible()
    page.keyboard.press("e")
    expect(page.locator(".improve__text")).to_be_focused()
    page.keyboard.press("Control+Home")
    page.keyboard.type("In short: ")
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    assert stored(site.session)[0].edit_source is EditSource.ADJUSTED


def test_a_revision_by_touch_is_brought_into_sight(site: Site, settings: Settings, fake: FakeEngine) -> None:
    fake.answers["Please revise"] = [REVISED]
    page = open_moon(site, width=390, has_touch=True)
    item = item_of(page)
    page.locator("label:has(input[value=A4])").tap()
    page.get_by_role("button", name="Improve", exact=True).tap()
    page.get_by_text("Ask the model to revise it").tap()
    page.get_by_label("What should change?").fill("Say than what.")
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.get_by_role("button", name="Ask for a revision").tap()
    written(site.session, settings).result(PATIENCE)
    expect(pane(page).locator("ins").first).to_be_in_viewport()
    page.get_by_role("button", name="Accept").tap()
    expect(page.get_by_label("Improved text")).to_have_value(REVISED)
    page.get_by_role("button", name="Submit").tap()
    wait_for_next(page, item)
    assert stored(site.session)[0].edited_text == REVISED


def test_a_revision_that_fails_says_so_and_can_be_tried_again(site: Site, settings: Settings, fake: FakeEngine) -> None:
    page = open_chosen(site)
    fake.fault(Mode.ERROR, match="Please revise", times=1)
    ask(page, "Shorter.")
    written(site.session, settings).result(PATIENCE)
    expect(page.locator("[data-revise-state]")).to_contain_text("could not be generated")
    ask(page, "Shorter.")
    written(site.session, settings).result(PATIENCE)
    expect(page.get_by_role("button", name="Accept")).to_be_visible()


def test_an_improved_text_is_previewed_and_can_do_nothing(site: Site) -> None:
    page, _, _ = open_item(site)
    page.keyboard.press("1")
    page.keyboard.press("e")
    field = page.locator(".improve__text")
    field.fill("It is **three**.\n\n<img src=x onerror=alert(1)>")
    page.get_by_role("button", name="Preview").click()
    shown = page.get_by_role("region", name="Preview")
    expect(shown.locator("strong")).to_have_text("three")
    expect(shown.locator("img")).to_have_count(0)
    page.get_by_role("button", name="Preview").click()
    field.fill("It is *four*.")
    page.get_by_role("button", name="Preview").click()
    expect(shown.locator("em")).to_have_text("four")
    page.get_by_role("button", name="Changes", exact=True).click()
    expect(page.get_by_role("region", name="Changes").locator("ins").first).to_be_visible()


def test_without_a_model_the_page_says_what_to_do(site: Site) -> None:
    page, _, _ = open_item(site)
    page.keyboard.press("1")
    make_deployment(site.session).load_state = LoadState.PENDING
    site.session.commit()
    page.keyboard.press("m")
    page.get_by_label("What should change?").fill("Shorter.")
    for state in ({"isComposing": True}, {"keyCode": 229}):
        press(page, "Enter", **state)
    expect(page.locator("[data-revise-state]")).to_have_text("")
    page.get_by_role("button", name="Ask for a revision").click()
    expect(page.locator("[data-revise-state]")).to_contain_text("edit the text yourself")
