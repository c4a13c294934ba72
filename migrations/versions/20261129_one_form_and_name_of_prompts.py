"""one form and name of prompts: what was stored before messages had one form is written in it, and is known by its content

The table is new and the prompts are changed one by one, each in a moment; a run that was interrupted can be started again.
What they were is kept, and written back on the way down. The rule is that of today's imports on purpose: an installation that
skips releases gets the form that its imports will have.

Revision ID: 7f2b9d41c6a8
Revises: c3a7f05b9e14
"""

from __future__ import annotations

from alembic import op

from app.prompts.upkeep import bring_into_form

revision = "7f2b9d41c6a8"
down_revision = "c3a7f05b9e14"
branch_labels = None
depends_on = None

KEPT = """
CREATE TABLE IF NOT EXISTS earlier_prompts (
    prompt_id bigint NOT NULL,
    messages jsonb,
    content_hash bytea NOT NULL,
    canonical_hash bytea NOT NULL,
    CONSTRAINT pk_earlier_prompts PRIMARY KEY (prompt_id),
    CONSTRAINT fk_earlier_prompts_prompt_id_prompts FOREIGN KEY (prompt_id) REFERENCES prompts (id) ON DELETE CASCADE
)
"""
BACK = """
UPDATE prompts SET messages = coalesce(earlier_prompts.messages, prompts.messages), content_hash = earlier_prompts.content_hash
  FROM earlier_prompts WHERE earlier_prompts.prompt_id = prompts.id
"""


def upgrade() -> None:
    """Apply."""
    with op.get_context().autocommit_block():
        op.execute(KEPT)
        op.execute("CREATE INDEX IF NOT EXISTS ix_earlier_prompts_canonical_hash ON earlier_prompts (canonical_hash)")
        op.execute("SET statement_timeout = 0")  # of many prompts few have calls or names; nobody waits for the search
        bring_into_form(op.get_bind())
        op.execute("SET statement_timeout = '60s'")


def downgrade() -> None:
    """Take back."""
    op.execute(BACK)
    op.execute("DROP TABLE earlier_prompts")
