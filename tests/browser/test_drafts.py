"""What Alice types is saved: while she goes on, when she leaves, in two windows, and when the network or her session ends."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Page, Request, Route, expect
from sqlalchemy import delete, select, update

from app.accounts.models import LoginSession
from app.annotations import service
from app.comparisons import seats
from app.comparisons.models import Assignment
from app.judgements.judgement import Draft
from app.kernel.settings import get_settings
from app.prompts.models import Batch, BatchState
from tests.browser.conftest import Site
from tests.browser.items import comment, comment_of_draft, item_of, open_item, stored, wait_for_next
from tests.factories import PASSWORD, make_user
from tests.patience import PATIENCE, eventually

pytestmark = [pytest.mark.browser]


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of four seconds."""
    settings = get_settings().model_copy(update={"assignment_lease": 4})
    monkeypatch.setattr(seats, "get_settings", lambda: settings)


def expect_saved(page: Page) -> None:
    expect(page.locator("[data-save-state]")).to_have_text("Saved")


def test_a_draft_saves_itself_and_is_there_after_a_reload(site: Site) -> None:
    page, _, _ = open_item(site)
    page.keyboard.press("3")
    page.keyboard.press("c")
    page.keyboard.type("because of the second line")
    expect_saved(page)
    page.reload()
    expect(page.get_by_label("Comment (optional)")).to_have_value("because of the second line")
    expect(page.locator('input[value="A2"]')).to_be_checked()


def test_two_windows_never_overwrite_each_other(site: Site) -> None:
    page, _, _ = open_item(site)
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_load_state("networkidle")
    other.keyboard.press("c")
    other.keyboard.type("from the other window")
    expect_saved(other)
    page.keyboard.press("c")
    page.keyboard.type("from this window")
    problem = page.locator("[data-problem=draft]")
    expect(problem).to_contain_text("from the other window")
    expect(problem).to_contain_text("from this window")
    page.get_by_role("button", name="Use this window").click()
    expect_saved(page)
    assert comment_of_draft(site.session) == "from this window"


def test_the_last_words_are_saved_on_leaving_the_page(site: Site) -> None:
    page, _, _ = open_item(site)
    comment(page, "last words")
    page.goto(f"{site.url}/")
    eventually(lambda: comment_of_draft(site.session) == "last words", PATIENCE, "the draft")


def test_the_last_words_are_saved_on_going_back(site: Site) -> None:
    page, _, _ = open_item(site)
    item = item_of(page)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    wait_for_next(page, item)
    comment(page, "last words")
    page.go_back()
    eventually(lambda: comment_of_draft(site.session) == "last words", PATIENCE, "the draft")


def test_leaving_asks_first_while_the_text_cannot_be_sent(site: Site) -> None:
    page, _, _ = open_item(site)
    page.route("**/draft", lambda route: route.abort())
    comment(page, "unsaved")
    expect(page.locator("[data-save-state]")).to_have_text("Not saved – retrying")
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()
    page.unroute("**/draft")
    expect(page.locator("[data-save-state]")).to_have_text("Saved")


def test_a_draft_whose_answer_was_lost_is_no_other_window(site: Site) -> None:
    page, _, _ = open_item(site)
    lost: list[object] = []

    def lose_the_first_answer(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.fetch())
        route.abort()

    page.route("**/draft", lose_the_first_answer)
    comment(page, "stored, ")
    expect(page.locator("[data-save-state]")).to_have_text("Not saved – retrying")
    comment(page, "and more")
    expect(page.locator("[data-save-state]")).to_have_text("Saved")
    expect(page.locator("[data-problem=draft]")).to_be_empty()
    assert comment_of_draft(site.session) == "stored, and more"


def test_after_a_refused_submit_saving_goes_on(site: Site) -> None:
    page, _, _ = open_item(site)
    site.session.execute(update(Batch).values(state=BatchState.PAUSED))
    site.session.commit()
    comment(page, "kept")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#work-problem")).to_contain_text("This batch is paused")
    comment(page, " and more")
    expect_saved(page)
    expect(page.locator("[data-problem=draft]")).to_be_empty()
    assert comment_of_draft(site.session) == "kept and more"


