"""JSON of people, for admins: who is here, invitations, roles, closing accounts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from sqlalchemy.orm import Session

from app.accounts import inviting, queries, second_step, service
from app.accounts.access import NOT_YOURS, ApiAdmin, api_admin, confirmed
from app.accounts.idempotency import TAKES_KEY, once
from app.accounts.models import Invite, Role, User
from app.kernel.db import DbSession
from app.kernel.errors import refused
from app.kernel.locales import gettext as _
from app.kernel.numbers import Truth
from app.shell.failures import answer
from app.shell.web import public_url

router = APIRouter(tags=["people"])

ASKED_AGAIN = "Your own password: a token alone lets nobody in and changes no role."


class PersonJson(BaseModel):
    """Somebody with an account."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(examples=[7])
    name: str = Field(examples=["Alice Liddell"])
    email: str = Field(examples=["alice@example.org"])
    role: Role = Field(examples=["annotator"])
    pseudonym: str = Field(examples=["annotator-5f0c1b2a9d3e"])
    languages: list[str] = Field(examples=[["de", "en"]])
    disabled_at: datetime | None = Field(examples=[None], description="Since when the account is closed.")
    created_at: datetime


class InviteJson(BaseModel):
    """An invitation that nobody has used yet."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(examples=[3])
    role: Role = Field(examples=["annotator"])
    email: str | None = Field(examples=["carol@example.org"], description="Whom it is for; null: whoever has the link.")
    expires_at: datetime
    mail_due_at: datetime | None = Field(examples=[None], description="When the link is mailed next; null: it is not.")
    mailed_at: datetime | None = Field(examples=[None], description="When the link was mailed.")
    mail_error: str | None = Field(examples=[None], description="Why the last try to mail it failed.")


class PeopleJson(BaseModel):
    """Everyone, in the order in which they joined, and the invitations that are open."""

    users: list[PersonJson]
    invites: list[InviteJson]


class InviteIn(BaseModel):
    """A new invitation."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"role": "annotator", "password": "yours"}]}
    )

    role: Role
    email: str | None = Field(default=None, max_length=254)
    password: SecretStr = Field(max_length=2000, description=ASKED_AGAIN)


class InviteSecret(BaseModel):
    """A new invitation; the only time its link is shown."""

    id: int = Field(examples=[3])
    link: str = Field(examples=["https://corral.example.org/invite/3q2-7w…"])


class GuestIn(BaseModel):
    """Somebody to invite."""

    model_config = ConfigDict(extra="forbid")

    email: str = Field(max_length=254, examples=["carol@example.org"])
    role: Role | None = Field(default=None, examples=[None], description="Null: that of the whole list.")


class InvitesIn(BaseModel):
    """New invitations, one for each address."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"role": "annotator", "people": [{"email": "carol@example.org"}], "password": "yours"}]
        },
    )

    role: Role
    people: list[GuestIn] = Field(min_length=1, max_length=inviting.AT_ONCE)
    mail: Truth = Field(default=False, description="Whether the links are mailed; else they are in the answer.")
    password: SecretStr = Field(max_length=2000, description=ASKED_AGAIN)


class InvitedJson(BaseModel):
    """One of the new invitations."""

    id: int = Field(examples=[3])
    email: str = Field(examples=["carol@example.org"])
    role: Role = Field(examples=["annotator"])
    link: str | None = Field(
        examples=["https://corral.example.org/invite/3q2-7w…"], description="Null where it is mailed."
    )


class InvitesSecret(BaseModel):
    """The new invitations; the only time their links are shown."""

    present: list[str] = Field(examples=[["bob@example.org"]], description="Who has an account already.")
    invites: list[InvitedJson]


class RoleIn(BaseModel):
    """Another role."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"role": "reviewer", "password": "yours"}]}
    )

    role: Role
    password: SecretStr = Field(max_length=2000, description=ASKED_AGAIN)


