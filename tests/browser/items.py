"""Alice at an item in a real browser, for the tests of the annotation page."""

from __future__ import annotations

from playwright.sync_api import Page, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import service
from app.annotations.models import Annotation
from app.comparisons.models import Assignment
from app.prompts.models import Batch
from tests.browser.conftest import Site
from tests.factories import make_batch, make_comparison, make_user


def open_item(site: Site, n: int = 2, items: int = 3) -> tuple[Page, User, Batch]:
    """Alice at her first item of a batch with ``items`` comparisons of ``n`` responses."""
    alice = make_user(site.session)
    batch = make_batch(site.session, candidates_per_prompt=n)
    for _ in range(items):
        make_comparison(site.session, n=n, batch=batch)
    held = service.next_assignment(site.session, alice, batch.id)
    assert held is not None
    site.session.commit()
    page = site.context(alice).new_page()
    page.goto(f"{site.url}/assignments/{held.id}")
    expect(page.locator("#work")).to_be_visible()
    page.wait_for_load_state("networkidle")
    return page, alice, batch


def stored(session: Session) -> list[Annotation]:
    """Every annotation, the oldest first."""
    session.rollback()
    return list(session.scalars(select(Annotation).order_by(Annotation.id)))


def comment_of_draft(session: Session) -> str:
    """What the comment of the only draft says."""
    session.rollback()
    draft = session.scalars(select(Assignment.draft).where(Assignment.draft.is_not(None))).one_or_none()
    return str(draft["comment"]) if draft else ""


def item_of(page: Page) -> str:
    """The number of the item on the page."""
    return page.locator("#work").get_attribute("data-assignment") or ""


def wait_for_next(page: Page, item: str) -> None:
    """Until ``item`` has made place for the next one."""
    expect(page.locator(f'#work[data-assignment="{item}"]')).to_have_count(0)


def comment(page: Page, text: str) -> None:
    """Type ``text`` at the end of the comment."""
    field = page.get_by_label("Comment (optional)")
    if not field.is_visible():
        page.keyboard.press("c")
    field.focus()
    page.keyboard.press("Control+End")
    page.keyboard.type(text)
