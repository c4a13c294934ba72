"""What must hold after any fault, as queries that come back empty. ``corral audit`` prints what they find.

The constraints of the tables make most mistakes impossible; these are the promises between rows, and between rows and
files, that no constraint can carry. Everything here only reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.preferences import export
from app.preferences.freeze import MANIFEST_FILE, ROWS_FILE
from app.preferences.models import Snapshot, SnapshotState
from app.preferences.service import folder
from app.prompts import upkeep
from app.registry import manifest
from app.registry.models import Checkpoint, CheckpointState
from app.settings import get_settings

GRACE = 60
"""Seconds by which a lease may be over: the sweeper comes by every ``sweep_interval``, a restart takes longer."""


@dataclass(frozen=True)
class Problem:
    """One row that breaks a promise."""

    row: str
    """Table and id, e.g. ``comparison 12``."""
    what: str
    remedy: str


@dataclass(frozen=True)
class Check:
    """A query for broken rows: column ``id``, and what ``what`` names in braces."""

    table: str
    what: str
    remedy: str
    query: str


COUNTERS = (
    "Stop the workers and set the counter to what its rows say; then find out which code changed one without the other."
)
SWEEPER = "Look whether the control worker and beat run (`corral doctor`): the sweeper takes this back."
DOUBLED = "Keep the earliest row, supersede the others, and report how they came about."

CHECKS = (
    Check(
        "comparison",
        "has {seats_free} free seats, but wants {annotators_wanted}, has {done} annotations and {active} at work",
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
           AND c.purpose = 'collect'  -- others can be retired with seats left
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
        "wants {annotators_wanted} annotators and has {done} annotations",
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
        "shows {shown} candidates, {strangers} of them of another prompt",
        "Close its batch: what was judged here was not comparable.",
        """
        SELECT c.id, count(k.id) AS shown, count(k.id) FILTER (WHERE k.prompt_id <> c.prompt_id) AS strangers
          FROM comparisons c LEFT JOIN comparison_candidates cc ON cc.comparison_id = c.id
          LEFT JOIN candidates k ON k.id = cc.candidate_id
         GROUP BY c.id HAVING count(k.id) < 2 OR bool_or(k.prompt_id <> c.prompt_id)
        """,
    ),
    Check(
        "comparison",
        "has the purpose gold, but no known answer among its responses",
        "Retire it: nobody's answers to it can be called right or wrong.",
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
        "Leave it out of what is said about edits.",
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
          FROM prompts p LEFT JOIN comparisons c ON c.prompt_id = p.id AND c.purpose = 'collect'
         WHERE p.dialogue_id IS NULL  -- a turn is compared once both of its answers have come
         GROUP BY p.id HAVING (p.state = 'ready') <> (count(c.id) > 0)
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
         WHERE p.state = 'ready' AND p.dialogue_id IS NULL
         GROUP BY p.id, b.id HAVING count(k.id) < b.candidates_per_prompt
        """,
    ),
    Check(
        "prompt",
        "has {found} candidates, but its batch asks for {candidates_per_prompt} a claim, and its claims number {claims}",
        "Something recorded a claim twice: find out what, and leave the candidates, which may be annotated already.",
        # A try whose answers were all the same text counts as failed, and its candidates stay. Tries begin again when
        # somebody retries; the token counts every claim there was.
        """
        SELECT p.id, greatest(p.fencing_token, 1) AS claims, count(*) AS found, b.candidates_per_prompt
          FROM prompts p JOIN batches b ON b.id = p.batch_id JOIN candidates k ON k.prompt_id = p.id
         WHERE k.edited_from_id IS NULL  -- an edit that others verify is no output of a model
         GROUP BY p.id, b.id HAVING count(*) > b.candidates_per_prompt * greatest(p.fencing_token, 1)
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
        "holds a seat though its lease ended at {lease_until}",
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
        "belongs to assignment {assignment_id}, which is of another comparison, annotator or order",
        "Leave it out of exports by its id, and report how it came about.",
        """
        SELECT n.id, n.assignment_id FROM annotations n JOIN assignments a ON a.id = n.assignment_id
         WHERE a.comparison_id <> n.comparison_id OR a.annotator_id <> n.annotator_id
        """,
    ),
    Check(
        "annotation",
        "ranks {ranked}, but was shown {shown}",
        "Leave it out of exports by its id, and report how it came about.",
        """
        SELECT n.id, r.ranked, s.shown
          FROM annotations n,
               LATERAL (SELECT array_agg(c::bigint ORDER BY c::bigint) AS ranked
                          FROM jsonb_array_elements(n.ranking) g, jsonb_array_elements_text(g) c) r,
               LATERAL (SELECT array_agg(c ORDER BY c) AS shown FROM unnest(n.order_shown) c) s
         WHERE r.ranked IS DISTINCT FROM s.shown
        """,
    ),
    Check(
        "annotation",
        "has an edited text that is the text of candidate {edited_candidate_id}",
        "Leave the edit out: it says that a text is better than itself.",
        """
        SELECT n.id, n.edited_candidate_id FROM annotations n JOIN candidates k ON k.id = n.edited_candidate_id
         WHERE replace(n.edited_text, E'\\r\\n', E'\\n') = replace(k.text, E'\\r\\n', E'\\n')
        """,
    ),
    Check(
        "annotation",
        "edits candidate {edited_candidate_id}, which is not in first place",
        "Leave the edit out: edited > chosen > rejected does not hold.",
        """
        SELECT id, edited_candidate_id FROM annotations
         WHERE edited_candidate_id IS NOT NULL AND NOT ranking -> 0 @> to_jsonb(edited_candidate_id)
        """,
    ),
    Check(
        "round",
        "is one of {current} that are not complete",
        "Exactly one is current: run `corral setup`, which makes it where it is missing.",
        """
        SELECT coalesce(max(id), 0) AS id, count(*) AS current FROM rounds
         WHERE state <> 'complete' HAVING count(*) <> 1 AND EXISTS (SELECT FROM batches)
        """,
    ),
    Check(
        "round",
        "is {state} and has {live} live training runs",
        "Cancel the runs from their pages; the round then collects again.",
        """
        SELECT r.id, r.state, count(t.id) AS live
          FROM rounds r JOIN training_runs t ON t.round_id = r.id AND t.state IN ('queued', 'running')
         GROUP BY r.id HAVING r.state <> 'training'
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
           AND (c.state = 'broken' OR c.kind <> CASE t.kind WHEN 'reward' THEN 'reward' ELSE 'policy' END)
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
)


