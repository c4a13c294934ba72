"""prompts by content: whether a challenger was trained on what people are asked now is looked up at every count of a contest

Revision ID: 5d0c9b7e31f4
Revises: 4b8e2f6d1c90
"""

from __future__ import annotations

from alembic import op

revision = "5d0c9b7e31f4"
down_revision = "4b8e2f6d1c90"
branch_labels = None
depends_on = None

INDEX = "ix_prompts_content_hash"


def upgrade() -> None:
    """Apply."""
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")  # what an interrupted build leaves is not usable
        op.execute(f"CREATE INDEX CONCURRENTLY {INDEX} ON prompts (content_hash)")
        op.execute("SET statement_timeout = '60s'")


def downgrade() -> None:
    """Take back."""
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")
