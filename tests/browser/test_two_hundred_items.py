"""A scripted day of two annotators: 200 items in two browsers, with network cuts, lost answers, reloads and sessions that end.

In the end the audit finds nothing, every item is judged once, and each judgement says what was typed, once.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Page, Route, expect
from sqlalchemy import delete, select

from app.accounts.models import LoginSession, User
from app.annotations import service
from app.annotations.models import STANDING, Annotation
from app.comparisons.models import Assignment
from app.upkeep import audit
from tests.browser.conftest import Site
from tests.browser.items import item_of
from tests.factories import PASSWORD, make_batch, make_comparison, make_user

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ITEMS = 200
TROUBLE = 0.2
"""Share of the items on which something goes wrong."""


@dataclass
class Person:
    """An annotator with a browser of their own."""

    site: Site
    user: User
    page: Page
    dice: random.Random
    typed: dict[int, str] = field(default_factory=dict)
    met: Counter[str] = field(default_factory=Counter)

    def judge(self) -> None:
        """One item, to its end."""
        page, item = self.page, int(item_of(self.page))
        self.typed[item] = f"{self.user.name} on {item}"
        page.keyboard.press("c")
        expect(page.locator("#comment")).to_be_focused()
        page.keyboard.insert_text(self.typed[item])
        page.keyboard.press("Escape")
        page.keyboard.press(self.dice.choice("12345678"))
        trouble = self.dice.choice(self.troubles()) if self.dice.random() < TROUBLE else self.submit
        self.met[trouble.__name__] += 1
        trouble()
        expect(page.locator(f'#work[data-assignment="{item}"]')).to_have_count(0)

    def troubles(self) -> list[Callable[[], None]]:
        return [self.offline, self.lost_answer, self.server_away, self.reloaded, self.signed_out]

    def submit(self) -> None:
        self.page.keyboard.press("Control+Enter")

    def offline(self) -> None:
        """The network goes before the submit, and comes back."""
        self.page.context.set_offline(True)
        self.submit()
        expect(self.page.locator("[data-problem=submit]")).to_contain_text("sent again")
        self.page.context.set_offline(False)

    def lost_answer(self) -> None:
        """The server records it, and its answer never arrives."""

        def swallow(route: Route) -> None:
            route.fetch()
            route.abort()

        self.page.route("**/submit", swallow, times=1)
        self.submit()

    def server_away(self) -> None:
        """A deploy: the proxy answers for a server that is not there."""
        self.page.route("**/submit", lambda route: route.fulfill(status=503, body="<html>deploying</html>"), times=1)
        self.submit()

    def reloaded(self) -> None:
        """The page is loaded again before anything was submitted, whether it was saved or not."""
        before = self.page.locator("input[name=choice]:checked").get_attribute("value")
        said = self.page.locator("#comment").input_value()
        self.page.reload()
        expect(self.page.locator("#comment")).to_have_value(said)
        expect(self.page.locator(f'input[value="{before}"]')).to_be_checked()
        # a text that was not saved is brought back by a second load
        self.page.wait_for_function("!Object.keys(localStorage).some((key) => key.startsWith('unsaved:'))")
        self.page.wait_for_load_state("networkidle")
        self.submit()

    def signed_out(self) -> None:
        """The session ends under the page."""
        self.site.session.execute(delete(LoginSession).where(LoginSession.user_id == self.user.id))
        self.site.session.commit()
        self.submit()
        expect(self.page.locator("#sign-in").get_by_label("Password")).to_be_focused()
        self.page.keyboard.insert_text(PASSWORD)
        self.page.keyboard.press("Enter")


def test_two_hundred_items_with_everything_that_goes_wrong(site: Site) -> None:
    batch = make_batch(site.session)
    for _ in range(ITEMS):
        make_comparison(site.session, batch=batch)
    people = []
    for seed, name in enumerate(("Alice", "Charlie")):
        user = make_user(site.session, name=name)
        held = service.next_assignment(site.session, user, batch.id)
        site.session.commit()
        assert held is not None
        page = site.context(user).new_page()
        page.goto(f"{site.url}/assignments/{held.id}", wait_until="networkidle")
        people.append(Person(site, user, page, random.Random(seed)))
    for number in range(ITEMS):
        people[number % 2].judge()
    met = people[0].met + people[1].met
    assert len(met) == 6, f"some trouble never came: {met}"

    site.session.rollback()
    annotations = site.session.scalars(select(Annotation).where(STANDING)).all()
    assert len(annotations) == ITEMS
    assert {each.assignment_id: each.comment for each in annotations} == people[0].typed | people[1].typed
    assert site.session.scalar(select(Assignment.id).where(Assignment.state != "submitted")) is None
    assert [str(problem) for problem in audit.broken_rows(site.session)] == []
