"""What must hold of checks and findings, beside what constraints and triggers keep."""

from __future__ import annotations

from app.upkeep.check import Check

CHECKS = (
    Check(
        "check",
        "is held by a worker whose lease ended at {lease_until}",
        "Check that the control worker and beat are running (`corral doctor`): the sweeper releases this.",
        """
        SELECT id, lease_until FROM checks
         WHERE state = 'checking' AND lease_until < now() - make_interval(secs => :grace)
        """,
    ),
    Check(
        "check",
        "is done, but does not say under which lease its findings were stored",
        "Check its batch again from the batch's page.",
        "SELECT id FROM checks WHERE state = 'done' AND found_token IS NULL",
    ),
    Check(
        "finding",
        "is of another text than its check {check_id}, or of a lease that it never had",
        "Leave it out of statistics by its id, and report how this happened.",
        """
        SELECT f.id, f.check_id FROM findings f JOIN checks c ON c.id = f.check_id
         WHERE f.candidate_id IS DISTINCT FROM c.candidate_id OR f.annotation_id IS DISTINCT FROM c.annotation_id
            OR f.fencing_token > c.fencing_token
        """,
    ),
    Check(
        "check",
        "is of a response or an edit that belongs to prompt {prompt}, but is filed under prompt {prompt_id}",
        "Report how this happened: the text was checked against what came with another prompt.",
        """
        SELECT c.id, c.prompt_id, coalesce(k.prompt_id, m.prompt_id) AS prompt
          FROM checks c LEFT JOIN candidates k ON k.id = c.candidate_id LEFT JOIN annotations a ON a.id = c.annotation_id
          LEFT JOIN comparisons m ON m.id = a.comparison_id
         WHERE coalesce(k.prompt_id, m.prompt_id) <> c.prompt_id
        """,
    ),
    Check(
        "prompt",
        "is unanimous, but nothing waits to be checked and none of its responses passed",
        "Check its batch again from the batch's page.",
        """
        SELECT p.id FROM prompts p
         WHERE p.state = 'unanimous'
           AND NOT EXISTS (SELECT FROM checks c WHERE c.prompt_id = p.id AND c.state IN ('pending', 'checking'))
           AND NOT EXISTS (SELECT FROM checks c JOIN findings f ON f.check_id = c.id AND f.fencing_token = c.found_token
                            WHERE c.prompt_id = p.id AND f.passed)
        """,
    ),
)
