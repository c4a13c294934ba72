"""A batch that is assigned to a team is made in steps, by keyboard, beside a page that shows what people will see."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import func, select

from app.accounts import teams
from app.accounts.models import Role, Team
from app.batches.assigning import of_batch
from app.prompts.models import Batch, Upload
from tests.browser.conftest import Site
from tests.browser.hand import Hand
from tests.browser.test_boxes import FOUND
from tests.factories import current_round, make_user

pytestmark = [pytest.mark.browser]


def opened(site: Site, **options: object) -> tuple[Page, Team]:
    bob, alice = make_user(site.session, Role.ADMIN, "Bob"), make_user(site.session)
    current_round(site.session)
    night = teams.create(site.session, bob, "Night shift", [alice.id])
    site.session.commit()
    page = site.context(bob, **options).new_page()
    page.goto(f"{site.url}/batches/new")
    page.wait_for_load_state("networkidle")
    return page, night


def index_of(page: Page) -> Locator:
    return page.get_by_role("navigation", name="Steps", exact=True)


def test_an_assigned_batch_is_made_by_keyboard_through_the_steps(site: Site) -> None:
    page, night = opened(site)
    hand, seen = Hand(page), page.frame_locator(".look__page")
    expect(page.locator("#look")).to_contain_text("an example of ours")
    expect(seen.locator(".prompt")).to_contain_text("the year 1900")

    page.get_by_label("Or prompts as text").focus()
    page.keyboard.type("Why is the sky blue?\nWhere is Ulm?")
    expect(seen.locator(".prompt")).to_contain_text("Why is the sky blue?")
    expect(page.locator("#look")).to_contain_text("The first of your prompts")
    page.get_by_role("link", name="Next: What people do").press("Enter")
    expect(page.get_by_role("heading", name="2. What people do")).to_be_focused()
    expect(page.get_by_label("Or prompts as text")).to_be_hidden()

    page.get_by_label("Name", exact=True).focus()
    page.keyboard.type("Blue")
    page.get_by_label("Responses per prompt").fill("3")
    expect(seen.locator(".response")).to_have_count(3)
    hand.press("Enter")  # which leads on and sends nothing
    expect(page.get_by_role("heading", name="3. Who judges")).to_be_focused()

    hand.press("Tab", "Space")
    expect(page.get_by_role("checkbox", name="Night shift")).to_be_checked()
    assert hand.acts <= 3
    page.get_by_label("Annotators per prompt").fill("2")
    expect(page.locator("#reach")).to_contain_text("it reaches 1 annotator")
    page.get_by_label("Annotators per prompt").fill("1")
    expect(page.locator("#reach")).to_be_empty()
    page.get_by_role("link", name="Next: Look and start").press("Enter")
    expect(page.locator("#so-far")).to_contain_text("Night shift")
    assert site.session.scalar(select(func.count()).select_from(Batch)) == 0
    page.get_by_role("button", name="Make the batch").press("Enter")

    expect(page.get_by_role("heading", name="Blue")).to_be_visible()
    batch = site.session.scalars(select(Batch)).one()
    assert (of_batch(site.session, batch).teams, batch.candidates_per_prompt) == ([(night.id, "Night shift")], 3)


def test_a_file_is_looked_at_once_it_is_chosen_and_a_mistake_opens_its_step(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "sky_questions.jsonl"
    file.write_text('{"prompt": "Why is the sky blue?"}\n{"prompt": ""}\n', encoding="utf-8")
    unreadable = tmp_path / "packed.jsonl"
    unreadable.write_bytes(b"\x1f\x8b\x08")
    page, _night = opened(site)
    page.route("**/batches/new", lambda route: route.fulfill(status=413, body="That is too large."))
    page.get_by_label("File", exact=True).set_input_files(file)
    expect(page.get_by_text("That is too large.")).to_be_visible()
    page.unroute("**/batches/new")
    page.go_back()
    page.wait_for_load_state("networkidle")
    index_of(page).get_by_role("link", name="What people do").click()
    page.get_by_label("Guidelines").fill("Prefer *short* ones.")
    index_of(page).get_by_role("link", name="Prompts").click()
    page.get_by_label("File", exact=True).set_input_files(unreadable)
    expect(page.locator("#error-file")).to_contain_text("gzip")
    page.get_by_label("File", exact=True).set_input_files(file)
    expect(page.get_by_text("1 refused line").first).to_be_visible()
    upload = site.session.scalars(select(Upload)).one()
    expect(page).to_have_url(f"{site.url}/uploads/{upload.id}#step-prompts")
    expect(page.frame_locator(".look__page").locator(".prompt")).to_contain_text("Why is the sky blue?")
    page.get_by_label("Import the 1 valid prompt").check()

    index_of(page).get_by_role("link", name="What people do").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("sky questions")
    expect(page.get_by_label("Guidelines")).to_have_value("Prefer *short* ones.")
    index_of(page).get_by_role("link", name="Who judges").click()
    page.get_by_label("Most items per person").fill("0")
    index_of(page).get_by_role("link", name="Look and start").click()
    page.get_by_role("button", name="Import 1 prompt").click()
    expect(page.locator("#error-quota")).to_be_visible()
    expect(index_of(page).get_by_role("link", name="Who judges")).to_contain_text("to correct")
    expect(page).to_have_url(f"{site.url}/uploads/{upload.id}")  # where the page can be loaded again
    page.get_by_label("Most items per person").fill("5")
    index_of(page).get_by_role("link", name="Look and start").click()
    page.get_by_role("button", name="Import 1 prompt").click()
    expect(page.get_by_role("heading", name="sky questions")).to_be_visible()


def test_nothing_lies_on_anything_else_in_any_step(site: Site) -> None:
    page, _night = opened(site)
    for width in (320, 390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        for step in page.locator("[data-steps] > section").all():
            page.evaluate("id => { location.hash = id; }", step.get_attribute("id"))
            expect(step).to_be_visible()
            assert page.evaluate(FOUND)["found"] == []


def test_without_a_script_the_steps_stand_one_under_the_other(site: Site) -> None:
    page, night = opened(site, java_script_enabled=False)
    page.get_by_label("Or prompts as text").fill("Why is the sky blue?")
    page.get_by_label("Name", exact=True).fill("Blue")
    page.get_by_role("checkbox", name="Night shift").check()
    expect(page.get_by_role("heading", name="How it will look")).to_be_hidden()
    page.get_by_role("button", name="Make the batch").click()
    expect(page.get_by_role("heading", name="Blue")).to_be_visible()
    batch = site.session.scalars(select(Batch)).one()
    assert of_batch(site.session, batch).ids()["teams"] == [night.id]
