"""the workbench, beside traffic: indexes are built and constraints looked at while people work

Nothing here takes a lock that a reader or a writer would wait for. A run that was interrupted can be started again.

Revision ID: 5d0c6b7f21ae
Revises: 1b1281d4dbb6
"""

from __future__ import annotations

from alembic import op

revision = "5d0c6b7f21ae"
down_revision = "1b1281d4dbb6"
branch_labels = None
depends_on = None

INDEXES = {
    "uq_comparisons_one_per_purpose": "UNIQUE ON comparisons (prompt_id, purpose) WHERE purpose <> 'verify_edit'",
    "ix_comparisons_gold": "ON comparisons (batch_id, id) WHERE purpose = 'gold'",
    "uq_comparisons_verifies_id": "UNIQUE ON comparisons (verifies_id)",
    "uq_prompts_content": "UNIQUE ON prompts (batch_id, content_hash) WHERE dialogue_id IS NULL",
    "ix_prompts_dialogue_id": "ON prompts (dialogue_id) WHERE dialogue_id IS NOT NULL",
    "uq_annotations_standing": (
        "UNIQUE ON annotations (assignment_id) WHERE superseded_by_id IS NULL AND withdrawn_at IS NULL"
    ),
}
VALIDATED = """
DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT conrelid::regclass AS belongs, conname FROM pg_constraint
                WHERE NOT convalidated AND connamespace = 'public'::regnamespace LOOP
        EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', one.belongs, one.conname);
    END LOOP;
END $$
"""


def _build(name: str, definition: str) -> None:
    unique, on = ("UNIQUE ", definition[7:]) if definition.startswith("UNIQUE ") else ("", definition)
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # what an interrupted build leaves is not usable
    op.execute(f"CREATE {unique}INDEX CONCURRENTLY {name} {on}")


def upgrade() -> None:
    """Apply."""
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")  # a build may take as long as it likes: nobody waits for it
        for name, definition in INDEXES.items():
            if name != "uq_comparisons_verifies_id":
                _build(name, definition)
        op.execute("ALTER TABLE comparisons DROP CONSTRAINT IF EXISTS uq_comparisons_verifies_id")
        _build("uq_comparisons_verifies_id", INDEXES["uq_comparisons_verifies_id"])
        op.execute(
            "ALTER TABLE comparisons ADD CONSTRAINT uq_comparisons_verifies_id UNIQUE USING INDEX uq_comparisons_verifies_id"
        )
        op.execute("ALTER TABLE comparisons DROP CONSTRAINT IF EXISTS uq_comparisons_prompt_id_purpose")
        op.execute("ALTER TABLE prompts DROP CONSTRAINT IF EXISTS uq_prompts_batch_id_content_hash")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS uq_annotations_current")
        op.execute(VALIDATED)
        op.execute("SET statement_timeout = '60s'")


def downgrade() -> None:
    """Take back."""
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        _build("uq_annotations_current", "UNIQUE ON annotations (assignment_id) WHERE superseded_by_id IS NULL")
        _build("uq_comparisons_prompt_id_purpose", "UNIQUE ON comparisons (prompt_id, purpose)")
        _build("uq_prompts_batch_id_content_hash", "UNIQUE ON prompts (batch_id, content_hash)")
        for table, name in (
            ("comparisons", "uq_comparisons_prompt_id_purpose"),
            ("prompts", "uq_prompts_batch_id_content_hash"),
        ):
            op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}")
        op.execute("ALTER TABLE comparisons DROP CONSTRAINT IF EXISTS uq_comparisons_verifies_id")
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute("SET statement_timeout = '60s'")
