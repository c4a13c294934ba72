"""What tests of the editor share: texts that are worth improving, a model that revises them, and where they stand on the page."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

from playwright.sync_api import Locator, Page, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.candidates.models import LiveGeneration
from app.kernel.settings import Settings
from app.registry.models import LoadState
from tests.browser.conftest import Site
from tests.browser.items import open_item
from tests.browser.test_reading import open_texts
from tests.factories import make_deployment
from workers.engines.openai import OpenAIEngine
from workers.tasks import live as worker


async def run(generation_id: int, settings: Settings) -> bool:
    """One text, as the worker writes it, over connections of its own."""
    engine = OpenAIEngine(settings)
    try:
        return await worker.run(generation_id, engine)
    finally:
        await engine.aclose()


def written(session: Session, settings: Settings) -> Future[bool]:
    """The worker's part, in a thread of its own, for the newest text that was asked for."""
    session.rollback()
    newest = session.scalars(select(LiveGeneration.id).order_by(LiveGeneration.id.desc()).limit(1)).one()
    return ThreadPoolExecutor(1).submit(lambda: asyncio.run(run(newest, settings)))


TEXT = " ".join(["The near side of the Earth is pulled more. The far side is pulled less."] * 3)
OTHER = " ".join(["Tides come from the Moon, twice a day."] * 4)
REVISED = TEXT.replace("pulled less", "pulled less than that")
PLACE = """(card) => {
    const shown = [...card.querySelectorAll(".response__text, .response__raw, .improve__text, .improve__diff")];
    const each = shown.find((one) => one.checkVisibility());
    const { left, top } = each.getBoundingClientRect();
    const style = getComputedStyle(each);
    const [start, above, end] = ["Left", "Top", "Right"].map((side) => parseFloat(style[`padding${side}`]));
    return [left + each.clientLeft + start, top + scrollY + each.clientTop + above, each.clientWidth - start - end];
}"""
"""Where the first letter of what a card shows stands, and how wide its lines are."""


def ask(page: Page, feedback: str) -> None:
    with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
        page.get_by_label("What should change?").fill(feedback)
        page.keyboard.press("Enter")
    assert answered.value.status == 201


def open_chosen(site: Site) -> Page:
    make_deployment(site.session).load_state = LoadState.LOADED
    site.session.commit()
    page, _, _ = open_item(site)
    page.keyboard.press("1")
    page.keyboard.press("m")
    expect(page.get_by_label("What should change?")).to_be_focused()
    return page


def open_moon(site: Site, **options: object) -> Page:
    """Alice at a pair of texts of some length, and a model that can be asked."""
    make_deployment(site.session).load_state = LoadState.LOADED
    site.session.commit()
    return open_texts(site, TEXT, OTHER, **options)  # type: ignore[arg-type]


def pane(page: Page) -> Locator:
    return page.locator("[data-improve-diff]")
