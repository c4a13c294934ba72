"""Nothing lies on anything else, at every width: each control of an item can be seen, read and reached."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Site
from tests.browser.test_reading import open_texts
from tests.factories import make_batch

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

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
    const boxes = controls.map((each) => ({
        each, box: each.getBoundingClientRect(), floats: floats(each),
    })).filter(({ box }) => box.width > 2 && box.height > 2);
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


@pytest.mark.parametrize("responses", [2, 4], ids=["a pair", "a ranking of four"])
def test_no_two_controls_of_an_item_overlap(site: Site, responses: int) -> None:
    batch = make_batch(site.session, guidelines="Prefer what is *true*.\n\n" * 8, candidates_per_prompt=responses)
    batch.attributes = ASKED
    batch.strength_examples = {"4": "Only one of them answers what was asked.", "2": "One is clearer."}
    page = open_texts(site, *[f"{name}. A text of some length. " * 12 for name in "ABCD"[:responses]], batch=batch)
    wrong = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for is_open in (True, False):
            page.locator(".guidelines").evaluate("(each, is_open) => { each.open = is_open; }", is_open)
            seen = page.evaluate(FOUND)
            assert seen["controls"] > 20
            if seen["found"]:
                wrong[f"{width} px, guidelines {'open' if is_open else 'closed'}"] = seen["found"]
    assert not wrong, "\n".join(f"{where}: {each}" for where, all_of in wrong.items() for each in all_of)
