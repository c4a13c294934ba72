"""The actions of an admin on a contest, and on a round that the gate refused; each keeps its reason."""

from __future__ import annotations

from dataclasses import dataclass

from app.accounts.models import Role, User
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.loops.models import Round, RoundState, Verdict
from app.rounds.models import Contest, ContestKind

WITHDRAW, OVERRIDE = "withdraw", "override"
DONE = {WITHDRAW: N_("The contest is withdrawn."), OVERRIDE: N_("The policy is the champion now.")}


@dataclass(frozen=True)
class Act:
    """One action as a form: its address, its texts, and the question that confirms it."""

    name: str
    url: str
    title: str
    hint: str
    button: str
    question: str
    open: bool
    """Whether the last attempt was refused."""


@dataclass(frozen=True)
class Refused:
    """An act whose reason was refused, as its form shows it again; empty where none was."""

    act: str = ""
    reason: str = ""
    """As typed."""
    problem: str = ""


NOTHING_REFUSED = Refused()


def of_contest(user: User, contest: Contest, round_verdict: Verdict | None, acted: str = "") -> list[Act]:
    """What ``user`` can do to a contest; ``acted`` is what was just refused."""
    if user.role is not Role.ADMIN:
        return []
    is_gate = contest.kind is ContestKind.GATE
    acts = [_withdraw(contest, acted)] if contest.verdict is None else []
    settled_against = contest.verdict is not None and round_verdict is not None and not round_verdict.promotes
    if is_gate and (contest.verdict is None or settled_against):
        acts.append(_override(f"/contests/{contest.id}/override", acted))
    return acts


def of_round(user: User, found: Round, acted: str = "") -> list[Act]:
    """What ``user`` can do to a round without a contest of its own page: take what the checks refused."""
    refused = found.state is RoundState.COMPLETE and found.verdict is not None and not found.verdict.promotes
    return [_override(f"/rounds/{found.number}/override", acted)] if user.role is Role.ADMIN and refused else []


def _withdraw(contest: Contest, acted: str) -> Act:
    is_gate = contest.kind is ContestKind.GATE
    return Act(
        name=WITHDRAW,
        url=f"/contests/{contest.id}/withdraw",
        title=_("Withdraw the contest") if is_gate else _("Stop the watch"),
        hint=_(
            "The champion stays, and the judgements still train. The reason stays on the card and in the audit log."
        ),
        button=_("Withdraw") if is_gate else _("Stop"),
        question=_("End this contest without a result? It cannot be opened again.")
        if is_gate
        else _("Stop watching the champion? It cannot be watched again."),
        open=acted == WITHDRAW,
    )


def _override(url: str, acted: str) -> Act:
    return Act(
        name=OVERRIDE,
        url=url,
        title=_("Promote it despite the gate"),
        hint=_(
            "The policy becomes the champion without passing the gate. The reason stays on the card and in the audit log."
        ),
        button=_("Promote"),
        question=_("Make this policy the champion despite the gate?"),
        open=acted == OVERRIDE,
    )
