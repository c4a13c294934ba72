"""Edits are checked: before they are submitted, and as what was submitted."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations.models import Annotation, RetractionScope
from app.comparisons.models import Assignment
from app.findings import orders, service
from app.findings.models import Check, CheckState, Finding
from app.kernel.errors import BadInput, Conflict, NotFound, TooMany
from app.kernel.settings import get_settings
from app.lineage import erasing
from app.lineage import service as lineage
from app.upkeep.audit import audit
from tests.factories import make_assignment, make_user
from tests.findings.checking import checkable, found, holds, submit


def check_waiting(session: Session) -> int:
    count = 0
    while (held := service.claim(session)) is not None:
        said = holds(service.work_of(session, held).case["response"])
        assert service.record(session, held, "0" * 64, said)
        count += 1
    session.expire_all()
    return count


@pytest.fixture
def item(session: Session, alice: User) -> Assignment:
    """Alice's, whose responses have been checked."""
    assignment = make_assignment(session, alice, checkable(session))
    check_waiting(session)
    return assignment


def of_annotation(session: Session, annotation: Annotation) -> list[tuple[str, bool | None]]:
    query = select(Finding.verifier, Finding.passed).where(Finding.annotation_id == annotation.id)
    return [(verifier, passed) for verifier, passed in session.execute(query)]


def test_a_submitted_edit_is_checked(session: Session, alice: User, item: Assignment) -> None:
    annotation = submit(session, alice, item, edited_text="It is surely 42.")
    assert check_waiting(session) == 1
    assert of_annotation(session, annotation) == [("holds", True)]
    assert list(audit(session)) == []


def test_an_edit_that_could_not_be_checked_now_says_so_at_once_and_is_checked_when_it_is_asked_for_again(
    session: Session, alice: User, item: Assignment
) -> None:
    asked = orders.order_draft(session, alice, item.id, "It is surely 42.")
    held = service.claim(session)
    assert held is not None
    assert not service.put_off(session, held, "The service is away."), "somebody waits"
    service.record(session, held, "", [found(None, "it is away")], lacking="The service is away.")
    session.refresh(asked)
    assert asked.state is CheckState.FAILED
    assert [each["message"] for each in asked.draft_findings] == ["it is away"]
    assert orders.order_draft(session, alice, item.id, "It is surely 42.").id != asked.id
    annotation = submit(session, alice, item, edited_text="It is surely 42.")
    assert check_waiting(session) == 1
    assert of_annotation(session, annotation) == [("holds", True)]


def test_a_submission_without_an_edit_orders_nothing(session: Session, alice: User, item: Assignment) -> None:
    submit(session, alice, item)
    assert service.claim(session) is None


def test_an_edit_of_a_prompt_with_nothing_to_check_orders_nothing(session: Session, alice: User) -> None:
    bare = make_assignment(session, alice, checkable(session, reference=None))
    submit(session, alice, bare, edited_text="Better.")
    with pytest.raises(Conflict, match="nothing to check"):
        orders.order_draft(session, alice, bare.id, "Better still.")
    assert session.scalars(select(Check)).all() == []


def test_what_was_found_of_the_same_text_before_belongs_to_the_annotation(
    session: Session, alice: User, item: Assignment
) -> None:
    orders.order_draft(session, alice, item.id, "It is surely\r\n42.")
    assert check_waiting(session) == 1
    assert session.scalars(select(Finding).where(Finding.annotation_id.is_not(None))).all() == [], "nobody's word yet"
    annotation = submit(session, alice, item, edited_text="It is surely\n42.")
    assert service.claim(session) is None, "it need not be checked twice"
    assert of_annotation(session, annotation) == [("holds", True)]
    assert orders.latest_draft(session, item.id) is None
    assert list(audit(session)) == []


def test_another_text_than_the_one_that_was_checked_is_checked_anew(
    session: Session, alice: User, item: Assignment
) -> None:
    orders.order_draft(session, alice, item.id, "It is surely 42.")
    check_waiting(session)
    annotation = submit(session, alice, item, edited_text="It is surely 43.")
    check_waiting(session)
    assert of_annotation(session, annotation) == [("holds", False)]


def test_a_check_that_is_under_way_while_its_text_is_submitted_is_made_once(
    session: Session, alice: User, item: Assignment
) -> None:
    orders.order_draft(session, alice, item.id, "It is surely 42.")
    late = service.claim(session)
    assert late is not None
    annotation = submit(session, alice, item, edited_text="It is surely 42.")
    assert not service.record(session, late, "", [found(False)]), "its row is gone"
    check_waiting(session)
    assert of_annotation(session, annotation) == [("holds", True)]


