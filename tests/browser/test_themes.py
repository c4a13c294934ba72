"""A page that is open while the theme changes comes to look as if it had been opened in the new one."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from app.accounts.models import Role
from tests.browser.conftest import Site
from tests.browser.scenes import set_scene
from tests.patience import PATIENCE, eventually

pytestmark = [pytest.mark.browser]

COLOURS = """() => [...document.querySelectorAll("body *")].map((element) => {
    const { color, backgroundColor, borderTopColor, boxShadow } = getComputedStyle(element);
    return [element.tagName, element.className, color, backgroundColor, borderTopColor, boxShadow].join(" ");
})"""


def turned_dark(site: Site, path: str, role: Role, ready: str) -> tuple[Page, list[str]]:
    """A page that was opened in the light theme and is in the dark one now, and the colours of one opened in that.

    Of a reader who wants no motion, for whom nothing may be on its way from one colour to the other.
    """
    scene = set_scene(site.session)
    light, dark = (
        site.context(scene.people[role], color_scheme=scheme, reduced_motion="reduce").new_page()
        for scheme in ("light", "dark")
    )
    for page in (light, dark):
        page.goto(site.url + path.format(**scene.ids))
        page.locator(ready).first.wait_for(state="attached")
        page.wait_for_load_state("networkidle")
    wanted = dark.evaluate(COLOURS)
    assert light.evaluate(COLOURS) != wanted
    light.emulate_media(color_scheme="dark", reduced_motion="reduce")
    return light, wanted


def test_every_element_of_an_open_page_has_the_colours_of_the_new_theme_at_once(site: Site) -> None:
    page, wanted = turned_dark(site, "/assignments/{pair}", Role.ANNOTATOR, "[data-mark]")
    assert sorted(set(page.evaluate(COLOURS)) ^ set(wanted)) == []


def test_plots_are_drawn_again_in_the_colours_of_the_new_theme(site: Site) -> None:
    page, wanted = turned_dark(site, "/runs/{run}", Role.ADMIN, ".u-legend")
    eventually(lambda: page.evaluate(COLOURS) == wanted, PATIENCE, "plots in the colours of the dark theme")