def audit(session: Session, *, grace: int = GRACE, files: bool = True) -> list[Problem]:
    """Every broken promise, between rows and, with ``files``, between rows and files. Empty is what it must be."""
    problems = [
        *broken_rows(session, grace),
        *unsound_prompts(session),
        *unwritable_rows(session),
    ]
    if files:
        problems += [*broken_snapshots(session), *broken_checkpoints(session)]
    return problems


def broken_rows(session: Session, grace: int = GRACE) -> Iterator[Problem]:
    """What the queries find."""
    bound = {"grace": grace, "lease": get_settings().training_lease}
    for check in CHECKS:
        names = [name for name in bound if f":{name}" in check.query]
        for row in session.execute(text(check.query), {name: bound[name] for name in names}).mappings():
            yield Problem(f"{check.table} {row['id']}", check.what.format_map(dict(row)), check.remedy)


def unsound_prompts(session: Session) -> Iterator[Problem]:
    """Prompts that are not in the one form of messages, or say the same as one on the other side of the split."""
    for prompt_id, what, remedy in (*upkeep.loose(session), *upkeep.parted(session)):
        yield Problem(f"prompt {prompt_id}", what, remedy)


def unwritable_rows(session: Session) -> Iterator[Problem]:
    """Annotations whose rows cannot be written in every shape: one of them would stop each export that holds it."""
    for annotation_id, shape, reason in export.unwritable(session):
        yield Problem(
            f"annotation {annotation_id}",
            f"cannot be written as Parquet in the shape {shape} ({reason})",
            "Download JSON Lines meanwhile, and report how the row came about.",
        )


def broken_snapshots(session: Session) -> Iterator[Problem]:
    """Ready snapshots whose folder is not what was frozen."""
    for snapshot in session.scalars(
        select(Snapshot).where(Snapshot.state == SnapshotState.READY).order_by(Snapshot.id)
    ):
        found = _damage(folder(snapshot), snapshot)
        if found:
            remedy = "Restore the folder from a backup, or freeze a new snapshot; runs that name this one cannot be repeated."
            yield Problem(f"snapshot {snapshot.id}", found, remedy)


def _damage(path: Path, snapshot: Snapshot) -> str | None:
    try:
        with (path / ROWS_FILE).open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        noted = json.loads((path / MANIFEST_FILE).read_bytes())["sha256"]
    except OSError as error:
        return f"cannot be read: {error.filename} ({error.strerror})"
    except (ValueError, KeyError, TypeError):
        return f"has a {MANIFEST_FILE} that cannot be understood"
    if sha256 != snapshot.sha256:
        return f"has a {ROWS_FILE} that differs from what was frozen (SHA-256 {sha256[:12]}…, not {str(snapshot.sha256)[:12]}…)"
    return None if noted == sha256 else f"has a {MANIFEST_FILE} of other rows"


def broken_checkpoints(session: Session) -> Iterator[Problem]:
    """Ready checkpoints whose folder does not verify. The base is verified by ``corral doctor``: it is made at first start."""
    ready = select(Checkpoint).where(Checkpoint.state == CheckpointState.READY, Checkpoint.manifest_sha256.isnot(None))
    for checkpoint in session.scalars(ready.order_by(Checkpoint.id)):
        try:
            manifest.verify(Path(checkpoint.path), manifest_sha256=checkpoint.manifest_sha256)
        except manifest.BrokenCheckpoint as error:
            remedy = "Restore the folder from a backup, or train it again; the engine never gets it like this."
            yield Problem(f"checkpoint {checkpoint.id}", str(error), remedy)
