"""Alice reads how a response that called tools came about: without scripts, by keyboard, on a narrow screen."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.axe import violations
from tests.browser.conftest import Site
from tests.factories import make_assignment, make_steps, make_traced, make_user

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

LONG = '{"rows": [' + ", ".join(f'{{"city": "東京都千代田区{n}", "مدينة": "القاهرة"}}' for n in range(60)) + "]}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_trace_is_read_by_keyboard_without_scripts_on_320_pixels(site: Site, scheme: str) -> None:
    alice = make_user(site.session)
    steps = make_steps(
        LONG, "Error: no such city", said="让我查一下。", failed=True, expression="x" * 300, where="القاهرة"
    )
    item = make_assignment(site.session, alice, make_traced(site.session, steps, None))
    size = {"width": 320, "height": 900}
    page = site.context(alice, java_script_enabled=False, viewport=size, color_scheme=scheme).new_page()
    page.goto(f"{site.url}/assignments/{item.id}")
    results = page.locator(".trace__result summary")
    expect(results).to_have_count(2)
    expect(page.locator(".trace__text").first).to_be_hidden()
    results.first.press("Enter")
    expect(page.locator(".trace__text").first).to_be_visible()
    expect(results.first).to_contain_text("Error")
    scripted = site.context(alice, viewport=size, color_scheme=scheme).new_page()
    scripted.goto(f"{site.url}/assignments/{item.id}")
    scripted.locator(".trace__result summary").first.press("Enter")
    assert scripted.evaluate("document.documentElement.scrollWidth") <= 320
    assert violations(scripted) == []
