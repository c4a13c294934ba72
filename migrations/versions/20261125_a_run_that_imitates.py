"""a run that imitates: the kind sft, between reward model and policy

The table has one row a training, so its check is exchanged at once.

Revision ID: 8e41c90d57b2
Revises: 5d0c6b7f21ae
"""

from __future__ import annotations

from alembic import op

revision = "8e41c90d57b2"
down_revision = "5d0c6b7f21ae"
branch_labels = None
depends_on = None

EXCHANGE = (
    "ALTER TABLE training_runs DROP CONSTRAINT ck_training_runs_kind, "
    "ADD CONSTRAINT ck_training_runs_kind CHECK (kind IN ({kinds}))"
)


def upgrade() -> None:
    """Apply."""
    op.execute(EXCHANGE.format(kinds="'reward', 'sft', 'dpo'"))


def downgrade() -> None:
    """Take back. Runs of this kind stay as rows of the past, which the earlier check would refuse: so it is not looked at."""
    op.execute(EXCHANGE.format(kinds="'reward', 'dpo'") + " NOT VALID")