def test_a_text_that_is_too_long_is_saved_as_soon_as_it_is_shorter(site: Site) -> None:
    page, _, _ = open_item(site)
    page.keyboard.press("2")
    page.keyboard.press("e")
    field = page.get_by_label("Improved text")
    field.fill("x" * 200_001)
    expect(page.locator("[data-problem=draft]")).to_contain_text("The draft is not saved")
    expect(page.locator("[data-save-state]")).to_have_text("Not saved")
    field.fill("shorter")
    expect_saved(page)
    expect(page.locator("[data-problem=draft]")).to_be_empty()


def test_a_session_that_ends_costs_no_text(site: Site) -> None:
    page, alice, _ = open_item(site)
    item = item_of(page)
    comment(page, "written with care")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    site.session.execute(delete(LoginSession))
    site.session.commit()
    page.keyboard.press("Control+Enter")
    dialog = page.locator("#sign-in")
    expect(dialog.get_by_label("Password")).to_be_focused()
    page.keyboard.type("not this one")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("is wrong")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    wait_for_next(page, item)  # what was refused is sent again by itself
    annotation = stored(site.session)[0]
    assert (annotation.comment, annotation.strengths) == ("written with care", [3])
    assert annotation.annotator_id == alice.id


def test_what_was_typed_while_the_network_was_away_survives_a_closed_page(site: Site) -> None:
    page, _, _ = open_item(site)
    url = page.url
    page.route("**/draft", lambda route: route.abort())
    comment(page, "written in a tunnel")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    expect(page.locator("[data-save-state]")).to_have_attribute("data-state", "failed")
    context = page.context
    page.close(run_before_unload=False)
    again = context.new_page()
    again.goto(url)
    expect(again.get_by_label("Comment (optional)")).to_have_value("written in a tunnel")
    expect(again.locator('input[value="A3"]')).to_be_checked()
    assert comment_of_draft(site.session) == "written in a tunnel"
    assert again.evaluate("Object.keys(localStorage).filter(key => key.startsWith('unsaved:')).length") == 0


def test_unsaved_text_is_shown_beside_something_newer(site: Site) -> None:
    page, alice, _ = open_item(site)
    url, item, context = page.url, item_of(page), page.context
    context.set_offline(True)
    comment(page, "written in a tunnel")
    page.close(run_before_unload=False)
    context.set_offline(False)
    service.save_draft(site.session, alice, int(item), Draft(comment="from elsewhere"), 0)
    site.session.commit()
    again = context.new_page()
    again.goto(url)
    expect(again.locator("[data-problem=draft] pre")).to_have_text("written in a tunnel")
    expect(again.get_by_label("Comment (optional)")).to_have_value("from elsewhere")
    assert comment_of_draft(site.session) == "from elsewhere"


def test_what_waits_for_the_network_is_said_and_sent_when_it_is_back(site: Site) -> None:
    page, _, _ = open_item(site)
    line = page.locator("[data-save-state]")
    page.context.set_offline(True)
    expect(line).to_have_text("Offline: 0 waiting")
    comment(page, "written in a tunnel")
    expect(line).to_have_text("Offline: 1 waiting")
    page.context.set_offline(False)
    expect_saved(page)
    assert comment_of_draft(site.session) == "written in a tunnel"


def test_a_judgement_made_offline_is_sent_when_the_network_is_back(site: Site) -> None:
    page, _, _ = open_item(site)
    item = item_of(page)
    line = page.locator("[data-save-state]")
    page.context.set_offline(True)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator("[data-problem=submit]")).to_contain_text("Your judgement is sent again")
    expect(line).to_have_text("Offline: 1 waiting")  # the draft goes along with it
    page.context.set_offline(False)
    wait_for_next(page, item)
    assert len(stored(site.session)) == 1
    page.keyboard.press("1")
    page.keyboard.press("e")
    expect(page.get_by_label("Improved text")).to_be_focused()


def test_the_editor_comes_when_the_network_is_back(site: Site) -> None:
    page, _, _ = open_item(site)
    page.context.set_offline(True)
    page.keyboard.press("2")
    expect(page.locator("[data-save-state]")).to_have_text("Offline: 1 waiting")
    page.context.set_offline(False)
    expect(page.get_by_label("Improved text")).not_to_have_value("")
    expect(page.locator("[data-problem=submit]")).to_be_empty()


def test_an_editor_that_did_not_load_is_asked_for_again(site: Site) -> None:
    page, _, _ = open_item(site)
    page.route("**/annotate-edit.js*", lambda route: route.abort(), times=1)
    page.keyboard.press("2")
    expect(page.get_by_label("Improved text")).not_to_have_value("")
    expect(page.locator("[data-problem=submit]")).to_be_empty()


