"""settings have one home: a loop no longer repeats what the installation is set to

Nothing read the three columns. The release before has no loops, so no process of it misses them. Taken back, they hold what
the migration that made them gave them, until the next start writes them.

Revision ID: 9c41e7d2a50b
Revises: 9a4c7e15d2b8
"""

from __future__ import annotations

from alembic import op

revision = "9c41e7d2a50b"
down_revision = "9a4c7e15d2b8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("ALTER TABLE loops DROP COLUMN recipe, DROP COLUMN held_out_percent, DROP COLUMN nightly_at")


def downgrade() -> None:
    """Take back."""
    op.execute(
        "ALTER TABLE loops ADD COLUMN recipe character varying NOT NULL DEFAULT 'laptop',"
        " ADD COLUMN held_out_percent integer NOT NULL DEFAULT 10"
        " CONSTRAINT ck_loops_held_out_percent_range CHECK (held_out_percent BETWEEN 0 AND 100),"
        " ADD COLUMN nightly_at character varying(5) NOT NULL DEFAULT '02:30'"
    )
    op.execute(
        "ALTER TABLE loops ALTER COLUMN recipe DROP DEFAULT, ALTER COLUMN held_out_percent DROP DEFAULT,"
        " ALTER COLUMN nightly_at DROP DEFAULT"
    )
