"""Alice reads what she judges: code, outlines, long texts side by side, guidelines at hand."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from app.prompts.models import Batch, Prompt
from tests.browser.axe import violations
from tests.browser.conftest import Site
from tests.factories import make_assignment, make_batch, make_comparison, make_user

pytestmark = [pytest.mark.browser]

CODE = "Run this:\n\n```python\nprint('<b>')\n```\n\nThen this:\n\n```\nplain\n```"


def open_texts(
    site: Site,
    *texts: str,
    batch: Batch | None = None,
    prompt: Prompt | None = None,
    width: int = 1280,
    **options: Any,
) -> Page:
    """Alice at an item whose responses are ``texts``, in this order."""
    alice = make_user(site.session)
    batch = batch or make_batch(site.session)
    comparison = make_comparison(site.session, batch=batch, prompt=prompt, texts=list(texts))
    held = make_assignment(site.session, alice, comparison)
    held.order_shown = sorted(held.order_shown)  # as they were made
    site.session.commit()
    context = site.context(alice, viewport={"width": width, "height": 800}, **options)
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


def paragraphs(first: str, n: int = 12) -> str:
    """A text of ``n`` paragraphs, long enough for an outline, that begin with their numbers."""
    return "\n\n".join(f"{first} number {number} " + "says very little at great length. " * 20 for number in range(n))


def test_the_outline_of_a_text_leads_to_its_headings(site: Site) -> None:
    page = open_texts(site, "\n\n".join(f"## Part {n}\n\n" + "Words. " * 200 for n in "XYZ"), "Short.")
    page.keyboard.press("o")
    expect(page.get_by_role("button", name="Part X")).to_be_focused()
    page.get_by_role("button", name="Part Z").click()
    heading = page.get_by_role("heading", name="Part Z")
    expect(heading).to_be_focused()
    expect(heading).to_be_in_viewport()
    expect(page.locator("[data-response=B] .outline")).to_have_count(0)


def test_a_long_text_without_headings_is_outlined_by_its_paragraphs(site: Site) -> None:
    page = open_texts(site, paragraphs("Paragraph"), "# One heading\n\nIs no outline.")
    page.keyboard.press("o")
    first = page.locator("[data-response=A] .outline__to").first
    expect(first).to_be_focused()
    expect(first).to_have_text("Paragraph number 0 says very little at great length. says…")
    page.get_by_role("button", name="Paragraph number 11").click()
    expect(page.locator("[data-response=A] .response__text > p").last).to_be_in_viewport()
    expect(page.locator("[data-response=B] .outline")).to_have_count(0)


def scrolled(page: Page, name: str) -> float:
    """How far response ``name`` is scrolled, as a share of what can be."""
    share: float = page.locator(f"[data-response={name}] .response__text").evaluate(
        "(text) => text.scrollTop / (text.scrollHeight - text.clientHeight)"
    )
    return share


def test_two_texts_of_different_lengths_scroll_together(site: Site) -> None:
    page = open_texts(site, paragraphs("Long", 24), paragraphs("Shorter", 12))
    with page.expect_response("**/preferences/display"):
        page.keyboard.press("y")
    first, second = (page.locator(f"[data-response={name}] .response__text") for name in "AB")
    first.evaluate("(text) => text.scrollTo(0, text.scrollHeight)")
    expect(second.locator("p").last).to_be_in_viewport()
    page.wait_for_function("() => document.querySelector('[data-response=B] .response__text').scrollTop > 0")
    assert scrolled(page, "B") == pytest.approx(1, abs=0.02)
    second.focus()
    page.keyboard.press("Home")
    page.wait_for_function("() => document.querySelector('[data-response=A] .response__text').scrollTop === 0")
    page.reload()
    expect(page.get_by_role("button", name="Scroll together")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("y")
    expect(page.locator("#work")).to_have_attribute("data-sync", "off")


PAINTED = """() => Object.fromEntries([...CSS.highlights].map(([name, highlight]) => [
    name, [...highlight].filter((range) => range.startContainer.parentElement.checkVisibility()).map(String)]))"""


SELECT = """([name, quote, which]) => {
    const article = document.querySelector(`[data-response=${name}]`);
    const text = [...article.querySelectorAll(".response__text, .response__raw")].find((each) => each.checkVisibility());
    const walk = document.createTreeWalker(text, NodeFilter.SHOW_TEXT), nodes = [];
    while (walk.nextNode()) nodes.push(walk.currentNode);
    let from = nodes.map((node) => node.data).join("").split(quote, which + 1).join(quote).length;
    let to = from + quote.length, range = document.createRange();
    for (const node of nodes) {
        if (from >= 0 && from < node.length) range.setStart(node, from);
        if (to > 0 && to <= node.length) range.setEnd(node, to);
        from -= node.length;
        to -= node.length;
    }
    const selection = document.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
}"""


def select(page: Page, quote: str, which: int = 0, name: str = "A") -> None:
    """Select what response ``name`` says for the time number ``which``, from 0, as a pointer would."""
    page.evaluate(SELECT, [name, quote, which])
    expect(page.locator("[data-mark-labels]")).to_be_visible()


def mark(page: Page, quote: str, key: str) -> None:
    """Mark ``quote`` of response A."""
    select(page, quote)
    page.keyboard.press(key)
    expect(page.locator("[data-mark-noted]")).to_be_visible()
    page.keyboard.press("Escape")


def test_a_marked_passage_is_painted_in_the_text(site: Site) -> None:
    page = open_texts(site, "# Cats\n\nCats are **very large** fish.\n\n```python\ncats()\n```", "Cats are cats.")
    mark(page, "are very large fish.", "1")
    mark(page, "Cats", "5")
    assert page.evaluate(PAINTED) == {"marked": ["are very large fish."], "marked-good": ["Cats"]}
    page.keyboard.press("w")
    expect(page.locator("[data-response=A] .response__raw")).to_be_visible()
    assert page.evaluate(PAINTED) == {"marked": ["are **very large** fish."], "marked-good": ["Cats"]}
    expect(page.locator("[data-save-state]")).to_have_text("Saved")
    page.reload()
    page.wait_for_function("() => CSS.highlights.size === 2")
    page.locator("[data-response=A]").get_by_text("Marked").click()
    page.get_by_role("button", name="Remove the mark on “are").click()
    assert list(page.evaluate(PAINTED)) == ["marked-good"]
    expect(page.locator("[data-marks=A] mark")).to_have_text("Cats")


def test_without_paint_the_passages_are_still_listed(site: Site) -> None:
    page = open_texts(site, "Cats are fish.", "Cats are cats.")
    page.add_init_script("Object.defineProperty(CSS, 'highlights', { value: undefined })")
    page.reload()
    page.wait_for_load_state("networkidle")
    mark(page, "fish", "1")
    expect(page.locator("[data-marks=A] mark")).to_have_text("fish")
    expect(page.locator("[data-save-state]")).to_have_text("Saved")


def with_examples(site: Site, responses: int = 2) -> Batch:
    """A batch whose guidelines have an example of two strengths."""
    batch = make_batch(site.session, candidates_per_prompt=responses)
    batch.strength_examples = {"4": "Only *one* answers.", "2": "One is clearer."}
    site.session.commit()
    return batch


def test_the_example_of_a_strength_stands_with_the_choice(site: Site) -> None:
    page = open_texts(site, "One.", "Two.", batch=with_examples(site))
    example = page.get_by_text("Significantly better, for example: Only one answers.")
    expect(page.locator("input[value=B4]")).to_have_accessible_description(re.compile("Only one answers"))
    expect(page.locator("input[value=B3]")).to_have_accessible_description("")
    expect(example).to_be_hidden()
    page.keyboard.press("8")
    expect(example).to_be_visible()
    page.keyboard.press("7")
    expect(example).to_be_hidden()


def test_the_example_of_a_strength_stands_with_the_ranking(site: Site) -> None:
    page = open_texts(site, "One.", "Two.", "Three.", batch=with_examples(site, 3))
    strip = page.locator("[data-strip]")
    slightly = strip.get_by_role("button", name="slightly better")
    expect(slightly).to_have_accessible_description(re.compile("One is clearer"))
    page.keyboard.press("2")
    expect(page.get_by_text("Slightly better, for example: One is clearer.")).to_be_visible()
    page.keyboard.press("3")
    expect(page.get_by_text("One is clearer.").last).to_be_hidden()


def beside(page: Page) -> bool:
    """Whether the guidelines are to the left of the prompt, and not above it."""
    return bool(
        page.evaluate("""() => {
            const [guidelines, prompt] = [".guidelines", ".prompt > .card"].map((each) =>
                document.querySelector(each).getBoundingClientRect());
            return guidelines.width > 0 && guidelines.right <= prompt.left && guidelines.top === prompt.top;
        }""")
    )


def test_guidelines_stay_beside_the_work_on_a_wide_screen(site: Site) -> None:
    batch = make_batch(site.session, guidelines="Prefer what is *true*.\n\n" * 60)
    page = open_texts(site, paragraphs("One"), paragraphs("Two"), batch=batch, width=1600)
    drawer, summary = page.locator(".guidelines"), page.locator(".guidelines > summary")
    assert beside(page)
    assert violations(page) == []
    page.keyboard.press("End")
    expect(summary).to_be_in_viewport()
    with page.expect_response("**/preferences/display"):
        page.keyboard.press("g")
    expect(drawer).to_be_hidden()
    page.reload()
    page.wait_for_load_state("networkidle")
    expect(drawer).to_be_hidden()
    assert not beside(page)


def test_the_drawer_opens_and_closes_from_anywhere(site: Site) -> None:
    batch = make_batch(site.session, guidelines="Prefer what is *true*.")
    page = open_texts(site, "One.", "Two.", batch=batch)
    drawer, button = page.locator(".guidelines"), page.get_by_role("button", name="Guidelines")
    choice = page.locator("input[value=B3]")
    expect(drawer).to_be_hidden()  # where it would lie over the responses it is closed until somebody asks
    page.keyboard.press("7")
    page.keyboard.press("g")
    expect(page.locator(".guidelines > summary")).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "true")
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(choice).to_be_focused()
    page.keyboard.press("g")
    choice.focus()
    with page.expect_response("**/preferences/display"):
        page.keyboard.press("g")
    expect(drawer).to_be_hidden()
    expect(choice).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "false")
    with page.expect_response("**/preferences/display"):
        button.click()
    expect(drawer).to_be_visible()
    page.reload()  # it was left open: now it stands beside
    expect(drawer).to_be_visible()
    assert beside(page)


@pytest.mark.parametrize("responses", [2, 4])
def test_nothing_scrolls_sideways_beside_the_guidelines(site: Site, responses: int) -> None:
    page = open_texts(site, *[paragraphs(name) for name in "ABCD"[:responses]], width=1440)
    assert beside(page)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    bar, guidelines = page.locator(".bar, .ranking").bounding_box(), page.locator(".guidelines").bounding_box()
    assert bar is not None
    assert guidelines is not None
    assert bar["x"] >= guidelines["x"] + guidelines["width"]


TABLE = (
    "| "
    + " | ".join(["quantity", "electroencephalographically", "unit", "значение", "数量和单位", "القيمة"] * 2)
    + " |\n"
)
TABLE += (
    "|---" * 12
    + "|\n"
    + "| "
    + " | ".join(["Donaudampfschifffahrtsgesellschaft", "`configuration_value`", "3"] * 4)
    + " |\n"
)
FORMULA = " + ".join(f"\\frac{{x_{{{n}}}^2}}{{y_{{{n}}}}}" for n in range(30))
WIDE = f"Inline: ${FORMULA}$ and on.\n\n$${FORMULA}$$\n\n{TABLE}\n```python\n{'x = f(x); ' * 40}\n```\n"
WIDE += f"\n![{'a long description ' * 20}](x.png)\n"
BROKEN = """() => [...document.querySelectorAll(".response :is(td, th)")].flatMap((cell) => {
    const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), broken = [];
    const words = /[A-Za-z_]+|\\p{Script=Cyrillic}+|\\p{Script=Arabic}+/gu;
    while (walk.nextNode()) for (const word of walk.currentNode.data.matchAll(words)) {
        const range = document.createRange();
        range.setStart(walk.currentNode, word.index);
        range.setEnd(walk.currentNode, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1) broken.push(word[0]);
    }
    return broken;
})"""
BEYOND = """() => [...document.querySelectorAll(".response")].flatMap((card) => {
    const { left, right } = card.getBoundingClientRect();
    const scrolls = (each) => { for (let at = each.parentElement; at !== card; at = at.parentElement)
        if (getComputedStyle(at).overflowX === "auto") return at; return null; };
    return [...card.querySelectorAll(".response__text *")].filter((each) => {
        const box = each.getBoundingClientRect();
        const scroller = scrolls(each);
        if (scroller) return scroller.scrollWidth > scroller.clientWidth && scroller.tabIndex !== 0;
        return box.width > 0 && (box.left < left - 1 || box.right > right + 1);
    }).map((each) => each.outerHTML.slice(0, 80));
})"""


def test_tables_code_and_formulas_scroll_in_their_card_and_break_no_word(site: Site) -> None:
    page = open_texts(site, WIDE, "Short.")
    for width in (320, 390, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        page.reload()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width
        assert page.evaluate(BROKEN) == [], width
        assert page.evaluate(BEYOND) == [], width
        left, right = (page.locator(f"[data-response={name}]").bounding_box() for name in "AB")
        assert left is not None
        assert right is not None
        assert left["width"] == pytest.approx(right["width"], abs=1)


def test_a_whole_response_is_copied_as_it_was_written_and_a_part_as_it_is_read(site: Site) -> None:
    source = "**Two** formulas: $a^2$\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    page = open_texts(site, source, "Short.")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    select(page, "formulas", 0)
    page.locator("[data-mark-bar]").wait_for()  # what reads selections is there
    page.keyboard.press("Control+c")
    assert page.evaluate("navigator.clipboard.readText()") == "formulas"
    page.locator("[data-response=A] .response__text").evaluate("(each) => getSelection().selectAllChildren(each)")
    page.keyboard.press("Control+c")
    expect(page.locator("[data-hint]")).to_have_text("Copied as it was written")
    assert page.evaluate("navigator.clipboard.readText()") == source
    page.get_by_role("button", name="Copy response B as it was written").click()
    expect(page.locator("#status")).to_have_text("Copied as it was written")
    assert page.evaluate("navigator.clipboard.readText()") == "Short."


def test_without_a_clipboard_to_write_to_the_button_copies_all_the_same(site: Site) -> None:
    page = open_texts(site, "**Two** words", "Short.")
    page.context.grant_permissions(["clipboard-read"])
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    page.get_by_role("button", name="Copy response A as it was written").click()
    expect(page.locator("[data-hint]")).to_have_text("Copied as it was written")
    assert page.evaluate("navigator.clipboard.readText()") == "**Two** words"
