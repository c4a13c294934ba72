"""Alice converses with two models by keyboard alone: she writes, watches both answers, judges, and goes on or back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.candidates.models import LiveGeneration, LiveState
from app.dialogues import service as dialogues
from app.dialogues.models import Dialogue
from app.kernel.settings import Settings, get_settings
from app.prompts.models import Prompt
from app.registry.models import LoadState
from tests.browser.conftest import Site
from tests.factories import make_deployment, make_user
from tests.fake_engine import FakeEngine
from tests.generating import settings_for, tiny_engine
from tests.patience import PATIENCE
from tests.talking import make_dialogue_batch, say, write_replies
from workers.engines.openai import OpenAIEngine
from workers.tasks import live as worker

pytestmark = [pytest.mark.browser]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with tiny_engine(tmp_path).running() as engine:
        engine.word_delay = 0.02
        yield engine


@pytest.fixture
def settings(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    assert fake.model is not None
    yield settings_for(monkeypatch, fake.url, fake.model, engine_timeout=30)
    monkeypatch.undo()
    get_settings.cache_clear()


async def write_all(ids: list[int], settings: Settings) -> None:
    engine = OpenAIEngine(settings)
    try:
        await asyncio.gather(*(worker.run(each, engine) for each in ids))
    finally:
        await engine.aclose()


def write_waiting(session: Session, settings: Settings) -> Future[None]:
    """The worker's part, in a thread of its own, for everything that waits."""
    session.rollback()
    waiting = list(session.scalars(select(LiveGeneration.id).where(LiveGeneration.state == LiveState.QUEUED)))
    assert waiting
    return ThreadPoolExecutor(1).submit(lambda: asyncio.run(write_all(waiting, settings)))


def open_dialogue(site: Site) -> tuple[Page, User, Dialogue]:
    """Alice in a dialogue that has not begun; the one model that is loaded answers twice, as sampled twice."""
    alice = make_user(site.session)
    for label in ("focused", "varied"):
        make_deployment(site.session, label=label).load_state = LoadState.LOADED
    dialogue = dialogues.begin(site.session, alice, make_dialogue_batch(site.session).id)
    site.session.commit()
    page = site.context(alice).new_page()
    page.goto(f"{site.url}/dialogues/{dialogue.id}")
    return page, alice, dialogue


def newest(session: Session) -> Prompt:
    session.rollback()
    return session.scalars(select(Prompt).order_by(Prompt.id.desc()).limit(1)).one()


def test_a_turn_by_keyboard_alone_and_back_again(site: Site, settings: Settings) -> None:
    page, _, dialogue = open_dialogue(site)
    expect(page.get_by_label("Begin the dialogue")).to_be_focused()
    page.keyboard.type("Why is the sky blue?")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="Two models are answering")).to_be_visible()
    expect(page.locator("#message")).to_have_count(0)  # nothing can be said before both are complete
    writing = write_waiting(site.session, settings)
    writing.result(PATIENCE)
    expect(page.locator("#work[data-assignment]")).to_be_visible()
    page.keyboard.press("8")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your next message")).to_be_focused()
    turn = newest(site.session)
    assert page.url == f"{site.url}/dialogues/{dialogue.id}?turn={turn.id}"
    page.reload()
    expect(page.get_by_label("Your next message")).to_be_focused()
    assert page.get_by_label("Your next message").input_value() == "", "what was sent is not offered again"


def test_what_is_typed_outlives_a_reload_and_what_was_sent_does_not(site: Site, settings: Settings) -> None:
    page, _, _ = open_dialogue(site)
    page.keyboard.type("A long thought")
    page.reload()
    expect(page.get_by_label("Begin the dialogue")).to_have_value("A long thought")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="Two models are answering")).to_be_visible()
    page.goto(f"{page.url.split('?')[0]}?turn=0")
    expect(page.get_by_label("Begin the dialogue")).to_have_value("")


