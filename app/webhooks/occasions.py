"""Finds what webhooks have to be told, by looking at the rows.

So nothing is missed where a process dies between a deed and its telling, and no room has to know that anybody listens. Only what
happens after a webhook was made is told to it. A delivery exists once for each occasion, so looking again adds nothing; a batch
that was given more to do is done once more.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.comparisons import purposes
from app.kernel.jobs import Job, enqueue

_TELL = """
    INSERT INTO webhook_deliveries (webhook_id, occasion, subject_id, turn, data)
    SELECT w.id, '{occasion}', s.id, {turn}, {data}
      FROM webhooks w
      JOIN {subject} s ON {happened} > w.created_at
     WHERE w.occasions ? '{occasion}' AND {so}
       AND NOT EXISTS (SELECT FROM webhook_deliveries d
                        WHERE d.webhook_id = w.id AND d.occasion = '{occasion}' AND d.subject_id = s.id
                          AND d.turn = {turn})
    ON CONFLICT DO NOTHING
"""
# One that is closed before everything in it was judged is not done, and nobody is told that it is. Dialogues have no last turn
# before they are closed: between two turns there is nothing left to judge.
_LAST_SAID = """(SELECT max(a.created_at) FROM annotations a JOIN comparisons c ON c.id = a.comparison_id
                  WHERE c.batch_id = s.id)"""
_DONE = """
    s.state IN ('open', 'paused', 'closed')
    AND (s.kind = 'prompts' OR s.state = 'closed')
    AND NOT EXISTS (SELECT FROM prompts p WHERE p.batch_id = s.id AND p.state IN ('pending', 'generating'))
    AND NOT EXISTS (SELECT FROM comparisons WHERE comparisons.batch_id = s.id AND ({asked_for})
                       AND comparisons.annotators_done < comparisons.annotators_wanted)
""".format(asked_for=purposes.is_asked_for.compile(compile_kwargs={"literal_binds": True}))  # noqa: S608 - a rule of ours
STATEMENTS = (
    _TELL.format(
        occasion="batch.done",
        subject="batches",
        happened=_LAST_SAID,
        so=_DONE,
        turn="s.times_extended",
        data="jsonb_build_object('batch_id', s.id, 'name', s.name, 'path', '/batches/' || s.id)",
    ),
    _TELL.format(
        occasion="round.verdict",
        subject="rounds",
        happened="s.completed_at",
        so="s.state = 'complete' AND s.verdict IS NOT NULL",
        turn="0",
        data="jsonb_build_object('round', s.number, 'verdict', s.verdict, 'reason', s.verdict_reason, "
        "'path', '/rounds/' || s.number)",
    ),
    _TELL.format(
        occasion="export.ready",
        subject="snapshots",
        happened="s.created_at",
        so="s.state = 'ready'",
        turn="0",
        data="jsonb_build_object('snapshot_id', s.id, 'name', s.name, 'rows', s.rows, 'sha256', s.sha256, "
        "'path', '/snapshots/' || s.id)",
    ),
)
_ANYBODY = text("SELECT EXISTS (SELECT FROM webhooks)")
_DUE = text("SELECT EXISTS (SELECT FROM webhook_deliveries WHERE state = 'pending' AND next_try_at <= now())")


def find(session: Session) -> int:
    """Note what is to be told, and ring where anything is due; returns how much was found."""
    if not session.scalar(_ANYBODY):
        return 0
    found = sum(session.execute(text(statement)).rowcount for statement in STATEMENTS)  # type: ignore[attr-defined]
    if session.scalar(_DUE):
        enqueue(session, Job.DELIVER)
    return found
