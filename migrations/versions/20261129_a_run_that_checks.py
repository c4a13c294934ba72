"""a run that checks: it measures what a round has trained, makes at most an average, and a run says whether a gate refused it

Revision ID: 3f6d90b1e2a8
Revises: 5d0c9b7e31f4
"""

from __future__ import annotations

from alembic import op

revision = "3f6d90b1e2a8"
down_revision = "5d0c9b7e31f4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. The table has a few rows a day, so checking them takes no time."""
    op.execute("""
        ALTER TABLE training_runs
            DROP CONSTRAINT ck_training_runs_kind,
            ADD CONSTRAINT ck_training_runs_kind CHECK (kind IN ('reward', 'sft', 'dpo', 'check')),
            DROP CONSTRAINT ck_training_runs_success_has_checkpoint,
            ADD CONSTRAINT ck_training_runs_success_has_checkpoint
                CHECK (kind = 'check' OR (state = 'succeeded') = (checkpoint_id IS NOT NULL)),
            ADD COLUMN refused boolean NOT NULL DEFAULT false
    """)


def downgrade() -> None:
    """Take back: what was measured stays in ``evaluations``, the runs that measured go."""
    op.execute("UPDATE rounds SET state = 'collecting' WHERE state = 'checking'")
    op.execute("DELETE FROM run_inputs USING training_runs r WHERE run_id = r.id AND r.kind = 'check'")
    op.execute("DELETE FROM training_events USING training_runs r WHERE run_id = r.id AND r.kind = 'check'")
    op.execute("DELETE FROM training_runs WHERE kind = 'check'")
    op.execute("""
        ALTER TABLE training_runs
            DROP CONSTRAINT ck_training_runs_kind,
            ADD CONSTRAINT ck_training_runs_kind CHECK (kind IN ('reward', 'sft', 'dpo')),
            DROP CONSTRAINT ck_training_runs_success_has_checkpoint,
            ADD CONSTRAINT ck_training_runs_success_has_checkpoint
                CHECK ((state = 'succeeded') = (checkpoint_id IS NOT NULL)),
            DROP COLUMN refused
    """)
