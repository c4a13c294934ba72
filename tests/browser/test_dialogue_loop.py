"""A dialogue of four turns with a branch, with a real engine and a real browser: every turn becomes a comparison."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from app.kernel.settings import Settings
from tests.flows.installation import Installation, running
from tests.patience import eventually
from tests.places import temporary_place

pytestmark = [pytest.mark.browser, pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1200)]

PASSWORD = "correct horse battery staple"
SYSTEM = "You answer in one short sentence."
WRITING = 300_000


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """Corral as a user starts it, without the sample batch."""
    with temporary_place() as place, running(place / "var", CORRAL_SAMPLE_BATCH="false") as installation:
        yield installation


def make_batch(page: Page, installation: Installation) -> None:
    page.goto(installation.admin_link())
    page.get_by_label("Your name").fill("Bob")
    page.get_by_label("E-mail").fill("bob@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.get_by_role("link", name="Batches", exact=True).click()
    page.get_by_role("link", name="New dialogues").click()
    page.get_by_label("Name", exact=True).fill("Talks")
    page.get_by_label("System prompts").fill(SYSTEM)
    page.get_by_label("Longest answer, in tokens").fill("32")
    page.get_by_role("button", name="Create the batch").click()
    page.get_by_role("button", name="Open to annotators").click()
    expect(page.get_by_text("open", exact=True).first).to_be_visible()


def converse(page: Page, text: str, key: str, edit: str = "") -> None:
    """Say ``text``, watch two answers come, judge them by ``key``, improve the better one, and be back in the dialogue."""
    field = page.locator("#message textarea")
    expect(field).to_be_focused()
    page.keyboard.type(text)
    page.keyboard.press("Control+Enter")
    work, again = page.locator("#work[data-assignment]"), page.get_by_role("button", name="Ask again")
    coming = page.locator("[data-live-text]:not(:empty)")
    expect(coming.or_(work).or_(again).first).to_be_visible(timeout=WRITING)
    expect(work.or_(again)).to_be_visible(timeout=WRITING)
    while again.is_visible():  # two answers of a small model may be the same
        page.keyboard.press("Enter")
        expect(again).to_be_hidden()
        expect(work.or_(again)).to_be_visible(timeout=WRITING)
    page.keyboard.press(key)
    if edit:
        page.keyboard.press("e")
        expect(page.get_by_label("Improved text")).to_be_focused()
        page.keyboard.press("Control+Home")
        page.keyboard.type(edit)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_label("Your next message")).to_be_visible()


def rows_of(installation: Installation, file: Path, shape: str) -> list[dict[str, object]]:
    written = installation.corral("export", "--shape", shape, "--split", "all", "--out", str(file))
    assert written.returncode == 0, written.stderr
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_dialogue_with_branches_becomes_comparisons(
    installation: Installation, browser: Browser, tmp_path: Path
) -> None:
    page = browser.new_context(locale="en-US").new_page()
    make_batch(page, installation)
    loaded = "SELECT count(*) FROM deployments WHERE load_state = 'loaded' AND ended_at IS NULL"
    eventually(lambda: installation.scalar(loaded), 300, "the engine has loaded something to answer")
    page.goto(installation.url)
    page.get_by_role("button", name="Begin a dialogue").click()
    expect(page.get_by_text(SYSTEM)).to_be_visible()

    converse(page, "Why is the sky blue?", "1")
    converse(page, "And at sunset?", "8", edit="Red. ")
    converse(page, "Who found that out?", "2")
    page.locator("details.earlier > summary").first.click()  # earlier turns are a line each
    page.get_by_role("link", name=re.compile(r"Continue from here\s*\(turn 1\)")).click()
    converse(page, "Explain it to a child.", "7")
    expect(page.locator(".tree__turn")).to_have_count(4)
    page.get_by_text("Finish this dialogue").click()
    page.get_by_label("Yes, throughout").check()
    page.get_by_role("button", name="Finish", exact=True).click()
    expect(page.get_by_text("The dialogue is finished")).to_be_visible()

    # Four comparisons, each with the turn before it as its parent.
    rows = rows_of(installation, tmp_path / "canonical.jsonl", "canonical")
    assert len(rows) == 4
    first, second, third, branch = rows
    assert [row["turn"] for row in rows] == [1, 2, 3, 2]
    assert [row["parent_prompt_id"] for row in rows] == [
        None, first["prompt_id"], second["prompt_id"], first["prompt_id"]
    ]  # fmt: skip
    assert len({row["dialogue"] for row in rows}) == len({row["prompt_hash"] for row in rows}) == 1
    assert {row["system_kept"] for row in rows} == {"yes"}
    assert [row["strength"] for row in rows] == [4, 4, 3, 3]

    # What was chosen, or edited, is what the next turn was asked after.
    def said(row: dict[str, object]) -> list[str]:
        messages = row["prompt"]
        assert isinstance(messages, list)
        return [message["content"] for message in messages]

    def best(row: dict[str, object]) -> str:
        texts = row["edited"] or row["chosen"]
        assert isinstance(texts, list)
        return str(texts[0]["content"])

    assert best(second).startswith("Red. ")
    assert said(first) == [SYSTEM, "Why is the sky blue?"]
    assert said(second) == [*said(first), best(first), "And at sunset?"]
    assert said(third) == [*said(second), best(second), "Who found that out?"]
    assert said(branch) == [*said(first), best(first), "Explain it to a child."]

    # TRL reads the rows as conversations, and the chat template takes them.
    assert len(rows_of(installation, tmp_path / "trl.jsonl", "trl")) == 6, "an edit is three pairs"
    check_with_trl(tmp_path / "trl.jsonl", installation)

    audited = installation.corral("audit")
    assert audited.returncode == 0, audited.stdout
    assert installation.stop() == 0


def check_with_trl(file: Path, installation: Installation) -> None:
    from datasets import load_dataset
    from transformers import AutoTokenizer
    from trl import apply_chat_template, is_conversational

    dataset = load_dataset("json", data_files=str(file), split="train", cache_dir=str(file.parent / "cache"))
    tokenizer = AutoTokenizer.from_pretrained(base_model(installation))
    for row in dataset:
        assert is_conversational(row)
        rendered = apply_chat_template(row, tokenizer)
        assert SYSTEM in rendered["prompt"]
        assert rendered["chosen"] != rendered["rejected"]


def base_model(installation: Installation) -> str:
    path = installation.scalar("SELECT path FROM checkpoints WHERE kind = 'base'")
    assert isinstance(path, str)
    return Settings(data_dir=installation.data_dir).place_of(path)
