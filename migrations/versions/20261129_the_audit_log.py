"""the audit log is a log: events name address, session, token and request, and only retention removes them

New columns without a default touch no row, and indexes are built beside traffic. A run that was interrupted can be started
again. A DELETE is refused but for events that are older than 30 days, within ``forget_audit_events``; and whatever deletes,
the table itself writes an event that says how many.

Revision ID: 6a1d84f0b27e
Revises: 7f2b9d41c6a8
"""

from __future__ import annotations

from alembic import op

revision = "6a1d84f0b27e"
down_revision = "7f2b9d41c6a8"
branch_labels = None
depends_on = None

COLUMNS = {
    "address": "character varying(64)",
    "login_session_id": "bigint",
    "token_id": "bigint",
    "request_id": "character varying(64)",
}
INDEXES = {
    "ix_audit_events_actor_id_id": "(actor_id, id)",
    "ix_audit_events_action_id": "(action, id)",
    "ix_audit_events_address_id": "(address, id)",
    "ix_audit_events_at": "(at)",
}
KEPT = """
CREATE OR REPLACE FUNCTION keep_audit_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('corral.forgetting', true) IS DISTINCT FROM pg_current_xact_id()::text
       OR OLD.at >= now() - interval '30 days' THEN
        RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', HINT = 'forget_audit_events() removes what is old.';
    END IF;
    RETURN OLD;
END $$;

CREATE OR REPLACE FUNCTION note_forgotten_audit_events() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO audit_events (action, subject_type, details)
    SELECT 'audit_log.forgotten', 'audit_log', jsonb_build_object(
               'events', count(*), 'from', min(at), 'until', max(at), 'first_id', min(id), 'last_id', max(id))
      FROM forgotten HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION forget_audit_events(before timestamp with time zone) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE removed bigint;
BEGIN
    IF before IS NULL OR before > now() - interval '30 days' THEN
        RAISE EXCEPTION 'audit events are kept for at least 30 days' USING ERRCODE = 'restrict_violation';
    END IF;
    PERFORM set_config('corral.forgetting', pg_current_xact_id()::text, true);
    DELETE FROM audit_events WHERE at < before;
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM set_config('corral.forgetting', '', true);
    RETURN removed;
END $$;

CREATE OR REPLACE TRIGGER audit_events_append_only BEFORE UPDATE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER audit_events_kept BEFORE DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION keep_audit_event();
CREATE OR REPLACE TRIGGER audit_events_forgotten AFTER DELETE ON audit_events
    REFERENCING OLD TABLE AS forgotten FOR EACH STATEMENT EXECUTE FUNCTION note_forgotten_audit_events();
"""
AS_BEFORE = """
DROP TRIGGER audit_events_forgotten ON audit_events;
DROP TRIGGER audit_events_kept ON audit_events;
CREATE OR REPLACE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
DROP FUNCTION forget_audit_events(timestamp with time zone);
DROP FUNCTION note_forgotten_audit_events();
DROP FUNCTION keep_audit_event();
"""


def upgrade() -> None:
    """Apply."""
    columns = ", ".join(f"ADD COLUMN IF NOT EXISTS {name} {kind}" for name, kind in COLUMNS.items())
    op.execute(f"ALTER TABLE audit_events {columns}")
    op.execute(KEPT)
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")  # a build may take as long as it likes: nobody waits for it
        for name, on in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # what an interrupted build leaves is not usable
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON audit_events {on}")
        op.execute("SET statement_timeout = '60s'")


def downgrade() -> None:
    """Take back."""
    op.execute(AS_BEFORE)
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
    op.execute(f"ALTER TABLE audit_events {', '.join(f'DROP COLUMN {name}' for name in COLUMNS)}")
