"""Erasing: a person's texts become blank, and files with them are removed.

Rows stay, so that every promise between them holds; their texts do not. Database triggers let this through, and only this,
in a transaction that says it is erasing.

=====================================  ===========================================================================
annotations                            comment, edited text, notes of marked passages, right steps; the text they are searched by
candidates                             the person's edits, which others verified, and what models answered in their dialogues
drafts, revisions, live generations    all of it
checks, findings                       checks of drafts; of submitted edits what was said and quoted, not whether they passed
prompts                                messages of the person's dialogues, but for the system prompt
reviews, adjudications, known answers  the notes, reasons and explanations that they wrote
views of the desk                      all of them
batches assigned or closed to them     that they were
account                                name, address, settings, teams (:mod:`app.accounts.erasing`)
snapshots, runs                        folders of those that hold one of their annotations
=====================================  ===========================================================================

Rankings stay, under the pseudonym: they say nothing of who gave them, and statistics about others are made of them.
"""

from __future__ import annotations

import shutil

import structlog
from sqlalchemy import ColumnElement, Select, delete, exists, select, text, update
from sqlalchemy.orm import Session

from app.accounts import erasing as accounts
from app.accounts.models import User
from app.annotations.models import Annotation, Retraction
from app.comparisons.models import Assignment
from app.findings.models import Check
from app.kernel import store
from app.kernel.errors import Conflict
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.preferences.files import folder
from app.preferences.models import Snapshot, SnapshotAnnotation, SnapshotState
from app.rounds.models import TrainingRun
from app.rounds.queries import LIVE

log = structlog.get_logger()

ERASED = "[erased]"
"""In place of a message that cannot be empty."""
_SAYS_SO = "SELECT set_config('corral.erasing', pg_current_xact_id()::text, true)"
_NO_MORE = "SELECT set_config('corral.erasing', '', true)"
_BLANKED = (
    """
    UPDATE annotations
       SET comment = '', edited_text = CASE WHEN edited_text IS NOT NULL THEN '' END,
           spans = (SELECT coalesce(jsonb_agg(CASE WHEN span ? 'note' THEN span || '{"note": ""}' ELSE span END), '[]')
                      FROM jsonb_array_elements(spans) span)
     WHERE annotator_id = :person
    """,
    """
    UPDATE step_labels SET correction = ''
      FROM annotations a WHERE a.id = step_labels.annotation_id AND a.annotator_id = :person AND correction IS NOT NULL
    """,
    # their edits, as they were shown to whoever verified them
    """
    UPDATE candidates SET text = ''
     WHERE edited_from_id IS NOT NULL AND id IN (
           SELECT cc.candidate_id FROM comparison_candidates cc JOIN comparisons c ON c.id = cc.comparison_id
             JOIN annotations a ON a.id = c.verifies_id WHERE a.annotator_id = :person)
    """,
    # what they are found by, and what others said of their edits is found by; the facets have weight A, and stay
    """
    UPDATE annotation_texts SET folded = '', terms = ts_filter(terms, '{a}')
     WHERE annotation_id IN (
           SELECT id FROM annotations WHERE annotator_id = :person
            UNION ALL
           SELECT b.id FROM annotations a JOIN comparisons c ON c.verifies_id = a.id
             JOIN annotations b ON b.comparison_id = c.id WHERE a.annotator_id = :person)
    """,
    """
    UPDATE comparisons SET seats_free = 0
      FROM annotations a WHERE a.id = comparisons.verifies_id AND a.annotator_id = :person
    """,
    """
    UPDATE candidates SET text = ''
     WHERE prompt_id IN (SELECT p.id FROM prompts p JOIN dialogues d ON d.id = p.dialogue_id WHERE d.annotator_id = :person)
    """,
    """
    UPDATE prompts
       SET messages = (SELECT jsonb_agg(CASE WHEN said.message ->> 'role' = 'system' THEN said.message
                                             ELSE jsonb_build_object('role', said.message ->> 'role',
                                                                     'content', CAST(:erased AS text)) END
                                        ORDER BY said.place)
                         FROM jsonb_array_elements(messages) WITH ORDINALITY AS said (message, place))
      FROM dialogues d WHERE d.id = prompts.dialogue_id AND d.annotator_id = :person
    """,
    "UPDATE dialogues SET note = '' WHERE annotator_id = :person",
    """
    UPDATE revisions SET feedback = '', source_text = ''
      FROM assignments s WHERE s.id = revisions.assignment_id AND s.annotator_id = :person
    """,
    # one that is being written loses its lease with the token, and writes nothing more
    """
    UPDATE live_generations
       SET messages = '[]', text = '', fencing_token = fencing_token + 1, lease_until = NULL,
           state = CASE WHEN state IN ('queued', 'streaming') THEN 'stopped' ELSE state END
     WHERE user_id = :person
    """,
    "UPDATE trials SET messages = '[]' WHERE user_id = :person",
    "UPDATE reviews SET note = CASE WHEN note = '' THEN '' ELSE CAST(:erased AS text) END WHERE reviewer_id = :person",
    "UPDATE adjudications SET reason = :erased WHERE adjudicator_id = :person",
    "UPDATE gold_answers SET explanation = '' WHERE written_by_id = :person",
    "DELETE FROM checks WHERE asked_by_id = :person",
    "DELETE FROM desk_views WHERE user_id = :person",
    # a batch that was assigned to nobody else stays with nobody until an admin says who
    "DELETE FROM batch_people WHERE user_id = :person",
    # one that is being made loses its lease with the token, and stores nothing more
    """
    UPDATE checks SET state = 'failed', last_error = :erased, fencing_token = checks.fencing_token + 1, lease_until = NULL
      FROM annotations a
     WHERE a.id = checks.annotation_id AND a.annotator_id = :person AND checks.state IN ('pending', 'checking')
    """,
    """
    UPDATE findings SET message = '', evidence = '{}'
      FROM annotations a WHERE a.id = findings.annotation_id AND a.annotator_id = :person
    """,
)


