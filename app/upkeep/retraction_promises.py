"""What must hold of retractions, beside what constraints and triggers keep."""

from __future__ import annotations

from app.upkeep.check import Check

CHECKS = (
    Check(
        "retraction",
        "took out {annotations} annotations, and {found} point at it",
        "Restore it and retract again; then find out which code changed one without the other.",
        """
        SELECT r.id, r.annotations, count(a.id) AS found
          FROM retractions r LEFT JOIN annotations a ON a.retraction_id = r.id
         GROUP BY r.id HAVING count(a.id) <> CASE WHEN r.restored_at IS NULL THEN r.annotations ELSE 0 END
        """,
    ),
    Check(
        "snapshot",
        "was asked for after {found} of its annotations had been retracted",
        "Do not train on it, freeze a new one, and report how this happened.",
        """
        SELECT s.id, count(*) AS found
          FROM retractions r JOIN annotations a ON a.retraction_id = r.id
          JOIN snapshot_annotations sa ON sa.annotation_id = a.id JOIN snapshots s ON s.id = sa.snapshot_id
         WHERE s.created_at > r.created_at GROUP BY s.id
        """,
    ),
    Check(
        "snapshot",
        "holds {found} annotations of an erased person, and can still be read",
        "Check that the control worker and beat are running (`corral doctor`): the sweeper removes it.",
        """
        SELECT s.id, count(*) AS found
          FROM retractions r JOIN annotations a ON a.retraction_id = r.id
          JOIN snapshot_annotations sa ON sa.annotation_id = a.id JOIN snapshots s ON s.id = sa.snapshot_id
         WHERE r.erased AND s.state = 'ready' AND r.created_at < now() - make_interval(secs => :grace) GROUP BY s.id
        """,
    ),
)
