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
DRAWN = "() => new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 50))"
"""Plots are drawn anew once the window has another size."""
WORDS = re.compile(r"[A-Za-z]{2,},? [a-z]{2,}[^·⟦⟧<>{}]*")


class Texts(HTMLParser):
    """What stands on a page outside of brackets, which may open in one element and close in another."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.bare: list[str] = []
        self.depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "style", "code", "pre", "textarea"}:
            self.open.append(tag)
        for name, value in attrs:
            if value and name in {"title", "aria-label", "placeholder", "alt"}:
                self.bare.append(outside_of_brackets(value)[0])

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open:
            text, self.depth = outside_of_brackets(" ".join(data.split()), self.depth)
            self.bare.append(text)


def outside_of_brackets(text: str, depth: int = 0) -> tuple[str, int]:
    """The rest, and how many brackets are open at its end. A message may be filled in with another."""
    outside: list[str] = []
    for each in text:
        depth += (each == "⟦") - (each == "⟧")
        outside.append(each if depth == 0 and each != "⟧" else "·")
    return "".join(outside), depth


def bare_texts(html: str) -> set[str]:
    texts = Texts()
    texts.feed(html)
    assert texts.depth == 0
    return {found for each in texts.bare for found in WORDS.findall(each)}


def strings_of(*places: str) -> str:
    """What code could say: its strings, and the parts of those that are filled in."""
    found: set[str] = set()
    for place in places:
        for path in (ROOT / place).rglob("*.py") if (ROOT / place).is_dir() else [ROOT / place]:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(" ".join(re.sub(r"[*`]", "", node.value).split()))
    return "\n".join(found)


def addresses(scene: Scene) -> list[tuple[str, str]]:
    return [(role, path.format(**scene.ids)) for role, path in PAGES]


def test_the_code_says_nothing_that_is_not_marked(site: Site) -> None:
    scene = set_scene(site.session, EVERYTHING)
    said, data = strings_of("app", "training/formats"), strings_of("tests/browser", "tests/factories.py")
    missed: dict[str, list[str]] = {}
    for role, path in addresses(scene):
        if path in ENGLISH_ONLY:
            continue
        context = site.context(scene.people[Role(role)] if role else None)
        context.add_cookies([{"name": locales.COOKIE, "value": "en-XA", "url": site.url}])
        answer = context.request.get(site.url + path)
        assert answer.ok, path
        for text in bare_texts(answer.text()):
            words = text.strip(" .:;,")
            if words in said and words not in data:
                missed.setdefault(text, []).append(path)
        context.close()
    assert not missed, "\n".join(f"{text!r}: {paths[0]}" for text, paths in missed.items())


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
                page.evaluate(DRAWN)
                overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                if overflow > 0:
                    wrong.append(f"{path} scrolls sideways by {overflow} px at {width} px")
                # links in running text break over lines, so that their boxes meet
                found_there = [each for each in page.evaluate(FOUND)["found"] if not re.match("A .* and A ", each)]
                wrong += [f"{path} at {width} px: {' '.join(each.split())}" for each in found_there[:3]]
        context.close()
    assert not wrong, "\n".join(wrong)


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
