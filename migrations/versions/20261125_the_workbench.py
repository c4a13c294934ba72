"""the workbench: dialogues, live generation, gold, reviews, and what a judgement can say beyond a ranking

New constraints on tables that may be large are added without looking at their rows; the next revision looks, beside traffic.

Revision ID: 1b1281d4dbb6
Revises: ad3d496a9c7b
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "1b1281d4dbb6"
down_revision = "ad3d496a9c7b"
branch_labels = None
depends_on = None

CHECKS = {
    "comparisons": {
        "annotators_wanted_range": "annotators_wanted BETWEEN 1 AND 20 OR (purpose = 'gold' AND annotators_wanted > 0)",
        "purpose": "purpose IN ('collect', 'gold', 'verify_edit')",
        "verifies_an_edit": "(purpose = 'verify_edit') = (verifies_id IS NOT NULL)",
    },
    "annotations": {
        "edit_source": "edit_source IN ('direct', 'revision', 'adjusted')",
        "improved_or_nothing_to_improve": "edited_text IS NULL OR NOT nothing_to_improve",
        "revision_is_named": "(edit_source IN ('revision', 'adjusted')) IS NOT TRUE OR revision_id IS NOT NULL",
    },
    "batches": {
        "verify_percent_range": "verify_percent BETWEEN 0 AND 100",
        "gold_percent_range": "gold_percent BETWEEN 0 AND 50",
        "qualification_items_range": "qualification_items BETWEEN 0 AND 20",
        "qualification_percent_range": "qualification_percent BETWEEN 0 AND 100",
        "max_turns_range": "max_turns BETWEEN 1 AND 50",
    },
}
BEFORE = {
    "comparisons": {
        "annotators_wanted_range": "annotators_wanted BETWEEN 1 AND 20",
        "purpose": "purpose IN ('collect')",
    },
    "annotations": {"edit_source": "edit_source IN ('direct')"},
}
APPEND_ONLY = """
CREATE OR REPLACE TRIGGER annotations_append_only BEFORE UPDATE ON annotations
    FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse_change()
"""
# once, a correction may point the old row at the new one, or its annotator may take it back
MAY_END = """
    to_jsonb(OLD) - 'superseded_by_id' - 'withdrawn_at' IS DISTINCT FROM to_jsonb(NEW) - 'superseded_by_id' - 'withdrawn_at'
    OR OLD.superseded_by_id IS NOT NULL OR OLD.withdrawn_at IS NOT NULL
"""
MAY_BE_SUPERSEDED = """
    to_jsonb(OLD) - 'superseded_by_id' IS DISTINCT FROM to_jsonb(NEW) - 'superseded_by_id'
    OR OLD.superseded_by_id IS NOT NULL
"""
NEW_KINDS = """
    SELECT EXISTS (SELECT 1 FROM comparisons WHERE purpose <> 'collect')
        OR EXISTS (SELECT 1 FROM annotations WHERE edit_source <> 'direct' OR withdrawn_at IS NOT NULL)
        OR EXISTS (SELECT 1 FROM prompts WHERE dialogue_id IS NOT NULL)
