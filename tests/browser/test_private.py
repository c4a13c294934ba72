"""Bob sees what an export holds that looks private before it leaves, and exports it masked."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from app.accounts.models import Role
from app.preferences.private import search
from tests import factories
from tests.browser.conftest import Site

pytestmark = [pytest.mark.browser]


def test_bob_searches_a_selection_stops_goes_on_and_masks_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SECONDS", 0)  # each part is one judgement
    alice = factories.make_user(site.session)
    for answer in ("写信给 jane@example.com 或打 +86 138 0013 8000。", "البريد ahmed@example.sa", "Nothing at all."):
        factories.make_annotation(
            site.session, alice, factories.make_comparison(site.session, texts=[answer, f"Other: {answer}"])
        )
    context = site.context(factories.make_user(site.session, Role.ADMIN, "Bob"))
    page = context.new_page()
    page.goto(f"{site.url}/preferences")
    page.get_by_role("button", name="Search this selection").click()
    expect(page).to_have_url(re.compile("/preferences/private"))
    count = page.locator("#private-count")
    expect(count).to_contain_text("3 of 3")
    expect(count).to_contain_text("2 judgements with 2 rows hold something that looks private.")
    expect(count.get_by_role("link")).to_have_count(0)
    expect(page.get_by_text("写信给 [EMAIL] 或打 [PHONE]。", exact=True).first).to_be_visible()
    expect(page.get_by_text("jane@")).to_have_count(0)
    expect(page.get_by_role("heading", name="What this misses")).to_be_visible()

    page.get_by_role("link", name="when you export").click()
    page.get_by_label("Private data by pattern").select_option("mask")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("group", name="First rows")).to_contain_text("[EMAIL]")
    expect(page.get_by_role("group", name="First rows")).not_to_contain_text("jane@")


def test_a_search_is_stopped_and_gone_on_with_by_keyboard(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SECONDS", 0)
    alice = factories.make_user(site.session)
    for _ in range(3):
        factories.make_annotation(site.session, alice, factories.make_comparison(site.session))
    page = site.context(factories.make_user(site.session, Role.ADMIN, "Bob")).new_page()
    page.route(re.compile(r"/preferences/private/count\?(?!.*paused)"), lambda route: None)  # a slow server
    page.goto(f"{site.url}/preferences/private")
    page.get_by_role("link", name="Stop").focus()
    page.keyboard.press("Enter")
    on = page.get_by_role("link", name="Search on")
    expect(on).to_be_visible()
    page.unroute_all()
    on.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#private-count")).to_contain_text("Nothing that looks private was found.")
