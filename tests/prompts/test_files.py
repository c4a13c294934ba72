"""A file is what its name says, in an encoding that is known, and each format is read as it is meant."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.kernel.settings import ROOT
from app.prompts.importers import Limits
from app.prompts.parsing import Refusal
from app.prompts.records import ParsedPrompt
from app.prompts.tables import CHILD_ENVIRONMENT
from tests.prompts.reading import ASSISTANT, USER, read, refused_file


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x", b"{}", "must end in"),
        ("x.xlsx", b"{}", "must end in"),
        ("x.jsonl", b"", "empty"),
        ("x.jsonl", b" \n\n", "empty"),
        ("x.jsonl", b"\x1f\x8b\x08\0\0", "gzip archive"),
        ("x.csv", b"PK\x03\x04\x14\0", "Excel workbook"),
        ("x.json", b"%PDF-1.7", "PDF"),
        ("x.csv", b"\x89PNG\r\n", "picture"),
        ("x.jsonl", b"PAR1 PAR1", "rename it to end in .parquet"),
        ("x.parquet", b'{"prompt": "x"}', "looks like text"),
        ("x.parquet", b"PAR1" + b"\0" * 50, "cut off"),
        ("x.json", b'{"prompt": "a"}\n{"prompt": "b"}\n', "rename it to .jsonl"),
        ("x.json", b"prompt\nhello", "must begin with"),
        ("x.jsonl", b'[\n{"prompt": "a"}\n]', "rename it to .json"),
        ("x.jsonl", b'{\n  "prompt": "a"\n}', "rename it to .json"),
        ("x.jsonl", b"prompt,id\nhello,1\n", "plain text"),
        ("x.csv", b'{"prompt": "a"}\n', "rename it to .json"),
        ("x.jsonl", b"<!DOCTYPE html><html>", "web page"),
        ("x.json", b'[{"prompt": "a"}', "cut off"),
        ("x.json", b'[{"prompt": "a"}] trailing', "more text after its end"),
        ("x.json", b'{"a": [1], "b": [2]}', "no one list"),
        ("x.json", b'{"a": 1}', "no one list"),
        ("x.json", b"[" * 3_000_000, "more than 2,662,144 bytes"),
        ("x.csv", b"text,id\nhello,1\n", 'one of them "prompt"'),
        ("x.csv", b"prompt,prompt\na,b\n", "two columns"),
        ("x.csv", b"tex\xed\xa0\x80t,id\nhello,1\n", "the lone surrogate \\ud800"),
        ("x.csv", b"prompt,i\0d\nhello,1\n", "a NUL character"),
        ("x.csv", b'prompt\n"abc"def\n', "line 2"),
        ("x.csv", b'prompt\n"never closed\n', "line 2"),
        ("x.csv", b'prompt\n"' + b"a\n" * 2_000_000, "never closed"),
        ("x.csv", b"prompt\n" + b'"\n",' * 1_000_000, "more than"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused_with_what_it_looks_like(
    name: str, content: bytes, said: str
) -> None:
    assert said in refused_file(content, name)


# ── Encodings ────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv"])
def test_unicode_encodings_with_their_marks_are_read(name: str, encoding: str) -> None:
    text = {
        "x.jsonl": '{"prompt": "Grüße 漢 😀"}\r\n',
        "x.json": '[{"prompt": "Grüße 漢 😀"}]',
        "x.csv": "prompt\r\nGrüße 漢 😀\r\n",
    }
    (parsed,) = read(text[name].encode(encoding), name)

    assert isinstance(parsed, ParsedPrompt)
    assert parsed.messages[0]["content"] == "Grüße 漢 😀"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"prompt": "ok"}\n{"prompt": "Grüße"}'.encode("latin-1"), "byte 0xfc at offset 31 (line 2)"),
        (b"\xef\xbb\xbf" + '{"prompt": "Grüße"}'.encode("latin-1"), "offset 17 (line 1)"),
        ('{"prompt": "x"}'.encode("utf-16-le"), "without its byte order mark"),
        ('{"prompt": "x"}'.encode("utf-32"), "UTF-32"),
        (b"\xff\xfe{\0\x00", "UTF-16 text is broken"),
        (b'{"prompt": "' + b"x" * 1_100_000 + b"\xff" + b'"}', "offset 1,100,012"),
        (b'{"prompt": "cut in a character \xc3', "0xc3"),
    ],
)
def test_other_encodings_are_refused_with_the_place(content: bytes, said: str) -> None:
    assert said in refused_file(content, "x.jsonl")


@pytest.mark.parametrize("cut", range(6))
def test_a_character_on_the_border_of_two_pieces_is_whole(cut: int) -> None:
    text = "x" * ((1 << 20) - 15 + cut) + "😀"
    (parsed,) = read(json.dumps({"prompt": text}, ensure_ascii=False).encode(), limits=Limits(2_000_000, 1 << 24))

    assert isinstance(parsed, ParsedPrompt)
    assert parsed.messages[0]["content"] == text


# ── JSON, CSV and Parquet ────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "document",
    [
        [{"prompt": "a"}, {"prompt": "b"}],
        {"prompts": [{"prompt": "a"}, {"prompt": "b"}]},
        {"version": 1, "author": "x", "data": [{"prompt": "a"}, {"prompt": "b"}], "other": []},
        {"whatever": ["a", "b"]},
        ["a", "b"],
    ],
)
def test_json_is_a_list_or_an_object_with_a_list(document: object) -> None:
    for indent in (None, 2):
        parsed = read(json.dumps(document, indent=indent).encode(), "x.json")
        assert [item.messages[0]["content"] for item in parsed if isinstance(item, ParsedPrompt)] == ["a", "b"]


def test_a_json_file_may_be_one_prompt_and_an_empty_list_is_none() -> None:
    (parsed,) = read(b'{"prompt": "a", "tools": []}', "x.json")

    assert isinstance(parsed, ParsedPrompt)
    assert read(b"[]", "x.json") == []


def test_the_items_of_json_are_counted_and_a_bad_one_costs_only_itself() -> None:
    answers = read(b'[{"prompt": "a, ]}"}, {"prompt": }, {"prompt": "\\"c"}]', "x.json")

    assert [type(answer) for answer in answers] == [ParsedPrompt, Refusal, ParsedPrompt]
    assert answers[1].line == 2


def test_csv_knows_quotes_delimiters_and_the_line_on_which_a_row_begins() -> None:
    for delimiter in ",;\t":
        rows = [
            "id|prompt|messages",
            '1|"two\nlines, ""quoted"""|',
            "",
            '2||"[{""role"": ""user"", ""content"": ""x""}]"',
            "3|a|b|c",
        ]
        text = "\r\n".join(rows)
        first, second, third = read(text.replace("|", delimiter).encode(), "x.csv")

        assert isinstance(first, ParsedPrompt)
        assert isinstance(second, ParsedPrompt)
        assert first.messages[0]["content"] == 'two\nlines, "quoted"'
        assert second.messages[0]["content"] == "x"
        assert isinstance(third, Refusal)
        assert (first.line, second.line, third.line) == (2, 5, 6)
        assert "4 cells where the header has 3" in third.reason


