"""An installation of the release before comes to its one loop, and back, with all that it had."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from app.loops.models import FIRST_LOOP
from app.loops.service import FIRST_NAME
from app.registry import service as registry
from app.services.migrating import config
from tests.earlier import before

MIGRATION = "2e9d6b31f7c4"
ROUNDS = """
INSERT INTO rounds (number, state, completed_at) VALUES (1, 'complete', now()), (2, 'complete', now()), (3, 'training', NULL)
"""
CHECKPOINTS = """
INSERT INTO checkpoints (name, kind, state, path, manifest_sha256) VALUES
    ('old-base', 'base', 'retired', '/b0', NULL), ('base', 'base', 'ready', '/b1', NULL),
    ('reward-r2', 'reward', 'ready', '/r2', 'r2'), ('policy-r0', 'policy', 'broken', '/p0', 'p0'),
    ('policy-r1', 'policy', 'ready', '/p1', 'p1'), ('policy-r2', 'policy', 'ready', '/p2', 'p2'),
    ('policy-r3', 'policy', 'ready', '/p3', 'p3')
"""
DEPLOYED = """
INSERT INTO deployments (checkpoint_id, label, sampling, load_state, ended_at, replaces)
SELECT id, :label, '{}', :state, CASE WHEN :over THEN now() END, CAST(:replaces AS bigint[]) FROM checkpoints WHERE name = :name
"""
APPOINTED = """
SELECT a.role, c.name FROM appointments a JOIN checkpoints c ON c.id = a.checkpoint_id WHERE a.loop_id = 1 ORDER BY a.role
"""


@pytest.fixture
def earlier(server_url: str) -> Iterator[Connection]:
    with before(server_url, MIGRATION) as connection:
        connection.execute(text(ROUNDS))
        connection.execute(text(CHECKPOINTS))
        connection.commit()
        yield connection


def deploy(connection: Connection, *rotation: tuple[str, str]) -> None:
    """``(name, state)``, oldest first; ``over`` is a loaded one that has left, ``coming`` one that is to replace others."""
    connection.execute(text("DELETE FROM deployments"))
    for number, (name, state) in enumerate(rotation):
        row = {
            "name": name,
            "label": str(number),
            "state": {"over": "loaded", "coming": "pending"}.get(state, state),
            "over": state == "over",
            "replaces": "{1}" if state == "coming" else "{}",
        }
        connection.execute(text(DEPLOYED), row)
    connection.commit()


def appointed(connection: Connection) -> dict[str, str]:
    found = {str(row.role): str(row.name) for row in connection.execute(text(APPOINTED))}
    connection.commit()
    return found


def test_every_round_is_of_the_one_loop(earlier: Connection) -> None:
    command.upgrade(config(earlier), MIGRATION)
    assert earlier.execute(text("SELECT id, name FROM loops")).all() == [(FIRST_LOOP, FIRST_NAME)]
    assert earlier.execute(text("SELECT number, state, loop_id FROM rounds ORDER BY number")).all() == [
        (1, "complete", FIRST_LOOP),
        (2, "complete", FIRST_LOOP),
        (3, "training", FIRST_LOOP),
    ]


def test_a_process_of_the_release_before_still_opens_rounds(earlier: Connection) -> None:
    command.upgrade(config(earlier), MIGRATION)
    earlier.execute(text("UPDATE rounds SET state = 'complete'"))
    earlier.execute(text("INSERT INTO rounds (number, state) VALUES (4, 'collecting')"))
    assert earlier.scalar(text("SELECT loop_id FROM rounds WHERE number = 4")) == FIRST_LOOP


def test_a_second_loop_gets_another_number(earlier: Connection) -> None:
    command.upgrade(config(earlier), MIGRATION)
    added = (
        "INSERT INTO loops (name, recipe, held_out_percent, nightly_at) VALUES ('Code', 'laptop', 10, '') RETURNING id"
    )
    assert earlier.scalar(text(added)) == FIRST_LOOP + 1


ROTATIONS = {
    "nothing yet": ([], {}),
    "the base alone": ([("base", "loaded"), ("base", "loaded")], {"champion": "base"}),
    "the base, before the engine is there": ([("base", "pending"), ("base", "pending")], {"champion": "base"}),
    "the first policy": (
        [("base", "over"), ("base", "loaded"), ("policy-r1", "loaded")],
        {"champion": "policy-r1", "previous": "base"},
    ),
    "two policies": (
        [("base", "over"), ("policy-r0", "over"), ("policy-r1", "loaded"), ("policy-r2", "loaded")],
        {"champion": "policy-r2", "previous": "policy-r1"},
    ),
    "the base as an anchor, deployed last": (
        [("policy-r1", "loaded"), ("policy-r2", "loaded"), ("base", "loaded")],
        {"champion": "policy-r2", "previous": "policy-r1"},
    ),
    "one that has yet to load": (
        [("policy-r1", "loaded"), ("policy-r2", "loaded"), ("policy-r3", "coming")],
        {"champion": "policy-r2", "previous": "policy-r1"},
    ),
    "an engine that is away": (
        [("policy-r1", "pending"), ("policy-r2", "pending"), ("policy-r3", "coming")],
        {"champion": "policy-r2", "previous": "policy-r1"},
    ),
    "one in rotation that is broken": (
        [("policy-r0", "loaded"), ("policy-r1", "loaded")],
        {"champion": "policy-r1"},
    ),
}


def test_who_serves_is_appointed_and_the_next_change_finds_the_same(earlier: Connection) -> None:
    for name, (rotation, wanted) in ROTATIONS.items():
        deploy(earlier, *rotation)
        command.upgrade(config(earlier), MIGRATION)
        assert appointed(earlier) == {"base": "base", **wanted}, name
        command.upgrade(config(earlier), "head")  # where the models of today are at home
        with Session(earlier) as session:
            registry.ensure_rotation(session)
            session.commit()
        assert appointed(earlier) == {"base": "base", "champion": "base", **wanted}, f"{name}: who is appointed stays"
        command.downgrade(config(earlier), f"{MIGRATION}-1")


def test_the_migration_goes_back_and_there_again(earlier: Connection) -> None:
    command.upgrade(config(earlier), MIGRATION)
    command.downgrade(config(earlier), "-1")
    tables = "SELECT count(*) FROM pg_tables WHERE tablename IN ('loops', 'appointments')"
    assert earlier.scalar(text(tables)) == 0
    assert earlier.scalar(text("SELECT count(*) FROM rounds")) == 3
    earlier.commit()
    command.upgrade(config(earlier), MIGRATION)
    assert earlier.scalar(text("SELECT count(*) FROM rounds WHERE loop_id = 1")) == 3
