"""Pages in other languages: nothing on them is bare, and they hold from right to left and with longer words."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser
from itertools import groupby

import pytest

from app.accounts.models import Role
from app.kernel import locales
from app.kernel.settings import ROOT
from tests.browser.axe import RULES, violations
from tests.browser.conftest import Site
from tests.browser.scenes import Scene, set_scene
from tests.browser.stops import EVERYTHING, STOPS
from tests.browser.test_boxes import FOUND

pytestmark = [pytest.mark.browser]

PAGES = sorted({(stop.role.value if stop.role else "", stop.path) for stop in STOPS if stop.template != "error.html"})
"""Who looks, and where."""
ENGLISH_ONLY = {"/api"}
"""The reference of the API is for programmers."""
WORDS = re.compile(r"[A-Za-z]{2,},? [a-z]{2,}[^·⟦⟧<>{}]*")


class Texts(HTMLParser):
    """What stands on a page outside of brackets."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.bare: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "style", "code", "pre", "textarea"}:
            self.open.append(tag)
        self.bare += [value for name, value in attrs if value and name in {"title", "aria-label", "placeholder", "alt"}]

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open:
            self.bare.append(" ".join(data.split()))


def bare_texts(html: str) -> set[str]:
    texts = Texts()
    texts.feed(html.replace("</br>", ""))
    outside = [re.sub(r"⟦[^⟦⟧]*⟧", "⟦⟧", each) for each in texts.bare]
    return {found for each in outside for found in WORDS.findall(each)}


def strings_of_the_code() -> set[str]:
    """What the code itself could say: its strings, and the parts of those that are filled in."""
    found: set[str] = set()
    for path in [*(ROOT / "app").rglob("*.py"), *(ROOT / "training" / "formats").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(" ".join(node.value.split()))
    return {each for each in found if WORDS.search(each)}


def addresses(scene: Scene) -> list[tuple[str, str]]:
    return [(role, path.format(**scene.ids)) for role, path in PAGES]


def test_the_code_says_nothing_that_is_not_marked(site: Site) -> None:
    scene = set_scene(site.session, EVERYTHING)
    said = "\n".join(strings_of_the_code())
    missed: dict[str, list[str]] = {}
    for role, path in addresses(scene):
        if path in ENGLISH_ONLY:
            continue
        context = site.context(scene.people[Role(role)] if role else None)
        context.add_cookies([{"name": locales.COOKIE, "value": "en-XA", "url": site.url}])
        answer = context.request.get(site.url + path)
        assert answer.ok, path
        for text in bare_texts(answer.text()):
            if text.strip(" .:;,") in said:
                missed.setdefault(text, []).append(path)
        context.close()
    assert missed == {}


def test_pages_hold_from_right_to_left_and_with_longer_words(site: Site) -> None:
    scene = set_scene(site.session, EVERYTHING)
    wrong: list[str] = []
    for role, found in groupby(addresses(scene), key=lambda each: each[0]):
        context = site.context(scene.people[Role(role)] if role else None)
        context.add_cookies([{"name": locales.COOKIE, "value": "ar-XB", "url": site.url}])
        page = context.new_page()
        for _role, path in found:
            page.set_viewport_size({"width": 1280, "height": 800})
            page.goto(site.url + path)
            assert page.locator("html[dir=rtl][lang=ar-XB]").count() == 1, path
            for width in (1280, 320):
                page.set_viewport_size({"width": width, "height": 800})
                overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                if overflow > 0:
                    wrong.append(f"{path} scrolls sideways by {overflow} px at {width} px")
                wrong += [f"{path} at {width} px: {each}" for each in page.evaluate(FOUND)["found"][:3]]
        context.close()
    assert wrong == []


@pytest.mark.parametrize("code", [code for code in locales.offered() if code != locales.SOURCE] + ["ar-XB"])
def test_axe_finds_nothing_in_other_languages(site: Site, code: str) -> None:
    scene = set_scene(site.session)
    for role, path in [(Role.ANNOTATOR, "/"), (Role.ANNOTATOR, "/assignments/{four}"), (Role.ADMIN, "/desk")]:
        context = site.context(scene.people[role], viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
        context.add_cookies([{"name": locales.COOKIE, "value": code, "url": site.url}])
        page = context.new_page()
        page.goto(site.url + path.format(**scene.ids))
        assert violations(page, RULES) == [], path
        context.close()
