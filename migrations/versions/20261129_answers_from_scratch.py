"""answers from scratch: a batch may ask people to write, and what they write is an annotation that prefers nothing

One column with a constant default, and constraints that allow what no row is yet: they are checked for new rows at once, and
for old ones in a scan that blocks nobody.

Revision ID: 4e7b1f92c6a0
Revises: c41d7e90b6a3
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4e7b1f92c6a0"
down_revision = "c41d7e90b6a3"
branch_labels = None
depends_on = None

Checks = dict[str, dict[str, str]]

EARLIER: Checks = {
    "comparisons": {"purpose": "purpose IN ('collect', 'gold', 'verify_edit')"},
    "annotations": {
        "outcome": "outcome IN ('ranked', 'tie', 'all_unacceptable')",
        "edit_names_its_candidate": "(edited_text IS NULL) = (edited_candidate_id IS NULL)",
        "edit_of_a_chosen_response": "edited_text IS NULL OR outcome = 'ranked'",
    },
    "gold_answers": {"outcome": "outcome IN ('ranked', 'tie', 'all_unacceptable')"},
}
CHECKS: Checks = {
    "comparisons": {"purpose": "purpose IN ('collect', 'gold', 'verify_edit', 'write')"},
    "annotations": {
        "outcome": "outcome IN ('ranked', 'tie', 'all_unacceptable', 'written')",
        "edit_names_its_candidate": "(edited_text IS NULL OR outcome = 'written') = (edited_candidate_id IS NULL)",
        "edit_of_a_chosen_response": "edited_text IS NULL OR outcome IN ('ranked', 'written')",
        "written_where_nothing_is_shown": (
            "outcome <> 'written' OR (edited_text IS NOT NULL AND ranking = '[]' AND cardinality(order_shown) = 0)"
        ),
    },
    "gold_answers": {
        "outcome": "outcome IN ('ranked', 'tie', 'all_unacceptable', 'written')",
        "compares": "outcome <> 'written'",
    },
}
NEW_KINDS = "SELECT EXISTS (SELECT 1 FROM comparisons WHERE purpose = 'write')"


def _replace(old: Checks, new: Checks) -> None:
    for table in old:
        changes = [f"DROP CONSTRAINT IF EXISTS ck_{table}_{name}" for name in {**old[table], **new[table]}]
        changes += [f"ADD CONSTRAINT ck_{table}_{name} CHECK ({said}) NOT VALID" for name, said in new[table].items()]
        op.execute(f"ALTER TABLE {table} {', '.join(changes)}")
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        for table, checks in new.items():
            for name in checks:
                op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_{name}")
        op.execute("SET statement_timeout = '60s'")


def upgrade() -> None:
    """Apply. Every statement can be repeated: one that gives up in a scan leaves the others done."""
    op.execute("""
ALTER TABLE batches ADD COLUMN IF NOT EXISTS task character varying(32) NOT NULL DEFAULT 'compare',
    DROP CONSTRAINT IF EXISTS ck_batches_task,
    ADD CONSTRAINT ck_batches_task CHECK (task IN ('compare', 'write'))
""")
    _replace(EARLIER, CHECKS)


def downgrade() -> None:
    """Take back, as long as nobody has been asked to write: the release before has no place for what they wrote.

    Raises:
        RuntimeError: there are such items.
    """
    if op.get_bind().execute(sa.text(NEW_KINDS)).scalar():
        raise RuntimeError(
            "There are batches in which people write the answers, and the release before knows no such annotations: restore a "
            "backup from before them, or stay on this release."
        )
    op.execute("ALTER TABLE batches DROP COLUMN IF EXISTS task")
    _replace(CHECKS, EARLIER)
