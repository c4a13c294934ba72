"""Lists go on where they stopped, whatever comes or goes meanwhile, and say when they have ended."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import literal, select
from sqlalchemy.orm import Session, aliased

from app.accounts.models import Role, User
from app.kernel.paging import LARGEST, Order, Page, read_page, read_rows
from tests.factories import make_user, sign_in


def walk(session: Session, order: Order, limit: int) -> list[int]:
    """All ids, page by page."""
    found: list[int] = []
    cursor: int | None = None
    while True:
        page = read_page(session, select(User), order, cursor, limit)
        assert 0 < len(page.rows) <= limit
        found += [user.id for user in page.rows]
        cursor = page.next
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_every_row_is_on_one_page_and_no_page_is_empty(session: Session, limit: int) -> None:
    ids = [make_user(session, Role.ANNOTATOR, f"P{n}").id for n in range(4)]

    assert walk(session, Order(User.id), limit) == ids[::-1]
    assert walk(session, Order(User.id, oldest_first=True), limit) == ids


def test_a_list_by_something_else_goes_on_behind_the_row_of_the_cursor(session: Session) -> None:
    ids = [make_user(session, Role.ANNOTATOR, name).id for name in ("Cy", "Al", "Cy", "Bo")]
    above = aliased(User)
    by_name = Order(User.id, User.name, lambda last: select(above.name).where(above.id == last).scalar_subquery())

    assert walk(session, by_name, 1) == walk(session, by_name, 3) == [ids[2], ids[0], ids[3], ids[1]]


def test_a_cursor_whose_row_is_gone_still_says_where_to_go_on(session: Session) -> None:
    ids = [make_user(session, Role.ANNOTATOR, f"P{n}").id for n in range(3)]
    first = read_page(session, select(User.id), Order(User.id), None, 2)
    session.delete(session.get_one(User, ids[1]))
    make_user(session, Role.ANNOTATOR, "Late")
    session.flush()

    assert first == Page([ids[2], ids[1]], ids[1])
    assert read_page(session, select(User.id), Order(User.id), first.next, 2) == Page([ids[0]], None)


def test_no_cursor_is_too_large_and_none_begins_before_the_first_row(session: Session) -> None:
    made = make_user(session, Role.ANNOTATOR, "Alice")

    rows = read_rows(session, select(User.name, literal(1)), Order(User.id), LARGEST, 9)

    assert rows == Page([("Alice", 1)], None)
    assert rows.map(lambda row: row[0]).rows == ["Alice"]
    assert read_page(session, select(User), Order(User.id), made.id, 9) == Page([], None)


def test_every_list_of_the_api_takes_the_same_cursor_and_limit(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session, Role.ANNOTATOR))
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    lists = {
        path: {each["name"]: each for each in operation["get"]["parameters"]}
        for path, operation in paths.items()
        if any(each["name"] == "before" for each in operation.get("get", {}).get("parameters", ()))
    }

    assert len(lists) >= 8
    for path, given in lists.items():
        assert given["before"]["description"] == "The `next` of the page before.", path
        assert given["before"]["schema"]["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": LARGEST}, path
        assert (given["limit"]["schema"]["minimum"], given["limit"]["schema"]["maximum"]) == (1, 100), path
