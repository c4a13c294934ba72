"""Bob gives a batch more to do in a real browser, with the keyboard where that is all he has."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from app.accounts.models import Role
from tests import factories
from tests.browser.conftest import Site

pytestmark = [pytest.mark.browser]


def test_bob_adds_prompts_asks_more_people_and_withdraws_one(site: Site, tmp_path: Path) -> None:
    item = factories.make_comparison(site.session)
    factories.make_annotation(site.session, factories.make_user(site.session), item)
    page = site.context(factories.make_user(site.session, Role.ADMIN, "Bob")).new_page()
    page.goto(f"{site.url}/batches/{item.batch_id}")
    expect(page.get_by_text("Everything is annotated.")).to_be_visible()
    file = tmp_path / "more.jsonl"
    file.write_text('{"prompt": "What is 17 + 4? 你好 مرحبا"}\n{"prompt": ""}\n', encoding="utf-8")
    page.get_by_role("link", name="Add prompts").click()
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Check the file").click()
    expect(page.get_by_role("heading", name="1 refused line")).to_be_visible()
    expect(page.get_by_role("article").get_by_text("What is 17 + 4? 你好 مرحبا")).to_be_visible()
    page.get_by_label("Add the 1 new prompt and leave out the 1 refused line").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 prompt added; 1 line left out.")).to_be_visible()
    expect(page.get_by_text("Everything is annotated.")).to_have_count(0)

    page.get_by_label("Annotators per prompt").fill("2")
    page.get_by_label("Name", exact=True).fill("Sums and more")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_role("heading", name="Sums and more")).to_be_visible()
    expect(page.get_by_text("1 of 2").first).to_be_visible()

    page.get_by_role("link", name="line-1").click()
    page.get_by_role("button", name="Withdraw").press("Enter")
    expect(page.get_by_text("no responses are generated for this prompt")).to_be_visible()
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_role("button", name="Withdraw")).to_be_visible()
