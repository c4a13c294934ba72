"""external models: checkpoints that somebody else serves, by endpoint, and whether their answers may be trained on

Revision ID: 9a4c7e15d2b8
Revises: 4b8e1f60d273
"""

from __future__ import annotations

from alembic import op

revision = "9a4c7e15d2b8"
down_revision = "4b8e1f60d273"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. The table has a few hundred rows at most, so checking them takes no time."""
    op.execute("""
        ALTER TABLE checkpoints
            DROP CONSTRAINT ck_checkpoints_kind,
            ADD CONSTRAINT ck_checkpoints_kind CHECK (kind IN ('base', 'reward', 'sft', 'policy', 'external')),
            DROP CONSTRAINT ck_checkpoints_manifest_known,
            ADD CONSTRAINT ck_checkpoints_manifest_known
                CHECK (kind IN ('base', 'external') OR manifest_sha256 IS NOT NULL)
    """)
    op.execute("""
        CREATE TABLE externals (
            checkpoint_id bigint NOT NULL,
            endpoint character varying(40) NOT NULL,
            model character varying(200) NOT NULL,
            may_train boolean NOT NULL,
            note character varying(500) NOT NULL DEFAULT '',
            CONSTRAINT pk_externals PRIMARY KEY (checkpoint_id),
            CONSTRAINT fk_externals_checkpoint_id_checkpoints FOREIGN KEY (checkpoint_id) REFERENCES checkpoints (id)
        )
    """)


def downgrade() -> None:
    """Take back. What external models wrote stays with their names: they become retired policies without files."""
    op.execute("DROP TABLE externals")
    op.execute("""
        UPDATE deployments SET ended_at = now()
        FROM checkpoints c WHERE c.id = checkpoint_id AND c.kind = 'external' AND ended_at IS NULL
    """)
    op.execute("""
        UPDATE checkpoints SET kind = 'policy', state = 'retired', manifest_sha256 = repeat('0', 64)
        WHERE kind = 'external'
    """)
    op.execute("""
        ALTER TABLE checkpoints
            DROP CONSTRAINT ck_checkpoints_kind,
            ADD CONSTRAINT ck_checkpoints_kind CHECK (kind IN ('base', 'reward', 'sft', 'policy')),
            DROP CONSTRAINT ck_checkpoints_manifest_known,
            ADD CONSTRAINT ck_checkpoints_manifest_known CHECK (kind = 'base' OR manifest_sha256 IS NOT NULL)
    """)
