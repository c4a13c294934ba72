"""deleted sources: when the file of a withdrawn source was deleted

One column, empty in every row, and a rule for it. The table has a row for each file that somebody added, so the lock is short.

Revision ID: c6d8f0a2b4e1
Revises: 5c7e01d94a26
"""

from __future__ import annotations

from alembic import op

revision = "c6d8f0a2b4e1"
down_revision = "5c7e01d94a26"
branch_labels = None
depends_on = None

RULE = "ck_sources_deleted_once_withdrawn"


def upgrade() -> None:
    """Apply; again from the start where it was stopped."""
    op.execute(f"""
ALTER TABLE sources ADD COLUMN IF NOT EXISTS file_deleted_at timestamp with time zone,
    DROP CONSTRAINT IF EXISTS {RULE},
    ADD CONSTRAINT {RULE} CHECK (file_deleted_at IS NULL OR withdrawn_at IS NOT NULL)
""")


def downgrade() -> None:
    """Take back: files that were deleted stay gone, and `corral audit` names their sources as damaged."""
    op.execute(f"ALTER TABLE sources DROP CONSTRAINT IF EXISTS {RULE}")
    op.execute("ALTER TABLE sources DROP COLUMN IF EXISTS file_deleted_at")
