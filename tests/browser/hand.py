"""A hand that does what a person does, and counts it: keys, touches and clicks, but not the text of a note or an edit."""

from __future__ import annotations

from playwright.sync_api import Locator, Page


class Hand:
    """Acts on a page. One that chooses in a list counts once, as one that ticks a box."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.acts = 0

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.acts += 1

    def tap(self, *targets: Locator) -> None:
        for target in targets:
            target.tap()
            self.acts += 1

    def click(self, *targets: Locator) -> None:
        for target in targets:
            target.click()
            self.acts += 1

    def choose(self, target: Locator, words: str) -> None:
        target.select_option(label=words)
        self.acts += 1

    def paste(self, target: Locator, text: str) -> None:
        target.fill(text)
        self.acts += 1

    def counted(self) -> int:
        """How many acts there were since this was asked last."""
        acts, self.acts = self.acts, 0
        return acts
