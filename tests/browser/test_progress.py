"""A batch's progress moves under Bob's hands without taking anything out of them."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from app.accounts.models import Role
from app.prompts.models import Prompt, PromptState
from tests import factories
from tests.browser.conftest import Site

pytestmark = [pytest.mark.browser]


def quarantine(site: Site, prompt: Prompt) -> None:
    prompt.state, prompt.last_error = PromptState.QUARANTINED, f"Nothing usable came for {prompt.id}."
    site.session.commit()


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id"))


def test_the_focus_stays_while_quarantined_prompts_appear(site: Site) -> None:
    batch = factories.make_batch(site.session)
    waiting, first, second = (factories.make_prompt(site.session, batch) for _ in range(3))
    page = site.context(factories.make_user(site.session, Role.ADMIN, "Bob")).new_page()
    page.goto(f"{site.url}/batches/{batch.id}")
    expect(page.locator("#quarantined")).to_have_count(0)

    quarantine(site, first)
    link = page.locator("#to-quarantined")
    expect(link).to_have_text("1 prompt is quarantined")
    link.focus()

    quarantine(site, second)
    expect(link).to_have_text("2 prompts are quarantined")
    expect(page.get_by_text(f"Nothing usable came for {second.id}.")).to_be_visible()
    assert focused(page) == "to-quarantined"

    page.get_by_role("link", name=second.external_id).first.focus()
    quarantine(site, waiting)
    expect(page.get_by_text(f"Nothing usable came for {waiting.id}.")).to_be_visible()
    assert page.evaluate("document.activeElement.getAttribute('href')") == f"/prompts/{second.id}"
