"""when an item was skipped: an annotator's undo goes back through submissions and skips in the order of time

A nullable column is added without rewriting a row, and its index is built beside traffic. Skips of before have no time: they come
back from the list of skipped items, not by undo.

Revision ID: 7a1d5e83c640
Revises: 0e64c1a9b7d3
"""

from __future__ import annotations

from alembic import op

revision = "7a1d5e83c640"
down_revision = "0e64c1a9b7d3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; again from the start where it was stopped."""
    op.execute("ALTER TABLE assignments ADD COLUMN IF NOT EXISTS skipped_at timestamp with time zone")
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_assignments_skipped")  # of a run that was stopped
        op.execute(
            "CREATE INDEX CONCURRENTLY ix_assignments_skipped ON assignments (annotator_id, skipped_at) "
            "WHERE state = 'skipped'"
        )
        op.execute("SET statement_timeout = '60s'")


def downgrade() -> None:
    """Take back: when items were skipped is forgotten; that they were, and why, stays."""
    op.execute("ALTER TABLE assignments DROP COLUMN IF EXISTS skipped_at")
