"""The file of a source goes once it is withdrawn and no run that has not ended needs it; what learnt from it keeps its hash."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.accounts.service import audit
from app.kernel.errors import Conflict
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import gettext as _
from app.rounds.models import RunSource, TrainingRun
from app.rounds.queries import LIVE
from app.sources.models import Source


def delete_file(session: Session, user: User | None, source: Source) -> None:
    """Say that the rows of ``source`` are deleted; the sweeper then removes them from the disk. Twice is as once.

    ``user`` is None at the command line.

    Raises:
        Conflict: it is not withdrawn, or a run that has not ended learns from it.
    """
    session.refresh(source, with_for_update=True)
    if source.file_deleted_at is not None:
        return
    if source.withdrawn_at is None:
        raise Conflict(_("Trainings may still learn from this source: withdraw it first."))
    needing = (
        select(TrainingRun.id)
        .join(RunSource, RunSource.run_id == TrainingRun.id)
        .where(RunSource.source_id == source.id, TrainingRun.state.in_(LIVE))
        .order_by(TrainingRun.id)
    )
    runs = session.scalars(needing).all()
    if runs:
        message = (
            _("Run {runs} has not ended and may yet read this file: wait for the end, or cancel the training first.")
            if len(runs) == 1
            else _(
                "Runs {runs} have not ended and may yet read this file: wait for the end, or cancel the training first."
            )
        )
        raise Conflict(message.format(runs=", ".join(map(str, runs))))
    source.file_deleted_at = func.now()
    session.flush()
    session.refresh(source)
    audit(session, user, "source.delete_file", "source", source.id, name=source.name, sha256=source.sha256)
    enqueue(session, Job.SWEEP)
