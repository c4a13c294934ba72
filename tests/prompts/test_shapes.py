"""A shape of records is one module: read, refused in a sentence of its own, or taken off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.prompts import shapes
from app.prompts.shapes import Read, Unread
from tests.prompts.reading import line, one, reason

RIDDLE = """
from app.prompts.fields import text, user
from app.prompts.shapes import Read

SHAPE = Read(name="Riddle", keys=("riddle",), read=lambda record, key: [user(text(record.take(key), key))], is_task=True)
"""


@pytest.fixture
def riddle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A shape that is one file."""
    (tmp_path / "riddle.py").write_text(RIDDLE)
    monkeypatch.setattr(shapes, "__path__", [*shapes.__path__, str(tmp_path)])
    shapes.shapes.cache_clear()
    yield
    shapes.shapes.cache_clear()


@pytest.mark.usefixtures("riddle")
def test_a_shape_of_one_file_becomes_a_prompt_or_says_why_not() -> None:
    assert one({"riddle": "What am I?", "level": 2}).messages == [{"role": "user", "content": "What am I?"}]
    assert reason(line({"riddle": ""})) == 'has a blank "riddle": write the prompt or remove it'
    assert one({"prompt": "Why?", "riddle": "What am I?"}).metadata == {"riddle": "What am I?"}


def test_a_shape_that_is_not_there_is_no_shape() -> None:
    assert reason(line({"riddle": "x"})) == (
        'has no "prompt" or "messages"; its keys are "riddle": rename the right one'
    )


@pytest.mark.parametrize("shape", shapes.readable(), ids=lambda shape: shape.name)
def test_every_shape_says_in_one_sentence_why_a_record_is_not_of_it(shape: Read) -> None:
    key = shape.keys[0]

    assert shape.why_not({key: "x"}) is None
    assert shape.why_not({key: ""}) == f'has a blank "{key}": write the prompt or remove it'
    assert str(shape.why_not({"other": 1})).startswith(f'has no "{key}"')


UNREAD: dict[str, tuple[dict[str, Any], str]] = {
    "Whole columns": ({"prompt": {"0": "x"}}, "holds whole columns"),
}


@pytest.mark.parametrize("shape", [each for each in shapes.shapes().values() if isinstance(each, Unread)])
def test_what_is_known_but_not_read_is_named_and_nothing_else_is(shape: Unread) -> None:
    record, begins = UNREAD[shape.name]

    assert str(shape.why_not(record)).startswith(begins)
    assert reason(line(record)) == shape.why_not(record)
    assert shape.why_not({"prompt": "x"}) is None


def test_a_row_of_a_dataset_viewer_that_holds_nothing_is_not_its_wrapping() -> None:
    assert reason(line({"row": {}})) == 'has no "prompt" or "messages"; its keys are none: rename the right one'
