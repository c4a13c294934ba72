"""learning from checks: the kind grpo, between the policy and the run that checks

Revision ID: c41d7e90b6a3
Revises: 7b1e4d90c35a
"""

from __future__ import annotations

from alembic import op

revision = "c41d7e90b6a3"
down_revision = "7b1e4d90c35a"
branch_labels = None
depends_on = None

EXCHANGE = (
    "ALTER TABLE training_runs DROP CONSTRAINT ck_training_runs_kind, "
    "ADD CONSTRAINT ck_training_runs_kind CHECK (kind IN ({kinds}))"
)


def upgrade() -> None:
    """Apply. The table has a few rows a day, so checking them takes no time."""
    op.execute(EXCHANGE.format(kinds="'reward', 'sft', 'dpo', 'grpo', 'check'"))


def downgrade() -> None:
    """Take back: what was trained stays a checkpoint, the runs go, and what waited for one waits for the policy before."""
    op.execute("""
        UPDATE training_runs r SET after_run_id = g.after_run_id
          FROM training_runs g WHERE g.id = r.after_run_id AND g.kind = 'grpo'
    """)
    op.execute("DELETE FROM run_inputs USING training_runs r WHERE run_id = r.id AND r.kind = 'grpo'")
    op.execute("DELETE FROM training_events USING training_runs r WHERE run_id = r.id AND r.kind = 'grpo'")
    op.execute("DELETE FROM training_runs WHERE kind = 'grpo'")
    op.execute(EXCHANGE.format(kinds="'reward', 'sft', 'dpo', 'check'"))
