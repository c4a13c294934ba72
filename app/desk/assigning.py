"""Items of chosen annotations assigned to somebody for a further judgement: a second opinion, and that taken back.

Who is asked gets the item as any other: nothing tells them that somebody judged it before, or who chose it. So whoever may not
be given an item from the queue is not given it here either, and each row that is left says why. Of several people each item
goes to one who may have it and has been given the fewest of these. Nothing here commits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, case, func, or_, select, true
from sqlalchemy.orm import Session, aliased

from app.accounts import service as accounts
from app.accounts.models import Team, TeamMember, User
from app.annotations.models import Adjudication, Qualification
from app.comparisons import asking
from app.comparisons.given import assigned_to, is_barred, items_had
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.comparisons.purposes import PURPOSES, Asked, Unfit, fits
from app.desk import offered
from app.desk.service import GONE, Act, Done, Pick, locked, note_read, why_not
from app.kernel.errors import refused
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.prompts import guidelines
from app.prompts.models import Batch, BatchKind, BatchState

KIND = N_("nobody is asked twice about items of its kind")
TURN = N_("a turn of a dialogue, which its author judges")
NOT_OPEN = N_("the batch is not open")
SETTLED = N_("a reviewer has settled the item")
ENOUGH = N_("as many people as can be are asked about the item already")
BUSY = N_("somebody works on the item at this moment: try again")
HAS = N_("it waits for them already")
SEVERAL = N_("none of them may be given it")
NOT_WAITING = N_("it waits for nobody, or they have begun it")
MET = {
    AssignmentState.ACTIVE: HAS,
    AssignmentState.RELEASED: BUSY,
    AssignmentState.SKIPPED: N_("they have skipped it"),
    AssignmentState.SUBMITTED: N_("they have judged it already"),
}
UNFIT = {
    Unfit.READ: N_("they have read a judgement of it"),
    Unfit.MEASURED: N_("it measures them"),
    Unfit.LANGUAGE: N_("they do not read its language"),
    Unfit.PURPOSE: N_("they know its responses from a known answer"),
}
BARRED = N_("they may not judge this batch")
NOT_ASSIGNED = N_("the batch is not assigned to them")
TOUR = N_("they have not taken the tour")
QUALIFICATION = N_("they have not passed the qualification of the batch")
QUOTA = N_("they have had their share of the batch")

_person = aliased(User, name="asked_person")
_met = aliased(Assignment, name="met")


@dataclass
class _Deal:
    """What is known of items and people while items are dealt out."""

    of_items: Mapping[int, Any]
    of_batches: Mapping[tuple[int, int], str | None]
    """Why a batch gives somebody nothing, by batch and person."""
    left: dict[tuple[int, int], int]
    """What of a quota is left, where there is one."""
    of_pairs: Mapping[tuple[int, int], str | None]
    """Why an item is not for somebody, by item and person."""
    free: Collection[int]
    """Items that nobody else changes now."""
    given: dict[int, int] = field(default_factory=dict)
    dealt: Counter[int] = field(default_factory=Counter)

    def deal(self, item_id: int, people: Sequence[int]) -> str | None:
        """Give an item to one of ``people``, or say why to none; one that was dealt already stays where it is."""
        if item_id in self.given:
            return None
        item = self.of_items[item_id]
        why = {who: self._why_not(item, who) for who in people}
        if (left := _of_item(item)) is not None:
            return left
        if HAS in why.values():
            return HAS
        if item_id not in self.free:
            return BUSY
        able = [who for who, reason in why.items() if reason is None]
        if not able:
            return next(iter(why.values())) if len(set(why.values())) == 1 else SEVERAL
        who = min(able, key=lambda each: self.dealt[each])
        self.given[item_id] = who
        self.dealt[who] += 1
        if (item.batch_id, who) in self.left:
            self.left[item.batch_id, who] -= 1
        return None

    def _why_not(self, item: Any, who: int) -> str | None:
        of_pair, of_batch = self.of_pairs[item.id, who], self.of_batches[item.batch_id, who]
        used_up = self.left.get((item.batch_id, who), 1) <= 0
        return of_pair or of_batch or (QUOTA if used_up else None)


def assign(
    session: Session, staff: User, picks: Sequence[Pick], people: Collection[int], teams: Collection[int] = ()
) -> Done:
    """Ask for one more judgement of each item of ``picks``, of one of ``people`` or of those in ``teams``, all by id.

    Done again it finds that each item waits for one of them, and asks nobody more.

    Raises:
        BadInput: nobody to ask, nothing chosen, or too much.
    """
    asked = _people(session, people, teams)
    rows = locked(session, staff, picks)
    to = ", ".join(offered.called(session, staff, people, teams))
    found = Done(
        Act.ASSIGN, to=to, left={p.id: why for p in picks if (why := why_not(staff, Act.ASSIGN, rows.get(p.id), p))}
    )
    kept = [pick.id for pick in picks if pick.id not in found.left]
    deal = _look(session, {rows[key].comparison_id for key in kept}, asked)
    for key in kept:
        why = deal.deal(rows[key].comparison_id, asked)
        if why is None:
            found.done.append(key)
        else:
            found.left[key] = why
    asking.give(session, deal.given)
    for batch_id, who in {(deal.of_items[item].batch_id, who) for item, who in deal.given.items()}:
        guidelines.meet(session, who, batch_id)
    for key in found.done:
        who = deal.given[rows[key].comparison_id]
        accounts.audit(session, staff, "annotation.assigned", "annotation", key, user=who)
    note_read(session, staff, rows, found.done)
    session.flush()
    return found


def unassign(session: Session, staff: User, picks: Sequence[Pick]) -> Done:
    """Ask nobody any more who was asked about the items of ``picks`` by name and has not begun them.

    Raises:
        BadInput: nothing chosen, or too much.
    """
    rows = locked(session, staff, picks)
    free, busy = asking.take_back(session, {row.comparison_id for row in rows.values()})
    found = Done(Act.UNASSIGN)
    for pick in picks:
        row = rows.get(pick.id)
        why = GONE if row is None else _not_waiting(row.comparison_id, free, busy)
        if why is None:
            found.done.append(pick.id)
            accounts.audit(session, staff, "annotation.unassigned", "annotation", pick.id)
        else:
            found.left[pick.id] = why
    session.flush()
    return found


def _not_waiting(item_id: int, free: Collection[int], busy: Collection[int]) -> str | None:
    if item_id in free:
        return None
    return BUSY if item_id in busy else NOT_WAITING


def _people(session: Session, people: Collection[int], teams: Collection[int]) -> list[int]:
    """Everybody who is named or in a team that is, each once."""
    if not people and not teams:
        raise refused("to", _("Choose a person or a team."))
    if len(session.scalars(select(Team.id).where(Team.id.in_(teams))).all()) < len(set(teams)):
        raise refused("teams", _("There is no such team: choose one of the list."))
    in_team = select(TeamMember.user_id).where(TeamMember.team_id.in_(teams))
    query = select(User.id).where(User.disabled_at.is_(None), or_(User.id.in_(people), User.id.in_(in_team)))
    found = list(session.scalars(query.order_by(User.id)))
    if not set(people) <= set(found):
        raise refused("people", _("There is no such person, or the account is disabled: choose one of the list."))
    if not found:
        raise refused("teams", _("Nobody is in this team: add people to it, or choose another."))
    return found


def _look(session: Session, item_ids: Collection[int], people: Sequence[int]) -> _Deal:
    """Lock the items, and read of them and of each of ``people`` all that decides who is given which."""
    free, again = asking.lock(session, item_ids, people)
    holds = select(Adjudication.id).where(Adjudication.comparison_id == Comparison.id, Adjudication.ended_at.is_(None))
    query = select(
        Comparison.id,
        Comparison.batch_id,
        Comparison.purpose,
        Comparison.annotators_wanted,
        Comparison.seats_free,
        Batch.state,
        Batch.kind,
        holds.exists().label("settled"),
    ).join(Batch, Batch.id == Comparison.batch_id)
    of_items = {row.id: row for row in session.execute(query.where(Comparison.id.in_(item_ids)))}
    of_batches: dict[tuple[int, int], str | None] = {}
    left: dict[tuple[int, int], int] = {}
    for row in session.execute(_of_batches({row.batch_id for row in of_items.values()}, people)):
        pair = row.batch_id, row.who
        of_batches[pair] = _first(
            {BARRED: row.barred, NOT_ASSIGNED: not row.assigned, TOUR: row.no_tour, QUALIFICATION: row.not_qualified}
        )
        if row.left is not None:
            left[pair] = row.left
    of_pairs: dict[tuple[int, int], str | None] = {}
    for row in session.execute(_of_pairs(item_ids, people)):
        met = MET[row.state] if row.state is not None and row.assignment_id not in again else None
        of_pairs[row.item_id, row.who] = met or _first({UNFIT[each]: not row[4 + at] for at, each in enumerate(Unfit)})
    return _Deal(of_items, of_batches, left, of_pairs, free)


def _of_batches(batch_ids: Collection[int], people: Sequence[int]) -> Any:
    passed = (
        select(Qualification.passed)
        .where(Qualification.batch_id == Batch.id, Qualification.user_id == _person.id, Qualification.answered > 0)
        .scalar_subquery()
    )
    quota = case((Batch.quota.is_not(None), Batch.quota - items_had(_person.id, Batch.id)))
    return (
        select(
            Batch.id.label("batch_id"),
            _person.id.label("who"),
            is_barred(_person.id, Batch.id).label("barred"),
            assigned_to(_person.id, Batch.id).label("assigned"),
            and_(Batch.requires_tour, _person.toured_at.is_(None)).label("no_tour"),
            and_(Batch.qualification_items > 0, func.coalesce(passed, False).is_(False)).label("not_qualified"),
            quota.label("left"),
        )
        .join(_person, true())
        .where(Batch.id.in_(batch_ids), _person.id.in_(people))
    )


def _of_pairs(item_ids: Collection[int], people: Sequence[int]) -> Any:
    conditions = fits(_person.id, Comparison.batch_id, Asked.WORK)
    return (
        select(
            Comparison.id.label("item_id"),
            _person.id.label("who"),
            _met.id.label("assignment_id"),
            _met.state,
            *(conditions[each] for each in Unfit),
        )
        .select_from(Comparison)
        .join(_person, true())
        .outerjoin(_met, and_(_met.comparison_id == Comparison.id, _met.annotator_id == _person.id))
        .where(Comparison.id.in_(item_ids), _person.id.in_(people))
    )


def _of_item(item: Any) -> str | None:
    """Why nobody is asked about an item, whoever it is."""
    full = item.annotators_wanted >= asking.MOST and not item.seats_free
    return _first(
        {
            KIND: not PURPOSES[item.purpose].asked_again,
            TURN: item.kind is BatchKind.DIALOGUE,
            NOT_OPEN: item.state is not BatchState.OPEN,
            SETTLED: item.settled,
            ENOUGH: full,
        }
    )


def _first(reasons: Mapping[str, bool]) -> str | None:
    return next((why for why, holds in reasons.items() if holds), None)
