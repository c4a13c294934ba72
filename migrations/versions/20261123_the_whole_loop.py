"""the whole loop

Revision ID: ad3d496a9c7b
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "ad3d496a9c7b"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER candidates_append_only BEFORE UPDATE OR DELETE ON candidates
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER annotations_no_delete BEFORE DELETE ON annotations
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
-- a correction may only point the old row at the new one
CREATE TRIGGER annotations_append_only BEFORE UPDATE ON annotations
    FOR EACH ROW WHEN (to_jsonb(OLD) - 'superseded_by_id' IS DISTINCT FROM to_jsonb(NEW) - 'superseded_by_id'
                       OR OLD.superseded_by_id IS NOT NULL)
    EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "base", "reward", "sft", "policy", name="kind", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum("ready", "broken", "retired", name="state", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=True),
        sa.Column("weights_mark", sa.String(length=64), nullable=True),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("broken_reason", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind = 'base' OR manifest_sha256 IS NOT NULL", name=op.f("ck_checkpoints_manifest_known")),
        sa.ForeignKeyConstraint(["parent_id"], ["checkpoints.id"], name=op.f("fk_checkpoints_parent_id_checkpoints")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
        sa.UniqueConstraint("name", name=op.f("uq_checkpoints_name")),
    )
    op.create_index(
        "uq_checkpoints_base",
        "checkpoints",
        ["kind"],
        unique=True,
        postgresql_where=sa.text("kind = 'base' AND state = 'ready'"),
    )
    op.create_table(
        "engine_status",
        sa.Column("url", sa.String(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("starting", "ready", "away", name="state", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("version", sa.String(), nullable=True),
        sa.Column("models", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_engine_status")),
    )
    op.create_table(
        "login_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("email_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_attempts")),
    )
    op.create_index(op.f("ix_login_attempts_address_at"), "login_attempts", ["address", "at"], unique=False)
    op.create_index(op.f("ix_login_attempts_email_hash_at"), "login_attempts", ["email_hash", "at"], unique=False)
    op.create_table(
        "rounds",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "collecting", "training", "complete", name="state", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rounds")),
        sa.UniqueConstraint("number", name=op.f("uq_rounds_number")),
    )
    op.create_index(
        "uq_rounds_current",
        "rounds",
        [sa.literal_column("(true)")],
        unique=True,
        postgresql_where=sa.text("state <> 'complete'"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column(
            "role",
            sa.Enum(
                "admin", "reviewer", "annotator", name="role", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("pseudonym", sa.String(length=40), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column(
            "preferences", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_users_email_lower")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.UniqueConstraint("pseudonym", name=op.f("uq_users_pseudonym")),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("scopes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_api_tokens_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_tokens_token_hash")),
    )
    op.create_index(op.f("ix_api_tokens_user_id"), "api_tokens", ["user_id"], unique=False)
    op.create_table(
        "audit_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("subject_type", sa.String(length=40), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(["actor_id"], ["users.id"], name=op.f("fk_audit_events_actor_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index(
        op.f("ix_audit_events_subject_type_subject_id"), "audit_events", ["subject_type", "subject_id"], unique=False
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "preparing",
                "open",
                "paused",
                "closed",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("round_id", sa.BigInteger(), nullable=False),
        sa.Column("capability", sa.String(length=60), nullable=True),
        sa.Column("guidelines", sa.String(), server_default="", nullable=False),
        sa.Column("candidates_per_prompt", sa.Integer(), nullable=False),
        sa.Column("annotators_per_prompt", sa.Integer(), nullable=False),
        sa.Column(
            "edit_policy",
            sa.Enum(
                "none", "optional", "required", name="edit_policy", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("max_tokens", sa.Integer(), nullable=False),
        sa.Column("sampling", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_by_id", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "annotators_per_prompt BETWEEN 1 AND 20", name=op.f("ck_batches_annotators_per_prompt_range")
        ),
        sa.CheckConstraint(
            "candidates_per_prompt BETWEEN 2 AND 8", name=op.f("ck_batches_candidates_per_prompt_range")
        ),
        sa.CheckConstraint("max_tokens BETWEEN 1 AND 32768", name=op.f("ck_batches_max_tokens_range")),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_batches_created_by_id_users")),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_batches_round_id_rounds")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("name", name=op.f("uq_batches_name")),
    )
    op.create_index(op.f("ix_batches_round_id"), "batches", ["round_id"], unique=False)
    op.create_table(
        "deployments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("checkpoint_id", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.String(length=40), nullable=False),
        sa.Column("sampling", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("share", sa.Double(), server_default="1", nullable=False),
        sa.Column(
            "load_state",
            sa.Enum(
                "pending", "loaded", "failed", name="load_state", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("load_error", sa.String(), nullable=True),
        sa.Column("replaces", postgresql.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("share > 0", name=op.f("ck_deployments_share_positive")),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name=op.f("fk_deployments_checkpoint_id_checkpoints")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments")),
    )
    op.create_index(
        "uq_deployments_in_rotation",
        "deployments",
        ["checkpoint_id", "label"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", postgresql.JSON(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_idempotency_keys_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency_keys")),
        sa.UniqueConstraint("user_id", "key", name=op.f("uq_idempotency_keys_user_id_key")),
    )
    op.create_table(
        "invites",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "role",
            sa.Enum(
                "admin", "reviewer", "annotator", name="role", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("created_by_id", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_by_id", sa.BigInteger(), nullable=True),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_invites_created_by_id_users")),
        sa.ForeignKeyConstraint(["used_by_id"], ["users.id"], name=op.f("fk_invites_used_by_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invites")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invites_token_hash")),
    )
    op.create_table(
        "login_sessions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("user_agent", sa.String(length=300), server_default="", nullable=False),
        sa.Column("device_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_login_sessions_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_login_sessions_token_hash")),
    )
    op.create_index(op.f("ix_login_sessions_user_id"), "login_sessions", ["user_id"], unique=False)
    op.create_table(
        "snapshots",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column(
            "state",
            sa.Enum("building", "ready", "failed", name="state", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("filter", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=True),
        sa.Column("train_rows", sa.Integer(), nullable=True),
        sa.Column("held_out_rows", sa.Integer(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("path", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("created_by_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(state = 'ready') = (sha256 IS NOT NULL)", name=op.f("ck_snapshots_ready_is_hashed")),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_snapshots_created_by_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
        sa.UniqueConstraint("name", name=op.f("uq_snapshots_name")),
    )
    op.create_table(
        "prompts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("messages", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("tools", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("content_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("capability", sa.String(length=60), nullable=True),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("tests", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "generating",
                "ready",
                "quarantined",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("next_try_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fencing_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(state = 'generating') = (lease_until IS NOT NULL)", name=op.f("ck_prompts_lease_while_generating")
        ),
        sa.CheckConstraint(
            "jsonb_typeof(messages) = 'array' AND jsonb_array_length(messages) > 0",
            name=op.f("ck_prompts_messages_array"),
        ),
        sa.CheckConstraint("messages -> -1 ->> 'role' = 'user'", name=op.f("ck_prompts_ends_at_user_turn")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_prompts_batch_id_batches")),
        sa.ForeignKeyConstraint(["parent_id"], ["prompts.id"], name=op.f("fk_prompts_parent_id_prompts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompts")),
        sa.UniqueConstraint("batch_id", "content_hash", name=op.f("uq_prompts_batch_id_content_hash")),
        sa.UniqueConstraint("batch_id", "external_id", name=op.f("uq_prompts_batch_id_external_id")),
    )
    op.create_index("ix_prompts_batch_state", "prompts", ["batch_id", "state"], unique=False)
    op.create_index(
        "ix_prompts_leased", "prompts", ["lease_until"], unique=False, postgresql_where=sa.text("state = 'generating'")
    )
    op.create_index(
        "ix_prompts_waiting",
        "prompts",
        ["batch_id", "next_try_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "training_runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("round_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("reward", "dpo", name="kind", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "queued",
                "running",
                "succeeded",
                "failed",
                "cancelled",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("snapshot_id", sa.BigInteger(), nullable=False),
        sa.Column("after_run_id", sa.BigInteger(), nullable=True),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("step", sa.Integer(), server_default="0", nullable=False),
        sa.Column("total_steps", sa.Integer(), nullable=True),
        sa.Column("baseline", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fencing_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("remedy", sa.String(), nullable=True),
        sa.Column("log_tail", sa.String(), server_default="", nullable=False),
        sa.Column("checkpoint_id", sa.BigInteger(), nullable=True),
        sa.Column("created_by_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'succeeded') = (checkpoint_id IS NOT NULL)", name=op.f("ck_training_runs_success_has_checkpoint")
        ),
        sa.CheckConstraint("state <> 'failed' OR error IS NOT NULL", name=op.f("ck_training_runs_failure_has_reason")),
        sa.ForeignKeyConstraint(
            ["after_run_id"], ["training_runs.id"], name=op.f("fk_training_runs_after_run_id_training_runs")
        ),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name=op.f("fk_training_runs_checkpoint_id_checkpoints")
        ),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_training_runs_created_by_id_users")),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_training_runs_round_id_rounds")),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"], name=op.f("fk_training_runs_snapshot_id_snapshots")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_runs")),
        sa.UniqueConstraint("checkpoint_id", name=op.f("uq_training_runs_checkpoint_id")),
    )
    op.create_index(
        "ix_training_runs_live",
        "training_runs",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_index(op.f("ix_training_runs_round_id"), "training_runs", ["round_id"], unique=False)
    op.create_table(
        "uploads",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("uploaded_by_id", sa.BigInteger(), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_uploads_batch_id_batches")),
        sa.ForeignKeyConstraint(["uploaded_by_id"], ["users.id"], name=op.f("fk_uploads_uploaded_by_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        sa.UniqueConstraint("batch_id", name=op.f("uq_uploads_batch_id")),
    )
    op.create_table(
        "candidates",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("prompt_id", sa.BigInteger(), nullable=False),
        sa.Column("checkpoint_id", sa.BigInteger(), nullable=False),
        sa.Column("deployment_id", sa.BigInteger(), nullable=False),
        sa.Column("sample_index", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("finish_reason", sa.String(length=20), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("sampling", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("engine_version", sa.String(length=80), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("prompt_tokens >= 0 AND completion_tokens >= 0", name=op.f("ck_candidates_token_counts")),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name=op.f("fk_candidates_checkpoint_id_checkpoints")
        ),
        sa.ForeignKeyConstraint(
            ["deployment_id"], ["deployments.id"], name=op.f("fk_candidates_deployment_id_deployments")
        ),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompts.id"], name=op.f("fk_candidates_prompt_id_prompts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candidates")),
        sa.UniqueConstraint(
            "prompt_id",
            "checkpoint_id",
            "sample_index",
            name=op.f("uq_candidates_prompt_id_checkpoint_id_sample_index"),
        ),
    )
    op.create_index(op.f("ix_candidates_checkpoint_id"), "candidates", ["checkpoint_id"], unique=False)
    op.create_table(
        "comparisons",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("prompt_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "purpose",
            sa.Enum("collect", name="purpose", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("annotators_wanted", sa.Integer(), nullable=False),
        sa.Column("annotators_done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("seats_free", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "annotators_done BETWEEN 0 AND annotators_wanted", name=op.f("ck_comparisons_never_over_annotated")
        ),
        sa.CheckConstraint("annotators_wanted BETWEEN 1 AND 20", name=op.f("ck_comparisons_annotators_wanted_range")),
        sa.CheckConstraint(
            "seats_free BETWEEN 0 AND annotators_wanted - annotators_done", name=op.f("ck_comparisons_seats_free_range")
        ),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_comparisons_batch_id_batches")),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompts.id"], name=op.f("fk_comparisons_prompt_id_prompts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comparisons")),
        sa.UniqueConstraint("prompt_id", "purpose", name=op.f("uq_comparisons_prompt_id_purpose")),
    )
    op.create_index(
        "ix_comparisons_claim",
        "comparisons",
        ["batch_id", "id"],
        unique=False,
        postgresql_where=sa.text("seats_free > 0"),
    )
    op.create_table(
        "training_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(length=30), nullable=False),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("values", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["training_runs.id"], name=op.f("fk_training_events_run_id_training_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_events")),
        sa.UniqueConstraint("run_id", "seq", name=op.f("uq_training_events_run_id_seq")),
    )
    op.create_table(
        "assignments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("comparison_id", sa.BigInteger(), nullable=False),
        sa.Column("annotator_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "active",
                "released",
                "skipped",
                "submitted",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fencing_token", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("order_shown", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("draft", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("draft_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("skip_reason", sa.String(length=500), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(state = 'skipped') = (skip_reason IS NOT NULL)", name=op.f("ck_assignments_skip_has_reason")
        ),
        sa.ForeignKeyConstraint(["annotator_id"], ["users.id"], name=op.f("fk_assignments_annotator_id_users")),
        sa.ForeignKeyConstraint(
            ["comparison_id"], ["comparisons.id"], name=op.f("fk_assignments_comparison_id_comparisons")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignments")),
        sa.UniqueConstraint("comparison_id", "annotator_id", name=op.f("uq_assignments_comparison_id_annotator_id")),
    )
    op.create_index(op.f("ix_assignments_annotator_id_state"), "assignments", ["annotator_id", "state"], unique=False)
    op.create_index(
        "ix_assignments_expiry",
        "assignments",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_index(
        "ix_assignments_held",
        "assignments",
        ["annotator_id"],
        unique=False,
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_table(
        "comparison_candidates",
        sa.Column("comparison_id", sa.BigInteger(), nullable=False),
        sa.Column("candidate_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidates.id"], name=op.f("fk_comparison_candidates_candidate_id_candidates")
        ),
        sa.ForeignKeyConstraint(
            ["comparison_id"], ["comparisons.id"], name=op.f("fk_comparison_candidates_comparison_id_comparisons")
        ),
        sa.PrimaryKeyConstraint("comparison_id", "candidate_id", name=op.f("pk_comparison_candidates")),
    )
    op.create_table(
        "annotations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("assignment_id", sa.BigInteger(), nullable=False),
        sa.Column("comparison_id", sa.BigInteger(), nullable=False),
        sa.Column("annotator_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "outcome",
            sa.Enum(
                "ranked",
                "tie",
                "all_unacceptable",
                name="outcome",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("ranking", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("strengths", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("edited_candidate_id", sa.BigInteger(), nullable=True),
        sa.Column("edited_text", sa.String(), nullable=True),
        sa.Column(
            "edit_source",
            sa.Enum("direct", name="edit_source", native_enum=False, create_constraint=True, length=32),
            nullable=True,
        ),
        sa.Column("comment", sa.String(), server_default="", nullable=False),
        sa.Column("order_shown", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("active_seconds", sa.Double(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=200), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("superseded_by_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(outcome = 'ranked') = (coalesce(array_length(strengths, 1), 0) > 0)",
            name=op.f("ck_annotations_ranked_has_strengths"),
        ),
        sa.CheckConstraint(
            "edited_text IS NULL OR outcome = 'ranked'", name=op.f("ck_annotations_edit_of_a_chosen_response")
        ),
        sa.CheckConstraint(
            "outcome <> 'ranked' OR jsonb_array_length(ranking) = array_length(strengths, 1) + 1",
            name=op.f("ck_annotations_strength_between_neighbours"),
        ),
        sa.CheckConstraint(
            "(edited_text IS NULL) = (edit_source IS NULL)", name=op.f("ck_annotations_edit_has_source")
        ),
        sa.CheckConstraint(
            "(edited_text IS NULL) = (edited_candidate_id IS NULL)",
            name=op.f("ck_annotations_edit_names_its_candidate"),
        ),
        sa.CheckConstraint(
            "active_seconds IS NULL OR active_seconds >= 0", name=op.f("ck_annotations_active_seconds_positive")
        ),
        sa.CheckConstraint("strengths <@ ARRAY[1, 2, 3, 4]", name=op.f("ck_annotations_strength_levels")),
        sa.ForeignKeyConstraint(["annotator_id"], ["users.id"], name=op.f("fk_annotations_annotator_id_users")),
        sa.ForeignKeyConstraint(
            ["assignment_id"], ["assignments.id"], name=op.f("fk_annotations_assignment_id_assignments")
        ),
        sa.ForeignKeyConstraint(
            ["comparison_id"], ["comparisons.id"], name=op.f("fk_annotations_comparison_id_comparisons")
        ),
        sa.ForeignKeyConstraint(
            ["edited_candidate_id"], ["candidates.id"], name=op.f("fk_annotations_edited_candidate_id_candidates")
        ),
        sa.ForeignKeyConstraint(
            ["superseded_by_id"],
            ["annotations.id"],
            name=op.f("fk_annotations_superseded_by_id_annotations"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotations")),
        sa.UniqueConstraint(
            "annotator_id", "idempotency_key", name=op.f("uq_annotations_annotator_id_idempotency_key")
        ),
    )
    op.create_index(
        op.f("ix_annotations_annotator_id_created_at"), "annotations", ["annotator_id", "created_at"], unique=False
    )
    op.create_index(op.f("ix_annotations_comparison_id"), "annotations", ["comparison_id"], unique=False)
    op.create_index(
        "uq_annotations_current",
        "annotations",
        ["assignment_id"],
        unique=True,
        postgresql_where=sa.text("superseded_by_id IS NULL"),
    )
    op.create_table(
        "snapshot_annotations",
        sa.Column("snapshot_id", sa.BigInteger(), nullable=False),
        sa.Column("annotation_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotation_id"], ["annotations.id"], name=op.f("fk_snapshot_annotations_annotation_id_annotations")
        ),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshots.id"], name=op.f("fk_snapshot_annotations_snapshot_id_snapshots")
        ),
        sa.PrimaryKeyConstraint("snapshot_id", "annotation_id", name=op.f("pk_snapshot_annotations")),
    )
    op.create_index(
        op.f("ix_snapshot_annotations_annotation_id"), "snapshot_annotations", ["annotation_id"], unique=False
    )
    op.execute(APPEND_ONLY)


def downgrade() -> None:
    """Take back."""
    op.drop_index(op.f("ix_snapshot_annotations_annotation_id"), table_name="snapshot_annotations")
    op.drop_table("snapshot_annotations")
    op.drop_index(
        "uq_annotations_current", table_name="annotations", postgresql_where=sa.text("superseded_by_id IS NULL")
    )
    op.drop_index(op.f("ix_annotations_comparison_id"), table_name="annotations")
    op.drop_index(op.f("ix_annotations_annotator_id_created_at"), table_name="annotations")
    op.drop_table("annotations")
    op.drop_table("comparison_candidates")
    op.drop_index("ix_assignments_held", table_name="assignments", postgresql_where=sa.text("state = 'active'"))
    op.drop_index("ix_assignments_expiry", table_name="assignments", postgresql_where=sa.text("state = 'active'"))
    op.drop_index(op.f("ix_assignments_annotator_id_state"), table_name="assignments")
    op.drop_table("assignments")
    op.drop_table("training_events")
    op.drop_index("ix_comparisons_claim", table_name="comparisons", postgresql_where=sa.text("seats_free > 0"))
    op.drop_table("comparisons")
    op.drop_index(op.f("ix_candidates_checkpoint_id"), table_name="candidates")
    op.drop_table("candidates")
    op.drop_table("uploads")
    op.drop_index(op.f("ix_training_runs_round_id"), table_name="training_runs")
    op.drop_index(
        "ix_training_runs_live", table_name="training_runs", postgresql_where=sa.text("state IN ('queued', 'running')")
    )
    op.drop_table("training_runs")
    op.drop_index("ix_prompts_waiting", table_name="prompts", postgresql_where=sa.text("state = 'pending'"))
    op.drop_index("ix_prompts_leased", table_name="prompts", postgresql_where=sa.text("state = 'generating'"))
    op.drop_index("ix_prompts_batch_state", table_name="prompts")
    op.drop_table("prompts")
    op.drop_table("snapshots")
    op.drop_index(op.f("ix_login_sessions_user_id"), table_name="login_sessions")
    op.drop_table("login_sessions")
    op.drop_table("invites")
    op.drop_table("idempotency_keys")
    op.drop_index("uq_deployments_in_rotation", table_name="deployments", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_table("deployments")
    op.drop_index(op.f("ix_batches_round_id"), table_name="batches")
    op.drop_table("batches")
    op.drop_index(op.f("ix_audit_events_subject_type_subject_id"), table_name="audit_events")
    op.drop_table("audit_events")
    op.drop_index(op.f("ix_api_tokens_user_id"), table_name="api_tokens")
    op.drop_table("api_tokens")
    op.drop_table("users")
    op.drop_index("uq_rounds_current", table_name="rounds", postgresql_where=sa.text("state <> 'complete'"))
    op.drop_table("rounds")
    op.drop_index(op.f("ix_login_attempts_email_hash_at"), table_name="login_attempts")
    op.drop_index(op.f("ix_login_attempts_address_at"), table_name="login_attempts")
    op.drop_table("login_attempts")
    op.drop_table("engine_status")
    op.drop_index(
        "uq_checkpoints_base", table_name="checkpoints", postgresql_where=sa.text("kind = 'base' AND state = 'ready'")
    )
    op.drop_table("checkpoints")
    op.execute("DROP FUNCTION refuse_change()")
