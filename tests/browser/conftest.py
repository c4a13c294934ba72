"""A real server over this worker's database, a real Chromium, and people who are signed in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.orm import Session, SessionTransaction

from app.accounts import signing_in
from app.accounts.models import User
from app.kernel.db import session_scope
from tests.browser import chromium

WAIT = 120_000
"""Milliseconds. Playwright's five and thirty seconds are little on a busy machine."""
expect.set_options(timeout=WAIT)


@dataclass
class Site:
    """A running web server whose data a test writes through ``session``, with real commits."""

    url: str
    session: Session
    browser: Browser

    def context(self, user: User | None = None, **options: object) -> BrowserContext:
        """A browser profile of its own, signed in as ``user``."""
        context = self.browser.new_context(locale="en-US", **options)  # type: ignore[arg-type]
        context.set_default_timeout(WAIT)
        if user is not None:
            with session_scope() as session:
                secret = signing_in.start_session(session, user)
            context.add_cookies([{"name": "corral", "value": secret, "url": self.url}])
        return context


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep each file here together on one worker.

    While Playwright's synchronous API is open an event loop runs in this thread, and code that calls ``asyncio.run`` cannot
    be tested: the browser has to be closed before another file's tests begin.
    """
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a file of tests."""
    with chromium.browser() as running:
        yield running


def may_be_idle(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    """Let a test's own transaction wait for the browser, which takes minutes on a busy machine: it is not forgotten."""
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


@pytest.fixture
def site(server: str, browser: Browser, committed: Engine) -> Iterator[Site]:
    """The server and the browser over empty tables; contexts that a test opens are closed after it."""
    with Session(committed, expire_on_commit=False) as session:
        event.listen(session, "after_begin", may_be_idle)
        yield Site(server, session, browser)
    for context in browser.contexts:
        context.close()
