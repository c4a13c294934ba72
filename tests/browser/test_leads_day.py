"""Bob leads a team for a day: he invites, assigns, watches, returns, asks others, decides and exports. All is counted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import func, select

from app.accounts import teams
from app.accounts.models import Invite, Role, User
from app.annotations import service as annotating
from app.annotations.models import Adjudication, Annotation, Decision, Review
from app.comparisons.models import Assignment, AssignmentState
from app.judgements.vocabulary import Outcome
from app.prompts.models import BatchTeam
from tests.browser.conftest import Site
from tests.browser.hand import Hand
from tests.factories import PASSWORD, make_annotation, make_assignment, make_batch, make_comparison, make_user

pytestmark = [pytest.mark.browser]


def go(site: Site, page: Page, path: str) -> None:
    """To a page that stands in the navigation, or a link that was shared: not counted, as a key of the browser gets there too."""
    page.goto(site.url + path)
    page.wait_for_load_state("networkidle")


def notices(page: Page, words: str) -> None:
    expect(page.locator(".site-notices")).to_contain_text(words)


def test_a_leads_day(site: Site) -> None:
    session = site.session
    bob = make_user(session, Role.ADMIN, "Bob")
    alice, bea, carl = (make_user(session, name=name) for name in ("Alice", "Bea", "Carl"))
    shift = teams.create(session, bob, "Evening shift", [alice.id, bea.id])
    waiting = make_comparison(session)
    done = make_batch(session, name="Questions of the morning")
    rushed = [make_annotation(session, alice, make_comparison(session, batch=done)).id for _ in range(50)]
    disputed = make_comparison(session, wanted=2)
    right = make_annotation(session, alice, disputed, comment="A gives a source.")
    make_annotation(session, carl, disputed, outcome=Outcome.TIE)
    session.commit()
    hand = Hand(site.context(bob).new_page())

    invite_twenty(site, hand)
    assert hand.counted() <= 4

    assign_the_batch(site, hand, waiting.batch_id)
    assert hand.counted() <= 3
    assert session.scalars(select(BatchTeam.team_id).where(BatchTeam.batch_id == waiting.batch_id)).all() == [shift.id]
    assert annotating.next_assignment(session, carl, waiting.batch_id) is None
    assert make_assignment(session, bea, waiting).comparison_id == waiting.id

    watch(site, hand.page, bea)

    return_all(site, hand, done.id)
    assert hand.counted() <= 4
    returned = session.scalars(select(Review.annotation_id).where(Review.verdict == Decision.RETURNED))
    assert set(returned) == set(rushed)

    ask_others(site, hand)
    assert hand.counted() <= 4
    held = select(Assignment.annotator_id).where(Assignment.state == AssignmentState.ACTIVE)
    assert set(session.scalars(held)) == {bea.id}, "Alice has judged them"

    settle_one(site, hand)
    assert hand.counted() <= 3
    settled = session.execute(select(Adjudication.annotation_id, Adjudication.reason)).one()
    assert tuple(settled) == (right.id, "Only Alice gives a source.")

    exported = export(site, hand)
    assert hand.counted() <= 1
    assert [row["annotation_id"] for row in exported] == [right.id], "what was returned or overruled does not count"


def invite_twenty(site: Site, hand: Hand) -> None:
    page = hand.page
    go(site, page, "/users")
    people = "Name\temail\n" + "\n".join(f"Person {each}\tperson{each}@example.org" for each in range(20))
    hand.paste(page.get_by_label("E-mail addresses"), people)
    hand.paste(page.get_by_label("Your password"), PASSWORD)
    hand.press("Enter")
    expect(page.get_by_label("Invite links as a table")).to_have_value(re.compile("person19@example.org"))
    hand.click(page.get_by_role("button", name="Copy all 20"))
    expect(page.get_by_text(re.compile("Copied|Press Ctrl"))).to_be_visible()
    assert site.session.scalar(select(func.count()).select_from(Invite)) == 20


def watch(site: Site, page: Page, working: User) -> None:
    """Who works now, and what was done today."""
    go(site, page, "/desk/team")
    now = page.get_by_role("region", name="Working now")
    row = now.get_by_role("row").filter(has_text=working.name)
    expect(row.get_by_role("cell").first).to_have_text("1")
    today = page.locator(".stats div").filter(has_text="items today")
    count = site.session.scalar(select(func.count()).select_from(Annotation))
    expect(today.locator("dd")).to_have_text(str(count))
    expect(page.locator("[data-plot] canvas").first).to_be_visible()


def assign_the_batch(site: Site, hand: Hand, batch_id: int) -> None:
    page = hand.page
    go(site, page, f"/batches/{batch_id}")
    hand.click(page.get_by_role("checkbox", name="Evening shift"))
    hand.press("Enter")
    notices(page, "is assigned to Evening shift")
    site.session.expire_all()


def return_all(site: Site, hand: Hand, batch_id: int) -> None:
    page = hand.page
    go(site, page, f"/desk?batch={batch_id}")
    hand.click(page.get_by_label("Select all rows on this page"))
    expect(page.locator("[data-count]")).to_have_text("50 selected")
    hand.press("r")
    page.keyboard.type("These were rushed: read both answers to the end.")
    hand.press("Control+Enter")
    notices(page, "Returned 50 annotations.")
    site.session.expire_all()


def ask_others(site: Site, hand: Hand) -> None:
    """The same rows as before, for second opinions."""
    page, to = hand.page, hand.page.get_by_label("Ask for one more judgement of each item")
    hand.click(page.get_by_label("Select all rows on this page"))
    hand.press("g")
    expect(to).to_be_focused()
    hand.choose(to, "Evening shift")
    hand.press("Control+Enter")
    notices(page, "Assigned the items of 50 annotations to Evening shift.")
    expect(page.locator("[data-row]").get_by_text("assigned", exact=True)).to_have_count(50)
    site.session.expire_all()


def settle_one(site: Site, hand: Hand) -> None:
    """The disagreement of the day, on the first of its two judgements."""
    page = hand.page
    go(site, page, "/desk?disagreed=1")
    expect(page.locator("[data-row]")).to_have_count(2)
    page.locator("[data-open]").last.focus()
    hand.press("Enter")
    dialog = page.get_by_role("dialog", name="All judgements of the item")
    hand.click(dialog.get_by_text("Settle on this judgement…").first)
    dialog.get_by_label("Why").first.fill("Only Alice gives a source.")
    hand.press("Control+Enter")
    notices(page, "This judgement is settled")
    site.session.expire_all()


def export(site: Site, hand: Hand) -> list[dict[str, object]]:
    """All that counts, as a file."""
    page = hand.page
    go(site, page, "/preferences")
    with page.expect_download() as coming:
        hand.click(page.get_by_role("button", name=re.compile("JSONL")).first)
    return [json.loads(line) for line in Path(coming.value.path()).read_text(encoding="utf-8").splitlines()]
