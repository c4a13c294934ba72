"""Database kernel: declarative base, naming convention, engine, and the two transaction boundaries.

A view never commits and a service never commits. The boundary does, once: :func:`get_session` for a request, before
the response is sent, and :func:`session_scope` for workers and commands. Jobs that were enqueued on the session leave
after that commit (``app.jobs``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any

from anyio.lowlevel import RunVar
from fastapi import Depends
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import BigInteger, DateTime, Engine, Enum, Identity, MetaData, create_engine, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from app.errors import Unavailable
from app.settings import get_settings

PATIENCE = 10
"""Seconds that a request waits for a connection before it is told to come back."""

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


def make_engine(url: str, pool_size: int = 10) -> Engine:
    """An engine on psycopg 3. ``pool_pre_ping`` heals the pool after the database was restarted."""
    return create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_timeout=PATIENCE,
        connect_args={"connect_timeout": 5, "application_name": "corral"},
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


_turns: RunVar[asyncio.Semaphore] = RunVar("corral_database_turns")  # of each event loop its own


async def _turn() -> asyncio.Semaphore:
    """Wait, on the event loop and not in a thread, until a connection is free for a request."""
    turns = _turns.get(None)
    if turns is None:
        turns = asyncio.Semaphore(get_settings().database_pool_size * 3 // 2)
        _turns.set(turns)
    try:
        async with asyncio.timeout(PATIENCE):
            await turns.acquire()
    except TimeoutError:
        raise Unavailable("Too many people are asking at once. Nothing was stored; try again.", retry_after=5) from None
    return turns


async def get_session() -> AsyncIterator[Session]:
    """One transaction a request. With ``scope="function"`` the commit happens before the response is sent.

    Requests wait for their turn before they take a thread. If they waited for a connection in one, a rush would fill all
    threads with waiting, and those who have a connection could not go on to give it back. A quarter of the connections is
    for what is no request: downloads, followed texts, health.

    Raises:
        Unavailable: no turn came within ``PATIENCE`` seconds.
    """
    turns = await _turn()
    try:
        session = make_session()  # connects at the first statement, in whose thread that may be
        try:
            yield session
            await run_in_threadpool(session.commit)
        finally:  # what was loaded stays readable, for the page that says what went wrong
            if session.in_transaction():
                await run_in_threadpool(session.close)  # the rollback waits for the database as well
            else:
                session.close()
    finally:
        turns.release()


DbSession = Annotated[Session, Depends(get_session, scope="function")]
