"""Annotations → votes → the sums of a contest. Every counting starts from the annotations, so it may be repeated at any time.

A vote is an annotation that counts (:data:`app.annotations.models.COUNTS`) on a comparison which shows answers of both policies.
It has its place by when it was first submitted: a correction changes the score and keeps the place, what was returned comes back
to its place once it is corrected, and what is undone or retracted leaves none. The database's clock is the only one asked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from itertools import accumulate
from statistics import fmean
from typing import Any

from sqlalchemy import Select, and_, delete, func, literal, select, text, true
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session, aliased

from app.accounts.models import User
from app.annotations.models import COUNTS, Annotation
from app.candidates.models import Candidate
from app.comparisons import purposes
from app.comparisons.models import Comparison, ComparisonCandidate, Drawn
from app.loops.models import Round
from app.preferences.models import SnapshotAnnotation
from app.prompts.models import Batch, Prompt
from app.rounds.evidence import EqualLength, band
from app.rounds.models import Contest, ContestKind, ContestVote
from app.rounds.tally import FLOOR, LeftOut, Tally, Vote, greatest
from training.formats.votes import score

POINTS = 50
"""Of the path that a page draws."""
_SNAPSHOTS = text("""
    WITH RECURSIVE line (id) AS (
        SELECT CAST(:challenger AS bigint)
        UNION
        SELECT source FROM line JOIN (
            SELECT id AS made, parent_id AS source FROM checkpoints
            UNION ALL
            SELECT r.checkpoint_id, i.checkpoint_id FROM run_inputs i JOIN training_runs r ON r.id = i.run_id
             WHERE i.role = 'averaged'
        ) edges ON edges.made = line.id WHERE source IS NOT NULL
    )
    SELECT DISTINCT r.snapshot_id FROM training_runs r JOIN line ON line.id = r.checkpoint_id
""")
"""What the challenger, what it started from and what it is the mean of were trained on."""
_WRITE = text("""
    INSERT INTO contest_votes (contest_id, annotation_id, seq, score, left_out)
    SELECT :contest, * FROM unnest(CAST(:annotations AS bigint[]), CAST(:seqs AS integer[]),
                                   CAST(:scores AS double precision[]), CAST(:reasons AS text[]))
        ON CONFLICT (contest_id, annotation_id)
        DO UPDATE SET seq = excluded.seq, score = excluded.score, left_out = excluded.left_out
""")


def count(session: Session, contest: Contest) -> Tally:
    """Recount ``contest`` and store its votes and sums. The caller holds the lock on its row."""
    votes = read_votes(session, contest)
    tally = Tally(contest.kind, contest.budget, votes, team=_team(session, contest))
    _write_votes(session, contest, tally)
    contest.counted = len(tally.observations)
    contest.score = fmean(tally.scores) if tally.scores else None
    contest.log_e, contest.log_e_worse = greatest(tally.better), greatest(tally.worse)
    contest.people = len({vote.author for vote in votes if vote.annotation_id in tally.places})
    contest.details = {**contest.details, **_details(tally)}
    _, _, contest.low, contest.high, _ = (contest.details["path"] or [[None] * 5])[-1]
    contest.counted_at = func.now()
    session.flush()
    return tally


# ── Annotations → votes ──────────────────────────────────────────────────────────────────────────────────────────────
def read_votes(session: Session, contest: Contest) -> list[Vote]:
    """Every vote, in the order in which they were first submitted, with those that are left out for what they are."""
    snapshots = session.scalars(_SNAPSHOTS, {"challenger": contest.challenger_id}).all()
    spent = _counted_at_the_gate(session, contest)
    return [_vote(row, spent) for row in session.execute(_rows(contest, snapshots))]


def _rows(contest: Contest, snapshots: Collection[int]) -> Select[*tuple[Any, ...]]:
    both = _showing_both(contest)
    earlier = aliased(Annotation)
    first = (
        select(func.min(earlier.created_at).label("at"), func.min(earlier.id).label("id"))
        .where(
            earlier.comparison_id == Annotation.comparison_id,  # the index; versions share their assignment
            earlier.assignment_id == Annotation.assignment_id,
            earlier.withdrawn_at.is_(None),
        )
        .lateral("first_version")
    )
    return (
        select(
            Annotation.id,
            Annotation.annotator_id,
            User.pseudonym,
            Annotation.outcome,
            Annotation.ranking,
            Comparison.drawn,
            Prompt.content_hash,
            func.coalesce(Prompt.capability, Batch.capability).label("capability"),
            both.c.ours,
            both.c.theirs,
            both.c.longer,
            _learnt(snapshots).label("learnt"),
        )
        .select_from(both)
        .join(Comparison, Comparison.id == both.c.comparison_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .join(Batch, Batch.id == Prompt.batch_id)
        .join(Annotation, and_(Annotation.comparison_id == Comparison.id, COUNTS))
        .join(User, User.id == Annotation.annotator_id)
        .join(first, true())
        .order_by(first.c.at, first.c.id)
    )


def _showing_both(contest: Contest) -> Any:
    """Comparisons of the two policies, with the candidates of each and by how much the challenger's are longer."""
    answered = select(Candidate.prompt_id).where(Candidate.checkpoint_id == contest.challenger_id)
    shown = (
        select(
            ComparisonCandidate.comparison_id,
            Candidate.id,
            (Candidate.checkpoint_id == contest.challenger_id).label("ours"),
            Candidate.completion_tokens.label("length"),
        )
        .join(Comparison, Comparison.id == ComparisonCandidate.comparison_id)
        .join(Candidate, Candidate.id == ComparisonCandidate.candidate_id)
        .where(
            Comparison.prompt_id.in_(answered),
            purposes.compares,
            Candidate.checkpoint_id.in_((contest.challenger_id, contest.champion_id)),
        )
        .cte("shown")
        .prefix_with("MATERIALIZED")
    )
    ids, ours, theirs = aggregate_order_by(shown.c.id, shown.c.id), shown.c.ours, ~shown.c.ours
    return (
        select(
            shown.c.comparison_id,
            func.array_agg(ids).filter(ours).label("ours"),
            func.array_agg(ids).filter(theirs).label("theirs"),
            (func.avg(shown.c.length).filter(ours) - func.avg(shown.c.length).filter(theirs)).label("longer"),
        )
        .group_by(shown.c.comparison_id)
        .having(and_(func.bool_or(ours), func.bool_or(theirs)))
        .cte("showing_both")
    )


