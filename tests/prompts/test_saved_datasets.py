"""A folder that ``datasets`` saved to disk is read like the rows in it: packed as ZIP, or as it lies there."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict

from app.kernel.errors import BadInput
from app.prompts import saved_datasets
from app.prompts.parsing import Refusal
from app.prompts.records import ParsedPrompt
from tests.prompts.reading import LIMITS, read, refused_file

ROWS = [{"prompt": f"What is {n}?", "chosen": f"{n}.", "rejected": "No."} for n in range(7)]
ASKED = [row["prompt"] for row in ROWS]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Seven rows in three files, as the library writes them."""
    folder = tmp_path / "pairs"
    Dataset.from_list(ROWS).save_to_disk(folder, num_shards=3)
    return folder


def packed(folder: Path) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
    return into.getvalue()


def asked(found: list[ParsedPrompt | Refusal]) -> list[str]:
    return [each.messages[0]["content"] for each in found if isinstance(each, ParsedPrompt)]


def test_a_folder_is_read_packed_and_as_it_lies_there(saved: Path) -> None:
    assert len([*saved.glob("*.arrow")]) == 3
    found = read(packed(saved), "pairs.zip")
    assert asked(found) == ASKED
    assert isinstance(found[0], ParsedPrompt)
    assert [each.text for each in found[0].responses] == ["0.", "No."]
    name, content = saved_datasets.of_folder(saved, LIMITS.file_bytes)
    assert (name, asked(read(content, name))) == ("pairs.arrow", ASKED)


def test_one_split_is_read_and_of_several_one_has_to_be_chosen(tmp_path: Path) -> None:
    folder = tmp_path / "both"
    DatasetDict({"train": Dataset.from_list(ROWS), "test": Dataset.from_list(ROWS[:1])}).save_to_disk(folder)
    assert "several splits" in refused_file(packed(folder), "x.zip")
    with pytest.raises(BadInput, match='"test", "train"'):
        saved_datasets.of_folder(folder, LIMITS.file_bytes)
    shutil.rmtree(folder / "test")
    assert asked(read(packed(folder), "x.zip")) == ASKED


def test_a_file_of_arrow_alone_is_a_stream_or_a_file() -> None:
    table = pa.Table.from_pylist(ROWS)
    for make in (pa.ipc.new_stream, pa.ipc.new_file):
        into = io.BytesIO()
        with make(into, table.schema) as writer:
            writer.write_table(table)
        assert asked(read(into.getvalue(), "x.arrow")) == ASKED


def test_what_is_damaged_or_missing_is_said(saved: Path) -> None:
    shard = next(saved.glob("*-00001-*.arrow"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-40])
    assert "The Arrow file cannot be read" in refused_file(packed(saved), "x.zip")
    shard.unlink()
    assert f'lacks its file "{shard.name}"' in refused_file(packed(saved), "x.zip")
    state = json.loads((saved / "state.json").read_text())
    for said in ("{", json.dumps(state | {"_data_files": [{"filename": "../x.arrow"}]})):
        (saved / "state.json").write_text(said)
        assert "state.json" in refused_file(packed(saved), "x.zip")
    (saved / "state.json").write_text(json.dumps(state | {"_indices_data_files": [{"filename": "i.arrow"}]}))
    assert "flatten_indices" in refused_file(packed(saved), "x.zip")
    assert "does not look like Arrow" in refused_file(b"{}", "x.arrow")


def test_a_folder_is_bounded_and_must_be_one_of_datasets(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="more than 2,000 bytes"):
        saved_datasets.of_folder(saved, 2000)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="a folder that datasets did not save"):
        saved_datasets.of_folder(tmp_path / "empty", LIMITS.file_bytes)


def test_arrow_that_unpacks_to_far_more_is_stopped() -> None:
    into = io.BytesIO()
    table = pa.table({"prompt": ["x" * 1_000_000] * 400})
    with pa.ipc.new_stream(into, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table, max_chunksize=10)
    assert len(into.getvalue()) < 1_000_000
    assert "unpacks to more" in refused_file(into.getvalue(), "x.arrow")