class AskedAgain(BaseModel):
    """What is asked for again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"password": "yours"}]})

    password: SecretStr = Field(max_length=2000, description=ASKED_AGAIN)


class SignedOut(BaseModel):
    """How many browsers were signed out."""

    sessions: int = Field(examples=[2])


@router.get("/users", dependencies=[Depends(api_admin)])
def list_people(session: DbSession) -> PeopleJson:
    """Everyone, and the open invitations."""
    return PeopleJson(
        users=[PersonJson.model_validate(each) for each in queries.people(session)],
        invites=[InviteJson.model_validate(each) for each in queries.open_invites(session)],
    )


@router.post("/users/invites", status_code=201, response_model=InviteSecret, dependencies=[TAKES_KEY])
def invite(request: Request, session: DbSession, user: ApiAdmin, form: InviteIn) -> Response:
    """Invite somebody. The link is shown once: a retry with the same `Idempotency-Key` gets 409 with the id."""
    if not confirmed(request, session, user, form.password.get_secret_value()):
        return answer(request, refused("password", _(NOT_YOURS)))

    def work() -> InviteSecret:
        secret = service.create_invite(session, role=form.role, created_by=user, email=form.email or None)
        made: Invite = queries.find_invite(session, secret)
        return InviteSecret(id=made.id, link=f"{public_url(request)}/invite/{secret}")

    wish = form.model_dump_json(exclude={"password"}).encode()  # no trace of it, not even hashed
    return once(session, user, request, wish, work, status=201, secret="link")  # noqa: S106 - a field's name


@router.post("/users/invites/many", status_code=201, response_model=InvitesSecret, dependencies=[TAKES_KEY])
def invite_many(request: Request, session: DbSession, user: ApiAdmin, form: InvitesIn) -> Response:
    """Invite a list of people, all or nobody. An earlier open invitation of an address ends.

    The links are shown once: a retry with the same `Idempotency-Key` gets 409.
    """
    if not confirmed(request, session, user, form.password.get_secret_value()):
        return answer(request, refused("password", _(NOT_YOURS)))

    def work() -> InvitesSecret:
        people = inviting.checked([(each.email, each.role or form.role) for each in form.people])
        outcome = inviting.invite_all(session, user, people, mail=form.mail)
        at = public_url(request)
        made = [
            InvitedJson(
                id=each.id,
                email=each.email,
                role=each.role,
                link=f"{at}/invite/{each.secret}" if each.secret else None,
            )
            for each in outcome.invited
        ]
        return InvitesSecret(invites=made, present=outcome.present)

    wish = form.model_dump_json(exclude={"password"}).encode()
    return once(session, user, request, wish, work, status=201, secret="invites")  # noqa: S106 - a field's name


@router.post("/users/invites/{invite_id:int}/mail", response_model=InviteJson, dependencies=[TAKES_KEY])
def mail_invite(request: Request, session: DbSession, user: ApiAdmin, invite_id: int) -> Response:
    """Mail a new link for an open invitation; the earlier link ends."""

    def work() -> InviteJson:
        invite = inviting.mail_again(session, user, invite_id)
        session.refresh(invite)
        return InviteJson.model_validate(invite)

    return once(session, user, request, b"", work)


@router.delete("/users/invites/{invite_id:int}", status_code=204, dependencies=[TAKES_KEY])
def withdraw_invite(request: Request, session: DbSession, user: ApiAdmin, invite_id: int) -> Response:
    """End an invitation that nobody has used."""
    work = lambda: service.withdraw_invite(session, user, invite_id)  # noqa: E731
    return once(session, user, request, b"", work, status=204)


@router.post("/users/{user_id}/role", response_model=PersonJson, dependencies=[TAKES_KEY])
def set_role(request: Request, session: DbSession, user: ApiAdmin, user_id: int, form: RoleIn) -> Response:
    """Give somebody another role."""
    person = queries.access_user(session, user, user_id)
    if not confirmed(request, session, user, form.password.get_secret_value()):
        return answer(request, refused("password", _(NOT_YOURS)))

    def work() -> PersonJson:
        service.set_role(session, user, person, form.role)
        return _person(session, person)

    return once(session, user, request, form.model_dump_json(exclude={"password"}).encode(), work)


@router.post("/users/{user_id}/disable", response_model=PersonJson, dependencies=[TAKES_KEY])
def disable(request: Request, session: DbSession, user: ApiAdmin, user_id: int) -> Response:
    """Close an account. The person's work stays and counts on; a retraction takes it out."""
    return once(session, user, request, b"", _changes(session, user, user_id, service.disable))


@router.post("/users/{user_id}/enable", response_model=PersonJson, dependencies=[TAKES_KEY])
def enable(request: Request, session: DbSession, user: ApiAdmin, user_id: int) -> Response:
    """Open a closed account again."""
    return once(session, user, request, b"", _changes(session, user, user_id, service.enable))


@router.post("/users/{user_id}/sign-out", response_model=SignedOut, dependencies=[TAKES_KEY])
def sign_out(request: Request, session: DbSession, user: ApiAdmin, user_id: int) -> Response:
    """End all sessions of somebody in browsers. Their tokens stay."""
    person = queries.access_user(session, user, user_id)
    work = lambda: SignedOut(sessions=service.revoke_sessions(session, person, actor=user))  # noqa: E731
    return once(session, user, request, b"", work)


@router.post("/users/{user_id}/second-step/reset", status_code=204, dependencies=[TAKES_KEY])
def reset_step(request: Request, session: DbSession, user: ApiAdmin, user_id: int, form: AskedAgain) -> Response:
    """Turn off the second step of somebody who lost app and recovery codes, and sign them out everywhere."""
    person = queries.access_user(session, user, user_id)
    if not confirmed(request, session, user, form.password.get_secret_value()):
        return answer(request, refused("password", _(NOT_YOURS)))
    return once(session, user, request, b"", lambda: second_step.reset(session, user, person), status=204)


def _changes(
    session: Session, user: User, user_id: int, act: Callable[[Session, User, User], None]
) -> Callable[[], PersonJson]:
    person = queries.access_user(session, user, user_id)

    def work() -> PersonJson:
        act(session, user, person)
        return _person(session, person)

    return work


def _person(session: Session, person: User) -> PersonJson:
    session.flush()
    session.refresh(person)
    return PersonJson.model_validate(person)
