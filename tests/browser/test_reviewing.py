"""Rita walks through annotations by keys; Alice hears what is said of her answers while she qualifies."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from app.accounts.models import Role
from app.prompts.models import PromptState
from app.quality import service as quality
from tests.browser.conftest import Site
from tests.factories import make_annotation, make_batch, make_comparison, make_prompt, make_user

pytestmark = [pytest.mark.browser]


def test_the_list_and_its_pages_are_walked_by_keys(site: Site) -> None:
    rita, alice = make_user(site.session, Role.REVIEWER, "Rita"), make_user(site.session)
    said = [make_annotation(site.session, alice).id for _ in range(3)]
    page = site.context(rita).new_page()
    page.goto(f"{site.url}/review")
    page.keyboard.press("j")
    expect(page.locator("main li :focus")).to_have_count(0)  # the keys are the list's, and the focus is elsewhere
    page.locator("[data-walk-to]").first.focus()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.url}/review/annotations/{said[1]}")
    expect(page.locator("h1")).to_be_focused()
    page.keyboard.press("j")
    page.wait_for_url(f"{site.url}/review/annotations/{said[0]}")
    expect(page.locator("h1")).to_be_focused()
    page.keyboard.press("k")
    page.wait_for_url(f"{site.url}/review/annotations/{said[1]}")
    page.get_by_label("Note to the annotator").fill("jk")
    assert page.url == f"{site.url}/review/annotations/{said[1]}"
    page.get_by_role("button", name="Return with this note").click()
    page.wait_for_url(f"{site.url}/review/annotations/{said[0]}")


def test_an_answer_of_the_qualification_is_shown_and_said(site: Site) -> None:
    session = site.session
    alice, bob, batch = make_user(session), make_user(session, Role.ADMIN, "Bob"), make_batch(session)
    for _ in range(2):
        prompt = make_prompt(session, batch, state=PromptState.READY)
        known = make_annotation(session, bob, make_comparison(session, prompt=prompt))
        quality.make_gold(session, bob, known, "The first is *true*.")
    batch.qualification_items = 2
    session.commit()
    page = site.context(alice).new_page()
    page.goto(f"{site.url}/annotate")
    page.get_by_role("button", name="Start").click()
    page.wait_for_load_state("networkidle")
    page.keyboard.press("t")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#feedback-head")).to_have_text("Your answer differs from the known answer")
    expect(page.locator("#status")).to_have_text("Your answer differs from the known answer. Next item.")
    expect(page.locator("[data-undo]")).to_have_count(0)