def test_the_same_text_again_gives_the_same_check(session: Session, alice: User, item: Assignment) -> None:
    first = orders.order_draft(session, alice, item.id, "It is 42!")
    assert orders.order_draft(session, alice, item.id, "It is 42!").id == first.id
    assert orders.order_draft(session, alice, item.id, "It is 42!!").id != first.id


def test_an_edit_comes_before_the_responses_that_wait(session: Session, alice: User) -> None:
    item = make_assignment(session, alice, checkable(session))
    asked = orders.order_draft(session, alice, item.id, "It is 42!")
    held = service.claim(session)
    assert held is not None
    assert held.check_id == asked.id


def test_how_often_one_may_ask_is_limited(session: Session, alice: User, item: Assignment) -> None:
    for number in range(get_settings().edit_checks_per_minute):
        orders.order_draft(session, alice, item.id, f"It is 42, number {number}.")
    with pytest.raises(TooMany, match="within a minute"):
        orders.order_draft(session, alice, item.id, "It is 42, once more.")
    orders.order_draft(session, alice, item.id, f"It is 42, number {get_settings().edit_checks_per_minute - 1}.")
    session.execute(text("UPDATE checks SET created_at = created_at - interval '2 minutes'"))
    orders.order_draft(session, alice, item.id, "It is 42, once more.")


def test_only_ones_own_item_and_only_a_text_is_checked(session: Session, alice: User, item: Assignment) -> None:
    charlie = make_user(session, name="Charlie")
    with pytest.raises(NotFound):
        orders.order_draft(session, charlie, item.id, "It is 42!")
    for blank in ("", "  \n"):
        with pytest.raises(BadInput, match="nothing to check yet"):
            orders.order_draft(session, alice, item.id, blank)
    with pytest.raises(BadInput, match="200,000 can be checked"):
        orders.order_draft(session, alice, item.id, "4" * 200_001)


def test_what_was_not_submitted_is_forgotten_after_a_day(session: Session, alice: User, item: Assignment) -> None:
    orders.order_draft(session, alice, item.id, "It is 42!")
    assert orders.forget_drafts(session) == 0
    session.execute(text("UPDATE checks SET created_at = created_at - interval '25 hours'"))
    assert orders.forget_drafts(session) == 1
    assert len(session.scalars(select(Check)).all()) == 2, "those of the responses stay"


def test_a_correction_has_findings_of_its_own(session: Session, alice: User, item: Assignment) -> None:
    first = submit(session, alice, item, edited_text="It is surely 43.")
    check_waiting(session)
    second = submit(session, alice, item, edited_text="It is surely 42.", corrects=first.id)
    check_waiting(session)
    assert of_annotation(session, first) == [("holds", False)]
    assert of_annotation(session, second) == [("holds", True)]


def test_erasing_a_person_takes_what_findings_quote_and_keeps_whether_they_passed(session: Session) -> None:
    dora, bob = make_user(session, name="Dora"), make_user(session, Role.ADMIN, "Bob")
    secret = "my grandmother lives in Lisbon"
    said = submit(session, dora, make_assignment(session, dora, checkable(session)), edited_text=f"42, {secret}")
    under_way = submit(session, dora, make_assignment(session, dora, checkable(session)), edited_text=f"43, {secret}")
    open_item = make_assignment(session, dora, checkable(session))
    orders.order_draft(session, dora, open_item.id, f"44, {secret}")
    held: dict[int, service.Claim] = {}
    while (claim := service.claim(session)) is not None:
        check = session.get_one(Check, claim.check_id)
        if check.annotation_id == under_way.id:
            held[under_way.id] = claim
        else:
            service.record(session, claim, "", [found(True, f"quotes {secret}", evidence={"text": secret})])
    lineage.retract(session, bob, RetractionScope.PERSON, dora.id, "She asked for it.", erase=True)
    session.expire_all()
    finding = session.scalars(select(Finding).where(Finding.annotation_id == said.id)).one()
    assert (finding.passed, finding.message, finding.evidence) == (True, "", {})
    assert orders.latest_draft(session, open_item.id) is None
    assert not service.record(session, held[under_way.id], "", [found(False, secret)])
    check = session.scalars(select(Check).where(Check.annotation_id == under_way.id)).one()
    assert (check.state, check.last_error) == (CheckState.FAILED, erasing.ERASED)
    rows = "SELECT c::text || f::text FROM checks c LEFT JOIN findings f ON f.check_id = c.id"
    quoted = session.scalars(text(f"{rows} WHERE c.annotation_id IS NOT NULL OR c.draft IS NOT NULL")).all()
    assert quoted
    assert not any(secret in (each or "") for each in quoted)
