"""What is done on the judging page before axe looks or a picture is taken."""

from __future__ import annotations

from playwright.sync_api import Page


def rank_and_improve(page: Page) -> None:
    page.keyboard.press("r")
    page.keyboard.type("abc111")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    page.locator(".improve__text").wait_for()
    page.keyboard.type("More clearly: ")
    page.keyboard.press("Escape")
    page.keyboard.press("v")
    page.locator("[data-improve-diff] ins").first.wait_for()  # the second visit finds the edit of the first


def open_marks(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    page.keyboard.press("h")
    page.locator("[data-mark-labels]").wait_for()


def note_mark(page: Page) -> None:
    open_marks(page)
    page.keyboard.press("2")
    page.keyboard.press("k")
    page.locator("[data-mark-note]:focus").wait_for()
