"""imported responses: what a file says of a response (its ratings, its rank, what somebody preferred)

A column without a default is added without rewriting a row.

Revision ID: 0d41c7e95b28
Revises: 61c0a7f4e2d9
"""

from __future__ import annotations

from alembic import op

revision = "0d41c7e95b28"
down_revision = "61c0a7f4e2d9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; again from the start where it was stopped."""
    op.execute("ALTER TABLE candidates ADD COLUMN IF NOT EXISTS metadata jsonb")


def downgrade() -> None:
    """Take back: what files said of imported responses is forgotten, the responses stay."""
    op.execute("ALTER TABLE candidates DROP COLUMN IF EXISTS metadata")
