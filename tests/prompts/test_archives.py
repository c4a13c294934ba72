"""A packed file is read like the file inside, and one that unpacks to too much is refused before it does."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile

import pytest

from app.kernel.errors import BadInput
from app.prompts.archives import unpacked
from app.prompts.importers import Limits
from app.prompts.records import ParsedPrompt
from tests.prompts.reading import LIMITS, read, refused_file

INSIDE = b'{"prompt": "Why?"}\n{"prompt": "How?"}\n'
SMALL = Limits(prompt_chars=1000, file_bytes=1_000_000)


def zipped(**files: bytes) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return into.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl.gz", gzip.compress(INSIDE)),
        ("X.JSONL.GZ", gzip.compress(INSIDE[:19]) + gzip.compress(INSIDE[19:]) + b"\0\0"),
        ("x.zip", zipped(data__x_jsonl=INSIDE)),
    ],
    ids=["gzip", "two members", "zip"],
)
def test_a_packed_file_is_read_like_the_one_inside(name: str, content: bytes) -> None:
    found = read(content, name)
    assert [each.messages[0]["content"] for each in found if isinstance(each, ParsedPrompt)] == ["Why?", "How?"]


def test_what_a_mac_adds_to_an_archive_is_not_looked_at() -> None:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        for name, content in [
            ("d/", b""),
            ("d/x.jsonl", INSIDE),
            ("__MACOSX/d/._x.jsonl", b"\0"),
            (".DS_Store", b"\0"),
        ]:
            archive.writestr(name, content)
    assert len(read(into.getvalue(), "x.zip")) == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.jsonl.gz", INSIDE, "does not look like gzip"),
        ("x.zip", INSIDE, "does not look like a ZIP archive"),
        ("x.jsonl.gz", gzip.compress(INSIDE)[:-12], "damaged or was cut off"),
        ("x.jsonl.gz", b"\x1f\x8b" + b"x" * 40, "damaged or was cut off"),
        ("x.zip", zipped(x_jsonl=INSIDE)[:-30], "damaged or was cut off"),
        ("x.zip", zipped(a_jsonl=INSIDE, b_jsonl=INSIDE), 'has 2 files ("a.jsonl", "b.jsonl")'),
        ("x.zip", zipped(), "has 0 files (none)"),
        ("x.zip", zipped() + b"PK\x01\x02" * 1001, "more than 1,000 files"),
        ("x.zip", zipped(x_txt=INSIDE), "The name must end in"),
        ("x.gz", gzip.compress(INSIDE), "The name must end in"),
        (
            "x.jsonl",
            gzip.compress(INSIDE),
            "looks like a gzip archive, but its name says JSON Lines: end its name in .gz",
        ),
    ],
)
def test_a_packed_file_that_cannot_be_used_is_refused_in_a_sentence(name: str, content: bytes, said: str) -> None:
    assert said in refused_file(content, name)


def test_a_workbook_is_no_archive_of_prompts() -> None:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("[Content_Types].xml", "x")
    assert refused_file(into.getvalue(), "x.zip") == "This looks like an Excel workbook: save the sheet as CSV."


@pytest.mark.parametrize("lies", [False, True])
@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.zip"])
def test_an_archive_that_unpacks_to_too_much_is_refused_without_unpacking_it(name: str, *, lies: bool) -> None:
    """A hundred times the bound; where the archive lies about its size, what is there is read up to the bound."""
    much = b"\n" * (100 * SMALL.file_bytes)
    content = gzip.compress(much) if name.endswith(".gz") else zipped(x_jsonl=much)
    if lies:
        content = content.replace(len(much).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    del much
    tracemalloc.start()
    try:
        with pytest.raises(Exception, match=r"unpacks to|damaged"):
            read(content, name, SMALL)
        assert tracemalloc.get_traced_memory()[1] < 20 * SMALL.file_bytes
    finally:
        tracemalloc.stop()


def test_the_bound_is_that_of_any_upload() -> None:
    assert len(read(gzip.compress(INSIDE), "x.jsonl.gz", Limits(prompt_chars=1000, file_bytes=len(INSIDE)))) == 2
    assert LIMITS.file_bytes == 64 * 1024 * 1024


def test_parts_of_any_size_are_one_file_and_a_million_empty_ones_are_refused() -> None:
    whole = INSIDE * 4000
    for size in (1, 7, 65_535, 65_536, 65_537, len(whole)):
        cut = [whole[start : start + size] for start in range(0, min(len(whole), size * 40), size)]
        packed = b"".join(map(gzip.compress, cut))
        assert unpacked("x.jsonl.gz", packed, 10**8) == ("x.jsonl", b"".join(cut)), size
    with pytest.raises(BadInput, match="more than 10,000 parts"):
        unpacked("x.jsonl.gz", gzip.compress(b"") * 1_000_000, 10**8)


@pytest.mark.parametrize("left", [1, 8, 9, 100])
def test_a_part_that_was_cut_off_is_seen_wherever_it_ends(left: int) -> None:
    whole = gzip.compress(INSIDE * 50_000)
    with pytest.raises(BadInput, match="damaged or was cut off"):
        unpacked("x.jsonl.gz", whole + whole[:-left], 10**8)