def test_a_draft_that_is_refused_offers_to_sign_in_in_place(site: Site) -> None:
    page, _, _ = open_item(site)
    site.session.execute(delete(LoginSession))
    site.session.commit()
    comment(page, "written with care")
    page.get_by_role("button", name="Sign in here").click()
    expect(page.locator("#sign-in").get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect_saved(page)
    assert comment_of_draft(site.session) == "written with care"


def test_a_skip_survives_a_lost_network_and_a_session_that_ends(site: Site) -> None:
    page, _, _ = open_item(site)
    item = item_of(page)
    site.session.execute(delete(LoginSession))
    site.session.commit()
    page.route("**/skip", lambda route: route.abort(), times=1)
    page.keyboard.press("s")
    page.get_by_label("In your own words").fill("not my language")
    page.keyboard.press("Enter")
    expect(page.locator("[data-problem=submit]")).to_contain_text("sent again")
    expect(page.locator("#sign-in").get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    wait_for_next(page, item)
    site.session.rollback()
    assert (
        site.session.scalars(select(Assignment.skip_reason).where(Assignment.id == int(item))).one()
        == "not my language"
    )


@pytest.mark.usefixtures("short_lease")
def test_a_lease_that_ends_warns_and_a_key_keeps_the_item(site: Site) -> None:
    page, _, _ = open_item(site)
    warning = page.locator("[data-problem=lease]")
    expect(warning).to_contain_text("will soon be released to others")
    before = site.session.scalars(select(Assignment.lease_until)).one()
    page.keyboard.press("g")
    expect(warning).to_be_empty()
    site.session.rollback()
    assert site.session.scalars(select(Assignment.lease_until)).one() > before


@pytest.mark.usefixtures("short_lease")
def test_a_warning_leaves_two_drafts_standing(site: Site) -> None:
    page, alice, _ = open_item(site)
    held = service.next_assignment(site.session, alice)
    assert held is not None
    service.save_draft(site.session, alice, held.id, Draft(comment="elsewhere"), 0)
    site.session.commit()
    comment(page, "here")
    both = page.get_by_role("button", name="Use this window")
    expect(both).to_be_visible()
    page.evaluate("Date.now = ((now) => () => now() + 3600000)(Date.now)")  # an hour passes and nobody touches anything
    expect(page.locator("[data-problem=lease]")).to_contain_text("will soon be released to others")
    expect(both).to_be_visible()


@pytest.mark.usefixtures("short_lease")
def test_a_seat_that_was_taken_is_said_and_the_text_is_still_saved(site: Site) -> None:
    page, alice, batch = open_item(site, items=1)
    service.release(site.session, alice, int(item_of(page)))
    assert service.next_assignment(site.session, make_user(site.session, name="Rita"), batch.id)
    site.session.commit()
    comment(page, "too late")
    expect(page.locator("[data-problem=lease]")).to_contain_text("somebody else has finished")
    comment(page, ", but kept")
    expect_saved(page)
    eventually(lambda: comment_of_draft(site.session) == "too late, but kept", PATIENCE, "the draft")


@pytest.mark.parametrize(("n", "keys"), [(2, ["3"]), (3, ["r", *"bca=2", "Escape"])])
def test_what_is_submitted_is_the_draft_that_is_saved(site: Site, n: int, keys: list[str]) -> None:
    page, _, _ = open_item(site, n)
    item, saved, submitted = item_of(page), list[Any](), list[dict[str, list[str]]]()

    def note(request: Request) -> None:
        if request.url.endswith("/draft") and request.method == "PUT":
            saved.append(json.loads(request.post_data or "")["draft"])
        elif request.url.endswith("/submit"):
            submitted.append(parse_qs(request.post_data or "", keep_blank_values=True))

    page.on("request", note)
    for key in keys:
        page.keyboard.press(key)
    comment(page, "because of the second line")
    expect_saved(page)
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    page.remove_listener("request", note)
    assert len(submitted) == 1
    assert set(submitted[0]) == {"fencing_token", "key", "draft_version", "judgement"}, "and no second form"
    sent = json.loads(submitted[0]["judgement"][0])
    assert sent | {"active_seconds": 0} == saved[-1] | {"active_seconds": 0}
    assert sent["outcome"] == "ranked"
