"""CSV gives every text back, and nothing in it begins like a formula, whatever ends a cell."""

from __future__ import annotations

import csv
import io
import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from app.kernel.spreadsheets import cell_text, read_text
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from tests.exporting import exported as file_of
from tests.factories import make_annotation, make_comparison, make_user
from tests.preferences.test_export import exported

HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n=1", "'=1", "a;=1+1", "a\n- b\n'c'", 'plain, "quoted"', "＝1"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_begins_no_formula_where_a_cell_may_begin(text: str) -> None:
    assert not re.search(r"(\A|[;\t\r\n])[=+\-@＝＋－＠]", cell_text(text))
    assert not cell_text(text).startswith(("\t", "\r"))


@given(st.text(alphabet="ab'=+-@;\t\r\n \"＝") | st.text())
def test_every_text_is_read_back(text: str) -> None:
    assert read_text(cell_text(text)) == text


def test_rows_are_those_of_json_lines(session: Session) -> None:
    alice = make_user(session, name="Alice")
    annotation = make_annotation(
        session, alice, make_comparison(session, texts=["=1+1;=2", "Lyon"]), edited_text="@b\r\n-c"
    )
    file, count = file_of(session, Shape.CANONICAL, Format.CSV, ExportFilter())
    rows = list(csv.DictReader(io.StringIO(file.decode(), newline="")))
    assert len(rows) == count == 1
    [row], [line] = rows, exported(session)
    assert orjson.loads(row["chosen"]) == line["chosen"]
    assert orjson.loads(row["edited"]) == line["edited"]
    assert read_text(row["batch"]) == line["batch"]
    assert (int(row["annotation_id"]), int(row["strength"])) == (annotation.id, line["strength"])
    assert ";" not in row["chosen"]
    assert row["dialogue"] == ""
