"""readers, tokens and the log: what is read keeps one from judging it, tokens and idle sessions end,
the audit log cannot be emptied

Tokens that were made before work for 90 more days; sessions count as used at this moment. The new columns have defaults that
need no rewrite of their tables.

Revision ID: 3c7e0a5d9b14
Revises: 8e41c90d57b2
"""

from __future__ import annotations

from alembic import op

revision = "3c7e0a5d9b14"
down_revision = "8e41c90d57b2"
branch_labels = None
depends_on = None

READ = """
CREATE TABLE judgements_read (
    prompt_id bigint NOT NULL,
    user_id bigint NOT NULL,
    read_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT pk_judgements_read PRIMARY KEY (prompt_id, user_id),
    CONSTRAINT fk_judgements_read_prompt_id_prompts FOREIGN KEY (prompt_id) REFERENCES prompts (id),
    CONSTRAINT fk_judgements_read_user_id_users FOREIGN KEY (user_id) REFERENCES users (id)
)
"""
KEPT = """
CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""


def upgrade() -> None:
    """Apply."""
    op.execute(READ)
    op.execute(KEPT)
    op.execute("ALTER TABLE login_sessions ADD COLUMN last_seen_at timestamp with time zone NOT NULL DEFAULT now()")
    op.execute(
        "ALTER TABLE api_tokens "
        "ADD COLUMN expires_at timestamp with time zone NOT NULL DEFAULT now() + interval '90 days', "
        "ADD COLUMN parent_id bigint CONSTRAINT fk_api_tokens_parent_id_api_tokens REFERENCES api_tokens (id)"
    )
    op.execute("ALTER TABLE api_tokens ALTER COLUMN expires_at DROP DEFAULT")
    op.execute("CREATE INDEX ix_api_tokens_parent_id ON api_tokens (parent_id) WHERE parent_id IS NOT NULL")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP TRIGGER audit_events_no_truncate ON audit_events")
    op.execute("ALTER TABLE api_tokens DROP COLUMN parent_id, DROP COLUMN expires_at")
    op.execute("ALTER TABLE login_sessions DROP COLUMN last_seen_at")
    op.execute("DROP TABLE judgements_read")