def test_a_reload_while_they_write_shows_all_that_came_and_goes_on(
    site: Site, settings: Settings, fake: FakeEngine
) -> None:
    fake.held_after = 3
    page, _, _ = open_dialogue(site)
    page.keyboard.type("Why?")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="Two models are answering")).to_be_visible()
    writing = write_waiting(site.session, settings)
    expect(page.locator("[data-live-text]").first).not_to_be_empty()
    before = page.locator("[data-live-text]").first.inner_text()
    page.reload()
    expect(page.locator("[data-live-text]").first).to_contain_text(before[:10])
    fake.go_on()
    writing.result(PATIENCE)
    expect(page.locator("#work[data-assignment]")).to_be_visible()


def test_both_can_be_stopped_and_what_came_is_judged(site: Site, settings: Settings, fake: FakeEngine) -> None:
    fake.held_after = 3  # a text that has ended cannot be stopped
    page, _, _ = open_dialogue(site)
    page.keyboard.type("Why?")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="Two models are answering")).to_be_visible()
    writing = write_waiting(site.session, settings)
    expect(page.locator("[data-live-text]").nth(1)).not_to_be_empty()
    page.get_by_role("button", name="Stop both").click()
    writing.result(PATIENCE)
    judge = page.get_by_role("button", name="Judge the two answers")
    work, again = page.locator("#work[data-assignment]"), page.get_by_role("button", name="Ask again")
    expect(work.or_(again).or_(judge)).to_be_visible()
    replies = site.session.scalars(select(LiveGeneration).order_by(LiveGeneration.slot)).all()
    site.session.rollback()
    assert {reply.state for reply in replies} == {LiveState.STOPPED}


def test_going_back_starts_a_branch(site: Site) -> None:
    page, alice, dialogue = open_dialogue(site)
    turn = say(site.session, alice, dialogue, "One")
    write_replies(site.session, turn, "A first answer.", "Another answer.")
    page.goto(f"{site.url}/dialogues/{dialogue.id}")
    page.keyboard.press("Enter")  # the button that leads to the judgement has the focus
    expect(page.locator("#work[data-assignment]")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your next message")).to_be_focused()
    for text in ("Two", "Or two"):
        page.goto(f"{site.url}/dialogues/{dialogue.id}?turn={turn.id}")
        page.get_by_label("Your next message").fill(text)
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("heading", name="Two models are answering")).to_be_visible()
    expect(page.locator(".tree__turn")).to_have_count(3)
    page.get_by_role("link", name="Two being written", exact=False).first.click()
    expect(page.get_by_label("Conversation").get_by_text("Two", exact=True)).to_be_visible()
    assert [each.parent_id for each in site.session.scalars(select(Prompt).order_by(Prompt.id))] == [
        None, turn.id, turn.id
    ]  # fmt: skip


def test_a_turn_by_touch_on_a_phone(site: Site) -> None:
    _, alice, dialogue = open_dialogue(site)
    turn = say(site.session, alice, dialogue, "One")
    write_replies(site.session, turn, "A first answer.", "Another answer.")
    page = site.context(alice, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}).new_page()
    page.goto(f"{site.url}/dialogues")
    page.get_by_role("link", name="Continue with").tap()
    page.get_by_role("button", name="Judge the two answers").tap()
    page.locator("label:has(input[value=A4])").tap()
    page.get_by_role("button", name="Submit").tap()
    field = page.get_by_label("Your next message")
    field.tap()
    field.fill("Two")
    page.get_by_role("button", name="Send").tap()
    expect(page.get_by_role("heading", name="Two models are answering")).to_be_visible()
    page.get_by_role("button", name="Stop both").tap()
    page.get_by_role("button", name="Ask again").tap()
    expect(page.get_by_role("heading", name="Two models are answering")).to_be_visible()
    page.goto(f"{site.url}/dialogues/{dialogue.id}?turn={turn.id}")
    page.get_by_text("Finish this dialogue").tap()
    page.get_by_role("button", name="Finish", exact=True).tap()
    expect(page.get_by_text("The dialogue is finished")).to_be_visible()
