"""Fills a migrated database with comparisons that wait, by ``INSERT … SELECT generate_series``: a million in a minute."""

from __future__ import annotations

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.kernel.settings import ROOT

CANDIDATES = 4

BASE = """
INSERT INTO rounds (number, state) VALUES (1, 'collecting');
INSERT INTO checkpoints (name, kind, state, path) VALUES ('bench-base', 'base', 'ready', '/nowhere');
INSERT INTO deployments (checkpoint_id, label, sampling, load_state)
    SELECT id, 'focused', '{}', 'loaded' FROM checkpoints;
"""
BATCH = """
INSERT INTO batches (name, state, round_id, guidelines, candidates_per_prompt, annotators_per_prompt, edit_policy, max_tokens)
    SELECT %(name)s, 'open', id, 'Prefer what is *true*.', %(candidates)s, 1, 'optional', 256 FROM rounds RETURNING id
"""
PROMPTS = """
INSERT INTO prompts (batch_id, external_id, messages, content_hash, state)
    SELECT %(batch)s, i::text,
        jsonb_build_array(jsonb_build_object('role', 'user', 'content', 'Why is question ' || i || ' hard to answer?')),
        sha256((%(batch)s || ':' || i)::bytea), 'ready'
    FROM generate_series(1, %(rows)s) AS i
"""
COMPARISONS = """
INSERT INTO comparisons (batch_id, prompt_id, purpose, annotators_wanted, seats_free, position)
    SELECT batch_id, id, 'collect', 1, 1, floor(random() * 2147483647) FROM prompts WHERE batch_id = %(batch)s ORDER BY id
"""
TEXTS = """
INSERT INTO candidates (prompt_id, checkpoint_id, deployment_id, sample_index, text, finish_reason, prompt_tokens,
        completion_tokens, sampling, engine_version)
    SELECT prompts.id, deployments.checkpoint_id, deployments.id, i,
        'Answer ' || i || ' to ' || prompts.id || '. ' || repeat('It depends on what one means by hard. ', %(sentences)s),
        'stop', 12, 160, '{}', 'none'
    FROM prompts, deployments, generate_series(1, %(candidates)s) AS i WHERE prompts.batch_id = %(batch)s
"""
SHOWN = """
INSERT INTO comparison_candidates (comparison_id, candidate_id)
    SELECT comparisons.id, candidates.id FROM comparisons JOIN candidates USING (prompt_id)
    WHERE comparisons.batch_id = %(batch)s
"""


def annotators(session: Session, count: int) -> list[User]:
    """People who can only come in by a token."""
    people = [
        User(
            email=f"a{number}@example.org",
            name="Alice",
            role=Role.ANNOTATOR,
            pseudonym=f"a{number}",
            password_hash="-",  # noqa: S106 - no password fits it
        )
        for number in range(count)
    ]
    session.add_all(people)
    session.flush()
    return people


def migrate() -> None:
    """Bring the database of ``DATABASE_URL`` to the newest schema."""
    command.upgrade(Config(toml_file=ROOT / "pyproject.toml"), "head")


def fill(url: str, name: str, rows: int, candidates: int = CANDIDATES, sentences: int = 16) -> int:
    """Add an open batch with ``rows`` comparisons of ``candidates`` responses of ``sentences``; returns its id."""
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT 1 FROM rounds").fetchone() is None:
            connection.execute(BASE)
        found = connection.execute(BATCH, {"name": name, "candidates": max(2, candidates)}).fetchone()
        values = {"batch": found[0] if found else 0, "rows": rows, "candidates": candidates, "sentences": sentences}
        for statement in (PROMPTS, COMPARISONS, TEXTS, SHOWN):
            connection.execute(statement, values)
    with psycopg.connect(url, autocommit=True) as connection:
        # Only what was filled: autovacuum never looks at an empty table, and one that was looked at while it was empty is
        # planned as if it stayed so, until autovacuum comes by again.
        connection.execute("VACUUM ANALYZE prompts, comparisons, candidates, comparison_candidates")
        connection.execute("CHECKPOINT")  # or the pages of the filling are written while claims are measured
    return int(values["batch"])