def _learnt(snapshots: Collection[int]) -> Any:
    """Whether the content of this prompt is in one of ``snapshots``."""
    if not snapshots:
        return literal(value=False)
    same, shown, said = aliased(Prompt), aliased(Comparison), aliased(Annotation)
    return (
        select(literal(1))
        .select_from(same)
        .join(shown, shown.prompt_id == same.id)
        .join(said, said.comparison_id == shown.id)
        .join(SnapshotAnnotation, SnapshotAnnotation.annotation_id == said.id)
        .where(same.content_hash == Prompt.content_hash, SnapshotAnnotation.snapshot_id.in_(snapshots))
        .correlate(Prompt)
        .exists()
    )


def _counted_at_the_gate(session: Session, contest: Contest) -> set[bytes]:
    """For a watch: the prompts already counted for this promotion, which are no new evidence."""
    if contest.kind is ContestKind.GATE:
        return set()
    query = (
        select(Prompt.content_hash)
        .join(Comparison, Comparison.prompt_id == Prompt.id)
        .join(Annotation, Annotation.comparison_id == Comparison.id)
        .join(ContestVote, ContestVote.annotation_id == Annotation.id)
        .join(Contest, Contest.id == ContestVote.contest_id)
        .where(
            Contest.kind == ContestKind.GATE,
            Contest.challenger_id == contest.challenger_id,
            Contest.champion_id == contest.champion_id,
            ContestVote.seq.isnot(None),
        )
    )
    return set(session.scalars(query))


def _vote(row: Any, spent: Collection[bytes]) -> Vote:
    left_out = None
    if row.drawn is not Drawn.RANDOM:
        left_out = LeftOut.SELECTED
    elif row.learnt:
        left_out = LeftOut.LEARNT
    elif row.content_hash in spent:
        left_out = LeftOut.GATE
    return Vote(
        annotation_id=row.id,
        author=row.annotator_id,
        pseudonym=row.pseudonym,
        content=row.content_hash,
        score=score(row.outcome, row.ranking, row.ours, row.theirs),
        longer=float(row.longer),
        capability=row.capability,
        left_out=left_out,
    )


def team(session: Session, of: Round) -> list[int]:
    """The people who judge here: those with several judgements since ``of`` began to collect."""
    query = (
        select(Annotation.annotator_id)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .where(COUNTS, purposes.compares, Annotation.created_at >= of.created_at)
        .group_by(Annotation.annotator_id)
        .having(func.count() >= FLOOR)
    )
    return sorted(session.scalars(query))


