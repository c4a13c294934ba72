"""What changed between two texts is shown in the words of their script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.kernel.word_diff import changes, word_diff, words

CASES = json.loads((Path(__file__).parent / "js/words.json").read_text(encoding="utf-8"))
"""Read by the browser's tests too: both sides keep to one rule."""


@pytest.mark.parametrize(("text", "parts"), CASES["words"])
def test_a_text_is_read_in_words_of_its_script(text: str, parts: list[str]) -> None:
    assert words(text) == parts


@pytest.mark.parametrize(("before", "after", "parts"), CASES["changes"])
def test_a_change_of_a_word_is_shown_as_one_and_a_rewrite_as_a_rewrite(
    before: str, after: str, parts: list[list[object]]
) -> None:
    assert [list(change) for change in changes(before, after)] == parts


def test_lines_that_stay_are_no_part_of_a_rewrite() -> None:
    shown = word_diff("Same line.\nOne thing was here.\nEnd.", "Same line.\nAnother text stands now.\nEnd.")
    assert shown == "Same line.\n<del>One thing was here.\n</del><ins>Another text stands now.\n</ins>End."
