"""Alice has a response revised by the model, follows the text as it comes, and takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.annotations.models import Revision
from app.candidates.models import LiveGeneration
from app.judgements.vocabulary import EditSource
from app.kernel.settings import Settings, get_settings
from app.registry.models import LoadState
from tests.browser.conftest import Site
from tests.browser.items import item_of, open_item, stored, wait_for_next
from tests.engine_faults import Mode
from tests.factories import make_deployment
from tests.fake_engine import FakeEngine
from tests.generating import settings_for, tiny_engine
from tests.patience import PATIENCE
from workers.engines.openai import OpenAIEngine
from workers.tasks import live as worker

pytestmark = [pytest.mark.browser]


async def run(generation_id: int, settings: Settings) -> bool:
    """One text, as the worker writes it, over connections of its own."""
    engine = OpenAIEngine(settings)
    try:
        return await worker.run(generation_id, engine)
    finally:
        await engine.aclose()


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with tiny_engine(tmp_path).running() as engine:
        engine.word_delay = 0.01
        yield engine


@pytest.fixture
def settings(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    assert fake.model is not None
    yield settings_for(monkeypatch, fake.url, fake.model, engine_timeout=60)
    monkeypatch.undo()
    get_settings.cache_clear()


def written(session: Session, settings: Settings) -> Future[bool]:
    """The worker's part, in a thread of its own, for the newest text that was asked for."""
    session.rollback()
    newest = session.scalars(select(LiveGeneration.id).order_by(LiveGeneration.id.desc()).limit(1)).one()
    return ThreadPoolExecutor(1).submit(lambda: asyncio.run(run(newest, settings)))


def ask(page: Page, feedback: str) -> None:
    with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
        page.get_by_label("What should change?").fill(feedback)
        page.keyboard.press("Control+Enter")
    assert answered.value.status == 201


def open_chosen(site: Site) -> Page:
    make_deployment(site.session).load_state = LoadState.LOADED
    site.session.commit()
    page, _, _ = open_item(site)
    page.keyboard.press("1")
    page.locator(".improve__text").wait_for()
    page.keyboard.press("m")
    return page


def test_a_revision_is_asked_for_followed_and_taken(site: Site, settings: Settings) -> None:
    page = open_chosen(site)
    item = item_of(page)
    ask(page, "Say where the number comes from.")
    written(site.session, settings).result(PATIENCE)
    text = page.locator(".revision__text").first
    expect(text).to_contain_text("base 0")
    page.get_by_role("button", name="Accept").click()
    expect(page.locator(".improve__text")).to_have_value(text.inner_text())
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    [said] = stored(site.session)
    revision = site.session.scalars(select(Revision)).one()
    assert (said.edit_source, said.revision_id) == (EditSource.REVISION, revision.id)
    assert revision.feedback == "Say where the number comes from."


def test_a_revision_survives_a_reload_and_is_adjusted(site: Site, settings: Settings) -> None:
    page = open_chosen(site)
    item = item_of(page)
    ask(page, "Shorter.")
    expect(page.locator("[data-save-state]")).to_contain_text("Saved")
    page.reload()
    page.locator(".improve__text").wait_for()
    page.keyboard.press("m")
    written(site.session, settings).result(PATIENCE)
    page.get_by_role("button", name="Adjust").click()
    expect(page.locator(".improve__text")).to_be_focused()
    page.keyboard.press("Control+Home")
    page.keyboard.type("In short: ")
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    assert stored(site.session)[0].edit_source is EditSource.ADJUSTED


def test_a_revision_that_fails_says_so_and_can_be_tried_again(site: Site, settings: Settings, fake: FakeEngine) -> None:
    page = open_chosen(site)
    fake.fault(Mode.ERROR, match="Please revise", times=1)
    ask(page, "Shorter.")
    written(site.session, settings).result(PATIENCE)
    expect(page.locator("[data-revise-state]")).to_contain_text("could not be generated")
    ask(page, "Shorter.")
    written(site.session, settings).result(PATIENCE)
    expect(page.get_by_role("button", name="Accept")).to_be_visible()


def test_an_improved_text_is_previewed_and_can_do_nothing(site: Site) -> None:
    page, _, _ = open_item(site)
    page.keyboard.press("1")
    field = page.locator(".improve__text")
    field.fill("It is **three**.\n\n<img src=x onerror=alert(1)>")
    page.get_by_role("button", name="Preview").click()
    pane = page.get_by_role("region", name="Preview")
    expect(pane.locator("strong")).to_have_text("three")
    expect(pane.locator("img")).to_have_count(0)
    field.fill("It is *four*.")
    expect(pane.locator("em")).to_have_text("four")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("region", name="Changes").locator("ins").first).to_be_visible()


def test_without_a_model_the_page_says_what_to_do(site: Site) -> None:
    page, _, _ = open_item(site)
    page.keyboard.press("1")
    page.locator(".improve__text").wait_for()
    make_deployment(site.session).load_state = LoadState.PENDING
    site.session.commit()
    page.keyboard.press("m")
    page.get_by_label("What should change?").fill("Shorter.")
    page.get_by_role("button", name="Ask for a revision").click()
    expect(page.locator("[data-revise-state]")).to_contain_text("edit the text yourself")
