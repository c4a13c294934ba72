"""mailed invites: when a mail with the link is due, was sent, or why it was not

Columns that are NULL or have a constant default, added without rewriting a row.

Revision ID: c95d20e7b418
Revises: 8b2e6f94d751
"""

from __future__ import annotations

from alembic import op

revision = "c95d20e7b418"
down_revision = "8b2e6f94d751"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; again from the start where it was stopped."""
    op.execute("ALTER TABLE invites ADD COLUMN IF NOT EXISTS mail_due_at timestamp with time zone")
    op.execute("ALTER TABLE invites ADD COLUMN IF NOT EXISTS mail_tries integer NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE invites ADD COLUMN IF NOT EXISTS mailed_at timestamp with time zone")
    op.execute("ALTER TABLE invites ADD COLUMN IF NOT EXISTS mail_error character varying(300)")
    op.execute(
        "CREATE INDEX IF NOT EXISTS ix_invites_mail_due_at ON invites (mail_due_at) WHERE mail_due_at IS NOT NULL"
    )


def downgrade() -> None:
    """Take back: what was mailed is forgotten; the links go on working."""
    op.execute("DROP INDEX IF EXISTS ix_invites_mail_due_at")
    for column in ("mail_error", "mailed_at", "mail_tries", "mail_due_at"):
        op.execute(f"ALTER TABLE invites DROP COLUMN IF EXISTS {column}")
