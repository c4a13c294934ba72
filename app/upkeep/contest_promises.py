"""The promises between a contest, its votes and its round."""

from __future__ import annotations

from app.upkeep.check import Check

COUNT = "Ring for the round (`corral doctor` says whether beat runs): each look counts again from the annotations."
REPORT = (
    "Report how this happened; the champion is what the verdict made it, and can be changed on the checkpoint's page."
)

CHECKS = (
    Check(
        "contest",
        "counts {counted} observations, but its votes are of {found}, numbered up to {last}",
        COUNT,
        """
        SELECT k.id, k.counted, count(DISTINCT v.seq) AS found, coalesce(max(v.seq), 0) AS last
          FROM contests k LEFT JOIN contest_votes v ON v.contest_id = k.id
         GROUP BY k.id HAVING k.counted <> count(DISTINCT v.seq) OR k.counted <> coalesce(max(v.seq), 0)
        """,
    ),
    Check(
        "contest",
        "has a score of {score} by {people} people, but its votes say {said} by {voters}",
        COUNT,
        """
        SELECT k.id, k.score, k.people, s.said, s.voters
          FROM contests k,
               LATERAL (SELECT (SELECT avg(o.score) FROM (SELECT avg(score) AS score FROM contest_votes
                                                           WHERE contest_id = k.id AND seq IS NOT NULL GROUP BY seq) o) AS said,
                               (SELECT count(DISTINCT a.annotator_id) FROM contest_votes v
                                  JOIN annotations a ON a.id = v.annotation_id
                                 WHERE v.contest_id = k.id AND v.seq IS NOT NULL) AS voters) s
         WHERE k.people <> s.voters OR (k.score IS NULL) <> (s.said IS NULL) OR abs(k.score - s.said) > 1e-6
        """,
    ),
    Check(
        "contest",
        "counts annotation {annotation_id}, which has been corrected, undone, returned or retracted since",
        COUNT,
        """
        SELECT k.id, v.annotation_id
          FROM contests k JOIN contest_votes v ON v.contest_id = k.id AND v.seq IS NOT NULL
          JOIN annotations a ON a.id = v.annotation_id
          LEFT JOIN annotations later ON later.id = a.superseded_by_id
          LEFT JOIN retractions t ON t.id = a.retraction_id
          LEFT JOIN LATERAL (SELECT verdict, created_at FROM reviews WHERE annotation_id = a.id
                              ORDER BY id DESC LIMIT 1) r ON r.verdict = 'returned'
         WHERE k.verdict IS NULL  -- what decided a closed one is kept as it was, until a retraction has it counted again
           AND least(a.withdrawn_at, later.created_at, t.created_at, r.created_at) < now() - make_interval(secs => :grace)
        """,
    ),
    Check(
        "contest",
        "counts annotation {annotation_id}, whose comparison was not drawn at random or does not show both policies",
        COUNT,
        """
        SELECT k.id, v.annotation_id
          FROM contests k JOIN contest_votes v ON v.contest_id = k.id AND v.seq IS NOT NULL
          JOIN annotations a ON a.id = v.annotation_id JOIN comparisons c ON c.id = a.comparison_id
         WHERE c.purpose <> 'collect' OR c.drawn <> 'random'
            OR (SELECT count(DISTINCT s.checkpoint_id) FROM comparison_candidates x JOIN candidates s ON s.id = x.candidate_id
                 WHERE x.comparison_id = c.id AND s.checkpoint_id IN (k.challenger_id, k.champion_id)) < 2
        """,
    ),
    Check(
        "contest",
        "is open and was last counted at {counted_at}",
        "Check that the control worker and beat are running (`corral doctor`): each look counts it.",
        """
        SELECT id, coalesce(counted_at, opened_at) AS counted_at FROM contests
         WHERE verdict IS NULL AND coalesce(counted_at, opened_at) < now() - make_interval(secs => :grace + 300)
        """,
    ),
    Check(
        "round",
        "has {contests} contests of its policy with the champion",
        REPORT,
        """
        SELECT round_id AS id, count(*) AS contests FROM contests WHERE kind = 'gate' GROUP BY round_id HAVING count(*) > 1
        """,
    ),
    Check(
        "round",
        "is {state}, and its contest is {contest}",
        "Withdraw the contest, if it is open; otherwise report how this happened.",
        """
        SELECT r.id, r.state, CASE WHEN k.id IS NULL THEN 'missing' ELSE coalesce(k.verdict, 'open') END AS contest
          FROM rounds r LEFT JOIN contests k ON k.round_id = r.id AND k.kind = 'gate'
         WHERE (r.state = 'challenging') <> (k.id IS NOT NULL AND k.verdict IS NULL)
        """,
    ),
    Check(
        "round",
        "is {verdict}, but its contest ended {contest}",
        REPORT,
        """
        SELECT r.id, coalesce(r.verdict, 'without a verdict') AS verdict, k.verdict AS contest
          FROM rounds r JOIN contests k ON k.round_id = r.id AND k.kind = 'gate' AND k.verdict IS NOT NULL
         WHERE r.state = 'complete' AND r.verdict IS DISTINCT FROM k.verdict AND r.verdict IS DISTINCT FROM 'overridden'
        """,
    ),
)
