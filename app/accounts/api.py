"""JSON of accounts: who am I, and one's own API tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app.accounts import queries, service
from app.accounts.access import ApiSignedIn, confirmed
from app.accounts.idempotency import TAKES_KEY, once
from app.accounts.models import Role
from app.kernel.db import DbSession
from app.kernel.errors import Forbidden, refused
from app.kernel.locales import gettext as _
from app.kernel.numbers import Whole
from app.shell.failures import answer

router = APIRouter(tags=["accounts"])

Scope = Literal["annotate", "read", "admin"]


class Me(BaseModel):
    """The signed-in person."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": 7,
                    "name": "Alice Liddell",
                    "email": "alice@example.org",
                    "role": "annotator",
                    "pseudonym": "annotator-5f0c1b2a9d3e",
                    "languages": ["de", "en"],
                }
            ]
        },
    )

    id: int
    name: str
    email: str
    role: Role
    pseudonym: str
    """What exports carry instead of the name."""
    languages: list[str]
    """Codes of the languages that the person reads; none: not said, and everything is given."""


class MeChange(BaseModel):
    """What changes about yourself; what is not given stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"languages": ["de", "en"]}]})

    name: str | None = Field(default=None, max_length=2000)
    languages: list[str] | None = Field(default=None, max_length=100, description="By name or code.")


class NewToken(BaseModel):
    """A new token's name and scopes."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "nightly export", "scopes": ["read"], "days": 30}]}
    )

    name: str = Field(min_length=1, max_length=120)
    scopes: list[Scope] = Field(min_length=1, max_length=3)
    days: Whole | None = Field(
        default=None, ge=1, description="How many days it is valid; the server's default if left out."
    )
    password: SecretStr | None = Field(
        default=None,
        max_length=2000,
        description="Your password; needed only with a browser session, not with a token.",
    )


class TokenOut(BaseModel):
    """A valid token, without its secret."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": 3,
                    "name": "nightly export",
                    "scopes": ["read"],
                    "created_at": "2026-11-23T09:12:00Z",
                    "last_used_at": "2026-11-24T02:30:00Z",
                    "expires_at": "2027-02-21T09:12:00Z",
                }
            ]
        },
    )

    id: int
    name: str
    scopes: list[Scope]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime


class TokenSecret(BaseModel):
    """A new token; the only time its secret is shown."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 3,
                    "name": "nightly export",
                    "scopes": ["read"],
                    "expires_at": "2027-02-21T09:12:00Z",
                    "secret": "corral_3q2-7w…",
                }
            ]
        }
    )

    id: int
    name: str
    scopes: list[Scope]
    expires_at: datetime
    secret: str


@router.get("/me")
def me(user: ApiSignedIn) -> Me:
    """The person that the token or session belongs to."""
    return Me.model_validate(user)


@router.patch("/me", response_model=Me, dependencies=[TAKES_KEY])
def change_me(request: Request, session: DbSession, user: ApiSignedIn, form: MeChange) -> Response:
    """Change your name, or the languages that you read."""

    def work() -> Me:
        if form.name is not None:
            user.name = service.clean_name(form.name)
        if form.languages is not None:
            user.languages = service.clean_languages(", ".join(form.languages))
        return Me.model_validate(user)

    return once(session, user, request, form.model_dump_json(exclude_unset=True).encode(), work)


@router.get("/tokens")
def tokens(session: DbSession, user: ApiSignedIn) -> list[TokenOut]:
    """Your valid tokens, newest first."""
    return [TokenOut.model_validate(token) for token in queries.live_tokens(session, user)]


@router.post("/tokens", status_code=201, response_model=TokenSecret, dependencies=[TAKES_KEY])
def create_token(session: DbSession, request: Request, user: ApiSignedIn, form: NewToken) -> Response:
    """Create a token. A token can only create tokens with no more scopes and no later expiry than its own.

    Tokens created with a token end with it. From a browser session, your `password` is required.
    The secret is shown once: a retry with the same `Idempotency-Key` gets 409 with the id of the first token.
    """
    own = request.state.scopes
    if own is None and not confirmed(request, session, user, form.password.get_secret_value() if form.password else ""):
        return answer(
            request, refused("password", _("Give your password: a browser session alone cannot create a token."))
        )
    if own is not None and not set(form.scopes) <= own:
        raise Forbidden(
            _("A token cannot create one with more scopes than its own. Sign in and use the API tokens page.")
        )

    def work() -> TokenSecret:
        parent: int | None = getattr(request.state, "token_id", None)
        made, secret = service.issue_token(session, user, form.name, form.scopes, days=form.days, parent_id=parent)
        session.refresh(made)
        return TokenSecret(id=made.id, name=made.name, scopes=form.scopes, expires_at=made.expires_at, secret=secret)

    wish = form.model_dump_json(exclude={"password"}).encode()  # no trace of it, not even hashed
    return once(session, user, request, wish, work, status=201, secret="secret")  # noqa: S106 - a field's name


@router.delete("/tokens/{token_id}", status_code=204, dependencies=[TAKES_KEY])
def revoke_token(session: DbSession, request: Request, user: ApiSignedIn, token_id: int) -> Response:
    """Revoke one of your tokens; its next request is refused. Revoking it again changes nothing."""
    return once(session, user, request, b"", lambda: service.revoke_token(session, user, token_id), status=204)
