"""What annotations are searched by is written seconds after them, once; what is older is made findable in steps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, cast, delete, select, text, update
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import recording, texts
from app.annotations.forms import Submission
from app.annotations.models import Annotation, AnnotationText
from app.comparisons.models import Comparison
from app.judgements.vocabulary import Flag, Outcome
from app.kernel import grams
from app.prompts.models import Batch
from tests.factories import make_annotation, make_assignment, make_comparison, make_labelling, make_user, make_writing
from tests.patience import PATIENCE, eventually


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


def found(session: Session, query: str = "", *facets: str) -> list[int]:
    texts.catch_up(session)
    terms = [*grams.seek(query).terms, *map(grams.quoted, facets)]
    asked = AnnotationText.terms.bool_op("@@")(cast(grams.conjunction(terms), TSQUERY))
    return list(
        session.scalars(select(AnnotationText.annotation_id).where(asked).order_by(AnnotationText.annotation_id))
    )


def test_prompt_choice_edit_and_comment_are_found_as_soon_as_somebody_looks(session: Session, alice: User) -> None:
    item = make_comparison(session, texts=["A chosen zebra.", "A rejected okapi."])
    said = make_annotation(session, alice, item, edited_text="An edited gnu.", comment="Because of 斑马.")
    for query in ("square root", "zebra", "edited", "斑马"):
        assert found(session, query) == [said.id]
    assert found(session, "okapi") == []
    assert session.get_one(AnnotationText, said.id).seconds == 12.5


def test_what_it_says_is_found_as_facets(session: Session, alice: User) -> None:
    held = make_assignment(session, alice)
    given = Submission(
        fencing_token=held.fencing_token, outcome=Outcome.TIE, ranking=[], strengths=[], flags={"A": [Flag.UNSAFE]}
    )
    tie = recording.submit(session, alice, held.id, given, key="one").id
    ranked = make_annotation(session, alice, strengths=[4], edited_text="Better.")
    item = session.get_one(Comparison, ranked.comparison_id)
    round_id = session.get_one(Batch, item.batch_id).round_id
    assert found(session, "", "outcome:tie") == found(session, "", "flag:unsafe") == [tie]
    facets = [
        f"batch:{item.batch_id}",
        f"round:{round_id}",
        f"by:{alice.id}",
        "outcome:ranked",
        "strength:4",
        "edited:1",
    ]
    assert found(session, "", *facets) == [ranked.id]
    assert found(session, "", "strength:3") == []


def test_a_correction_is_found_by_what_it_says(session: Session, alice: User) -> None:
    first = make_annotation(session, alice, comment="hasty")
    given = Submission(
        fencing_token=1, outcome=Outcome.TIE, ranking=[], strengths=[], comment="considered", corrects=first.id
    )
    second = recording.submit(session, alice, first.assignment_id, given, key="two")
    assert found(session, "considered") == [second.id]
    assert found(session, "hasty") == [first.id], "what is corrected stays, and whoever reads asks for what stands"


def test_answers_from_scratch_and_labelled_responses_are_found(session: Session, alice: User) -> None:
    (essay,) = make_writing(session, "Write of storms.")
    (proof,) = make_labelling(session, "Suppose not.\nThen so.")
    written = make_annotation(session, alice, essay, edited_text="Thunder rolled.")
    labelled = make_annotation(session, alice, proof)
    assert found(session, "thunder storms") == [written.id]
    assert found(session, "suppose", "outcome:labelled") == [labelled.id]


def test_a_phrase_does_not_reach_from_one_text_into_the_next(session: Session, alice: User) -> None:
    said = make_annotation(session, alice, make_comparison(session, texts=["ends here", "x y"]), comment="begins\nso")
    texts.catch_up(session)
    assert session.get_one(AnnotationText, said.id).folded.startswith("begins so\nends here\n")


def test_annotations_of_before_are_made_findable_in_steps_the_newest_first(
    session: Session, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "AT_ONCE", 2)
    made = [make_annotation(session, alice).id for _ in range(5)]
    assert not texts.is_filled(session)
    assert [texts.fill(session), texts.oldest(session)] == [2, made[3]]
    assert [texts.fill(session) for _ in range(3)] == [2, 1, 0]
    assert texts.is_filled(session)
    assert found(session, "square") == made


def test_of_what_came_meanwhile_the_oldest_comes_first_so_that_nothing_is_passed_over(
    session: Session, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "AT_ONCE", 2)
    monkeypatch.setattr(texts, "STRETCH", 3)
    first = make_annotation(session, alice).id
    assert texts.fill(session) == 1
    made = [first, *(make_annotation(session, alice).id for _ in range(9))]
    for done in (3, 5, 7, 9, 10):
        assert not texts.is_filled(session)
        texts.fill(session)
        assert (
            list(session.scalars(select(AnnotationText.annotation_id).order_by(AnnotationText.annotation_id)))
            == (made[:done])
        )
    assert texts.is_filled(session)
    assert texts.fill(session) == 0


def test_what_is_committed_late_is_made_findable(session: Session, alice: User) -> None:
    made = [make_annotation(session, alice).id for _ in range(3)]
    texts.fill(session)
    session.execute(delete(AnnotationText).where(AnnotationText.annotation_id == made[1]))
    assert texts.fill(session) == 1
    assert found(session, "square") == made


def test_no_annotation_is_searched_twice(session: Session, alice: User) -> None:
    make_annotation(session, alice)
    assert [texts.fill(session), texts.fill(session)] == [1, 0]
    assert len(session.scalars(select(AnnotationText)).all()) == len(session.scalars(select(Annotation)).all())


def test_looking_for_what_waits_looks_each_up_and_reads_no_table_as_a_whole(session: Session, alice: User) -> None:
    make_annotation(session, alice)
    texts.fill(session)
    session.execute(text("SET LOCAL enable_seqscan = off"))  # as where there are many: for one row it would do
    asked = str(texts._stretch.compile(session.get_bind(), compile_kwargs={"render_postcompile": True}))
    plan = session.connection().exec_driver_sql(f"EXPLAIN {asked}", {"before": texts._ABOVE_ALL, "stretch": 500})
    lines = list(plan.scalars())
    (scan,) = [place for place, line in enumerate(lines) if "on annotation_texts" in line]
    assert "Index Cond: (annotation_id = annotations.id)" in lines[scan + 1], lines


def test_what_is_being_erased_is_not_indexed_as_it_was(committed: Engine) -> None:
    """Erasing begins first: indexing waits for it, and reads what it left. It leaves the row alone that is not there yet."""
    with Session(committed) as session:
        said = make_annotation(session, make_user(session), comment="My name is Zebedee.").id
        session.commit()
    with Session(committed) as erasing, ThreadPoolExecutor() as threads:
        erasing.execute(
            text("SET LOCAL session_replication_role = replica")
        )  # past the triggers: only its lock is asked about
        erasing.execute(update(Annotation).where(Annotation.id == said).values(comment=""))
        indexed = threads.submit(_fill, committed)
        eventually(lambda: _waits(committed), PATIENCE, "indexing to wait")
        erasing.commit()
        assert indexed.result(PATIENCE) == 1
    with Session(committed) as session:
        assert "zebedee" not in session.get_one(AnnotationText, said).folded
        assert "square" in session.get_one(AnnotationText, said).folded


def _fill(engine: Engine) -> int:
    with Session(engine) as session:
        done = texts.fill(session)
        session.commit()
        return done


def _waits(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))
