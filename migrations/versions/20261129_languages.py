"""languages: what people read, what prompts are written in, and a queue of comparisons for each

Columns with a constant are added without rewriting a row, and the index is built beside traffic.

Revision ID: 8d2c5a7e914b
Revises: 9c41e7d2a50b
"""

from __future__ import annotations

from alembic import op

revision = "8d2c5a7e914b"
down_revision = "9c41e7d2a50b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; again from the start where it was stopped."""
    op.execute("ALTER TABLE users ADD COLUMN IF NOT EXISTS languages character varying(12)[] NOT NULL DEFAULT '{}'")
    op.execute("ALTER TABLE batches ADD COLUMN IF NOT EXISTS language character varying(12)")
    op.execute("ALTER TABLE prompts ADD COLUMN IF NOT EXISTS language character varying(12)")
    op.execute("ALTER TABLE comparisons ADD COLUMN IF NOT EXISTS language character varying(12) NOT NULL DEFAULT ''")
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_comparisons_language")  # of a run that was stopped
        op.execute("""
            CREATE INDEX CONCURRENTLY ix_comparisons_language ON comparisons (language, batch_id, position, id)
            WHERE seats_free > 0
        """)


def downgrade() -> None:
    """Take back: everybody is given everything again."""
    op.execute("ALTER TABLE comparisons DROP COLUMN language")
    op.execute("ALTER TABLE prompts DROP COLUMN language")
    op.execute("ALTER TABLE batches DROP COLUMN language")
    op.execute("ALTER TABLE users DROP COLUMN languages")