def test_a_row_that_says_nothing_is_refused_by_its_line_and_a_blank_line_is_none() -> None:
    first, blank, last = read(b'prompt\nfine\n\n""\n\nfine too\n', "x.csv")

    assert isinstance(first, ParsedPrompt)
    assert isinstance(blank, Refusal)
    assert (blank.line, "blank" in blank.reason) == (4, True)
    assert isinstance(last, ParsedPrompt)
    assert len(read(b"prompt,id\nfine,1\n,\n", "x.csv")) == 1, "spreadsheets leave such rows at the end"


def test_numbers_in_csv_are_text() -> None:
    first, second = read(b"prompt,answer\n007,42\n1e5,x\n".replace(b"prompt", b"question"), "x.csv")

    assert isinstance(first, ParsedPrompt)
    assert isinstance(second, ParsedPrompt)
    assert (first.messages[0]["content"], first.reference) == ("007", "42")
    assert second.messages[0]["content"] == "1e5"


def test_a_nul_in_csv_is_refused_by_line() -> None:
    first, second = read(b"prompt\na\0b\nfine\n", "x.csv")

    assert isinstance(first, Refusal)
    assert isinstance(second, ParsedPrompt)


def parquet(table: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(table), file, **options)
    return file.getvalue()


def test_parquet_with_messages_and_missing_values() -> None:
    content = parquet(
        {
            "id": [1, 2, 3],
            "messages": [[USER], [USER, ASSISTANT], None],
            "prompt": [None, None, "Hello"],
            "score": [0.5, float("nan"), None],
        }
    )
    first, second, third = read(content, "x.parquet")

    assert isinstance(first, ParsedPrompt)
    assert isinstance(second, Refusal)
    assert isinstance(third, ParsedPrompt)
    assert (first.messages, first.metadata) == ([USER], {"score": 0.5})
    assert (third.messages[0]["content"], third.metadata) == ("Hello", {})
    assert second.line == 2


