"""The migration to batches that grow goes there, back and there again, and back no more once its rows say what is new."""

from __future__ import annotations

import pytest
from alembic import command
from sqlalchemy import text

from app.services.migrating import config
from tests.earlier import before

MIGRATION = "5d3c8a71e902"
BATCH = """
INSERT INTO batches (name, round_id, state, candidates_per_prompt, annotators_per_prompt, edit_policy, max_tokens)
SELECT 'Old', id, 'open', 2, 1, 'none', 64 FROM rounds
"""
PROMPT = """
INSERT INTO prompts (batch_id, state, external_id, messages, content_hash)
SELECT id, 'pending', 'one', '[{"role": "user", "content": "One?"}]', decode(repeat('00', 32), 'hex') FROM batches
"""
USER = """
INSERT INTO users (email, name, role, pseudonym, password_hash) VALUES ('bob@example.org', 'Bob', 'admin', 'bob', 'x')
"""
WEBHOOK = """
INSERT INTO webhooks (url, secret, occasions, created_by_id) SELECT 'https://example.org', 's', '["batch.done"]', id FROM users
"""
TOLD = "INSERT INTO webhook_deliveries (webhook_id, occasion, subject_id, data) SELECT id, 'batch.done', 1, '{}' FROM webhooks"


def test_the_migration_goes_there_and_back_and_says_when_it_cannot(server_url: str) -> None:
    with before(server_url, MIGRATION) as connection:

        def run(*statements: str) -> None:
            for each in statements:
                connection.execute(text(each))
            connection.commit()

        run("INSERT INTO rounds (number, state) VALUES (1, 'collecting')", BATCH, PROMPT, USER, WEBHOOK, TOLD)
        command.upgrade(config(connection), MIGRATION)
        command.downgrade(config(connection), "-1")
        command.upgrade(config(connection), MIGRATION)
        assert connection.execute(text("SELECT times_extended FROM batches")).scalar_one() == 0
        run("UPDATE prompts SET state = 'withdrawn'")
        with pytest.raises(RuntimeError, match="restore them first"):
            command.downgrade(config(connection), "-1")
        connection.rollback()
        again = TOLD.replace("data)", "data, turn)").replace("'{}'", "'{}', 1")
        run("UPDATE prompts SET state = 'pending'", again)
        with pytest.raises(RuntimeError, match="told twice"):
            command.downgrade(config(connection), "-1")
        connection.rollback()
