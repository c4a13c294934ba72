"""Take the pictures of README from a running installation.

It needs ``corral up`` with something to annotate and at least one finished training run, and a Chromium::

    python -m scripts.screenshots http://127.0.0.1:8000 --data-dir var

It signs in as a person of its own, whom it disables again when it is done.
"""

from __future__ import annotations

import argparse
import re
import secrets
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, ViewportSize, expect

from tests.browser import chromium

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
SIZE: ViewportSize = {"width": 1280, "height": 1040}

PICTURED = 2500
"""Characters of an item that one picture can show."""


def corral(data_dir: str, *arguments: str, stdin: str = "") -> None:
    """Run a command of the installation."""
    command = [sys.executable, "-m", "app.commands.cli", "--data-dir", data_dir, *arguments]
    subprocess.run(command, check=True, input=stdin, text=True, cwd=ROOT)


def sign_in(context: BrowserContext, url: str, email: str, password: str) -> Page:
    """A page that is signed in."""
    page = context.new_page()
    page.goto(f"{url}/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}/")
    return page


def picture(page: Page, name: str) -> None:
    """One picture, once fonts and plots are drawn."""
    page.wait_for_load_state("networkidle")
    page.evaluate("document.fonts.ready")
    page.screenshot(path=IMAGES / f"{name}.png")


def annotation(page: Page, url: str) -> None:
    """The first short item that waits, judged and half improved, but not submitted."""
    page.goto(f"{url}/annotate")
    start = page.get_by_role("button", name=re.compile("^Start"))
    if start.count():
        start.first.click()
    page.locator("#work[data-assignment]").wait_for()
    while len(page.locator("#work").inner_text()) > PICTURED:
        page.keyboard.press("s")
        page.get_by_label("In your words").fill("Too long for a picture.")
        before = page.url
        page.get_by_role("button", name="Skip this item").click()
        page.wait_for_function("before => location.href !== before", arg=before)
    # open for somebody who has not read them yet, which is somebody new
    for summary in page.locator("[data-guidelines][open] > summary").all():
        summary.click()
    page.wait_for_load_state("networkidle")  # keys work once the page's scripts are there
    page.keyboard.press("2")
    page.keyboard.press("e")
    expect(page.get_by_label("Improved text")).to_be_focused()
    page.keyboard.press("Control+Home")
    page.keyboard.type("In short: ")
    page.keyboard.press("Escape")
    page.keyboard.press("v")
    page.locator("[data-improve-diff] ins").first.wait_for()
    page.evaluate("window.scrollTo(0, 0)")


def training_run(page: Page, url: str) -> None:
    """The newest finished run."""
    page.goto(f"{url}/rounds")
    page.locator("a[href^='/runs/']").first.click()
    page.locator("main canvas").first.wait_for()


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--data-dir", default="var")
    options = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    email, password = f"pictures-{secrets.token_hex(3)}@example.org", secrets.token_urlsafe(24)
    corral(options.data_dir, "user", "add", email, "--name", "Alice", "--role", "admin", stdin=password + "\n")
    try:
        with chromium.browser() as browser:
            for scheme in ("light", "dark"):
                context = browser.new_context(locale="en-US", color_scheme=scheme, viewport=SIZE)
                page = sign_in(context, options.url, email, password)
                annotation(page, options.url)
                picture(page, f"annotate-{scheme}")
                training_run(page, options.url)
                picture(page, f"run-{scheme}")
                context.close()
    finally:
        corral(options.data_dir, "user", "disable", email)


if __name__ == "__main__":
    main()
