"""Bob reads a contest and ends it by keyboard; with its form and its question open axe finds nothing, in both themes."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from app.accounts.models import Role
from app.rounds.models import Contest
from tests.browser.axe import OF_COLOURS, violations
from tests.browser.conftest import Site
from tests.browser.scenes import set_scene

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


FOCUSED = "(document.activeElement.innerText || document.activeElement.labels?.[0].innerText || '').trim()"


def tab_to(page: Page, words: str) -> None:
    """Press Tab until the focus is on what begins with ``words``."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if str(page.evaluate(FOCUSED)).startswith(words):
            return
    raise AssertionError(f"no focus comes to {words!r}")


def nothing_is_wrong(page: Page) -> None:
    """In both themes: nothing is on its way from one colour to the other where motion is unwanted."""
    assert violations(page) == []
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert violations(page, OF_COLOURS) == []
    page.emulate_media(color_scheme="light", reduced_motion="reduce")


def test_bob_withdraws_a_contest_by_keyboard(site: Site) -> None:
    scene = set_scene(site.session)
    page = site.context(scene.people[Role.ADMIN], color_scheme="light", reduced_motion="reduce").new_page()
    page.goto(f"{site.url}/contests/{scene.ids['contest']}")
    page.wait_for_load_state("networkidle")

    tab_to(page, "The same as a table")
    page.keyboard.press("Enter")
    tab_to(page, "Prompts")  # the table scrolls, by keyboard too
    expect(page.get_by_role("region", name="Score and evidence as a table")).to_be_focused()

    tab_to(page, "Promote it despite the gate")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    tab_to(page, "Reason")
    page.keyboard.type("The prompts were the wrong ones.")
    tab_to(page, "Withdraw")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    nothing_is_wrong(page)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="Withdraw")).to_be_focused()
    nothing_is_wrong(page)

    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    expect(dialog.get_by_role("button", name="Withdraw")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("withdrawn").first).to_be_visible()
    expect(page.get_by_text("Withdraw the contest")).to_have_count(0)
    contest = site.session.get_one(Contest, int(scene.ids["contest"]), populate_existing=True)
    assert contest.closed_at is not None
