"""the tour: who has finished it, and which batches begin with it

Columns that are NULL or have a constant default, added without rewriting a row.

Revision ID: 8b2e6f94d751
Revises: 7a1d5e83c640
"""

from __future__ import annotations

from alembic import op

revision = "8b2e6f94d751"
down_revision = "7a1d5e83c640"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; again from the start where it was stopped."""
    op.execute("ALTER TABLE users ADD COLUMN IF NOT EXISTS toured_at timestamp with time zone")
    op.execute("ALTER TABLE batches ADD COLUMN IF NOT EXISTS requires_tour boolean NOT NULL DEFAULT false")


def downgrade() -> None:
    """Take back: who has finished the tour is forgotten."""
    op.execute("ALTER TABLE batches DROP COLUMN IF EXISTS requires_tour")
    op.execute("ALTER TABLE users DROP COLUMN IF EXISTS toured_at")
