"""The promises between rows that no constraint can carry: each a query for the rows that break it."""

from __future__ import annotations

from app.upkeep import check_promises, contest_promises, retraction_promises
from app.upkeep.check import Check

COUNTERS = (
    "Stop the workers and set the counter to match its rows; then find out which code changed one without the other."
)
RECOUNT = (
    "Run `INSERT INTO work_counts (user_id, batch_id, day, time_class, items, milliseconds) SELECT * FROM miscounted_work()`; "
    "nobody has to stop working. Then find out which code changed one without the other."
)
SWEEPER = "Check that the control worker and beat are running (`corral doctor`): the sweeper releases this."
DOUBLED = "Keep the earliest row, supersede the others, and report how this happened."

CHECKS = (
    Check(
        "comparison",
        "has {seats_free} free seats, but needs {annotators_wanted} annotators, has {done} annotations and {active} "
        "in progress",
        COUNTERS,
        """
        SELECT c.id, c.seats_free, c.annotators_wanted, c.done, c.active
          FROM (SELECT c.*,
                       (SELECT count(*) FROM annotations n
                         WHERE n.comparison_id = c.id AND n.superseded_by_id IS NULL AND n.withdrawn_at IS NULL) AS done,
                       (SELECT count(*) FROM assignments a
                         WHERE a.comparison_id = c.id AND a.state = 'active') AS active
                  FROM comparisons c) c
         WHERE c.seats_free <> c.annotators_wanted - c.done - c.active
           AND c.purpose IN ('collect', 'write', 'steps')  -- others can be retired with seats left
        """,
    ),
    Check(
        "comparison",
        "counts {annotators_done} annotations, but has {done} that are current",
        COUNTERS,
        """
        SELECT c.id, c.annotators_done, count(n.id) AS done
          FROM comparisons c LEFT JOIN annotations n ON n.comparison_id = c.id AND n.superseded_by_id IS NULL
                                                           AND n.withdrawn_at IS NULL
         GROUP BY c.id HAVING c.annotators_done <> count(n.id)
        """,
    ),
    Check(
        "comparison",
        "needs {annotators_wanted} annotators and has {done} annotations",
        DOUBLED,
        """
        SELECT c.id, c.annotators_wanted, count(*) AS done
          FROM comparisons c JOIN annotations n ON n.comparison_id = c.id AND n.superseded_by_id IS NULL
                                                           AND n.withdrawn_at IS NULL
         GROUP BY c.id HAVING count(*) > c.annotators_wanted
        """,
    ),
    Check(
        "comparison",
        "has {done} current annotations of user {annotator_id}",
        DOUBLED,
        """
        SELECT comparison_id AS id, annotator_id, count(*) AS done FROM annotations
         WHERE superseded_by_id IS NULL AND withdrawn_at IS NULL GROUP BY comparison_id, annotator_id HAVING count(*) > 1
        """,
    ),
    Check(
        "comparison",
        "shows {shown} candidates, {strangers} of them from another prompt",
        "Close its batch: the responses judged here were not comparable.",
        """
        SELECT c.id, count(k.id) AS shown, count(k.id) FILTER (WHERE k.prompt_id <> c.prompt_id) AS strangers
          FROM comparisons c LEFT JOIN comparison_candidates cc ON cc.comparison_id = c.id
          LEFT JOIN candidates k ON k.id = cc.candidate_id
         GROUP BY c.id
        HAVING CASE c.purpose WHEN 'write' THEN count(k.id) > 0 WHEN 'steps' THEN count(k.id) <> 1 ELSE count(k.id) < 2 END
            OR bool_or(k.prompt_id <> c.prompt_id)
        """,
    ),
    Check(
        "comparison",
        "has the purpose gold, but none of its responses is a known answer",
        "Retire it: nobody's answers to it can be checked.",
        """
        SELECT c.id FROM comparisons c LEFT JOIN gold_answers g ON g.comparison_id = c.id
         WHERE c.purpose = 'gold' AND (g.comparison_id IS NULL OR g.best_candidate_id IS NOT NULL AND NOT EXISTS (
               SELECT FROM comparison_candidates cc
                WHERE cc.comparison_id = c.id AND cc.candidate_id = g.best_candidate_id))
        """,
    ),
    Check(
        "comparison",
        "verifies annotation {verifies_id}, but does not show its edit beside the original",
        "Leave it out of statistics about edits.",
        """
        SELECT c.id, c.verifies_id
          FROM comparisons c JOIN annotations n ON n.id = c.verifies_id
          JOIN comparison_candidates cc ON cc.comparison_id = c.id JOIN candidates k ON k.id = cc.candidate_id
         GROUP BY c.id, n.id
        HAVING count(*) <> 2 OR count(*) FILTER (WHERE k.id = n.edited_candidate_id) <> 1
            OR count(*) FILTER (WHERE k.edited_from_id = n.edited_candidate_id) <> 1
        """,
    ),
    Check(
        "prompt",
        "is {state} and has {comparisons} comparisons",
        "Retry it from its batch's page; then find out which code made one without the other.",
        """
        SELECT p.id, p.state, count(c.id) AS comparisons
          FROM prompts p LEFT JOIN comparisons c ON c.prompt_id = p.id AND c.purpose IN ('collect', 'write', 'steps')
         WHERE p.dialogue_id IS NULL  -- a turn is compared once both of its answers have come
           AND p.state <> 'withdrawn'
           AND NOT EXISTS (SELECT 1 FROM choices_awaited w WHERE w.prompt_id = p.id)
         GROUP BY p.id HAVING (p.state = 'ready') <> (count(c.id) > 0)
        """,
    ),
    Check(
        "prompt",
        "is {state}, and {seats} people are asked to judge it",
        "Restore it from its page, then withdraw it again; and find out which code changed one without the other.",
        """
        SELECT p.id, p.state, max(c.annotators_wanted) AS seats
          FROM prompts p JOIN comparisons c ON c.prompt_id = p.id AND c.purpose IN ('collect', 'write', 'steps')
         GROUP BY p.id HAVING (p.state = 'withdrawn') <> (max(c.annotators_wanted) = 0)
        """,
    ),
    Check(
        "prompt",
        "is {state} and waits for a choice of what is shown, though there is {comparisons} comparison",
        "Find out which code made one without the other; then delete its row in choices_awaited.",
        """
        SELECT p.id, p.state, count(c.id) AS comparisons
          FROM choices_awaited w JOIN prompts p ON p.id = w.prompt_id
          LEFT JOIN comparisons c ON c.prompt_id = p.id AND c.purpose = 'collect'
         GROUP BY p.id HAVING p.state <> 'ready' OR count(c.id) > 0
        """,
    ),
    Check(
        "prompt",
        "is ready with {found} candidates, but its batch asks for {candidates_per_prompt}",
        "Retry it from its batch's page.",
        """
        SELECT p.id, count(k.id) AS found, b.candidates_per_prompt
          FROM prompts p JOIN batches b ON b.id = p.batch_id
          LEFT JOIN candidates k ON k.prompt_id = p.id AND k.edited_from_id IS NULL
         WHERE p.state = 'ready' AND p.dialogue_id IS NULL AND b.task <> 'write'
         GROUP BY p.id, b.id HAVING count(k.id) < b.candidates_per_prompt
        """,
    ),
    Check(
        "prompt",
        "has {found} candidates, but its batch asks for {candidates_per_prompt} per claim, and its claim count is {claims}",
        "Something recorded a claim twice: find out what, and leave the candidates, which may already be annotated.",
        # A try whose answers were all the same text counts as failed, and its candidates stay. Tries begin again when
        # somebody retries; the token counts every claim there was.
        """
        SELECT p.id, greatest(p.fencing_token, 1) AS claims, count(*) AS found, b.candidates_per_prompt
          FROM prompts p JOIN batches b ON b.id = p.batch_id JOIN candidates k ON k.prompt_id = p.id
         WHERE k.edited_from_id IS NULL  -- an edit that others verify is no output of a model
         GROUP BY p.id, b.id
        HAVING count(*) > greatest(b.candidates_per_prompt, CASE WHEN b.selection = 'random' THEN 0 ELSE b.sampled_per_prompt END)
                          * greatest(p.fencing_token, 1)
        """,
    ),
    Check(
        "prompt",
        "is held by a generation worker whose lease ended at {lease_until}",
        SWEEPER,
        """
        SELECT id, lease_until FROM prompts
         WHERE state = 'generating' AND lease_until < now() - make_interval(secs => :grace)
        """,
    ),
    Check(
        "live generation",
        "is held by a worker whose lease ended at {lease_until}",
        SWEEPER,
        """
        SELECT id, lease_until FROM live_generations
         WHERE state = 'streaming' AND lease_until < now() - make_interval(secs => :grace)
        """,
    ),
    Check(
        "assignment",
        "holds a seat although its lease ended at {lease_until}",
        SWEEPER,
        """
        SELECT id, lease_until FROM assignments
         WHERE state = 'active' AND lease_until < now() - make_interval(secs => :grace)
        """,
    ),
    Check(
        "assignment",
        "is {state} and has {found} current annotations",
        "Set its state to what its annotations say.",
        """
        SELECT a.id, a.state, count(n.id) AS found
          FROM assignments a LEFT JOIN annotations n ON n.assignment_id = a.id AND n.superseded_by_id IS NULL
                                                           AND n.withdrawn_at IS NULL
         GROUP BY a.id HAVING (a.state = 'submitted') <> (count(n.id) > 0)
        """,
    ),
    Check(
        "assignment",
        "was shown {order_shown}, but its comparison has {wanted}",
        "Release it: the annotator gets a new order.",
        """
        SELECT a.id, a.order_shown, c.wanted
          FROM assignments a
          JOIN (SELECT comparison_id, array_agg(candidate_id ORDER BY candidate_id) AS wanted
                  FROM comparison_candidates GROUP BY comparison_id) c ON c.comparison_id = a.comparison_id
         WHERE (SELECT array_agg(shown ORDER BY shown) FROM unnest(a.order_shown) shown) IS DISTINCT FROM c.wanted
        """,
    ),
    Check(
        "annotation",
        "belongs to assignment {assignment_id}, which has another comparison, annotator or order",
        "Exclude it from exports by its id, and report how this happened.",
        """
        SELECT n.id, n.assignment_id FROM annotations n JOIN assignments a ON a.id = n.assignment_id
         WHERE a.comparison_id <> n.comparison_id OR a.annotator_id <> n.annotator_id
        """,
    ),
    Check(
        "annotation",
        "ranks {ranked}, but was shown {shown}",
        "Exclude it from exports by its id, and report how this happened.",
        """
        SELECT n.id, r.ranked, s.shown
          FROM annotations n,
               LATERAL (SELECT array_agg(c::bigint ORDER BY c::bigint) AS ranked
                          FROM jsonb_array_elements(n.ranking) g, jsonb_array_elements_text(g) c) r,
               LATERAL (SELECT array_agg(c ORDER BY c) AS shown FROM unnest(n.order_shown) c) s
         WHERE r.ranked IS DISTINCT FROM s.shown AND n.outcome <> 'labelled'
        """,
    ),
    Check(
        "annotation",
        "is {outcome} and labels {labels} steps, up to step {last}, {wrong} of them wrong before the last",
        "Exclude it from exports by its id, and report how this happened.",
        """
        SELECT n.id, n.outcome, count(l.id) AS labels, coalesce(max(l.place) + 1, 0) AS last,
               count(l.id) FILTER (WHERE l.label = -1 AND EXISTS (
                   SELECT FROM step_labels f WHERE f.annotation_id = n.id AND f.place > l.place)) AS wrong
          FROM annotations n LEFT JOIN step_labels l ON l.annotation_id = n.id
         WHERE n.outcome = 'labelled' OR l.id IS NOT NULL
         GROUP BY n.id
        HAVING (n.outcome = 'labelled') <> (count(l.id) > 0) OR count(l.id) <> coalesce(max(l.place) + 1, 0)
            OR bool_or(l.candidate_id <> ALL (n.order_shown))
            OR count(l.id) FILTER (WHERE l.label = -1 AND EXISTS (
                   SELECT FROM step_labels f WHERE f.annotation_id = n.id AND f.place > l.place)) > 0
        """,
    ),
    Check(
        "annotation",
        "has an edited text that is the text of candidate {edited_candidate_id}",
        "Exclude the edit: it says that a text is better than itself.",
        """
        SELECT n.id, n.edited_candidate_id FROM annotations n JOIN candidates k ON k.id = n.edited_candidate_id
         WHERE replace(n.edited_text, E'\\r\\n', E'\\n') = replace(k.text, E'\\r\\n', E'\\n')
           AND n.edited_text <> ''  -- what an erased person wrote
        """,
    ),
    Check(
        "annotation",
        "edits candidate {edited_candidate_id}, which is not in first place",
        "Exclude the edit: edited > chosen > rejected does not hold.",
        """
        SELECT id, edited_candidate_id FROM annotations
         WHERE edited_candidate_id IS NOT NULL AND NOT ranking -> 0 @> to_jsonb(edited_candidate_id)
        """,
    ),
    Check(
        "round",
        "is one of {current} rounds that collect, train or are checked",
        "Exactly one must be current: run `corral setup`, which creates it if it is missing.",
        """
        SELECT coalesce(max(id), 0) AS id, count(*) AS current FROM rounds
         WHERE state NOT IN ('complete', 'challenging') HAVING count(*) <> 1 AND EXISTS (SELECT FROM batches)
        """,
    ),
    Check(
        "round",
        "is {state} and has {live} live training runs",
        "Cancel the runs from their pages; the round then collects again.",
        """
        SELECT r.id, r.state, count(t.id) AS live
          FROM rounds r JOIN training_runs t ON t.round_id = r.id AND t.state IN ('queued', 'running')
         GROUP BY r.id HAVING r.state NOT IN ('training', 'checking')
        """,
    ),
    Check(
        "training run",
        "is running, but was last heard of at {heartbeat_at}",
        SWEEPER,
        """
        SELECT id, heartbeat_at FROM training_runs
         WHERE state = 'running'
           AND (heartbeat_at IS NULL OR heartbeat_at < now() - make_interval(secs => :lease + :grace))
        """,
    ),
    Check(
        "training run",
        "succeeded with checkpoint {name}, which is a {kind} model and {state}",
        "Retry the run from its page.",
        """
        SELECT t.id, c.name, c.kind, c.state FROM training_runs t JOIN checkpoints c ON c.id = t.checkpoint_id
         WHERE t.state = 'succeeded'
           AND (c.state = 'broken' OR c.kind <> CASE WHEN t.kind IN ('dpo', 'grpo', 'check') THEN 'policy' ELSE t.kind END)
        """,
    ),
    Check(
        "loop",
        "has {name} as its {role}, which is {state} and has {deployed} deployments in rotation",
        "Restart Corral: each start puts champion and challenger into the rotation, and others in the place of what broke.",
        """
        SELECT a.loop_id AS id, c.name, a.role, c.state, d.deployed
          FROM appointments a JOIN checkpoints c ON c.id = a.checkpoint_id,
               LATERAL (SELECT count(*) AS deployed FROM deployments
                         WHERE checkpoint_id = c.id AND ended_at IS NULL) d
         WHERE c.state <> 'ready' OR c.kind = 'reward' OR (a.role IN ('champion', 'challenger') AND d.deployed = 0)
        """,
    ),
    Check(
        "loop",
        "has {name} both as its {role} and as its {other}",
        "Restart Corral: each start settles who is appointed.",
        """
        SELECT a.loop_id AS id, c.name, a.role, b.role AS other
          FROM appointments a
          JOIN appointments b ON b.loop_id = a.loop_id AND b.checkpoint_id = a.checkpoint_id
           AND a.role = 'champion' AND b.role IN ('previous', 'challenger')
          JOIN checkpoints c ON c.id = a.checkpoint_id
        """,
    ),
    Check(
        "deployment",
        "is in rotation with checkpoint {name}, which is {state}",
        "End it on the checkpoint's page.",
        """
        SELECT d.id, c.name, c.state FROM deployments d JOIN checkpoints c ON c.id = d.checkpoint_id
         WHERE d.ended_at IS NULL AND (c.state <> 'ready' OR c.kind = 'reward')
        """,
    ),
    Check(
        "batch",
        "has {items} items and {milliseconds} ms of user {user_id} on {day} that the counts of work lack (negative: too many)",
        RECOUNT,
        """
        SELECT batch_id AS id, user_id, day, sum(items) AS items, sum(milliseconds) AS milliseconds
          FROM miscounted_work() GROUP BY batch_id, user_id, day
        """,
    ),
    *check_promises.CHECKS,
    *contest_promises.CHECKS,
    *retraction_promises.CHECKS,
)
