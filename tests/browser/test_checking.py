"""Alice has her edit checked before she submits it, and sees what checks found of the responses afterwards."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Site
from tests.factories import make_assignment, make_user
from tests.findings.checking import check_all, checkable

pytestmark = [pytest.mark.browser]


def test_an_edit_is_checked_in_place_and_findings_appear_after_the_submission(site: Site) -> None:
    alice = make_user(site.session)
    item = make_assignment(site.session, alice, checkable(site.session))
    check_all()
    page = site.context(alice).new_page()
    page.goto(f"{site.url}/assignments/{item.id}")
    page.wait_for_load_state("networkidle")
    expect(page.locator(".finding__chip")).to_have_count(0)
    page.keyboard.press("2")
    page.keyboard.press("e")
    page.locator("#edited-text").fill("It is surely 41.")
    page.get_by_role("button", name="Run checks").click()
    expect(page.locator("#edit-check")).to_contain_text("Checking your edit")
    check_all()
    expect(page.locator("#edit-check")).to_contain_text("42 wanted")
    expect(page.locator("#edited-text")).to_have_value("It is surely 41.")
    page.locator("#edited-text").fill("It is surely 42.")
    page.get_by_role("button", name="Run checks").click()
    expect(page.locator("#edit-check")).to_contain_text("Checking your edit")
    check_all()
    expect(page.locator("#edit-check")).to_contain_text("1 of 1 tests")
    page.keyboard.press("Control+Enter")
    expect(page.locator(f'#work[data-assignment="{item.id}"]')).to_have_count(0)
    page.goto(f"{site.url}/assignments/{item.id}")
    expect(page.locator("#findings-A .finding__chip")).to_have_count(1)
    expect(page.locator("#findings-B .finding__chip")).to_have_count(1)
    expect(page.locator("#findings-edit .finding__chip")).to_contain_text("1 of 1 tests")
    chip = page.locator("#findings-edit .finding__chip")
    chip.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#findings-edit .finding__body")).to_be_visible()
