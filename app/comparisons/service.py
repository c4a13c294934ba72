"""Making comparisons. Nothing here commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    SQLColumnExpression,
    and_,
    cast,
    delete,
    func,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.candidates.models import Candidate
from app.comparisons.drawing import asked_twice
from app.comparisons.given import annotators_of
from app.comparisons.models import (
    PLACES,
    ChoiceAwaited,
    Comparison,
    ComparisonCandidate,
    Drawn,
    Purpose,
    draw_position,
)
from app.kernel.copying import copy_rows, fresh_ids
from app.prompts.models import Batch, BatchState, BatchTask, Prompt, PromptState

RESPONSES_SHOWN = 8
ONE_PER_PURPOSE: ColumnElement[bool] = literal_column(
    "purpose <> 'verify_edit'"
)  # as the index says it: a parameter would not match


def distinct_candidates(session: Session, prompt_id: int) -> list[int]:
    """The sampled responses that do not look alike, in their order: white space around a text makes no other one."""
    rows = session.execute(
        select(Candidate.id, Candidate.text)
        .where(Candidate.prompt_id == prompt_id, Candidate.edited_from_id.is_(None))
        .order_by(Candidate.id)
    )
    distinct: dict[str, int] = {}
    for candidate_id, text in rows:
        distinct.setdefault(text.strip(), candidate_id)
    return list(distinct.values())


def create_comparison(
    session: Session, prompt: Prompt, shown: Sequence[int] | None = None, propensity: float | None = None
) -> Comparison | None:
    """The comparison of ``prompt``'s candidates with distinct texts; ``None`` when fewer than two are, or it is withdrawn.

    Where people label steps it has the newest candidate alone.

    A prompt whose answers were all the same is sampled again and then has more of them than its batch asks for: no more
    than that are shown. Called again, it returns the comparison that exists.

    Args:
        session: It is not committed.
        prompt: Nothing of it waits for a choice afterwards.
        shown: Ids of candidates, where they are not just the first.
        propensity: How probable these were, where they were chosen; without it they were drawn at random.
    """
    state = session.scalar(select(Prompt.state).where(Prompt.id == prompt.id).with_for_update(read=True))
    if state is PromptState.WITHDRAWN:
        return None
    # whoever changes how many people are asked waits for this item, or this waits and asks as many as are asked then
    now = select(Batch).where(Batch.id == prompt.batch_id).with_for_update(read=True)
    batch = session.scalars(now.execution_options(populate_existing=True)).one()
    labels = batch.task is BatchTask.STEPS
    purpose = Purpose.STEPS if labels else Purpose.COLLECT
    most = min(batch.candidates_per_prompt, RESPONSES_SHOWN)
    distinct = list(shown) if shown is not None else distinct_candidates(session, prompt.id)
    chosen = distinct[-1:] if labels else distinct[:most] if shown is None else distinct
    if len(chosen) < (1 if labels else 2):
        return None
    language = prompt.language or batch.language or prompt.language_detected or ""
    wanted = seats_of(session, batch, prompt)
    comparison = session.scalars(
        insert(Comparison)
        .values(
            batch_id=prompt.batch_id,
            prompt_id=prompt.id,
            purpose=purpose,
            language="" if prompt.dialogue_id else language,  # its author alone judges a turn
            drawn=Drawn.RANDOM if propensity is None else Drawn.SELECTED,
            propensity=propensity,
            annotators_wanted=wanted,
            seats_free=wanted,
        )
        .on_conflict_do_nothing(index_elements=["prompt_id", "purpose"], index_where=ONE_PER_PURPOSE)
        .returning(Comparison)
    ).one_or_none()
    session.execute(delete(ChoiceAwaited).where(ChoiceAwaited.prompt_id == prompt.id))
    if comparison is None:
        return session.scalars(
            select(Comparison).where(Comparison.prompt_id == prompt.id, Comparison.purpose == purpose)
        ).one()
    session.execute(
        insert(ComparisonCandidate), [{"comparison_id": comparison.id, "candidate_id": each} for each in chosen]
    )
    return comparison


Given = tuple[int, str, Sequence[int]]
"""A prompt, its language ("" where nobody knows), and the candidates that are shown of it."""


def compare_given(session: Session, batch: Batch, given: Sequence[Given]) -> int:
    """Make the comparisons of many prompts at once, whose candidates came with them; how many.

    They are drawn at random: whoever chooses the candidates must not have looked at what they say.
    """
    purpose = Purpose.STEPS if batch.task is BatchTask.STEPS else Purpose.COLLECT
    several = _several_at_work(session, batch.id)
    ids = fresh_ids(session, "comparisons", len(given))
    seats = [_seats(batch, prompt_id, several=several) for prompt_id, _, _ in given]
    rows = (
        (key, batch.id, prompt_id, purpose.value, language, Drawn.RANDOM.value, wanted, wanted, draw_position())
        for key, wanted, (prompt_id, language, _) in zip(ids, seats, given, strict=True)
    )
    columns = (
        "id",
        "batch_id",
        "prompt_id",
        "purpose",
        "language",
        "drawn",
        "annotators_wanted",
        "seats_free",
        "position",
    )
    copy_rows(session, "comparisons", columns, rows)
    shown = ((key, candidate) for key, (_, _, candidates) in zip(ids, given, strict=True) for candidate in candidates)
    copy_rows(session, "comparison_candidates", ("comparison_id", "candidate_id"), shown)
    return len(ids)


def ask_for_answers(session: Session, batch: Batch, after: int = 0) -> int:
    """Make what people write of each prompt of a batch that asks for it; how many are new. Any other batch has none.

    With ``after``, of the prompts with ids beyond it alone.
    As many people write one as judge a prompt; nobody is asked twice to see how far they agree, because two answers do not.
    """
    if batch.task is not BatchTask.WRITE:
        return 0
    wanted = batch.annotators_per_prompt
    values = {
        "batch_id": Prompt.batch_id,
        "prompt_id": Prompt.id,
        "purpose": literal(Purpose.WRITE.value),
        "language": func.coalesce(Prompt.language, literal(batch.language or "")),
        "annotators_wanted": literal(wanted),
        "seats_free": literal(wanted),
        "position": cast(func.floor(func.random() * PLACES), Integer),
    }
    made = (
        insert(Comparison)
        .from_select(list(values), select(*values.values()).where(Prompt.batch_id == batch.id, Prompt.id > after))
        .on_conflict_do_nothing(index_elements=["prompt_id", "purpose"], index_where=ONE_PER_PURPOSE)
        .returning(Comparison.id)
    )
    return len(session.execute(made).all())


def follow_detection(session: Session, languages: Mapping[int, str]) -> None:
    """Give comparisons of unknown language the one that their prompts were found to be in: codes by prompt."""
    for prompt_id, code in languages.items():
        session.execute(
            update(Comparison)
            .where(Comparison.prompt_id == prompt_id, Comparison.language == "")
            .values(language=code)
            .execution_options(synchronize_session=False)
        )


def await_choice(session: Session, prompt: Prompt) -> None:
    """Leave it to a worker what of this prompt is shown."""
    session.execute(
        insert(ChoiceAwaited).values(prompt_id=prompt.id, batch_id=prompt.batch_id).on_conflict_do_nothing()
    )


DOUBTABLE = and_(
    Comparison.purpose == Purpose.COLLECT,
    Comparison.drawn == Drawn.SELECTED,
    Comparison.annotators_wanted == 1,
    Comparison.annotators_done == 1,
    Batch.state == BatchState.OPEN,
    Batch.overlap_percent > 0,
)
"""Whether a second person may be asked because of what the first one said; with ``Batch`` joined.

