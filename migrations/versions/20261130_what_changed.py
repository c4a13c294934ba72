"""what changed: in which transaction an annotation came, or began or ceased to count

Triggers note it, so that nothing that writes can forget to. A row says the transaction and not the time: what was visible to an
earlier export follows from its snapshot alone, however late a transaction commits. The table begins empty, for no export before
this gave out a place to go on from. The index is built beside traffic.

Revision ID: 0e64c1a9b7d3
Revises: 8d41f6a0b93c
"""

from __future__ import annotations

from alembic import op

revision = "0e64c1a9b7d3"
down_revision = "8d41f6a0b93c"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE IF NOT EXISTS annotation_changes (
    xid bigint NOT NULL,
    annotation_id bigint NOT NULL,
    created boolean NOT NULL,
    CONSTRAINT pk_annotation_changes PRIMARY KEY (xid, annotation_id)
)
"""
NOTE = """
    INSERT INTO annotation_changes (xid, annotation_id, created)
    SELECT pg_current_xact_id()::text::bigint, {ids} ON CONFLICT DO NOTHING;
    RETURN NULL;
"""
OF_COMPARISONS = "a.id, false FROM annotations a JOIN comparisons c ON c.id = a.comparison_id"
FUNCTIONS = {
    "note_annotation": "NEW.id, TG_OP = 'INSERT'",
    "note_review": "NEW.annotation_id, false",
    "note_comparison": f"{OF_COMPARISONS} WHERE c.id = NEW.id",
    "note_prompt": f"{OF_COMPARISONS} WHERE c.prompt_id = NEW.id",
    "note_batch": f"{OF_COMPARISONS} JOIN prompts p ON p.id = c.prompt_id WHERE p.batch_id = NEW.id",
}
TRIGGERS = (
    "annotations_noted AFTER INSERT ON annotations FOR EACH ROW EXECUTE FUNCTION note_annotation()",
    """annotations_changes_noted AFTER UPDATE OF superseded_by_id, withdrawn_at, retraction_id ON annotations FOR EACH ROW
    WHEN ((OLD.superseded_by_id, OLD.withdrawn_at, OLD.retraction_id)
          IS DISTINCT FROM (NEW.superseded_by_id, NEW.withdrawn_at, NEW.retraction_id)) EXECUTE FUNCTION note_annotation()""",
    "reviews_noted AFTER INSERT ON reviews FOR EACH ROW EXECUTE FUNCTION note_review()",
    # who may be given it sees its rows only then
    """comparisons_settled_noted AFTER UPDATE OF annotators_done, annotators_wanted ON comparisons FOR EACH ROW
    WHEN ((OLD.annotators_done >= OLD.annotators_wanted) <> (NEW.annotators_done >= NEW.annotators_wanted))
    EXECUTE FUNCTION note_comparison()""",
    """batches_closed_noted AFTER UPDATE OF state ON batches FOR EACH ROW
    WHEN ((OLD.state = 'closed') <> (NEW.state = 'closed')) EXECUTE FUNCTION note_batch()""",
    # an export may ask for a language or a capability
    """prompts_language_noted AFTER UPDATE OF language, language_detected, capability ON prompts FOR EACH ROW
    WHEN ((OLD.language, OLD.language_detected, OLD.capability)
          IS DISTINCT FROM (NEW.language, NEW.language_detected, NEW.capability)) EXECUTE FUNCTION note_prompt()""",
)


def upgrade() -> None:
    """Apply; again from the start where it was stopped."""
    op.execute(TABLE)
    for name, ids in FUNCTIONS.items():
        body = NOTE.format(ids=ids)
        op.execute(f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$")
    for trigger in TRIGGERS:
        op.execute(f"CREATE OR REPLACE TRIGGER {trigger}")
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_annotations_superseded_by_id")  # of a run that was stopped
        op.execute(
            "CREATE INDEX CONCURRENTLY ix_annotations_superseded_by_id ON annotations (superseded_by_id) "
            "WHERE superseded_by_id IS NOT NULL"
        )
        op.execute("SET statement_timeout = '60s'")


def downgrade() -> None:
    """Take back: who went on from an earlier export begins again."""
    for name in FUNCTIONS:
        op.execute(f"DROP FUNCTION IF EXISTS {name}() CASCADE")
    op.execute("DROP TABLE IF EXISTS annotation_changes")
    op.execute("DROP INDEX IF EXISTS ix_annotations_superseded_by_id")
