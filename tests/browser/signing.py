"""What somebody does on the pages of signing in, for the tests that look at what appears then."""

from __future__ import annotations

from playwright.sync_api import Page

from tests import factories
from tests.browser.scenes import WITH_STEP


def reset_step(page: Page) -> None:
    """Ask for the reset of a second step, so that the password is asked for."""
    page.locator("form[action$='/second-step/reset'] button").first.click()
    page.get_by_role("heading", name="Reset two-step").wait_for()


def enter_password(page: Page) -> None:
    """Sign in as somebody who has a second step, up to that."""
    page.get_by_label("E-mail").fill(WITH_STEP)
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Code from your authenticator app").wait_for()


def show_secret(page: Page) -> None:
    page.get_by_label("Your password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Set it up").click()
    page.locator(".qr svg").wait_for()
