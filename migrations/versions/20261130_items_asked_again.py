"""items that a reward model doubts: which one, so that staff can read what came of asking a second person

A nullable column is added without rewriting a row; its reference is checked for new rows at once and for old ones, which have
none, in a scan that blocks nobody. The index is built beside traffic.

Revision ID: 5c8f2e0d7a13
Revises: 4b7e1c9d2f60
"""

from __future__ import annotations

from alembic import op

revision = "5c8f2e0d7a13"
down_revision = "4b7e1c9d2f60"
branch_labels = None
depends_on = None

REFERENCE = "fk_comparisons_doubted_by_id_checkpoints"


def upgrade() -> None:
    """Apply; again from the start where it was stopped."""
    op.execute(f"""
ALTER TABLE comparisons ADD COLUMN IF NOT EXISTS doubted_by_id bigint,
    DROP CONSTRAINT IF EXISTS {REFERENCE},
    ADD CONSTRAINT {REFERENCE} FOREIGN KEY (doubted_by_id) REFERENCES checkpoints (id) NOT VALID
""")
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute(f"ALTER TABLE comparisons VALIDATE CONSTRAINT {REFERENCE}")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_comparisons_doubted")  # of a run that was stopped
        op.execute(
            "CREATE INDEX CONCURRENTLY ix_comparisons_doubted ON comparisons (id) WHERE doubted_by_id IS NOT NULL"
        )
        op.execute("SET statement_timeout = '60s'")


def downgrade() -> None:
    """Take back: which model doubted what is forgotten; that a second person is asked stays."""
    op.execute("ALTER TABLE comparisons DROP COLUMN IF EXISTS doubted_by_id")
