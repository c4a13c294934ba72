"""What the pages of the playground show."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.candidates.live_events import Snapshot
from app.candidates.live_pace import shown
from app.kernel.locales import gettext as _
from app.kernel.markup import to_html
from app.playground import service
from app.playground.forms import SIDES
from app.playground.models import Trial
from app.registry.deployments import serving
from app.registry.models import Deployment


@dataclass(frozen=True)
class Said:
    """One message of the conversation, as it is shown."""

    role: str
    html: Markup

    @property
    def who(self) -> str:
        """Who said it, to its reader."""
        return {"system": _("System prompt"), "user": _("You")}.get(self.role) or _("The answer you took")


@dataclass(frozen=True)
class Answer:
    """One side: how it stands, its text once it is complete, and its model's name where that may be known."""

    side: str
    state: Snapshot
    html: Markup | None
    name: str | None


@dataclass(frozen=True)
class PlaygroundPage:
    """Context of ``playground/playground.html``; ``values`` as typed, so that nothing is typed twice."""

    champion: Deployment | None
    others: Sequence[Deployment]
    recent: Sequence[Trial]
    key: str
    trial: Trial | None = None
    said: Sequence[Said] = ()
    answers: Sequence[Answer] = ()
    written: bool = False
    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None


def playground_page(
    session: Session,
    user: User,
    trial: Trial | None = None,
    *,
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    problem: str | None = None,
) -> PlaygroundPage:
    """The form, under the trial that is looked at."""
    written = trial is not None and service.is_written(trial)
    return PlaygroundPage(
        champion=serving(session).writer,
        others=service.others(session),
        recent=service.recent(session, user),
        key=secrets.token_urlsafe(12),
        trial=trial,
        said=[Said(each["role"], to_html(each["content"])) for each in trial.messages] if trial else [],
        answers=_answers(session, trial, written=written) if trial else [],
        written=written,
        values=values or _as_before(trial),
        errors=errors or {},
        problem=problem,
    )


def _answers(session: Session, trial: Trial, *, written: bool) -> list[Answer]:
    names = service.names(trial) or (None, None)
    found = []
    for side, row, name in zip(SIDES, (trial.left, trial.right), names, strict=True):
        state = shown(session, row)
        found.append(Answer(side, state, to_html(state.text) if written else None, name))
    return found


def _as_before(trial: Trial | None) -> dict[str, str]:
    """The next message goes to the same two, in the same way."""
    if trial is None:
        return {}
    blind = {"blind": "true"} if trial.blind else {}
    return blind if service.names(trial) is None else {"beside": str(trial.right.deployment_id), **blind}