def drop_drafts(session: Session, person_id: int) -> None:
    """Drop the person's unsubmitted work."""
    session.execute(
        update(Assignment)
        .where(Assignment.annotator_id == person_id)
        .values(draft=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(delete(Check).where(Check.asked_by_id == person_id).execution_options(synchronize_session=False))


def erase(session: Session, actor: User | None, person_id: int) -> None:
    """Blank the texts of a person whose annotations are retracted, and give up the files with them.

    Raises:
        Conflict: a training is reading such a file, or the account cannot be closed.
    """
    holding = _holding(Annotation.annotator_id == person_id)
    reading = session.scalar(
        select(TrainingRun.id).where(TrainingRun.snapshot_id.in_(holding), TrainingRun.state.in_(LIVE)).limit(1)
    )
    if reading is not None:
        raise Conflict(
            _(
                "Training run {id} is reading a snapshot that holds their annotations: cancel it, or wait for it, and then "
                "erase. Retracting without erasing is possible now.",
                id=reading,
            )
        )
    accounts.erase(session, actor, session.get_one(User, person_id))
    session.execute(text(_SAYS_SO))
    for statement in _BLANKED:
        names = [name for name in ("person", "erased") if f":{name}" in statement]
        session.execute(text(statement), {name: {"person": person_id, "erased": ERASED}[name] for name in names})
    session.execute(text(_NO_MORE))
    _let_go(session, holding)
    session.expire_all()


def remove_files(session: Session) -> None:
    """Remove the folders of snapshots that were erased, and of the runs that read them, on this host and in the store.

    Safe to call at any time. One that was being built while its annotations were erased is found here, and goes at the next call.
    """
    for snapshot in session.scalars(select(Snapshot).where(Snapshot.state == SnapshotState.ERASED)):
        runs = session.scalars(select(TrainingRun.id).where(TrainingRun.snapshot_id == snapshot.id))
        for path in (folder(snapshot), *map(get_settings().run_dir, runs)):
            if snapshot.path is not None:
                store.forget(path)
            if path.exists():
                shutil.rmtree(path)
                log.info("erased_folder_removed", snapshot=snapshot.id, folder=path.name)
        snapshot.path = None  # the store has no more of it; another host may
    erased = select(Retraction.id).where(Retraction.erased)
    if session.scalar(select(exists(erased))):
        _let_go(session, _holding(Annotation.retraction_id.in_(erased)))


def _holding(whose: ColumnElement[bool]) -> Select[int]:
    return (
        select(SnapshotAnnotation.snapshot_id)
        .join(Annotation, Annotation.id == SnapshotAnnotation.annotation_id)
        .where(whose)
    )


def _let_go(session: Session, holding: Select[int]) -> None:
    gone = session.scalars(
        update(Snapshot)
        .where(Snapshot.id.in_(holding), Snapshot.state == SnapshotState.READY)
        .values(state=SnapshotState.ERASED)
        .returning(Snapshot.id)
        .execution_options(synchronize_session=False)
    ).all()
    if gone:
        enqueue(session, Job.SWEEP)
