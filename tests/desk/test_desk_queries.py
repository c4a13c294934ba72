"""The table of the desk: what each filter keeps, in which order, and what it never shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import service as annotating
from app.annotations import texts
from app.annotations.models import Annotation, AnnotationText, Decision
from app.comparisons.models import Comparison
from app.desk import offered, queries
from app.desk.queries import Failed, Reviewed, Sort, Wanted
from app.judgements.vocabulary import Outcome
from app.loops.models import Round
from app.prompts.models import Batch, Prompt
from app.quality import service as quality
from tests.factories import make_annotation, make_assignment, make_comparison, make_user


def shown(session: Session, reader: User, **wanted: Any) -> list[int]:
    return [row.id for row in queries.desk_page(session, reader, Wanted(**wanted)).rows]


def item_of(session: Session, said: Annotation) -> Comparison:
    return session.get_one(Comparison, said.comparison_id)


def test_each_filter_keeps_what_it_asks_for(session: Session, rita: User, alice: User) -> None:
    dora = make_user(session, name="Dora")
    plain = make_annotation(session, alice, comment="A word about otters.")
    edited = make_annotation(session, alice, edited_text="Better.", strengths=[1])
    tie = make_annotation(session, dora, outcome=Outcome.TIE)
    quality.review(session, rita, plain, Decision.ACCEPTED)
    quality.review(session, rita, tie, Decision.RETURNED, "Look again.")
    batch = session.get_one(Batch, item_of(session, edited).batch_id)
    batch.language = "de"
    session.commit()
    number = session.get_one(Round, batch.round_id).number
    everything = [tie.id, edited.id, plain.id]
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({}, everything),
        ({"text": "otters"}, [plain.id]),
        ({"text": "otter square"}, [plain.id]),
        ({"text": '"about otters"'}, [plain.id]),
        ({"text": '"otters about"'}, []),
        ({"batch_id": batch.id}, [edited.id]),
        ({"round": number}, everything),
        ({"round": 99}, []),
        ({"annotator": alice.pseudonym}, [edited.id, plain.id]),
        ({"annotator": "nobody"}, []),
        ({"outcome": Outcome.TIE}, [tie.id]),
        ({"strength": 1}, [edited.id]),
        ({"edited": True}, [edited.id]),
        ({"edited": False}, [tie.id, plain.id]),
        ({"disagreed": True}, []),
        ({"disagreed": False}, everything),
        ({"attribute": "helpful=3"}, []),
        ({"flag": "unsafe"}, []),
        ({"failed": Failed.CHOSEN}, []),
        ({"failed": Failed.EDIT}, []),
        ({"language": "de"}, [edited.id]),
        ({"language": "zh"}, []),
        ({"reviewed": Reviewed.NOBODY}, [edited.id]),
        ({"reviewed": Reviewed.ACCEPTED}, [plain.id]),
        ({"reviewed": Reviewed.RETURNED}, [tie.id]),
        ({"reviewed": Reviewed.ADJUDICATED}, []),
        ({"text": "square", "annotator": alice.pseudonym, "edited": True, "language": "de"}, [edited.id]),
    ]
    for wanted, kept in cases:
        assert shown(session, rita, **wanted) == kept, wanted


def test_time_and_order(session: Session, rita: User, alice: User) -> None:
    said = [make_annotation(session, alice).id for _ in range(3)]
    texts.catch_up(session)
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    for place, key in enumerate(said):
        values = {"moment": noon + timedelta(days=place), "seconds": [5.0, None, 90.0][place]}
        session.execute(update(AnnotationText).where(AnnotationText.annotation_id == key).values(values))
    assert shown(session, rita, since=noon + timedelta(days=1)) == [said[2], said[1]]
    assert shown(session, rita, until=noon + timedelta(days=1)) == [said[0]]
    assert shown(session, rita, sort=Sort.OLDEST) == said
    assert shown(session, rita, sort=Sort.QUICKEST) == [said[0], said[2]], "one was not timed"
    assert shown(session, rita, sort=Sort.SLOWEST) == [said[2], said[0]]


@pytest.mark.parametrize("sort", Sort)
def test_a_page_goes_on_where_the_one_before_ended(session: Session, rita: User, alice: User, sort: Sort) -> None:
    said = {make_annotation(session, alice).id for _ in range(5)}
    found: list[int] = []
    before = None
    for _ in range(3):
        page = queries.desk_page(session, rita, Wanted(sort=sort), before=before, limit=2)
        found += [row.id for row in page.rows]
        before = page.next
    assert before is None
    assert (len(found), set(found)) == (5, said)


def test_where_few_match_the_page_is_short_and_goes_on(
    session: Session, rita: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "WINDOW", 2)
    rare = make_annotation(session, alice)
    quality.review(session, rita, rare, Decision.ACCEPTED)
    for _ in range(3):
        make_annotation(session, alice)
    wanted = Wanted(reviewed=Reviewed.ACCEPTED)
    first = queries.desk_page(session, rita, wanted)
    assert (first.rows, first.next is None) == ([], False)
    page = queries.desk_page(session, rita, wanted, before=first.next)
    assert [row.id for row in page.rows] == [rare.id]
    assert queries.choose(session, rita, wanted).rows == [(rare.id, page.rows[0].seen)]


def test_annotators_disagree_where_another_response_or_outcome_comes_first(session: Session, rita: User) -> None:
    item = make_comparison(session, 3, wanted=3)
    a, b, c = sorted(make_assignment(session, make_user(session), item).order_shown)
    first = make_annotation(session, make_user(session), item, ranking=[[a, b], [c]])
    second = make_annotation(session, make_user(session), item, ranking=[[b, a], [c]])
    assert shown(session, rita, disagreed=True) == []
    assert shown(session, rita, disagreed=False) == [second.id, first.id]
    other = make_comparison(session, wanted=2)
    one = make_annotation(session, make_user(session), other)
    two = make_annotation(session, make_user(session), other, outcome=Outcome.TIE)
    assert shown(session, rita, disagreed=True) == [two.id, one.id]


def test_what_was_corrected_or_is_being_judged_by_the_reader_is_left_out(
    session: Session, rita: User, alice: User
) -> None:
    item = make_comparison(session, wanted=2)
    said = make_annotation(session, alice, item)
    assert annotating.next_assignment(session, rita, item.batch_id) is not None
    session.commit()
    assert shown(session, rita) == []
    assert queries.choose(session, rita, Wanted()).rows == []
    bob = make_user(session, Role.ADMIN, "Bob")
    assert shown(session, bob) == [said.id]
    said.withdrawn_at = datetime.now(UTC)
    session.commit()
    assert shown(session, bob) == []


@pytest.mark.parametrize("way", ["the page", "choosing"])
def test_whoever_has_seen_a_judgement_is_not_given_its_item(
    session: Session, rita: User, alice: User, way: str
) -> None:
    item = make_comparison(session, wanted=3)
    make_annotation(session, alice, item)
    if way == "the page":
        queries.desk_page(session, rita, Wanted())
    else:
        queries.choose(session, rita, Wanted())
    assert annotating.next_assignment(session, rita, item.batch_id) is None
    assert annotating.next_assignment(session, make_user(session), item.batch_id) is not None


def test_choosing_all_stops_at_a_bound_and_says_so(
    session: Session, rita: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [make_annotation(session, alice).id for _ in range(3)]
    assert queries.choose(session, rita, Wanted()) == queries.Chosen([(each, 0) for each in reversed(said)], whole=True)
    monkeypatch.setattr(queries, "AT_ONCE", 2)
    chosen = queries.choose(session, rita, Wanted())
    assert ([key for key, _ in chosen.rows], chosen.whole) == ([said[2], said[1]], False)


def test_a_row_says_what_was_said_and_not_by_which_model(session: Session, rita: User, alice: User) -> None:
    said = make_annotation(session, alice, edited_text="Better.", strengths=[4])
    quality.review(session, rita, said, Decision.ACCEPTED)
    session.commit()
    (row,) = queries.desk_page(session, rita, Wanted()).rows
    letter = "AB"[said.order_shown.index(said.edited_candidate_id or 0)]
    prompt = session.get_one(Prompt, row.prompt_id)
    assert (row.outcome, row.edited, row.verdict) == (f"{letter} is significantly better", True, Decision.ACCEPTED)
    assert (row.pseudonym, row.prompt, row.purpose_words) == (alice.pseudonym, prompt.messages[-1]["content"], "")
    assert "zebra" not in repr(row)


def test_what_can_be_filtered_by_is_offered(session: Session, rita: User, alice: User) -> None:
    said = make_annotation(session, alice)
    batch = session.get_one(Batch, item_of(session, said).batch_id)
    batch.attributes = [{"name": "helpful", "label": "Helpful", "scale": ["Low", "High"]}]
    session.commit()
    assert offered.attributes_offered(session) == [("helpful=1", "Helpful: Low"), ("helpful=2", "Helpful: High")]
    assert offered.batches_offered(session) == [(batch.id, batch.name)]
    assert (rita.pseudonym, "Rita") in offered.people_offered(session)
    assert offered.rounds_offered(session) == [session.get_one(Round, batch.round_id).number]
