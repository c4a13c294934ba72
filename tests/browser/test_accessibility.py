"""axe-core finds nothing on any page, in both themes and on a narrow screen; every template of a page is on the list."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request

from app.accounts.models import Role, User
from app.kernel.settings import ROOT
from tests import factories
from tests.browser.axe import OF_COLOURS, RULES, violations
from tests.browser.conftest import Site
from tests.browser.scenes import Scene, set_scene
from tests.browser.stops import EVERYTHING, STOPS, Stop, name_of, status_of

pytestmark = [pytest.mark.browser]

LOOKS: list[tuple[Literal["light", "dark"], int, dict[str, Any]]] = [
    ("light", 1280, RULES),
    ("dark", 1280, OF_COLOURS),
    ("dark", 320, RULES),
]
"""Themes, widths in pixels, and what is looked for there."""


# Playwright takes functions only, no bound methods of a list.
def console_of(page: Page) -> list[str]:
    """What the browser's console says from now on."""
    said: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        said.append(message.text)

    page.on("console", hear)
    return said


def requests_of(page: Page) -> list[Request]:
    """Every request that is finished from now on."""
    finished: list[Request] = []

    def see(request: Request) -> None:
        finished.append(request)

    page.on("requestfinished", see)
    return finished


def look(
    site: Site, user: User | None, path: str, act: Callable[[Page], None] | None = None, status: int = 200
) -> None:
    """Visit a page, then make it dark, then narrow; nothing may be wrong with any.

    ``status`` is what the server answers with: nothing is wrong with the page of an error either.
    """
    inspect(opened(site, user).new_page(), site.url, path, act, status)


def opened(site: Site, user: User | None) -> BrowserContext:
    return site.context(user, color_scheme="light", viewport={"width": 1280, "height": 800}, reduced_motion="reduce")


def inspect(page: Page, url: str, path: str, act: Callable[[Page], None] | None = None, status: int = 200) -> None:
    said = console_of(page)
    answer = page.goto(url + path)
    assert answer is not None
    assert answer.status == status
    if act:
        act(page)
    for scheme, width, rules in LOOKS:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 800})
        # as it is where somebody works at this width; a window that got narrower leaves it under what is stuck to an edge
        page.evaluate("document.querySelector(':focus')?.scrollIntoView({ block: 'center', behavior: 'instant' })")
        assert violations(page, rules) == [], f"{scheme}, {width} px"
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"scrolls sideways by {overflow} px at {width} px"
    assert [text for text in said if "Content Security Policy" in text] == []


@pytest.mark.parametrize("role", [None, *Role], ids=lambda role: role.value if role else "nobody")
def test_axe_finds_nothing_on_pages_that_are_only_looked_at(site: Site, role: Role | None) -> None:
    """One scene and one browser for all of them: nobody changes anything, and setting a scene takes as long as a page."""
    scene = set_scene(site.session, EVERYTHING)
    context = opened(site, scene.people[role] if role else None)
    wrong: dict[str, str] = {}
    for stop in STOPS:
        if stop.act is None and stop.role is role:
            page = context.new_page()
            try:
                inspect(page, site.url, stop.path.format(**scene.ids), status=status_of(stop))
            except AssertionError as error:
                wrong[stop.path] = str(error)
            page.close()
    assert wrong == {}


@pytest.mark.parametrize("stop", [stop for stop in STOPS if stop.act], ids=name_of)
def test_axe_finds_nothing_after_an_act(site: Site, stop: Stop) -> None:
    scene: Scene = set_scene(site.session, stop.path)
    user = scene.people[stop.role] if stop.role else None
    look(site, user, stop.path.format(**scene.ids), stop.act, status_of(stop))


@pytest.mark.parametrize(
    ("path", "role"), [("/", Role.ADMIN), ("/", Role.ANNOTATOR), ("/annotate", Role.ANNOTATOR), ("/board", Role.ADMIN)]
)
def test_axe_finds_nothing_where_nothing_is_yet(site: Site, path: str, role: Role) -> None:
    look(site, factories.make_user(site.session, role), path)


def test_every_page_template_is_on_the_list() -> None:
    folder = ROOT / "templates"
    pages = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.html")
        if re.search(r"{%-?\s*extends", path.read_text()) and not Path(path).name.startswith("_")
    }
    assert pages - {stop.template for stop in STOPS} == set()


def test_the_annotation_page_is_light_with_long_texts(site: Site) -> None:
    alice = factories.make_user(site.session)
    draw = random.Random(0)  # words that compress worse than real ones
    texts = [" ".join(f"{draw.getrandbits(24):x}" for _ in range(1000)) for _ in range(2)]
    batch = factories.make_batch(site.session, guidelines="Prefer what is *true*. " * 200)
    held = factories.make_assignment(
        site.session, alice, factories.make_comparison(site.session, batch=batch, texts=texts)
    )
    page = site.context(alice).new_page()
    requests = requests_of(page)
    page.goto(f"{site.url}/assignments/{held.id}", wait_until="networkidle")
    assert len(requests) <= 10, "\n".join(request.url for request in requests)
    sizes = {request.url: request.sizes() for request in requests}
    assert sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes.values()) <= 100_000, sizes


def test_charlie_cannot_look_at_what_is_not_his(site: Site) -> None:
    scene = set_scene(site.session)
    charlie = factories.make_user(site.session, Role.ANNOTATOR, "Charlie")
    page = site.context(charlie).new_page()
    answer = page.goto(f"{site.url}/assignments/{scene.ids['pair']}")
    assert answer is not None
    assert answer.status == 404
