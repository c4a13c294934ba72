"""Database kernel: declarative base, naming convention, engine, and the two transaction boundaries.

A view never commits and a service never commits. The boundary does, once: :func:`get_session` for a request, before
the response is sent, and :func:`session_scope` for workers and commands. Jobs that were enqueued on the session leave
after that commit (``app.kernel.jobs``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from enum import StrEnum
from functools import lru_cache, wraps
from typing import Annotated, Any, ParamSpec, TypeVar, cast

from anyio import from_thread
from fastapi import Depends
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import BigInteger, DateTime, Engine, Enum, Identity, MetaData, create_engine, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from app.kernel.settings import get_settings
from app.kernel.turns import PATIENCE, Turn, Turns

P = ParamSpec("P")
R = TypeVar("R")

IDLE_SECONDS = 60
"""PostgreSQL ends a transaction that does nothing for so long: whatever forgot it, its locks and its connection come back."""

TURNS = Turns("database", lambda: get_settings().database_pool_size * 3 // 2)
"""The requests that may use the database at once. A quarter of the connections is for what is no request: downloads,
followed texts, health."""

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Key = Annotated[int, mapped_column(BigInteger, Identity(), primary_key=True)]
"""A bigint primary key. Never shown to an annotator for a candidate: a sequence would tell which model answered first."""
Time = Annotated[datetime, mapped_column(DateTime(timezone=True))]
Created = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
"""Set by the database: its clock is the only one that leases and orders are judged by."""
Json = Annotated[dict[str, Any], mapped_column(JSONB)]


class Base(DeclarativeBase):
    """Every table's base. Relationships are declared with ``lazy="raise"``: a query says what it loads."""

    metadata = MetaData(naming_convention=NAMING)


def enum_column(kind: type[StrEnum], name: str) -> Enum:
    """A text column with a CHECK on the values of ``kind``: adding a value is a cheap migration, unlike a native enum."""
    return Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=32,
        values_callable=lambda members: [member.value for member in members],
    )


def make_engine(url: str, pool_size: int = 10, *, idle_seconds: int = IDLE_SECONDS) -> Engine:
    """An engine on psycopg 3. ``pool_pre_ping`` heals the pool after the database was restarted.

    A transaction that is idle for ``idle_seconds`` is ended by the server; 0 is for those who hold one on purpose.
    """
    return create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_timeout=PATIENCE,
        connect_args={
            "connect_timeout": 5,
            "application_name": "corral",
            "options": f"-c idle_in_transaction_session_timeout={idle_seconds}s",
        },
    )


@lru_cache(maxsize=1)
def get_engine() -> Engine:
    """The engine of this process, made on first use (a forked Celery child makes its own)."""
    settings = get_settings()
    return make_engine(settings.database_url, settings.database_pool_size)


def make_session() -> Session:
    """A new session; nothing is expired on commit, because what was loaded is what was answered."""
    return Session(get_engine(), expire_on_commit=False)


@contextmanager
def session_scope() -> Iterator[Session]:
    """One transaction for a worker or a command: commit at the end, roll back on any error."""
    with make_session() as session:
        yield session
        session.commit()


async def get_session() -> AsyncIterator[Session]:
    """One transaction a request. With ``scope="function"`` the commit happens before the response is sent.

    Requests wait for their turn before they take a thread. If they waited for a connection in one, a rush would fill all
    threads with waiting, and those who have a connection could not go on to give it back.

    Raises:
        Unavailable: no turn came within ``app.kernel.turns.PATIENCE`` seconds.
    """
    turn = await TURNS.take()
    try:
        session = make_session()  # connects at the first statement, in whose thread that may be
        session.info["turn"] = turn
        try:
            yield session
            if session.in_transaction():
                await run_in_threadpool(session.commit)
        finally:  # what was loaded stays readable, for the page that says what went wrong
            if session.in_transaction():
                await run_in_threadpool(session.close)  # the rollback waits for the database as well
            else:
                session.close()
    finally:
        turn.give_back()


@asynccontextmanager
async def without_connection(session: Session) -> AsyncIterator[None]:
    """Hold neither a connection nor a turn during the block, which waits for a client or for the processor.

    What was done so far is committed: nothing may stand before the block that must not stand without what follows it.
    """
    turn: Turn = session.info["turn"]
    await run_in_threadpool(session.commit)
    turn.give_back()
    yield
    await turn.take()


@contextmanager
def without_connection_in_thread(session: Session) -> Iterator[None]:
    """Like :func:`without_connection`, in the thread of a page.

    A session that is no request's keeps its transaction: nobody waits for it.
    """
    turn: Turn | None = session.info.get("turn")
    if turn is None:
        yield
        return
    session.commit()
    from_thread.run_sync(turn.give_back)
    yield
    from_thread.run(turn.take)


def commits(endpoint: Callable[P, R]) -> Callable[P, R]:
    """An endpoint whose transaction is committed in its own thread: a hop to another one costs as much as some statements.

    For what annotators do all day. The boundary stays the same: after the endpoint, before the response is sent.
    """

    @wraps(endpoint)
    def committed(*args: P.args, **values: P.kwargs) -> R:
        answer = endpoint(*args, **values)
        cast("Session", values["session"]).commit()
        return answer

    return committed


DbSession = Annotated[Session, Depends(get_session, scope="function")]
