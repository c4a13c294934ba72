"""Rita says whether answers agree with their source, without seeing what the judge says of them."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from sqlalchemy import func, select

from app.accounts.models import Role
from app.findings.models import FactLabel, Verdict
from tests.browser.conftest import Site
from tests.browser.test_accessibility import look
from tests.factories import make_user
from tests.findings.judges import JUDGE, judged, judging, labelled

pytestmark = [pytest.mark.browser]

SOURCE = (
    "办公室九点开门，周五中午关门。\n\nيفتح المكتب في الساعة التاسعة.\n\n"
    "    opens_at = {'monday': 9, 'friday': 9}  # " + "x" * 200
)


def test_answers_are_labelled_by_keyboard_and_the_page_says_how_far_the_judge_agrees(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    rita = make_user(site.session, Role.REVIEWER, "Rita")
    with judging(monkeypatch):
        judged(site.session, "九点。 <b>At nine.</b>", "في الساعة العاشرة", source=SOURCE)
        labelled(site.session, rita, 9, 10)
        look(site, rita, "/checks")
        page = site.context(rita).new_page()
        page.goto(f"{site.url}/checks")
        section = page.locator("#facts")
        expect(section).to_contain_text(f"{JUDGE} says whether answers agree with their source.")
        expect(section).to_contain_text("9 of 10 answers (60% to 98%)")
        expect(section).to_contain_text("<b>At nine.</b>")
        page.get_by_role("button", name="It agrees", exact=True).focus()
        page.keyboard.press("Enter")
        expect(section).to_contain_text("10 of 11 answers")
        expect(section).to_contain_text("في الساعة العاشرة")
        page.get_by_role("button", name="It does not agree").click()
        expect(section).to_contain_text("10 of 12 answers")
        expect(section).to_contain_text("No answer waits for a label.")
    wrong = select(func.count()).where(FactLabel.verdict == Verdict.INCORRECT)
    assert site.session.scalar(wrong) == 2
