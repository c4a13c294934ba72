"""JSON of accounts: who am I, and one's own API tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from app.accounts import queries, service
from app.accounts.access import ApiSignedIn
from app.accounts.models import Role
from app.db import DbSession
from app.errors import Forbidden

router = APIRouter(tags=["accounts"])

Scope = Literal["annotate", "read", "admin"]


class Me(BaseModel):
    """Who is asking."""

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


class NewToken(BaseModel):
    """What a new token is for, and what it may do."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "nightly export", "scopes": ["read"]}]}
    )

    name: str = Field(min_length=1, max_length=120)
    scopes: list[Scope] = Field(min_length=1, max_length=3)


class TokenOut(BaseModel):
    """A token that works, without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    scopes: list[Scope]
    created_at: datetime
    last_used_at: datetime | None


class TokenSecret(BaseModel):
    """A new token: the one time that its secret is told."""

    id: int
    name: str
    scopes: list[Scope]
    secret: str


@router.get("/me")
def me(user: ApiSignedIn) -> Me:
    """Who the token or the session belongs to."""
    return Me.model_validate(user)


@router.get("/tokens")
def tokens(session: DbSession, user: ApiSignedIn) -> list[TokenOut]:
    """Your tokens that work, newest first."""
    return [TokenOut.model_validate(token) for token in queries.live_tokens(session, user)]


@router.post("/tokens", status_code=201)
def create_token(session: DbSession, request: Request, user: ApiSignedIn, form: NewToken) -> TokenSecret:
    """Create a token. A token can only make others that may do no more than it may itself."""
    own = request.state.scopes
    if own is not None and not set(form.scopes) <= own:
        raise Forbidden("A token cannot make one that may do more than itself. Sign in and use the page API tokens.")
    secret = service.create_token(session, user, form.name, form.scopes)
    made = queries.live_tokens(session, user)[0]
    return TokenSecret(id=made.id, name=made.name, scopes=form.scopes, secret=secret)


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(session: DbSession, user: ApiSignedIn, token_id: int) -> Response:
    """Revoke one of your tokens; what uses it is refused at once."""
    service.revoke_token(session, user, token_id)
    return Response(status_code=204)
