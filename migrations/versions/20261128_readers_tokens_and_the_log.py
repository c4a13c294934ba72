"""readers, tokens and the log: what a reviewer has read keeps them from judging it

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


def upgrade() -> None:
    """Apply."""
    op.execute(READ)


def downgrade() -> None:
    """Take back."""
    op.execute("DROP TABLE judgements_read")
