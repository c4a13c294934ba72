"""retraction: annotations are taken out and brought back, what a person wrote is erased, and nothing else is changed

The triggers that keep annotations and candidates append-only let exactly this through: a retraction is set or taken from an
annotation, and in a transaction that says it is erasing, what people wrote becomes blank in a row that is retracted.

Revision ID: 4b8e2f6d1c90
Revises: 7c0f4d92ab15
"""

from __future__ import annotations

from alembic import op

revision = "4b8e2f6d1c90"
down_revision = "7c0f4d92ab15"
branch_labels = None
depends_on = None

STATES = "('building', 'ready', 'failed', 'erased')"
EARLIER_STATES = "('building', 'ready', 'failed')"
# a correction, or taking back, is by far the most frequent change, and is told apart without a call
MAY_END = """
    to_jsonb(OLD) - 'superseded_by_id' - 'withdrawn_at' IS DISTINCT FROM to_jsonb(NEW) - 'superseded_by_id' - 'withdrawn_at'
    OR OLD.superseded_by_id IS NOT NULL OR OLD.withdrawn_at IS NOT NULL
"""
FUNCTIONS = """
CREATE OR REPLACE FUNCTION is_erasing() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT current_setting('corral.erasing', true) IS NOT DISTINCT FROM pg_current_xact_id()::text
$$;

CREATE OR REPLACE FUNCTION keep_annotation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    written constant text[] := ARRAY['comment', 'edited_text', 'spans'];
BEGIN
    IF to_jsonb(OLD) - 'retraction_id' = to_jsonb(NEW) - 'retraction_id' THEN
        RETURN NEW;
    END IF;
    IF is_erasing() AND OLD.retraction_id IS NOT NULL AND to_jsonb(OLD) - written = to_jsonb(NEW) - written
       AND NEW.comment = '' AND coalesce(NEW.edited_text, '') = '' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE OR REPLACE FUNCTION keep_candidate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'UPDATE' AND is_erasing() THEN
        IF to_jsonb(OLD) - 'text' = to_jsonb(NEW) - 'text' AND NEW.text = '' THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
"""
TRIGGERS = f"""
CREATE OR REPLACE TRIGGER annotations_append_only BEFORE UPDATE ON annotations
    FOR EACH ROW WHEN ({MAY_END}) EXECUTE FUNCTION keep_annotation();
CREATE OR REPLACE TRIGGER candidates_append_only BEFORE UPDATE OR DELETE ON candidates
    FOR EACH ROW EXECUTE FUNCTION keep_candidate();
"""
AS_BEFORE = f"""
CREATE OR REPLACE TRIGGER annotations_append_only BEFORE UPDATE ON annotations
    FOR EACH ROW WHEN ({MAY_END}) EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER candidates_append_only BEFORE UPDATE OR DELETE ON candidates
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
DROP FUNCTION keep_annotation();
DROP FUNCTION keep_candidate();
DROP FUNCTION is_erasing();
"""


def upgrade() -> None:
    """Apply."""
    op.execute("""
ALTER TABLE retractions ADD COLUMN restored_at timestamp with time zone, ADD COLUMN restored_by_id bigint,
    ADD CONSTRAINT fk_retractions_restored_by_id_users FOREIGN KEY (restored_by_id) REFERENCES users (id),
    ADD CONSTRAINT ck_retractions_erased_stays CHECK (restored_at IS NULL OR NOT erased)
""")
    op.execute(f"""
ALTER TABLE snapshots DROP CONSTRAINT ck_snapshots_state, DROP CONSTRAINT ck_snapshots_ready_is_hashed,
    ADD CONSTRAINT ck_snapshots_state CHECK (state IN {STATES}),
    ADD CONSTRAINT ck_snapshots_ready_is_hashed CHECK ((state IN ('ready', 'erased')) = (sha256 IS NOT NULL))
""")
    op.execute(FUNCTIONS)
    op.execute(TRIGGERS)


def downgrade() -> None:
    """Take back. What is retracted stays so, as the release before leaves it out as well; an erased snapshot has failed."""
    op.execute(AS_BEFORE)
    op.execute("ALTER TABLE snapshots DROP CONSTRAINT ck_snapshots_state, DROP CONSTRAINT ck_snapshots_ready_is_hashed")
    op.execute("""
UPDATE snapshots SET state = 'failed', sha256 = NULL, error = 'It was erased with the texts of a person.' WHERE state = 'erased'
""")
    op.execute(f"""
ALTER TABLE snapshots ADD CONSTRAINT ck_snapshots_state CHECK (state IN {EARLIER_STATES}),
    ADD CONSTRAINT ck_snapshots_ready_is_hashed CHECK ((state = 'ready') = (sha256 IS NOT NULL))
""")
    op.execute("ALTER TABLE retractions DROP COLUMN restored_at, DROP COLUMN restored_by_id")
