"""batches that grow: how often one was given more to do, and prompts that are withdrawn from one

Columns with a constant default, and constraints that allow what no row is yet: they are checked for new rows at once, and for
old ones in a scan that blocks nobody. A webhook's ledger gets an index by turn, built beside the work, in the place of the one
without.

Revision ID: 5d3c8a71e902
Revises: c95d20e7b418
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "5d3c8a71e902"
down_revision = "c95d20e7b418"
branch_labels = None
depends_on = None

Checks = dict[tuple[str, str], str]

EARLIER: Checks = {
    ("prompts", "state"): "state IN ('pending', 'generating', 'ready', 'unanimous', 'quarantined')",
    (
        "comparisons",
        "annotators_wanted_range",
    ): "annotators_wanted BETWEEN 1 AND 20 OR (purpose = 'gold' AND annotators_wanted > 0)",
}
CHECKS: Checks = {
    ("prompts", "state"): "state IN ('pending', 'generating', 'ready', 'unanimous', 'quarantined', 'withdrawn')",
    (
        "comparisons",
        "annotators_wanted_range",
    ): "annotators_wanted BETWEEN 0 AND 20 OR (purpose = 'gold' AND annotators_wanted > 0)",
}
WITHDRAWN = "SELECT EXISTS (SELECT 1 FROM prompts WHERE state = 'withdrawn')"
TOLD_TWICE = "SELECT EXISTS (SELECT 1 FROM webhook_deliveries WHERE turn > 0)"
BY_TURN, WITHOUT = "uq_webhook_deliveries_turn", "uq_webhook_deliveries_occasion"


def _replace(checks: Checks) -> None:
    for (table, name), said in checks.items():
        constraint = f"ck_{table}_{name}"
        op.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint}, "
            f"ADD CONSTRAINT {constraint} CHECK ({said}) NOT VALID"
        )
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        for table, name in checks:
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_{name}")
        op.execute("SET statement_timeout = '60s'")


def _index(new: str, columns: str, old: str) -> None:
    """Build ``new`` beside the work, then drop ``old``. What a build that was broken off has left is built again."""
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {new}")
        op.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {new} ON webhook_deliveries ({columns}) WHERE occasion <> 'test'")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {old}")
        op.execute("SET statement_timeout = '60s'")


def upgrade() -> None:
    """Apply. Every statement can be repeated."""
    op.execute("ALTER TABLE batches ADD COLUMN IF NOT EXISTS times_extended integer NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE webhook_deliveries ADD COLUMN IF NOT EXISTS turn integer NOT NULL DEFAULT 0")
    _replace(CHECKS)
    _index(BY_TURN, "webhook_id, occasion, subject_id, turn", WITHOUT)


def downgrade() -> None:
    """Take back, as long as no prompt is withdrawn and no webhook was told twice: the release before knows neither.

    Raises:
        RuntimeError: there are such rows.
    """
    connection = op.get_bind()
    if connection.execute(sa.text(WITHDRAWN)).scalar():
        raise RuntimeError("Prompts are withdrawn, and the release before knows no such state: restore them first.")
    if connection.execute(sa.text(TOLD_TWICE)).scalar():
        raise RuntimeError(
            "Webhooks were told twice of a batch, and the release before keeps one message a batch: restore a backup from "
            "before, or stay on this release."
        )
    _index(WITHOUT, "webhook_id, occasion, subject_id", BY_TURN)
    _replace(EARLIER)
    op.execute("ALTER TABLE webhook_deliveries DROP COLUMN IF EXISTS turn")
    op.execute("ALTER TABLE batches DROP COLUMN IF EXISTS times_extended")
