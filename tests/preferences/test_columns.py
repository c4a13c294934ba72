"""A column of an export is a line in one table: query, rows, Parquet, documentation and training's reader follow from it."""

from __future__ import annotations

import io
import re
from datetime import UTC
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest
from sqlalchemy.orm import Session

from app.annotations.models import Annotation
from app.candidates.models import Candidate
from app.kernel.settings import ROOT, get_settings
from app.preferences.columns import BY_ALGEBRA, OF_ANNOTATION
from app.preferences.exporters import FORMATS, SHAPES, Format, Shape
from app.preferences.forms import ExportFilter
from app.preferences.freeze import freeze
from tests import exporting
from tests.factories import make_annotation, make_user
from training.data.snapshot import read_file, read_snapshot
from training.formats import columns
from training.formats.columns import INT32, JSON, TIME, Column, both

ADDED = (
    Column("guidelines_version", INT32, "which guidelines the annotator had read", reader="keeps"),
    Column("withdrawn_at", TIME, "when it was taken back"),
    Column("request_hash_of", JSON, "in the database under another name", reader="keeps"),
    Column("rejected_completion_tokens", INT32, "how long the rejected response is", of="pair", reader="keeps"),
    Column("engine_version", both(columns.TEXT), "what wrote the responses", of="pair"),
    Column("chosen_created_at", TIME, "when the chosen response was written", of="pair"),
)


@pytest.fixture
def annotation(session: Session, monkeypatch: pytest.MonkeyPatch) -> Annotation:
    """What Alice said of two responses, in an installation whose exports have some columns more."""
    monkeypatch.setattr(columns, "COLUMNS", (*columns.COLUMNS[:4], *ADDED, *columns.COLUMNS[4:]))
    monkeypatch.setitem(OF_ANNOTATION, "request_hash_of", OF_ANNOTATION["tools"]._replace(sql=Annotation.ranking))
    return make_annotation(session, make_user(session, name="Alice"))


def exported(session: Session, form: Format) -> bytes:
    return exporting.exported(session, Shape.CANONICAL, form, ExportFilter())[0]


def expected(session: Session, annotation: Annotation) -> dict[str, Any]:
    chosen, rejected = (session.get_one(Candidate, group[0]) for group in annotation.ranking)
    return {
        "guidelines_version": annotation.guidelines_version,
        "withdrawn_at": None,
        "request_hash_of": annotation.ranking,
        "rejected_completion_tokens": rejected.completion_tokens,
        "engine_version": {"chosen": chosen.engine_version, "rejected": rejected.engine_version},
        "chosen_created_at": chosen.created_at.astimezone(UTC),
    }


def test_an_added_column_is_in_json_lines(session: Session, annotation: Annotation) -> None:
    row = orjson.loads(exported(session, Format.JSONL))
    wanted = orjson.loads(orjson.dumps(expected(session, annotation), option=orjson.OPT_UTC_Z))
    assert {each.name: row[each.name] for each in ADDED} == wanted


def test_an_added_column_is_in_parquet_with_its_type(session: Session, annotation: Annotation) -> None:
    table = pyarrow.parquet.read_table(io.BytesIO(exported(session, Format.PARQUET)))
    [row] = table.select([each.name for each in ADDED]).to_pylist()
    assert row | {"request_hash_of": orjson.loads(row["request_hash_of"])} == expected(session, annotation)
    assert table.schema.names == [each.name for each in columns.COLUMNS]
    assert table.schema.field("rejected_completion_tokens").type == pa.int32()


def test_an_added_column_is_in_the_documentation_that_is_written(annotation: Annotation) -> None:
    page = columns.documented((ROOT / "docs" / "formats.md").read_text())
    assert "| `guidelines_version` | int32 | which guidelines the annotator had read |" in page
    assert "| `engine_version` | {chosen: text, rejected: text} | what wrote the responses |" in page


def test_an_added_column_reaches_training_where_it_is_kept(
    session: Session, annotation: Annotation, tmp_path: Path
) -> None:
    freeze(session, ExportFilter(), tmp_path / "snapshot")
    lines = tmp_path / "rows.jsonl"
    lines.write_bytes(exported(session, Format.JSONL))
    wanted = {each.name: expected(session, annotation)[each.name] for each in ADDED if each.reader == "keeps"}
    for (row,), _ in (read_snapshot(tmp_path / "snapshot"), read_file(lines, get_settings().held_out_percent)):
        assert row.more == wanted


def test_the_page_has_the_table_of_the_columns() -> None:
    page = (ROOT / "docs" / "formats.md").read_text()
    assert page == columns.documented(page), "run python -m training.formats.columns docs/formats.md"


def test_every_column_has_its_place_in_the_database() -> None:
    names = [each.name for each in columns.COLUMNS]
    assert len(set(names)) == len(names)
    assert {each.name for each in columns.of_pair()} >= BY_ALGEBRA
    own = {each.name for each in columns.of_annotation()}
    assert own >= OF_ANNOTATION.keys(), "a value without a column is never exported"
    assert [name for name in own - OF_ANNOTATION.keys() if not hasattr(Annotation, name)] == []


def test_every_exporter_is_registered_and_says_in_one_sentence_what_it_is_for() -> None:
    shared = {"__init__", "kinds", "conversations"}
    files = {path.stem for path in (ROOT / "app" / "preferences" / "exporters").glob("*.py")} - shared
    assert files == {*map(str, Shape), *map(str, Format)}
    assert (list(SHAPES), list(FORMATS)) == (list(Shape), list(Format))
    for purpose in (each.exporter.purpose for kind in (Shape, Format) for each in kind):
        assert re.fullmatch(r"[A-Z][^.]+\.", purpose)
