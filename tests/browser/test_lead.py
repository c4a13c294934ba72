"""A lead's day by hand: what it takes, act by act."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from app.accounts.models import Role
from tests.browser.conftest import Site
from tests.factories import PASSWORD, make_user

pytestmark = [pytest.mark.browser]


def test_twenty_people_are_invited_in_four_acts(site: Site) -> None:
    bob = make_user(site.session, Role.ADMIN, "Bob")
    site.session.commit()
    page = site.context(bob).new_page()
    page.goto(f"{site.url}/users")
    pasted = "Name\temail\n" + "\n".join(f"Person {each}\tperson{each}@example.org" for each in range(20))
    page.get_by_label("E-mail addresses").fill(pasted)  # 1
    page.get_by_label("Your password").fill(PASSWORD)  # 2
    page.get_by_role("button", name="Invite", exact=True).click()  # 3
    links = page.get_by_label("Invite links as a table")
    expect(links).to_have_value(re.compile(r"^email\trole\tlink\nperson0@example\.org\tannotator\thttp"))
    page.get_by_role("button", name="Copy all 20").click()  # 4
    expect(page.get_by_text(re.compile("Copied|Press Ctrl"))).to_be_visible()
