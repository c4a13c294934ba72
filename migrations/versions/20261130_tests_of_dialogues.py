"""tests of dialogues: what must hold of every answer in a dialogue from this beginning

A column that may be null is added without rewriting a row.

Revision ID: 5b7e0c94d2a1
Revises: 4e1b7f92c6a3
"""

from __future__ import annotations

from alembic import op

revision = "5b7e0c94d2a1"
down_revision = "4e1b7f92c6a3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; again from the start where it was stopped."""
    op.execute("ALTER TABLE dialogue_seeds ADD COLUMN IF NOT EXISTS tests jsonb")


def downgrade() -> None:
    """Take back: turns keep what they were given."""
    op.execute("ALTER TABLE dialogue_seeds DROP COLUMN tests")