def _team(session: Session, contest: Contest) -> frozenset[int]:
    """The people known at the opening, without those who have left since."""
    known = contest.details.get("team", [])
    if not known:
        return frozenset()
    return frozenset(session.scalars(select(User.id).where(User.id.in_(known), User.disabled_at.is_(None))))


# ── Votes → rows ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _write_votes(session: Session, contest: Contest, tally: Tally) -> None:
    """What changed since the last counting, and nothing else."""
    query = select(ContestVote.annotation_id, ContestVote.seq, ContestVote.score, ContestVote.left_out)
    found = session.execute(query.where(ContestVote.contest_id == contest.id))
    known = {annotation: (seq, score, left_out) for annotation, seq, score, left_out in found}
    wanted = {
        vote.annotation_id: (
            tally.places.get(vote.annotation_id),
            vote.score,
            tally.left_out.get(vote.annotation_id),
        )
        for vote in tally.votes
    }
    gone = known.keys() - wanted.keys()
    if gone:
        session.execute(
            delete(ContestVote).where(ContestVote.contest_id == contest.id, ContestVote.annotation_id.in_(gone))
        )
    changed = {key: vote for key, vote in wanted.items() if known.get(key) != vote}
    if changed:
        seqs, scores, reasons = zip(*changed.values(), strict=True)
        values = {"annotations": list(changed), "seqs": list(seqs), "scores": list(scores), "reasons": list(reasons)}
        session.execute(_WRITE, {"contest": contest.id, **values})


# ── Votes → what pages show ──────────────────────────────────────────────────────────────────────────────────────────
def _details(tally: Tally) -> dict[str, Any]:
    """What :mod:`app.rounds.cards` reads, and why votes are left out, what rule was met, and what keeps it from a promotion."""
    fit = EqualLength()
    for observation, length in zip(tally.observations, tally.lengths, strict=True):
        fit.add(observation.score, length)
    found = tally.found
    return {
        "path": _path(tally),
        "capabilities": {name: _rate(tally.of(numbers)) for name, numbers in tally.capabilities.items()},
        "people": _by_person(tally),
        "length_controlled": {"score": _rounded(fit.score), "worth": _rounded(fit.slope)} if fit.seen else {},
        "left_out": dict(sorted(Counter(tally.left_out.values()).items())),
        "votes": len(tally.places),
        "judged": tally.judged,
        "ruled": tally.ruled,
        "unmet": list(tally.unmet),
        "found": {"rule": found.rule, "at": found.at, "capability": found.capability} if found else None,
    }


def _path(tally: Tally) -> list[list[float | None]]:
    """At most :data:`POINTS` looks, evenly, the last one among them: ``[number, score, low, high, greatest log e]``."""
    scores, best = tally.scores, list(accumulate(tally.better, max))
    step = max(1, -(-len(scores) // POINTS))
    looks = sorted({*range(step, len(scores) + 1, step), len(scores)} - {0})
    return [
        [look, _rounded(fmean(scores[:look])), *_ends(within), _rounded(max(best[look - 1], 0.0))]
        for look, within in zip(looks, band(scores, looks), strict=True)
    ]


def _rounded(value: float) -> float:
    return round(value, 4)


def _ends(within: tuple[float, float] | None) -> tuple[float | None, float | None]:
    return (_rounded(within[0]), _rounded(within[1])) if within else (None, None)


def _rate(scores: Sequence[float]) -> dict[str, Any]:
    if not scores:
        return {"counted": 0}
    [within] = band(scores, [len(scores)])
    low, high = _ends(within)
    return {"counted": len(scores), "score": _rounded(fmean(scores)), "low": low, "high": high}


def _by_person(tally: Tally) -> dict[str, dict[str, Any]]:
    """Everybody with a countable vote, by pseudonym; ``without`` is the score without their votes."""
    given: dict[int, list[Vote]] = defaultdict(list)
    for vote in tally.votes:
        if vote.left_out is None:
            given[vote.author].append(vote)
    found = {}
    for author, votes in given.items():
        counted = [vote.score for vote in votes if vote.annotation_id in tally.places]
        rest = sum(any(vote.author != author for vote in seen.votes) for seen in tally.observations)
        advantage = tally.others.total - tally.others.parts.get(author, 0.0)
        found[votes[0].pseudonym] = _rate(counted) | {
            "left_out": len(votes) - len(counted),
            "without": _rounded(0.5 + advantage / rest) if rest else None,
        }
    return found
