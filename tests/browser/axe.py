"""What axe finds on a page: WCAG 2.2 AA, and what it calls best practice."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from app.kernel.settings import ROOT

AXE = ROOT / "tests" / "browser" / "vendor" / "axe.js"
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}
OF_COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""What a theme can break: it changes colours, and nothing of what the other rules read."""

SMALL = "target-size: "
ELSEWHERE = """() => {
    const was = scrollY;
    for (const top of [innerHeight / 3, -innerHeight / 3]) if (scrollY === was) scrollBy({ top, behavior: "instant" });
}"""

VIOLATIONS = """async rules => {
    const options = { ...rules, resultTypes: ["violations"], selectors: false, preload: false };
    return (await axe.run(document, options)).violations;
}"""
"""What is in order is neither described nor sent: on a long page that took longer than looking."""


def violations(page: Page, rules: dict[str, Any] = RULES) -> list[str]:
    """What axe objects to: rule, and the first offending elements.

    A control that lies half under a bar at the window's edge is small there, and whole as soon as one scrolls: it counts where
    it stays small.
    """
    found = _violations(page, rules)
    if any(each.startswith(SMALL) for each in found):
        page.evaluate(ELSEWHERE)
        again = {each.partition(" (")[0] for each in _violations(page, rules)}
        found = [each for each in found if not each.startswith(SMALL) or each.partition(" (")[0] in again]
    return found


def _violations(page: Page, rules: dict[str, Any]) -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    found: list[dict[str, Any]] = page.evaluate(VIOLATIONS, rules)
    return [
        f"{violation['id']}: {node['html'][:160]} ({node['failureSummary'][:200]})"
        for violation in found
        for node in violation["nodes"][:9]
    ]
