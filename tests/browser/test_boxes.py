"""Nothing lies on anything else, at every width: each control of an item can be seen, read and reached."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from app.prompts.models import Batch, Prompt, PromptState
from tests.browser.conftest import Site
from tests.browser.items import item_of, wait_for_next
from tests.browser.test_reading import open_texts, select
from tests.factories import make_batch, make_comparison, make_prompt

pytestmark = [pytest.mark.browser]

WIDTHS = [320, 390, 1280, 1440, 1920]
ASKED = [
    {"name": "helpful", "label": "Helpful", "scale": ["not at all", "partly", "completely"]},
    {"name": "tone", "label": "Tone of voice", "scale": ["1", "2", "3", "4", "5", "6", "7"]},
]
FOUND = """() => {
    // a radio button that a label hides is reached through its label
    const reached = (each) => each.matches("input") && each.closest("label") ? each.closest("label") : each;
    const all = document.querySelectorAll("main :is(button, input, select, textarea, a[href], summary)");
    const controls = [...new Set([...all].map(reached))].filter((each) => each.checkVisibility({
        checkVisibilityCSS: true, checkOpacity: true,
    }));
    const floats = (each) => { // what is stuck to an edge lies on what is scrolled under it
        for (let at = each; at; at = at.parentElement)
            if (["sticky", "fixed"].includes(getComputedStyle(at).position)) return at;
        return null;
    };
    const seen = (each) => { // what scrolls in itself shows a part of what is in it
        let { left, right, top, bottom } = each.getBoundingClientRect();
        for (let at = each.parentElement; at; at = at.parentElement) {
            if (getComputedStyle(at).overflowX === "visible" || at === document.body) continue;
            const box = at.getBoundingClientRect();
            [left, right] = [Math.max(left, box.left), Math.min(right, box.right)];
            [top, bottom] = [Math.max(top, box.top), Math.min(bottom, box.bottom)];
        }
        return { left, right, top, bottom };
    };
    const boxes = controls.map((each) => ({
        each, box: seen(each), floats: floats(each),
    })).filter(({ box }) => box.right - box.left > 2 && box.bottom - box.top > 2);
    const name = ({ each, box }) => `${each.tagName} ${(each.innerText || each.value || each.ariaLabel || each.className)
        .trim().slice(0, 30)} (${[box.left, box.top, box.right, box.bottom].map(Math.round)})`;
    const found = [];
    boxes.forEach((one, at) => {
        if (one.box.right > innerWidth + 1 || one.box.left < -1) found.push(`${name(one)} is beyond the edge`);
        for (const other of boxes.slice(at + 1)) {
            if (one.each.contains(other.each) || other.each.contains(one.each)) continue;
            if (one.floats !== other.floats) continue;
            const [a, b] = [one.box, other.box];
            const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (across > 1 && down > 1) found.push(`${name(one)} and ${name(other)}`);
        }
    });
    return { found, controls: boxes.length };
}"""


FIELDS = {"8eSo: ": ".improve__text:focus", "8m": "[data-revise-feedback]:focus"}
"""By what is pressed, the field that it opens."""
LINE = 'print("a line of code that is longer than a phone is wide, and than half of a page is: " + str(total(rows, by="name")))'
COMMENTS = [
    "# the whole",
    "# 计算所有行的总和，如果没有任何一行符合条件，则返回默认值",
    "# هذا تعليق طويل جدا يشرح ما تفعله هذه الدالة وكيف يمكن استخدامها",
]
CODE = [f"Code:\n\n```python\n{comment}\n{LINE}\n```\n\n```\n{LINE}\n```\n" for comment in COMMENTS]
NESTED = [
    f"1. In a list:\n\n   ```python\n   {LINE}\n   ```\n\n   | a | b |\n   |---|---|\n   | `{'x' * 60}` | 2 |\n",
    f"- قائمة:\n\n  ```js\n  {LINE}\n  ```\n\n> Quoted:\n>\n> ```python\n> {LINE}\n> ```\n",
]
BLOCKS = """() => [...document.querySelectorAll(".response pre.md-code")].map((pre) => {
    const code = pre.querySelector("code"), style = getComputedStyle(pre), range = document.createRange();
    range.selectNodeContents(code);
    const [name, copy] = [pre.querySelector(".md-language"), pre.previousElementSibling];
    const box = (each) => each.getBoundingClientRect();
    return {
        language: name !== null,
        room: Math.round(pre.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight)),
        width: name ? code.clientWidth : Math.round(box(range).width),
        lines: Math.round(box(range).height / parseFloat(style.lineHeight)),
        written: code.textContent.trimEnd().split("\\n").length,
        above: [name, copy].every((each) => !each || box(each).bottom <= box(range).top + 1),
        apart: !name || box(name).right <= box(copy).left,
        reached: !name || code.scrollWidth <= code.clientWidth || code.tabIndex === 0,
    };
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("texts", [CODE, NESTED], ids=["code in three scripts", "code in lists and quotations"])
def test_code_has_the_whole_width_and_scrolls_in_itself(site: Site, texts: list[str], scheme: str) -> None:
    page = open_texts(site, *texts)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.reload()
        page.wait_for_load_state("networkidle")
        blocks = page.evaluate(BLOCKS)
        assert len(blocks) >= 3
        for block in blocks:
            assert block["above"], (width, block)
            assert block["apart"], (width, block)
            assert block["reached"], (width, block)
            if block["language"]:
                assert block["width"] == block["room"], (width, block)
                assert block["lines"] == block["written"], (width, block)
            else:
                assert block["width"] <= block["room"] + 10, (width, block)  # the space at the end of a line hangs over
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width


SAID = [
    {"role": "system", "content": "Answer in one paragraph, and give an example wherever one fits. " * 4},
    {"role": "user", "content": "What is a pair?"},
    {"role": "assistant", "content": "Two things, taken together."},
    {"role": "user", "content": "How many pairs are there among so many things? " * 30},
]


def said_before(site: Site, batch: Batch) -> Prompt:
    """A prompt with a system prompt, earlier turns, and a last one that is longer than what has room beside the responses."""
    prompt = make_prompt(site.session, batch, state=PromptState.READY)
    prompt.messages, prompt.capability = SAID, "reasoning"
    site.session.commit()
    return prompt


@pytest.mark.parametrize(
    ("responses", "keys"),
    [(2, ""), (2, "8"), (2, "8eSo: "), (2, "8m"), (4, "rdab3=1")],
    ids=["a pair", "a choice", "an edit", "a revision", "a ranking of four"],
)
def test_no_two_controls_of_an_item_overlap(site: Site, responses: int, keys: str) -> None:
    batch = make_batch(site.session, guidelines="Prefer what is *true*.\n\n" * 8, candidates_per_prompt=responses)
    batch.attributes = ASKED
    batch.strength_examples = {"4": "Only one of them answers what was asked.", "2": "One is clearer."}
    texts = [f"{name}. A text of some length. " * 12 for name in "ABCD"[:responses]]
    page = open_texts(site, *texts, batch=batch, prompt=said_before(site, batch))
    page.keyboard.type(keys)  # where it is ranked, the first rating is at hand then
    if keys in FIELDS:
        page.locator(FIELDS[keys]).wait_for()
        page.evaluate("document.activeElement.blur()")
    select(page, "A text of some length", 1)  # what it can be marked as is offered beside it
    wrong = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("() => new Promise(requestAnimationFrame)")  # what stands beside the text goes along
        for state in ("closed", "open", "down"):
            page.locator(".guidelines").evaluate("(each, is_open) => { each.open = is_open; }", state == "open")
            page.evaluate("(down) => scrollTo(0, down ? 500 : 0)", state == "down")
            seen = page.evaluate(FOUND)
            assert seen["controls"] > 20
            if seen["found"]:
                wrong[f"{width} px, guidelines {state}"] = seen["found"]
    assert not wrong, "\n".join(f"{where}: {each}" for where, all_of in wrong.items() for each in all_of)


WHERE = """() => [...document.querySelectorAll(".response__text")].map((each) => {
    const box = each.getBoundingClientRect();
    return [box.left, box.top, box.width, box.height].map((value) => Math.round(10 * value) / 10);
})"""
SHIFTED = """() => new Promise((told) => {
    // two frames: what was laid out is painted, and what was painted is measured
    requestAnimationFrame(() => requestAnimationFrame(() => {
        const shifts = [...window.shifts, ...window.watch.takeRecords()];
        window.shifts = [];
        // what is offered beside a passage goes where the passage is
        const floats = ({ node }) => (node?.closest ? node : node?.parentElement)?.closest("[data-mark-bar]");
        const moved = shifts.filter(({ sources }) => !sources.length || !sources.every(floats));
        told(moved.map(({ value, sources }) => `${value} ${sources.map(({ node }) => node?.className ?? node).join(", ")}`));
    }));
})"""
WATCH = """() => {
    window.shifts = [];
    window.watch = new PerformanceObserver((list) => window.shifts.push(...list.getEntries()));
    window.watch.observe({ type: "layout-shift" });
}"""


@pytest.mark.parametrize("width", [320, 1280, 1600])
def test_nothing_that_opens_moves_a_response(site: Site, width: int) -> None:
    batch = make_batch(site.session, guidelines="Prefer what is *true*.\n\n" * 8)
    texts = [f"{name}. A text of some length. " * 12 for name in "AB"]
    page = open_texts(site, *texts, batch=batch, prompt=said_before(site, batch), width=width)
    make_comparison(site.session, prompt=said_before(site, batch), texts=texts)
    before = page.evaluate(WHERE)
    page.evaluate(WATCH)
    moved = {}

    def still(what: str) -> None:
        shifts = page.evaluate(SHIFTED)
        if shifts or page.evaluate(WHERE) != before:
            moved[what] = [*shifts, page.evaluate(WHERE)]

    for what in ("opens", "closes"):
        page.keyboard.press("g")
        still(f"guidelines: {what}")
    page.locator("#work-title").focus()
    select(page, "A text of some length", 1)
    still("what can be marked")
    page.keyboard.press("1")
    expect(page.locator("[data-mark-noted]")).to_be_visible()
    still("a note")
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    expect(page.locator("#differences")).to_be_visible()
    still("differences")
    page.keyboard.press("Escape")  # however little of it has come
    expect(page.locator("#differences")).to_be_hidden()
    page.evaluate("() => document.getSelection().removeAllRanges()")  # from here on a digit is a choice
    item = item_of(page)
    page.keyboard.press("3")
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    still("the next item")  # texts as long stand where the ones before stood
    assert not moved, moved
