"""what a key stands for: the fingerprint of what was asked for under the key of a live text

A new column without a default touches no row. Keys of texts that were asked for before it stand for nothing that is known:
used again, they are refused.

Revision ID: c3a7f05b9e14
Revises: 3c7e0a5d9b14
"""

from __future__ import annotations

from alembic import op

revision = "c3a7f05b9e14"
down_revision = "3c7e0a5d9b14"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("ALTER TABLE live_generations ADD COLUMN request_hash BYTEA")


def downgrade() -> None:
    """Take back."""
    op.execute("ALTER TABLE live_generations DROP COLUMN request_hash")