def test_parquet_cells_that_are_not_text_are_refused_by_row() -> None:
    invalid = pa.array([b"\xff\xfe", b"fine"]).view(pa.string())
    (bad, good) = read(parquet({"prompt": invalid}), "x.parquet")
    binary = read(parquet({"prompt": pa.array([b"x"])}), "x.parquet")

    assert isinstance(bad, Refusal)
    assert "UTF-8" in bad.reason
    assert isinstance(good, ParsedPrompt)
    assert isinstance(binary[0], Refusal)
    assert "binary" in binary[0].reason


def test_two_parquet_columns_of_one_name_are_refused_by_it() -> None:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array(["kept?"]), pa.array(["or this?"])], names=["prompt"] * 2), file)

    assert 'two columns named "prompt"' in refused_file(file.getvalue(), "x.parquet")


def test_a_damaged_parquet_file_is_refused() -> None:
    content = bytearray(parquet({"prompt": [f"question {n}" for n in range(1000)]}))
    content[40:400] = b"\xff" * 360

    assert "cannot be read" in refused_file(bytes(content), "x.parquet")


def test_parquet_with_too_many_columns_or_rows_is_refused_before_it_is_read() -> None:
    assert "columns" in refused_file(parquet({f"c{n}": [1] for n in range(201)}), "x.parquet")
    assert "rows" in refused_file(parquet({"prompt": pa.nulls(1_000_001)}), "x.parquet")


def test_the_reader_of_a_small_file_that_unpacks_to_much_stays_small(tmp_path: Path) -> None:
    one = pa.DictionaryArray.from_arrays(pa.array([0] * 10, pa.int32()), pa.array(["x" * 90_000_000]))
    file = tmp_path / "small.parquet"
    file.write_bytes(parquet({"prompt": one}, compression="zstd"))
    assert file.stat().st_size < 10_000
    # measured from a process that is small itself: a child counts what its parent held when it began
    measure = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run([sys.executable, '-m', 'app.prompts.tables', 'Parquet', str(2**28)], stdin=open(sys.argv[1]),"
        " stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)\n"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.stderr)"
    )
    found = subprocess.run(
        [sys.executable, "-c", measure, str(file)],
        cwd=ROOT,
        env=CHILD_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    status, kilobytes, said = found.stdout.split(maxsplit=2)
    assert (int(status), "unpacks to more" in said) == (2, True)
    assert int(kilobytes) < 500_000, "it took 793 MB"


def test_a_small_parquet_file_that_becomes_huge_is_refused() -> None:
    bomb = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * 1_000_000]))
    content = parquet({"prompt": bomb}, compression="zstd")

    assert len(content) < 100_000
    assert "unpacks to more than" in refused_file(content, "x.parquet")
