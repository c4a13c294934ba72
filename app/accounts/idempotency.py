"""``Idempotency-Key`` for the writes of the API: a retry gets the answer of the first try, and nothing happens twice.

::

    @router.post("/batches", status_code=201, dependencies=[TAKES_KEY])
    def create(request: Request, session: DbSession, user: ApiAdmin, form: NewBatch) -> Response:
        def work() -> BatchOut: ...
        return once(session, user, request, form.model_dump_json().encode(), work, status=201)

The key is stored in the same transaction as the work, so there is an answer exactly when there was an effect:

- same key, same request: the stored answer, with the header ``Idempotent-Replayed: true``;
- same key, another request (method, path or body): 422;
- the same request twice at once: the second waits at the unique index until the first has committed, then answers alike;
- a try that failed stored nothing, and the next one with its key does the work;
- an answer that tells a secret is stored without it, and the repetition is a 409 that says so.

:data:`TAKES_KEY` puts the header into the description of the API; a test keeps it on every route that calls :func:`once`.
Keys are a person's own and are kept for a week. A request without a key is simply done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts.models import IdempotencyKey, User
from app.kernel.errors import BadInput, Conflict
from app.kernel.locales import gettext as _

KEPT = timedelta(days=7)


async def takes_key(
    _key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=200,
            description="For a week, repeating a request with the same key returns the first answer instead of "
            "running it again.",
            examples=["0b9f0f0e-5d3b-4a55-9f53-1d7a3c1e2f4b"],
        ),
    ] = None,
) -> None:
    """Marks a route as one that takes the header; :func:`once` reads it."""


TAKES_KEY = Depends(takes_key)


def once(
    session: Session,
    user: User,
    request: Request,
    body: bytes,
    work: Callable[[], BaseModel | None],
    *,
    status: int = 200,
    secret: str | None = None,
) -> Response:
    """Do ``work`` and answer with what it returns, or answer as before.

    Args:
        session: The request's transaction.
        user: Whose key it is.
        request: Its ``Idempotency-Key`` header, method, path and query count. Not scheme and host: a retry may come by
            another address of the same site.
        body: What was sent, in a form that is the same for the same request.
        work: The write; what it raises is answered as ever, and nothing is stored. It may have nothing to answer.
        status: The status of the first answer, and of every repetition.
        secret: The field of the answer that is told only once and never stored.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return _answer(_dumped(work()), status)
    if not 1 <= len(key) <= 200 or not key.isprintable():
        raise BadInput(_("An Idempotency-Key has 1 to 200 printable characters; a UUID does."))
    target = f"{request.url.path}?{request.url.query}"
    fingerprint = hashlib.sha256(b"\0".join([request.method.encode(), target.encode(), body])).digest()
    claimed = session.scalar(
        insert(IdempotencyKey)
        .values(user_id=user.id, key=key, request_hash=fingerprint)
        .on_conflict_do_nothing(index_elements=["user_id", "key"])
        .returning(IdempotencyKey)
    )
    if claimed is None:
        return _answer_again(session, user, key, fingerprint, secret)
    made = _dumped(work())
    claimed.status, claimed.body = status, made and {name: made[name] for name in made if name != secret}
    return _answer(made, status)


def _dumped(made: BaseModel | None) -> dict[str, Any] | None:
    return None if made is None else made.model_dump(mode="json")


def _answer(body: dict[str, Any] | None, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(None, status, headers) if body is None else JSONResponse(body, status, headers)


def _answer_again(session: Session, user: User, key: str, fingerprint: bytes, secret: str | None) -> Response:
    mine = (IdempotencyKey.user_id == user.id) & (IdempotencyKey.key == key)
    stored = session.scalars(select(IdempotencyKey).where(mine)).one_or_none()
    if stored is None or stored.status is None:
        raise Conflict(_("The first request with this Idempotency-Key is still running. Try again."), retry_after=1)
    if stored.request_hash != fingerprint:
        raise BadInput(_("This Idempotency-Key was used for another request. Use a new key for a new request."))
    if secret is not None:
        raise Conflict(
            _(
                "The first request with this Idempotency-Key already did this, and its {secret} is shown only once. If "
                "you did not get it, revoke what was created (see “made”) and ask again with a new key.",
                secret=secret,
            ),
            made=stored.body,
        )
    return _answer(stored.body, stored.status, {"idempotent-replayed": "true"})


def forget_old(session: Session) -> int:
    """Delete the keys that are older than a week; says how many."""
    old = IdempotencyKey.created_at < func.now() - KEPT
    return len(session.execute(delete(IdempotencyKey).where(old).returning(IdempotencyKey.id)).all())
