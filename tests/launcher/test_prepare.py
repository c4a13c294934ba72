"""The first start makes what is missing, once, whoever starts at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from app.accounts.models import Invite, Role
from app.accounts.service import accept_invite
from app.kernel.errors import NotFound
from app.laptop.prepare import prepare
from app.loops.models import Round, RoundState
from app.prompts.models import Batch
from app.registry.models import Checkpoint, CheckpointKind, Deployment
from app.services.migrating import current, heads
from app.site.first_start import ensure
from app.upkeep.audit import audit
from app.upkeep.drift import Drift, check
from tests.factories import make_user


def test_a_new_installation_has_all_that_the_loop_needs(session: Session) -> None:
    secret = ensure(session).admin_invite
    assert [(r.number, r.state) for r in session.scalars(select(Round))] == [(1, RoundState.COLLECTING)]
    assert [c.kind for c in session.scalars(select(Checkpoint))] == [CheckpointKind.BASE]
    assert {d.label for d in session.scalars(select(Deployment))} == {"focused", "varied"}
    assert len(session.scalars(select(Batch)).all()) == 1
    assert secret is not None
    user = accept_invite(session, secret, email="bob@example.org", name="Bob", password="correct horse battery")
    assert user.role is Role.ADMIN
    assert audit(session) == []


def test_the_second_start_changes_nothing_but_the_link(session: Session) -> None:
    first = ensure(session).admin_invite
    second = ensure(session).admin_invite
    assert first is not None
    assert second is not None
    assert len(session.scalars(select(Round)).all()) == 1
    assert len(session.scalars(select(Batch)).all()) == 1
    assert len(session.scalars(select(Deployment)).all()) == 2
    with pytest.raises(NotFound):
        accept_invite(session, first, email="charlie@example.org", name="Charlie", password="correct horse battery")
    accept_invite(session, second, email="bob@example.org", name="Bob", password="correct horse battery")


def test_where_there_is_an_admin_no_link_is_made(session: Session) -> None:
    make_user(session, Role.ADMIN, "Bob")
    assert ensure(session).admin_invite is None
    assert session.scalars(select(Invite)).all() == []


def test_two_first_starts_at_once_make_everything_once(committed: Engine, database_url: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        invites = list(pool.map(lambda _: prepare(database_url), range(2)))
    assert all(invites)
    with Session(committed) as session:
        for table, wanted in (("loops", 1), ("rounds", 1), ("batches", 1), ("checkpoints", 1), ("deployments", 2)):
            assert session.scalar(text(f"SELECT count(*) FROM {table}")) == wanted, table


def test_the_database_is_at_the_one_newest_migration(session: Session) -> None:
    assert len(heads()) == 1
    assert current(session) == heads()


@pytest.mark.slow
def test_migrations_agree_with_the_models(database_url: str) -> None:
    check(database_url)


@pytest.mark.slow
def test_a_table_that_no_migration_makes_is_drift(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy import Column, Integer, Table

    from app.site.tables import metadata

    forgotten = Table("forgotten", metadata, Column("id", Integer, primary_key=True))
    try:
        with pytest.raises(Drift, match="forgotten"):
            check(database_url)
    finally:
        metadata.remove(forgotten)


@pytest.mark.slow
def test_a_condition_that_no_migration_sets_is_drift(database_url: str) -> None:
    from sqlalchemy import CheckConstraint

    from app.comparisons.models import Comparison

    table = Comparison.metadata.tables["comparisons"]
    forgotten = CheckConstraint("annotators_wanted <> 13", name="unlucky")
    table.append_constraint(forgotten)
    try:
        with pytest.raises(Drift, match=r"only in the models: comparisons: ck_comparisons_unlucky CHECK"):
            check(database_url)
    finally:
        table.constraints.remove(forgotten)


def test_two_newest_migrations_are_a_mistake(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.upkeep.drift.heads", lambda: {"a1", "b2"})
    with pytest.raises(Drift, match=r"There are 2 newest migrations \(a1, b2\)"):
        check(database_url)
