"""A lineage is walked with the arrow keys, and read without scripts."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from app.accounts.models import Role
from tests.browser.conftest import Site
from tests.browser.scenes import set_scene

pytestmark = [pytest.mark.browser]


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.dataset.node ?? ''"))


def test_bob_walks_from_what_is_retracted_to_a_model_and_back(site: Site) -> None:
    scene = set_scene(site.session)
    page = site.context(scene.people[Role.ADMIN]).new_page()
    page.goto(f"{site.url}/retractions/{scene.ids['retraction']}")
    page.wait_for_load_state("networkidle")
    start = page.locator("[data-node=target]")
    start.focus()
    expect(page.locator("path.is-near")).not_to_have_count(0)
    walked = [focused(page)]
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        walked.append(focused(page))
    assert [each.rsplit("-", 1)[0] for each in walked] == ["target", "snapshot", "run", "checkpoint"]
    page.keyboard.press("ArrowDown")
    assert focused(page) not in walked
    page.keyboard.press("Home")
    assert focused(page) == "target"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/snapshots/{scene.ids['snapshot']}")


def test_without_scripts_the_lineage_is_a_list_of_links(site: Site) -> None:
    scene = set_scene(site.session)
    page = site.context(scene.people[Role.ADMIN], java_script_enabled=False).new_page()
    page.goto(f"{site.url}/checkpoints/{scene.ids['checkpoint']}")
    expect(page.locator(".lineage a", has_text="snapshot-1")).to_be_visible()
    expect(page.locator(".lineage a", has_text="sft-r1-00")).to_be_visible()
    expect(page.get_by_text("Of the 4 annotations in its snapshot, 1 is retracted.")).to_be_visible()
