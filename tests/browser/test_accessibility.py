"""axe-core finds nothing on any page, in both themes and on a narrow screen; every template of a page is on the list."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request

from app.accounts.models import Role
from app.settings import ROOT
from tests import factories
from tests.browser.conftest import Site
from tests.browser.scenes import Scene, set_scene

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

AXE = ROOT / "tests" / "browser" / "vendor" / "axe.js"
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}


@dataclass(frozen=True)
class Stop:
    """A page to look at: who sees it, where it is, which template draws it, what to do there first."""

    template: str
    path: str
    role: Role | None = Role.ADMIN
    act: Callable[[Page], None] | None = None


def choose(page: Page) -> None:
    """Judge, so that the chosen response is open for editing."""
    page.keyboard.press("2")
    page.locator("[data-improve] textarea").wait_for()


def open_keys(page: Page) -> None:
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()


STOPS = [
    Stop("accounts/login.html", "/login", None),
    Stop("accounts/invite.html", "/invite/{invite}", None),
    Stop("error.html", "/nothing-here"),
    Stop("home.html", "/"),
    Stop("home.html", "/", Role.ANNOTATOR),
    Stop("accounts/people.html", "/users"),
    Stop("accounts/profile.html", "/profile"),
    Stop("accounts/tokens.html", "/tokens"),
    Stop("dashboard/reference.html", "/api"),
    Stop("prompts/batches.html", "/batches"),
    Stop("prompts/new.html", "/batches/new"),
    Stop("prompts/preview.html", "/uploads/{upload}"),
    Stop("prompts/batch.html", "/batches/{batch}"),
    Stop("prompts/prompt.html", "/prompts/{prompt}"),
    Stop("annotations/start.html", "/annotate", Role.ANNOTATOR),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR, choose),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR, open_keys),
    Stop("annotations/work.html", "/assignments/{four}", Role.ANNOTATOR),
    Stop("annotations/ended.html", "/assignments/{done}", Role.ANNOTATOR),
    Stop("registry/checkpoints.html", "/checkpoints"),
    Stop("registry/checkpoint.html", "/checkpoints/{checkpoint}"),
    Stop("preferences/preferences.html", "/preferences"),
    Stop("preferences/snapshot.html", "/snapshots/{snapshot}"),
    Stop("rounds/rounds.html", "/rounds"),
    Stop("rounds/round.html", "/rounds/1"),
    Stop("rounds/run.html", "/runs/{run}"),
]


def violations(page: Page) -> list[str]:
    """What axe objects to: rule, and the first offending elements."""
    page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("rules => axe.run(document, rules)", RULES)
    return [
        f"{violation['id']}: {node['html'][:160]} ({node['failureSummary'][:200]})"
        for violation in found["violations"]
        for node in violation["nodes"][:3]
    ]


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


def name_of(stop: Stop) -> str:
    acted = f"-{stop.act.__name__}" if stop.act else ""
    return f"{stop.path}-{stop.role.value if stop.role else 'nobody'}{acted}"


@pytest.mark.parametrize("stop", STOPS, ids=name_of)
def test_axe_finds_nothing(site: Site, stop: Stop) -> None:
    scene: Scene = set_scene(site.session)
    user = scene.people[stop.role] if stop.role else None
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 320)):
        context = site.context(user, color_scheme=scheme, viewport={"width": width, "height": 800})
        page = context.new_page()
        said = console_of(page)
        answer = page.goto(site.url + stop.path.format(**scene.ids))
        assert answer is not None
        assert answer.ok or stop.template == "error.html", answer.status
        if stop.act:
            stop.act(page)
        assert violations(page) == [], f"{scheme}, {width} px"
        assert [text for text in said if "Content Security Policy" in text] == []
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"scrolls sideways by {overflow} px at {width} px"
        context.close()


def test_every_page_template_is_on_the_list() -> None:
    folder = ROOT / "templates"
    pages = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.html")
        if re.search(r"{%-?\s*extends", path.read_text()) and not Path(path).name.startswith("_")
    }
    assert pages - {stop.template for stop in STOPS} == set()


def test_the_annotation_page_is_light(site: Site) -> None:
    scene = set_scene(site.session)
    page = site.context(scene.people[Role.ANNOTATOR]).new_page()
    requests = requests_of(page)
    page.goto(f"{site.url}/assignments/{scene.ids['pair']}", wait_until="networkidle")
    assert len(requests) <= 10, [request.url for request in requests]
    sizes = {request.url: request.sizes() for request in requests}
    assert sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes.values()) <= 100_000, sizes


def test_charlie_cannot_look_at_what_is_not_his(site: Site) -> None:
    scene = set_scene(site.session)
    charlie = factories.make_user(site.session, Role.ANNOTATOR, "Charlie")
    page = site.context(charlie).new_page()
    answer = page.goto(f"{site.url}/assignments/{scene.ids['pair']}")
    assert answer is not None
    assert answer.status == 404
