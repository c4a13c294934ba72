"""What a reviewer does at the desk before a page of it is looked at."""

from __future__ import annotations

from playwright.sync_api import Page


def open_return(page: Page) -> None:
    """Choose a row and begin the note with which it is returned."""
    page.locator("[data-open]").first.focus()
    page.keyboard.press("x")
    page.keyboard.press("r")
    page.locator("#desk-note:focus").wait_for()


def open_assign(page: Page) -> None:
    """Choose a row and begin to say whom its item is assigned to."""
    page.locator("[data-open]").first.focus()
    page.keyboard.press("x")
    page.keyboard.press("g")
    page.locator("#desk-to:focus").wait_for()


def open_row(page: Page) -> None:
    page.locator("[data-open]").first.focus()
    page.keyboard.press("Enter")
    page.locator("#desk-item[open] h2").first.wait_for()


def open_holds(page: Page) -> None:
    page.get_by_text("Settle on this judgement…").first.click()
    page.get_by_role("button", name="Settle").first.wait_for()


def preview_retraction(page: Page) -> None:
    page.locator("[data-open]").first.focus()
    page.keyboard.press("x")
    page.get_by_role("button", name="Retract…").click()
    page.get_by_role("heading", name="Retract 1 annotation?").wait_for()


def open_table(page: Page) -> None:
    """Open the table beside the first plot, once that is drawn."""
    page.locator("[data-plot] canvas").first.wait_for()
    page.get_by_text("The same as a table").first.click()
    page.locator("#throughput-table").wait_for()
