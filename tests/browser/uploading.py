"""Bob uploads a file of prompts in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect


def upload_batch(page: Page, url: str, file: Path, name: str) -> None:
    """Upload, look at the preview, confirm, wait until every response is there, open the batch."""
    page.goto(f"{url}/batches/new")
    page.get_by_label("File", exact=True).set_input_files(file)
    expect(page.get_by_text(file.name)).to_be_visible()
    index = page.get_by_role("navigation", name="Steps", exact=True)
    index.get_by_role("link", name="What people do").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Responses per prompt").fill("2")
    page.get_by_label("Longest response, in tokens").fill("48")
    index.get_by_role("link", name="Look and start").click()
    page.get_by_role("button", name=re.compile(r"^Import \d+ prompts")).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    count = len(file.read_text(encoding="utf-8").splitlines())
    expect(page.get_by_text(f"{count} of {count}").first).to_be_visible(timeout=600_000)
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_text("open", exact=True).first).to_be_visible()
