"""choosing what people judge: how a batch chooses its pairs, what waits for a choice, and the features that it is made by

What exists goes on as it was: batches that are there draw at random, and ask nobody twice.

Revision ID: 5d2a8c40f917
Revises: 8d2c5a7e914b
"""

from __future__ import annotations

from alembic import op

revision = "5d2a8c40f917"
down_revision = "8d2c5a7e914b"
branch_labels = None
depends_on = None

CHECKS = {
    "ck_batches_selection": "selection IN ('random', 'bald', 'different_policies', 'best_worst')",
    "ck_batches_sampled_per_prompt_range": "sampled_per_prompt BETWEEN 2 AND 16",
    "ck_batches_overlap_percent_range": "overlap_percent BETWEEN 0 AND 100",
}
STATEMENTS = (
    """
ALTER TABLE batches
    ADD COLUMN selection character varying(32) NOT NULL DEFAULT 'random',
    ADD COLUMN sampled_per_prompt integer NOT NULL DEFAULT 8,
    ADD COLUMN overlap_percent integer NOT NULL DEFAULT 0
""",
    *(f"ALTER TABLE batches ADD CONSTRAINT {name} CHECK ({check}) NOT VALID" for name, check in CHECKS.items()),
    """
CREATE TABLE choices_awaited (
    prompt_id bigint NOT NULL,
    batch_id bigint NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT pk_choices_awaited PRIMARY KEY (prompt_id),
    CONSTRAINT fk_choices_awaited_prompt_id_prompts FOREIGN KEY (prompt_id) REFERENCES prompts (id),
    CONSTRAINT fk_choices_awaited_batch_id_batches FOREIGN KEY (batch_id) REFERENCES batches (id)
)
""",
    "CREATE INDEX ix_choices_awaited_batch_id ON choices_awaited (batch_id)",
    """
CREATE TABLE candidate_features (
    candidate_id bigint NOT NULL,
    checkpoint_id bigint NOT NULL,
    vector bytea NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT pk_candidate_features PRIMARY KEY (candidate_id, checkpoint_id),
    CONSTRAINT fk_candidate_features_candidate_id_candidates FOREIGN KEY (candidate_id) REFERENCES candidates (id),
    CONSTRAINT fk_candidate_features_checkpoint_id_checkpoints FOREIGN KEY (checkpoint_id) REFERENCES checkpoints (id)
)
""",
    "CREATE INDEX ix_candidate_features_checkpoint_id ON candidate_features (checkpoint_id)",
)


def upgrade() -> None:
    """Apply."""
    for statement in STATEMENTS:
        op.execute(statement)
    with op.get_context().autocommit_block():
        for name in CHECKS:  # reads every row, and blocks nobody meanwhile
            op.execute(f"ALTER TABLE batches VALIDATE CONSTRAINT {name}")


def downgrade() -> None:
    """Take back: what waited for a choice is sampled again, and the features can be computed again."""
    op.execute(
        "UPDATE prompts SET state = 'pending', attempts = 0, next_try_at = now() "
        "WHERE id IN (SELECT prompt_id FROM choices_awaited)"
    )
    for table in ("candidate_features", "choices_awaited"):
        op.execute(f"DROP TABLE {table}")
    op.execute("ALTER TABLE batches DROP COLUMN selection, DROP COLUMN sampled_per_prompt, DROP COLUMN overlap_percent")
