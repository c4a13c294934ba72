"""Alice reads what she judges: code, outlines, long texts side by side, guidelines at hand."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from app.prompts.models import Batch
from tests.browser.conftest import Site
from tests.factories import make_assignment, make_batch, make_comparison, make_user

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

CODE = "Run this:\n\n```python\nprint('<b>')\n```\n\nThen this:\n\n```\nplain\n```"


def open_texts(site: Site, *texts: str, batch: Batch | None = None, width: int = 1280) -> Page:
    """Alice at an item whose responses are ``texts``, in this order."""
    alice = make_user(site.session)
    comparison = make_comparison(site.session, batch=batch or make_batch(site.session), texts=list(texts))
    held = make_assignment(site.session, alice, comparison)
    held.order_shown = sorted(held.order_shown)  # as they were made
    site.session.commit()
    context = site.context(alice, viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(f"{site.url}/assignments/{held.id}")
    page.wait_for_load_state("networkidle")
    return page


def test_code_says_its_language_and_is_copied_without_it(site: Site) -> None:
    page = open_texts(site, CODE, "No code.")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    first, second = page.locator("[data-response=A] pre.md-code").all()
    expect(first.locator(".md-language")).to_have_text("python")
    expect(second.locator(".md-language")).to_have_count(0)
    label, button = first.locator(".md-language").bounding_box(), page.locator(".copy-code").first.bounding_box()
    assert label is not None
    assert button is not None
    assert label["x"] + label["width"] <= button["x"], "the button does not lie over the name"
    page.get_by_role("button", name="Copy this code").first.click()
    expect(page.locator("#status")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "print('<b>')\n"