"""


def _replace_checks(checks: dict[str, dict[str, str]]) -> None:
    for table, conditions in checks.items():
        for name, condition in conditions.items():
            op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS ck_{table}_{name}")
            op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{name} CHECK ({condition}) NOT VALID")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "dialogue_seeds",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("system", sa.String(), nullable=True),
        sa.Column("opening", sa.String(), nullable=True),
        sa.Column("dialogues_wanted", sa.Integer(), nullable=False),
        sa.Column("seats_free", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "dialogues_wanted BETWEEN 1 AND 1000", name=op.f("ck_dialogue_seeds_dialogues_wanted_range")
        ),
        sa.CheckConstraint(
            "seats_free BETWEEN 0 AND dialogues_wanted", name=op.f("ck_dialogue_seeds_seats_free_range")
        ),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_dialogue_seeds_batch_id_batches")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dialogue_seeds")),
    )
    op.create_index(op.f("ix_dialogue_seeds_batch_id"), "dialogue_seeds", ["batch_id"], unique=False)
    op.create_index(
        "ix_dialogue_seeds_claim",
        "dialogue_seeds",
        ["batch_id", "id"],
        unique=False,
        postgresql_where=sa.text("seats_free > 0"),
    )
    op.create_table(
        "guideline_readings",
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_guideline_readings_batch_id_batches")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_guideline_readings_user_id_users")),
        sa.PrimaryKeyConstraint("batch_id", "user_id", name=op.f("pk_guideline_readings")),
    )
    op.create_table(
        "guideline_versions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("guidelines", sa.String(), nullable=False),
        sa.Column(
            "strength_examples", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("written_by_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_guideline_versions_batch_id_batches")),
        sa.ForeignKeyConstraint(
            ["written_by_id"], ["users.id"], name=op.f("fk_guideline_versions_written_by_id_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guideline_versions")),
        sa.UniqueConstraint("batch_id", "version", name=op.f("uq_guideline_versions_batch_id_version")),
    )
    op.create_table(
        "qualifications",
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("answered", sa.Integer(), nullable=False),
        sa.Column("correct", sa.Integer(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("after_annotation_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_qualifications_batch_id_batches")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_qualifications_user_id_users")),
        sa.PrimaryKeyConstraint("batch_id", "user_id", name=op.f("pk_qualifications")),
    )
    op.create_table(
        "dialogues",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("seed_id", sa.BigInteger(), nullable=False),
        sa.Column("annotator_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("open", "finished", name="state", native_enum=False, create_constraint=True, length=32),
            server_default="open",
            nullable=False,
        ),
        sa.Column(
            "system_kept",
            sa.Enum("yes", "partly", "no", name="system_kept", native_enum=False, create_constraint=True, length=32),
            nullable=True,
        ),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'finished') = (finished_at IS NOT NULL)", name=op.f("ck_dialogues_finished_when")),
        sa.ForeignKeyConstraint(["annotator_id"], ["users.id"], name=op.f("fk_dialogues_annotator_id_users")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_dialogues_batch_id_batches")),
        sa.ForeignKeyConstraint(["seed_id"], ["dialogue_seeds.id"], name=op.f("fk_dialogues_seed_id_dialogue_seeds")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dialogues")),
        sa.UniqueConstraint("seed_id", "annotator_id", name=op.f("uq_dialogues_seed_id_annotator_id")),
    )
    op.create_index(op.f("ix_dialogues_annotator_id_id"), "dialogues", ["annotator_id", "id"], unique=False)
    op.create_index(op.f("ix_dialogues_batch_id"), "dialogues", ["batch_id"], unique=False)
    op.create_index(
        "ix_dialogues_open",
        "dialogues",
        ["annotator_id", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "live_generations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("prompt_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("reply", "revision", name="kind", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("slot", sa.Integer(), server_default="0", nullable=False),
        sa.Column("request_key", sa.String(length=200), nullable=False),
        sa.Column("deployment_id", sa.BigInteger(), nullable=False),
        sa.Column("messages", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("max_tokens", sa.Integer(), nullable=False),
        sa.Column("sampling", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "queued",
                "streaming",
                "done",
                "stopped",
                "failed",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="queued",
            nullable=False,
        ),
        sa.Column("text", sa.String(), server_default="", nullable=False),
        sa.Column("finish_reason", sa.String(length=20), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("completion_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("engine_version", sa.String(length=80), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fencing_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("stop_asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'streaming') = (lease_until IS NOT NULL)", name=op.f("ck_live_generations_lease_while_streaming")
        ),
        sa.CheckConstraint("max_tokens BETWEEN 1 AND 32768", name=op.f("ck_live_generations_max_tokens_range")),
        sa.ForeignKeyConstraint(
            ["deployment_id"], ["deployments.id"], name=op.f("fk_live_generations_deployment_id_deployments")
        ),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompts.id"], name=op.f("fk_live_generations_prompt_id_prompts")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_live_generations_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_live_generations")),
        sa.UniqueConstraint("user_id", "request_key", name=op.f("uq_live_generations_user_id_request_key")),
    )
    op.create_index(
        "ix_live_generations_open",
        "live_generations",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'streaming')"),
    )
    op.create_index(op.f("ix_live_generations_prompt_id"), "live_generations", ["prompt_id"], unique=False)
    op.create_index(
        op.f("ix_live_generations_user_id_created_at"), "live_generations", ["user_id", "created_at"], unique=False
    )
    op.create_table(
        "revisions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("assignment_id", sa.BigInteger(), nullable=False),
        sa.Column("candidate_id", sa.BigInteger(), nullable=False),
        sa.Column("feedback", sa.String(), nullable=False),
        sa.Column("source_text", sa.String(), nullable=False),
        sa.Column("generation_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["assignment_id"], ["assignments.id"], name=op.f("fk_revisions_assignment_id_assignments")
        ),
        sa.ForeignKeyConstraint(["candidate_id"], ["candidates.id"], name=op.f("fk_revisions_candidate_id_candidates")),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["live_generations.id"], name=op.f("fk_revisions_generation_id_live_generations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revisions")),
        sa.UniqueConstraint("generation_id", name=op.f("uq_revisions_generation_id")),
    )
    op.create_index(op.f("ix_revisions_assignment_id"), "revisions", ["assignment_id"], unique=False)
    op.create_table(
        "gold_answers",
        sa.Column("comparison_id", sa.BigInteger(), nullable=False),
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
        sa.Column("best_candidate_id", sa.BigInteger(), nullable=True),
        sa.Column("explanation", sa.String(), nullable=False),
        sa.Column("from_annotation_id", sa.BigInteger(), nullable=True),
        sa.Column("written_by_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(outcome = 'ranked') = (best_candidate_id IS NOT NULL)", name=op.f("ck_gold_answers_ranked_names_the_best")
        ),
        sa.ForeignKeyConstraint(
            ["best_candidate_id"], ["candidates.id"], name=op.f("fk_gold_answers_best_candidate_id_candidates")
        ),
        sa.ForeignKeyConstraint(
            ["comparison_id"], ["comparisons.id"], name=op.f("fk_gold_answers_comparison_id_comparisons")
        ),
        sa.ForeignKeyConstraint(
            ["from_annotation_id"], ["annotations.id"], name=op.f("fk_gold_answers_from_annotation_id_annotations")
        ),
        sa.ForeignKeyConstraint(["written_by_id"], ["users.id"], name=op.f("fk_gold_answers_written_by_id_users")),
        sa.PrimaryKeyConstraint("comparison_id", name=op.f("pk_gold_answers")),
    )
    op.create_table(
        "reviews",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("annotation_id", sa.BigInteger(), nullable=False),
        sa.Column("reviewer_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "verdict",
            sa.Enum("accepted", "returned", name="verdict", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("verdict <> 'returned' OR note <> ''", name=op.f("ck_reviews_returned_says_why")),
        sa.ForeignKeyConstraint(
            ["annotation_id"], ["annotations.id"], name=op.f("fk_reviews_annotation_id_annotations")
        ),
        sa.ForeignKeyConstraint(["reviewer_id"], ["users.id"], name=op.f("fk_reviews_reviewer_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
    )
    op.create_index(op.f("ix_reviews_annotation_id"), "reviews", ["annotation_id"], unique=False)
    op.create_index(
        "ix_reviews_returned",
        "reviews",
        ["annotation_id"],
        unique=False,
        postgresql_where=sa.text("verdict = 'returned'"),
    )
    op.add_column("annotations", sa.Column("revision_id", sa.BigInteger(), nullable=True))
    op.add_column(
        "annotations", sa.Column("nothing_to_improve", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column(
        "annotations",
        sa.Column(
            "attributes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
    )
    op.add_column(
        "annotations",
        sa.Column("flags", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    )
    op.add_column(
        "annotations",
        sa.Column("spans", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
    )
    op.add_column("annotations", sa.Column("guidelines_version", sa.Integer(), server_default="1", nullable=False))
    op.add_column("annotations", sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True))
    op.create_foreign_key(
        op.f("fk_annotations_revision_id_revisions"),
        "annotations",
        "revisions",
        ["revision_id"],
        ["id"],
        postgresql_not_valid=True,
    )
    op.add_column(
        "batches",
        sa.Column(
            "kind",
            sa.Enum("prompts", "dialogue", name="kind", native_enum=False, create_constraint=True, length=32),
            server_default="prompts",
            nullable=False,
        ),
    )
    op.add_column("batches", sa.Column("guidelines_version", sa.Integer(), server_default="1", nullable=False))
    op.add_column(
        "batches",
        sa.Column(
            "strength_examples", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
    )
    op.add_column(
        "batches",
        sa.Column(
            "attributes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
    )
    op.add_column("batches", sa.Column("verify_percent", sa.Integer(), server_default="0", nullable=False))
    op.add_column("batches", sa.Column("gold_percent", sa.Integer(), server_default="0", nullable=False))
    op.add_column("batches", sa.Column("qualification_items", sa.Integer(), server_default="0", nullable=False))
    op.add_column("batches", sa.Column("qualification_percent", sa.Integer(), server_default="75", nullable=False))
    op.add_column("batches", sa.Column("max_turns", sa.Integer(), server_default="8", nullable=False))
    op.add_column("candidates", sa.Column("edited_from_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_candidates_edited_from_id_candidates"),
        "candidates",
        "candidates",
        ["edited_from_id"],
        ["id"],
        postgresql_not_valid=True,
    )
    op.add_column("comparisons", sa.Column("not_for_id", sa.BigInteger(), nullable=True))
    op.add_column("comparisons", sa.Column("verifies_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_comparisons_verifies_id_annotations"),
        "comparisons",
        "annotations",
        ["verifies_id"],
        ["id"],
        postgresql_not_valid=True,
    )
    op.create_foreign_key(
        op.f("fk_comparisons_not_for_id_users"),
        "comparisons",
        "users",
        ["not_for_id"],
        ["id"],
        postgresql_not_valid=True,
    )
    op.add_column("prompts", sa.Column("dialogue_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_prompts_dialogue_id_dialogues"),
        "prompts",
        "dialogues",
        ["dialogue_id"],
        ["id"],
        postgresql_not_valid=True,
    )
    op.execute("INSERT INTO guideline_versions (batch_id, version, guidelines) SELECT id, 1, guidelines FROM batches")
    _replace_checks(CHECKS)
    op.execute(APPEND_ONLY.format(condition=MAY_END))


def downgrade() -> None:
    """Take back. What only the workbench could record has no place in the older tables, so it is not thrown away silently."""
    if op.get_bind().scalar(sa.text(NEW_KINDS)):
        raise RuntimeError(
            "There are dialogues, gold items, verified or withdrawn edits that the older version cannot hold: restore the "
            "backup from before the upgrade instead."
        )
    op.execute(APPEND_ONLY.format(condition=MAY_BE_SUPERSEDED))
    for table, conditions in CHECKS.items():
        for name in conditions:
            op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{name}")
    _replace_checks(BEFORE)
    op.drop_constraint(op.f("fk_prompts_dialogue_id_dialogues"), "prompts", type_="foreignkey")
    op.drop_column("prompts", "dialogue_id")
    op.drop_constraint(op.f("fk_comparisons_not_for_id_users"), "comparisons", type_="foreignkey")
    op.drop_constraint(op.f("fk_comparisons_verifies_id_annotations"), "comparisons", type_="foreignkey")
    op.drop_column("comparisons", "verifies_id")
    op.drop_column("comparisons", "not_for_id")
    op.drop_constraint(op.f("fk_candidates_edited_from_id_candidates"), "candidates", type_="foreignkey")
    op.drop_column("candidates", "edited_from_id")
    op.drop_column("batches", "max_turns")
    op.drop_column("batches", "qualification_percent")
    op.drop_column("batches", "qualification_items")
    op.drop_column("batches", "gold_percent")
    op.drop_column("batches", "verify_percent")
    op.drop_column("batches", "attributes")
    op.drop_column("batches", "strength_examples")
    op.drop_column("batches", "guidelines_version")
    op.drop_column("batches", "kind")
    op.drop_constraint(op.f("fk_annotations_revision_id_revisions"), "annotations", type_="foreignkey")
    op.drop_column("annotations", "withdrawn_at")
    op.drop_column("annotations", "guidelines_version")
    op.drop_column("annotations", "spans")
    op.drop_column("annotations", "flags")
    op.drop_column("annotations", "attributes")
    op.drop_column("annotations", "nothing_to_improve")
    op.drop_column("annotations", "revision_id")
    op.drop_table("reviews")
    op.drop_table("gold_answers")
    op.drop_table("revisions")
    op.drop_table("live_generations")
    op.drop_table("dialogues")
    op.drop_table("qualifications")
    op.drop_table("guideline_versions")
    op.drop_table("guideline_readings")
    op.drop_table("dialogue_seeds")
