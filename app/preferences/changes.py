"""What changed since an earlier export: nothing lost and nothing doubled, however late a transaction commits.

Triggers note the transaction in which an annotation came, or began or ceased to count (``annotation_changes``). A cursor is the
snapshot of the database at which an export was asked for: PostgreSQL's own list of the transactions that were finished then. A
time or a serial number would lose what was written before and committed after.

An export up to a cursor holds the changes that its snapshot saw, and of these only annotations that did not change again before
its rows were read: those come with the next one, as they are then.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import BigInteger, ColumnElement, any_, bindparam, case, cast, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from app.annotations.models import COUNTS, Annotation, AnnotationChange
from app.kernel.errors import BadInput, Conflict
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.preferences import queries
from app.preferences.forms import ExportFilter

START = "start"
"""In place of a cursor: everything, and a cursor to go on from."""
CORRECTED, WITHDRAWN, RETRACTED, RETURNED = "corrected", "withdrawn", "retracted", "returned"
"""Why an annotation is no preference any more: the ``outcome`` of its row."""
ANOTHER = N_(
    "This cursor is of another database, or this one was restored from a backup since: begin again with start in its place."
)
_SNAPSHOT = re.compile(r"\d{1,19}:\d{1,19}:(\d{1,19}(,\d{1,19})*)?")
# of a server, of its history and of the database on it: the numbers of transactions mean nothing in another one
_NOW = text("""
    SELECT pg_current_snapshot()::text, s.system_identifier || '.' || c.timeline_id || '.' || d.oid
      FROM pg_control_system() s, pg_control_checkpoint() c, pg_database d WHERE d.datname = current_database()
""")
_CHANGED = text("""
    SELECT annotation_id, bool_or(created) FROM annotation_changes
     WHERE xid >= pg_snapshot_xmin(CAST(:since AS pg_snapshot))::text::bigint
       AND xid < pg_snapshot_xmax(CAST(:upto AS pg_snapshot))::text::bigint
       AND NOT pg_visible_in_snapshot(xid::text::xid8, CAST(:since AS pg_snapshot))
       AND pg_visible_in_snapshot(xid::text::xid8, CAST(:upto AS pg_snapshot))
     GROUP BY annotation_id ORDER BY annotation_id
""")
_LATER = """
    xid >= pg_snapshot_xmin(CAST(:upto AS pg_snapshot))::text::bigint
    AND NOT pg_visible_in_snapshot(xid::text::xid8, CAST(:upto AS pg_snapshot))
"""


@dataclass(frozen=True)
class Window:
    """From one export to the next: snapshots of the database. ``since`` is None where there was none before."""

    since: str | None
    upto: str
    cursor: str
    """What the next one goes on from."""


def window(session: Session, since: str, wanted: ExportFilter) -> Window:
    """What an export of ``wanted`` asked for now has to hold, after the one that gave the cursor ``since``.

    Raises:
        BadInput: it is no cursor, or one of another selection.
        Conflict: it is of another database, or of one that was restored since.
    """
    upto, database = session.execute(_NOW).one()
    selection = hashlib.sha256(orjson.dumps(wanted.stored(), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    said = {"at": upto, "of": database, "as": selection}
    cursor = urlsafe_b64encode(orjson.dumps(said)).rstrip(b"=").decode()
    if since == START:
        return Window(None, upto, cursor)
    before = _read(since)
    if before["of"] != database or _end(before["at"]) > _end(upto):
        raise Conflict(_(ANOTHER))
    if before["as"] != selection:
        raise BadInput(_("This cursor is of another selection: ask for the same batches, rounds and so on as before."))
    return Window(before["at"], upto, cursor)


def _read(cursor: str) -> dict[str, str]:
    try:
        said = orjson.loads(urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        said = None
    if not isinstance(said, dict) or not all(isinstance(said.get(key), str) for key in ("at", "of", "as")):
        raise BadInput(_("This is no cursor: send the one that an earlier export gave, or start."))
    if not _in_order(said["at"]):
        raise BadInput(_("This cursor was changed: send the one that an earlier export gave, or start."))
    return said


def _in_order(snapshot: str) -> bool:
    """Whether PostgreSQL takes it for a snapshot."""
    if not _SNAPSHOT.fullmatch(snapshot):
        return False
    first, last, running = snapshot.split(":")
    found = [int(first), *(int(each) for each in running.split(",") if each)]
    numbers = [*found, int(last)]
    return all(0 < each < 2**63 for each in numbers) and found == sorted(found) and max(found) <= int(last)


def _end(snapshot: str) -> int:
    return int(snapshot.split(":")[1])


@dataclass(frozen=True)
class Changed:
    """The annotations that an export up to a cursor is about."""

    ids: list[int] | None
    """None is all."""
    known: list[int]
    """Of these the ones that were there before."""
    upto: str

    def reported(self) -> ColumnElement[bool]:
        """Whether an annotation is among them, and did not change again since."""
        later = select(AnnotationChange.annotation_id).where(text(_LATER).bindparams(upto=self.upto))
        unchanged = Annotation.id.not_in(later)
        return unchanged if self.ids is None else unchanged & _among(self.ids)


def changed(session: Session, of: Window) -> Changed:
    """Which annotations changed in a window."""
    if of.since is None:
        return Changed(None, [], of.upto)
    found = session.execute(_CHANGED, {"since": of.since, "upto": of.upto}).all()
    return Changed([key for key, _ in found], [key for key, created in found if not created], of.upto)


def removed(session: Session, wanted: ExportFilter, found: Changed) -> Iterator[dict[str, Any]]:
    """Of what an earlier export may have held, the annotations that are no preferences any more, each as a row.

    All but the annotation and the reason is null there.
    """
    why = case(
        (Annotation.retraction_id.is_not(None), RETRACTED),
        (Annotation.superseded_by_id.is_not(None), CORRECTED),
        (Annotation.withdrawn_at.is_not(None), WITHDRAWN),
        else_=RETURNED,
    )
    query = queries.joined(select(Annotation.id, why)).where(
        _among(found.known), found.reported(), ~COUNTS, *queries.asked(wanted, get_settings().held_out_percent)
    )
    for key, reason in session.execute(query.order_by(Annotation.id)):
        yield {"id": f"{key}::", "annotation_id": key, "outcome": reason}


def _among(ids: list[int]) -> ColumnElement[bool]:
    return Annotation.id == any_(cast(bindparam(None, ids, unique=True), ARRAY(BigInteger)))
