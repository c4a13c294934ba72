"""Whatever the bytes, the answer is prompts and refusals; and what was a prompt comes back as it was."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.kernel.errors import BadInput
from app.kernel.settings import ROOT
from app.prompts.importers import Limits
from app.prompts.parsing import Refusal, parse
from app.prompts.records import ParsedPrompt
from training.formats.texts import shows_nothing

LIMITS = Limits(prompt_chars=1000, file_bytes=1024 * 1024)
ROOMY = Limits(prompt_chars=200_000, file_bytes=64 * 1024 * 1024)
PUBLIC = ROOT.parent / "shared" / "data" / "prompts"

storable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
said = storable.filter(lambda text: not shows_nothing(text))
leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(leaf, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
keys = st.sampled_from(
    [
        *("id", "prompt", "messages", "turns", "conversations", "instruction", "instances", "question", "answer"),
        *("system", "capability", "category", "reference", "tests", "tools", "metadata", "role", "content"),
        *("from", "value", "x", "conversation", "tool_calls", "name", "row", "data", "key"),
    ]
)
records = st.dictionaries(keys, values | st.lists(st.dictionaries(keys, values)))


def read(content: bytes, name: str, limits: Limits = LIMITS) -> list[ParsedPrompt | Refusal]:
    return list(parse(name, content, limits)[1])


def check(content: bytes, name: str) -> None:
    """The whole contract of parsing in one place."""
    try:
        answers = read(content, name)
    except BadInput:
        return
    prompts = [answer for answer in answers if isinstance(answer, ParsedPrompt)]
    for prompt in prompts:
        assert prompt.messages[-1]["role"] == "user"
        assert prompt.messages[-1]["content"].strip()
        stored = json.dumps([prompt.messages, prompt.tools, prompt.tests, prompt.metadata], allow_nan=False)
        json.dumps(json.loads(stored), ensure_ascii=False).encode()  # a lone surrogate would raise
        assert "\0" not in prompt.external_id + (prompt.reference or "") + (prompt.capability or "")
    assert len({prompt.content_hash for prompt in prompts}) == len({p.external_id for p in prompts}) == len(prompts)
    assert all(answer.reason for answer in answers if isinstance(answer, Refusal))
    assert [answer.line for answer in answers] == sorted({answer.line for answer in answers})


@given(st.binary(max_size=300), st.sampled_from(["x.jsonl", "x.json", "x.csv", "x.tsv"]))
def test_any_bytes_are_prompts_or_refusals(content: bytes, name: str) -> None:
    check(content, name)


@pytest.mark.slow
@given(st.lists(records | values, max_size=5))
def test_any_json_is_prompts_or_refusals(documents: list[object]) -> None:
    check("\n".join(json.dumps(document) for document in documents).encode(), "x.jsonl")
    check(json.dumps(documents).encode(), "x.json")


@given(st.lists(st.lists(storable, max_size=4), max_size=6), st.sampled_from(["prompt", "messages", "question,answer"]))
def test_any_table_is_prompts_or_refusals(table: list[list[str]], header: str) -> None:
    cells = io.StringIO(newline="")
    csv.writer(cells).writerows([header.split(","), *table])
    check(cells.getvalue().encode(), "x.csv")


@given(st.binary(max_size=60), st.integers(0, 400))
@settings(max_examples=60)
def test_a_valid_file_with_noise_in_it_is_prompts_or_refusals(noise: bytes, at: int) -> None:
    whole = b"".join(
        json.dumps({"id": n, "prompt": f"Question {n}", "metadata": {}}).encode() + b"\n" for n in range(9)
    )
    check(whole[:at] + noise + whole[at:], "x.jsonl")
    check(b"[" + whole[:at] + noise + whole[at:] + b"]", "x.json")


@given(st.lists(said, min_size=1, max_size=5, unique=True))
def test_prompts_come_back_as_they_were_written(texts: list[str]) -> None:
    for escaped in (True, False):
        lines = "\n".join(json.dumps({"prompt": text}, ensure_ascii=escaped) for text in texts).encode()
        document = json.dumps([{"prompt": text} for text in texts], ensure_ascii=escaped).encode()
        for content, name in ((lines, "x.jsonl"), (document, "x.json")):
            answers = read(content, name)
            assert [answer.messages[0]["content"] for answer in answers if isinstance(answer, ParsedPrompt)] == texts


@given(st.lists(said.filter(lambda text: not text.startswith("{")), min_size=1, max_size=5, unique=True))
def test_prompts_in_a_table_come_back_as_they_were_written(texts: list[str]) -> None:
    cells = io.StringIO(newline="")
    csv.writer(cells, quoting=csv.QUOTE_ALL).writerows([["prompt"], *([text] for text in texts)])

    answers = read(cells.getvalue().encode(), "x.csv")

    assert [answer.messages[0]["content"] for answer in answers if isinstance(answer, ParsedPrompt)] == texts


@pytest.mark.slow
# ── Bombs ────────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"[" * 8_000_000, "x.json"),
        (b'{"a":' * 2_000_000, "x.json"),
        (b"[" + b"[]," * 2_000_000 + b"[]]", "x.json"),
        (b"[[" + b"{}," * 3_000_000 + b"{}]]", "x.json"),
        (b'{"prompt": [' + b"{}," * 100_000 + b"{}]}", "x.jsonl"),
        (b"{" + b",".join(b'"%d":1' % n for n in range(1_000_000)) + b"}", "x.json"),
        (b'[{"prompt": "' + b'\\"' * 4_000_000, "x.json"),
        (b'prompt\n"' + b"a\n" * 4_000_000, "x.csv"),
        (b"prompt" + b"," * 8_000_000, "x.csv"),
        (b"\n" * 8_000_000 + b"{}", "x.jsonl"),
    ],
    ids=["lists", "objects", "items", "inside", "line", "keys", "quotes", "quote", "columns", "lines"],
)
def test_a_bomb_is_refused_in_less_than_a_hundred_megabytes(content: bytes, name: str) -> None:
    tracemalloc.start()
    try:
        answers = read(content, name, Limits(prompt_chars=20_000, file_bytes=64 * 1024 * 1024))
        assert all(isinstance(answer, Refusal) for answer in answers)
    except BadInput:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert peak < 100_000_000


# ── Public files ─────────────────────────────────────────────────────────────────────────────────────────────────────
def public(name: str) -> Path:
    path = PUBLIC / name
    if not path.is_file():
        pytest.skip(f"the public file {name} is not beside the checkout")
    return path


@pytest.mark.parametrize(
    ("name", "valid", "refused"),
    [
        ("mt_bench_question.jsonl", 80, 0),
        ("vicuna_question.jsonl", 80, 0),
        ("vicuna_ja.jsonl", 80, 0),
        ("self_instruct_user_oriented.jsonl", 252, 0),
        ("gsm8k_test.jsonl", 1319, 0),
        ("naughty_strings.json", 505, 10),
    ],
)
def test_public_prompt_files_are_imported_as_they_are(name: str, valid: int, refused: int) -> None:
    answers = read(public(name).read_bytes(), name, ROOMY)

    prompts = [answer for answer in answers if isinstance(answer, ParsedPrompt)]
    assert (len(prompts), len(answers) - len(prompts)) == (valid, refused)


def test_naughty_strings_are_kept_to_the_letter_but_for_blanks_and_duplicates() -> None:
    path = public("naughty_strings.json")
    written = [text for text in dict.fromkeys(json.loads(path.read_text(encoding="utf-8"))) if not shows_nothing(text)]

    answers = read(path.read_bytes(), path.name, ROOMY)

    assert [answer.messages[0]["content"] for answer in answers if isinstance(answer, ParsedPrompt)] == written