Only where the responses were chosen to teach most: what was drawn at random counts in gate, board and agreement, and those
would lean if the votes that a model contradicts were asked for twice. Nor where the batch asks nobody twice.
"""


def ask_again(session: Session, comparison_ids: Sequence[int], reward_model_id: int) -> int:
    """Ask a second person about these, which one judged and this reward model contradicts; how many of them can be asked.

    None where nobody else is at work. What somebody changes at this moment is left out rather than waited for.
    """
    still = (
        select(Comparison.id)
        .join(Batch, Batch.id == Comparison.batch_id)
        .where(Comparison.id.in_(comparison_ids), DOUBTABLE, _has_several(Batch.id))
        .order_by(Comparison.id)
        .with_for_update(of=Comparison, skip_locked=True)
    )
    asked = (
        update(Comparison)
        .where(Comparison.id.in_(still))
        .values(annotators_wanted=2, seats_free=Comparison.seats_free + 1, doubted_by_id=reward_model_id)
        .execution_options(synchronize_session=False)
        .returning(Comparison.id)
    )
    return len(session.execute(asked).all())


def seats_of(session: Session, batch: Batch, prompt: Prompt) -> int:
    """How many people judge ``prompt``: one more where a single one is asked, it is its turn, and there is a second one to ask.

    Nobody is asked twice where people write, because two answers do not agree.
    """
    if batch.task is BatchTask.WRITE:
        return batch.annotators_per_prompt
    return _seats(batch, prompt.id, several=_several_at_work(session, batch.id))


def _seats(batch: Batch, prompt_id: int, *, several: bool) -> int:
    wanted = batch.annotators_per_prompt
    return 2 if wanted == 1 and several and asked_twice(prompt_id, batch.overlap_percent) else wanted


def asked_of_a_second(session: Session, batch: Batch, prompt_ids: Iterable[int]) -> list[int]:
    """Which of these prompts a second person judges where the batch asks for one: those whose lot it is, if there are two."""
    if not _several_at_work(session, batch.id):
        return []
    return [each for each in prompt_ids if asked_twice(each, batch.overlap_percent)]


def _several_at_work(session: Session, batch_id: int) -> bool:
    return bool(session.scalar(select(_has_several(literal(batch_id, BigInteger)))))


def _has_several(batch: SQLColumnExpression[int]) -> ColumnElement[bool]:
    """Whether a batch has a second annotator to ask, of those whom it is assigned to."""
    at_work = annotators_of(batch).limit(2).correlate_except(User).subquery()
    return select(func.count() > 1).select_from(at_work).scalar_subquery()
