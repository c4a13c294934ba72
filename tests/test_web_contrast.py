"""WCAG 2.2 AA, computed from the tokens: text on its ground 4.5 to 1, what outlines a control 3 to 1, in both themes."""

from __future__ import annotations

import re

import pytest

from app.kernel.settings import ROOT

PAIRS = re.findall(
    r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);",
    (ROOT / "static/css/tokens.css").read_text(encoding="utf-8"),
)
THEMES = {
    "light": {name: light for name, light, _ in PAIRS},
    "dark": {name: dark for name, _, dark in PAIRS},
}
TEXT = [
    *(
        (ink, ground)
        for ink in ("ink", "ink-soft", "accent", "accent-strong")
        for ground in ("paper", "surface", "sunken")
    ),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    *(("ink", f"{tone}-soft") for tone in ("accent", "good", "warn", "bad")),
    *((tone, f"{tone}-soft") for tone in ("accent", "good", "warn", "bad")),
    *((tone, ground) for tone in ("good", "warn", "bad") for ground in ("paper", "surface", "sunken")),
]
OUTLINES = [(line, ground) for line in ("line-strong", "accent", "bad") for ground in ("paper", "surface", "sunken")]


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_the_measure_is_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("ink", "ground"), TEXT)
def test_text_can_be_read(theme: str, ink: str, ground: str) -> None:
    colours = THEMES[theme]
    assert contrast(colours[ink], colours[ground]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("line", "ground"), OUTLINES)
def test_controls_can_be_seen(theme: str, line: str, ground: str) -> None:
    colours = THEMES[theme]
    assert contrast(colours[line], colours[ground]) >= 3
