"""Finds a Chromium: ``CORRAL_CHROMIUM``, the system's, or Playwright's own download.

``python -m tests.browser.chromium`` says which, or how to get one.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REMEDY = "No Chromium found: run `apt-get install chromium` or `.venv/bin/playwright install chromium`."
# quiet: a test browser has no business with anybody but the server under test
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find() -> str | None:
    """The path of a Chromium, or None."""
    given = os.environ.get("CORRAL_CHROMIUM")
    if given:
        return given
    system = next((path for path in map(shutil.which, NAMES) if path), None)
    if system:
        return system
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    path = find()
    if path is None:
        raise RuntimeError(REMEDY)
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *sandbox])
        yield running
        running.close()


if __name__ == "__main__":
    found = find()
    sys.stdout.write(f"{found or REMEDY}\n")
    sys.exit(0 if found else 1)
