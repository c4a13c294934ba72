"""The rules of annotating. Nothing here commits; what is refused is refused before anything is written.

An acknowledged annotation is never lost and never doubled, a comparison never gets more annotators than it asked for,
and a lease that runs out loses no text: the assignment stays, released, with its draft.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import gold
from app.annotations.recording import CORRECTS, TAKEN, check_corrects, lock, over
from app.candidates import service as candidates
from app.comparisons import claims, given, seats
from app.comparisons.models import AssignmentState
from app.comparisons.purposes import Asked
from app.comparisons.seats import Held
from app.judgements.judgement import Draft
from app.kernel.errors import BadInput, Conflict, LeaseLost, StaleVersion
from app.kernel.locales import gettext as _
from app.prompts import guidelines


def next_assignment(
    session: Session, user: User, batch_id: int | None = None, *, or_above: bool = False
) -> Held | None:
    """What ``user`` works on next: the item that they hold, one that ran out and is still free, or a fresh one.

    With ``batch_id`` of that batch; ``or_above`` a fresh one of a batch of higher priority comes before its fresh ones.

    Where there is none more may follow at once, as far as generation had kept to its bound: only then it is rung for, because
    an item that is found must not wait for a doorbell, and the sweeper rings as people make room.
    """
    claims.serialise(session, user.id)
    held = seats.mine(session, user.id, batch_id)
    if held is not None:
        again = (
            seats.renew(session, held.id) if held.state is AssignmentState.ACTIVE else seats.take_back(session, held)
        )
        if again is not None:
            return again
    for batch in given.open_batches(session, user.id, batch_id, or_above=or_above):
        if batch.requires_tour and user.toured_at is None:
            continue
        fresh = _fresh(session, user, batch)
        if fresh is not None:
            if batch.is_new:
                guidelines.meet(session, user.id, batch.id)
            return fresh
    candidates.ring_if_due(session)
    return None


def _fresh(session: Session, user: User, batch: given.Open) -> Held | None:
    """An item that ``user`` has not met: of the qualification until that is decided, then now and then a known answer."""
    only = batch.readers_only
    if batch.qualification_items:
        state = gold.decide(session, user.id, batch).state
        if state is gold.State.ANSWERING:
            return claims.claim(session, user.id, batch.id, Asked.KNOWN_ANSWER, readers_only=only)
        # somebody has to make the known answers before there are any
        begins = state is gold.State.NOT_READY and user.role is not Role.ANNOTATOR
        if state is not gold.State.PASSED and not begins:
            return None
    if gold.is_due(batch.gold_percent) and claims.waits(session, user.id, batch.id, readers_only=only):
        known = claims.claim(session, user.id, batch.id, Asked.KNOWN_ANSWER, readers_only=only)
        if known is not None:
            return known
    return claims.claim(session, user.id, batch.id, readers_only=only)


def save_draft(
    session: Session, user: User, assignment_id: int, draft: Draft, version: int, corrects: int | None = None
) -> int:
    """Store ``draft`` over version ``version`` and return the new version; work in progress renews the lease.

    Saving the stored draft again (its answer was lost on the way) is no conflict. With ``corrects`` it is the draft of a
    correction of that annotation, and is there again when the item is opened for correction.

    Raises:
        StaleVersion: another tab saved first; ``extra`` has the stored draft and its version.
        Conflict: the item was submitted or skipped; or it cannot be corrected.
    """
    locked = lock(session, user, assignment_id)
    held, value = locked.assignment, draft.model_dump(mode="json")
    if held.state is AssignmentState.SUBMITTED and corrects is not None:
        check_corrects(session, locked, corrects)
        value[CORRECTS] = corrects
    elif held.state not in {AssignmentState.ACTIVE, AssignmentState.RELEASED}:
        raise Conflict(over(held.state))
    if held.draft_version != version:
        if held.draft == value:
            return held.draft_version
        raise StaleVersion(
            _("A newer draft was saved in another window. Both texts are here: choose one."),
            stored=held.draft and {name: said for name, said in held.draft.items() if name != CORRECTS},
            version=held.draft_version,
        )
    seats.write_draft(session, held.id, value)
    return version + 1


def keep_draft(
    session: Session, user: User, assignment_id: int, draft: Draft, fencing_token: int, version: int | None = None
) -> int | None:
    """Keep what could not be submitted as the draft and return its version, for the next save to build on.

    ``None`` when nothing was kept: the item is finished, a newer lease has a draft of its own, or the stored draft is
    another than ``version``, the one that the page knew.
    """
    held = lock(session, user, assignment_id).assignment
    open_states = {AssignmentState.ACTIVE, AssignmentState.RELEASED}
    if held.state not in open_states or held.fencing_token != fencing_token:
        return None
    if version is not None and held.draft_version != version:
        return None
    seats.write_draft(session, held.id, draft.model_dump(mode="json"))
    return held.draft_version + 1


def extend_lease(session: Session, user: User, assignment_id: int) -> Held:
    """Renew the lease of an item in work; one that ran out gets its seat back while it is free.

    Raises:
        LeaseLost: the seat was taken.
        Conflict: the item was submitted or skipped.
    """
    held = lock(session, user, assignment_id).assignment
    if held.state is AssignmentState.ACTIVE:
        return seats.renew(session, held.id)
    if held.state is not AssignmentState.RELEASED:
        raise Conflict(over(held.state))
    again = seats.take_back(session, held)
    if again is None:
        raise LeaseLost(_(TAKEN))
    return again


def skip(session: Session, user: User, assignment_id: int, reason: str) -> None:
    """Leave an item to others permanently, with a reason. Skipping twice changes nothing.

    Raises:
        BadInput: no reason.
        Conflict: the item was submitted.
    """
    if not reason.strip():
        raise BadInput(
            _("Say why you are skipping this item."),
            errors=[{"loc": "reason", "msg": _("Say why you are skipping this item.")}],
        )
    held = lock(session, user, assignment_id).assignment
    if held.state is AssignmentState.SKIPPED:
        return
    if held.state is AssignmentState.SUBMITTED:
        raise Conflict(_("You already submitted this item; it can no longer be skipped."))
    if held.state is AssignmentState.ACTIVE:
        seats.change(session, held.comparison_id, free=1)
    seats.finish(session, held.id, AssignmentState.SKIPPED, reason.strip())


def release(session: Session, user: User, assignment_id: int) -> None:
    """Release the seat and keep the draft: someone else may do the item now, or the same person later."""
    held = lock(session, user, assignment_id).assignment
    if held.state is AssignmentState.ACTIVE:
        seats.change(session, held.comparison_id, free=1)
        seats.finish(session, held.id, AssignmentState.RELEASED)


def release_expired(session: Session) -> int:
    """Release every assignment whose lease ran out and return how many; their drafts stay."""
    return seats.sweep(session)
