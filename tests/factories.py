"""Makes the people and things that tests are about. Append-only: each domain adds small functions of its own.

The cast: Alice annotates, Rita reviews, Bob administers, Charlie is refused.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts import signing_in
from app.accounts.models import Role, User
from app.annotations import recording
from app.annotations import service as annotating
from app.annotations.forms import Submission
from app.annotations.models import COUNTS, Annotation
from app.candidates.models import Candidate
from app.comparisons import purposes
from app.comparisons import service as comparing
from app.comparisons.models import Assignment, Comparison
from app.judgements.positions import position
from app.judgements.vocabulary import EditPolicy, Flag, Outcome
from app.kernel.db import session_scope
from app.loops.models import Round, RoundState
from app.loops.queries import ENDED_COLLECTING
from app.preferences.models import Snapshot, SnapshotAnnotation, SnapshotState
from app.prompts.models import Batch, BatchState, BatchTask, Prompt, PromptState
from app.registry.models import Checkpoint, CheckpointKind, Deployment
from app.rounds.models import Contest, ContestKind, RunKind, RunState, TrainingRun
from training.formats.steps import cut

PASSWORD = "correct horse battery staple"


@lru_cache(maxsize=1)
def cheap_hash() -> str:
    """A hash of PASSWORD that costs a millisecond instead of fifty."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


def make_user(session: Session, role: Role = Role.ANNOTATOR, name: str = "Alice", email: str | None = None) -> User:
    """A person whose password is PASSWORD."""
    user = User(
        email=email or f"{name.lower()}-{secrets.token_hex(4)}@example.org",
        name=name,
        role=role,
        pseudonym=f"annotator-{secrets.token_hex(6)}",
        password_hash=cheap_hash(),
    )
    session.add(user)
    session.commit()
    return user


def sign_in(client: TestClient, user: User) -> TestClient:
    """Put a fresh session of ``user`` into ``client``'s cookie jar, without the cost of a password."""
    with session_scope() as session:
        secret = signing_in.start_session(session, user)
    client.cookies.set("corral", secret)
    return client


def current_round(session: Session) -> Round:
    """The round that collects, trains or checks, made on first use."""
    found = session.scalar(select(Round).where(Round.state.not_in(ENDED_COLLECTING)))
    if found is None:
        found = Round(number=1 + (session.scalar(select(func.max(Round.number))) or 0))
        session.add(found)
        session.commit()
    return found


def make_batch(
    session: Session,
    *,
    name: str | None = None,
    state: BatchState = BatchState.OPEN,
    annotators_per_prompt: int = 1,
    candidates_per_prompt: int = 2,
    edit_policy: EditPolicy = EditPolicy.OPTIONAL,
    guidelines: str = "Prefer what is *true* over what is long.",
) -> Batch:
    """A work package of the current round without prompts."""
    batch = Batch(
        name=name or f"batch {secrets.token_hex(4)}",
        state=state,
        round_id=current_round(session).id,
        annotators_per_prompt=annotators_per_prompt,
        candidates_per_prompt=candidates_per_prompt,
        edit_policy=edit_policy,
        guidelines=guidelines,
    )
    session.add(batch)
    session.commit()
    return batch


def make_prompt(
    session: Session,
    batch: Batch,
    text: str | None = None,
    *,
    state: PromptState = PromptState.PENDING,
    held_out: bool = False,
) -> Prompt:
    """One prompt of ``batch``, a single user turn; without ``text`` of its own, on the side of the split that is said."""
    key = secrets.token_hex(8)
    side = b"\0" if held_out else b"\xff"
    prompt = Prompt(
        batch_id=batch.id,
        external_id=key,
        messages=[{"role": "user", "content": text or f"What is the square root of {key}?"}],
        content_hash=hashlib.sha256(text.encode()).digest() if text else side + secrets.token_bytes(31),
        state=state,
    )
    session.add(prompt)
    session.commit()
    return prompt


def make_deployment(session: Session, checkpoint: str = "zebra-base", label: str = "focused") -> Deployment:
    """A policy in rotation, made on first use; ``checkpoint`` is its name."""
    found = session.scalar(
        select(Deployment).join(Checkpoint).where(Checkpoint.name == checkpoint, Deployment.label == label)
    )
    if found is not None:
        return found
    owner = session.scalar(select(Checkpoint).where(Checkpoint.name == checkpoint))
    if owner is None:
        base = session.scalar(select(Checkpoint.id).where(Checkpoint.kind == CheckpointKind.BASE))
        kind = CheckpointKind.BASE if base is None else CheckpointKind.POLICY
        manifest = None if base is None else secrets.token_hex(32)
        owner = Checkpoint(name=checkpoint, kind=kind, path=checkpoint, manifest_sha256=manifest)
        session.add(owner)
        session.flush()
    deployment = Deployment(checkpoint_id=owner.id, label=label, sampling={"temperature": 0.7, "top_p": 0.9})
    session.add(deployment)
    session.commit()
    return deployment


def make_candidate(
    session: Session,
    prompt: Prompt,
    text: str,
    *,
    deployment: Deployment | None = None,
    sample_index: int | None = None,
    **values: Any,
) -> Candidate:
    """One sampled output of ``prompt``."""
    source = deployment or make_deployment(session)
    if sample_index is None:
        sample_index = len(session.scalars(select(Candidate.id).where(Candidate.prompt_id == prompt.id)).all())
    fields: dict[str, Any] = {
        "prompt_id": prompt.id,
        "checkpoint_id": source.checkpoint_id,
        "deployment_id": source.id,
        "sample_index": sample_index,
        "text": text,
        "finish_reason": "stop",
        "prompt_tokens": 7,
        "completion_tokens": len(text.split()),
        "sampling": {"model": "zebra-base", "temperature": 0.7},
        "engine_version": "fake-1",
    }
    candidate = Candidate(**fields | values)
    session.add(candidate)
    session.commit()
    return candidate


def make_comparison(
    session: Session,
    n: int = 2,
    wanted: int = 1,
    *,
    batch: Batch | None = None,
    prompt: Prompt | None = None,
    texts: Sequence[str] | None = None,
) -> Comparison:
    """A comparison of ``n`` responses (or of ``texts``) that wants ``wanted`` annotators, in an open batch.

    Its place in the queue is not drawn: whoever asks is given these in the order in which they were made.
    """
    if prompt is None:
        asked = len(texts) if texts else n
        batch = batch or make_batch(session, annotators_per_prompt=wanted, candidates_per_prompt=max(2, asked))
        prompt = make_prompt(session, batch, state=PromptState.READY)
    for index, answer in enumerate(texts or [f"Answer number {index} of the model." for index in range(n)]):
        source = make_deployment(session, label="focused" if index % 2 == 0 else "varied")
        make_candidate(session, prompt, answer, deployment=source, sample_index=index)
    comparison = comparing.create_comparison(session, prompt)
    assert comparison is not None
    comparison.position = 0
    session.commit()
    return comparison


def make_writing(
    session: Session, *texts: str, wanted: int = 1, held_out: bool = False, **more: Any
) -> list[Comparison]:
    """Items of a new open batch whose answers people write: one for each prompt text, or one; ``more`` is the batch's."""
    batch = make_batch(session, annotators_per_prompt=wanted, **more)
    batch.task = BatchTask.WRITE
    for each in texts or (None,):
        make_prompt(session, batch, each, state=PromptState.READY, held_out=held_out)
    comparing.ask_for_answers(session, batch)
    items = session.scalars(
        select(Comparison).where(Comparison.batch_id == batch.id).order_by(Comparison.prompt_id)
    ).all()
    for place, item in enumerate(items):
        item.position = place
    session.commit()
    return list(items)


def make_labelling(session: Session, *texts: str, wanted: int = 1, **more: Any) -> list[Comparison]:
    """Items of a new open batch whose steps people label: one for each response; ``more`` is the batch's."""
    batch = make_batch(session, annotators_per_prompt=wanted, candidates_per_prompt=2, **more)
    batch.task, batch.candidates_per_prompt = BatchTask.STEPS, 1
    items = []
    for place, each in enumerate(texts or ("2 + 2 = 4\n4 + 1 = 6\nSo it is 6.",)):
        prompt = make_prompt(session, batch, state=PromptState.READY)
        make_candidate(session, prompt, each)
        item = comparing.create_comparison(session, prompt)
        assert item is not None
        item.position = place
        items.append(item)
    session.commit()
    return items


def make_labels(session: Session, user: User, item: Comparison, *labels: int, right_step: str = "") -> Annotation:
    """What ``user`` says of the steps of ``item``."""
    held = make_assignment(session, user, item)
    submission = Submission(
        fencing_token=held.fencing_token,
        outcome=Outcome.LABELLED,
        step_labels=list(labels),
        right_step=right_step,
        active_seconds=12.5,
    )
    recorded = recording.submit(session, user, held.id, submission, key=secrets.token_hex(16))
    session.commit()
    return session.get_one(Annotation, recorded.id)


def make_assignment(session: Session, user: User, comparison: Comparison | None = None) -> Assignment:
    """The next item of ``user``; without ``comparison`` a new one is made first."""
    if comparison is None:
        comparison = make_comparison(session)
    held = annotating.next_assignment(session, user, comparison.batch_id)
    assert held is not None
    session.commit()
    return session.get_one(Assignment, held.id, populate_existing=True)


def make_annotation(
    session: Session,
    user: User,
    comparison: Comparison | None = None,
    *,
    ranking: Sequence[Sequence[int]] | None = None,
    strengths: Sequence[int] | None = None,
    outcome: Outcome = Outcome.RANKED,
    edited_text: str | None = None,
    comment: str = "",
    flags: dict[str, list[Flag]] | None = None,
) -> Annotation:
    """A submission of ``user``; ``ranking`` names candidates by id, best first (default: in order of their ids).

    Of an item without responses it is ``edited_text``, the answer; of one whose steps are labelled all of them are right.
    """
    assignment = make_assignment(session, user, comparison)
    if len(assignment.order_shown) == 1:
        steps = cut(session.get_one(Candidate, assignment.order_shown[0]).text)
        return make_labels(session, user, session.get_one(Comparison, assignment.comparison_id), *(1 for _ in steps))
    if not assignment.order_shown:
        outcome, edited_text = Outcome.WRITTEN, edited_text or "An answer from scratch."
    letters = {candidate: position(index) for index, candidate in enumerate(assignment.order_shown)}
    groups = ranking or [[candidate] for candidate in sorted(assignment.order_shown)]
    ranked = outcome is Outcome.RANKED
    submission = Submission(
        fencing_token=assignment.fencing_token,
        outcome=outcome,
        ranking=[[letters[candidate] for candidate in group] for group in groups] if ranked else [],
        strengths=list(strengths or [3] * (len(groups) - 1)) if ranked else [],
        edited_text=edited_text,
        comment=comment,
        flags=flags or {},
        active_seconds=12.5,
    )
    recorded = recording.submit(session, user, assignment.id, submission, key=secrets.token_hex(16))
    session.commit()
    return session.get_one(Annotation, recorded.id)


def make_checkpoint(session: Session, name: str, kind: CheckpointKind = CheckpointKind.POLICY) -> Checkpoint:
    """A registered checkpoint; its files are nowhere."""
    digest = None if kind is CheckpointKind.BASE else hashlib.sha256(name.encode()).hexdigest()
    session.add(made := Checkpoint(name=name, kind=kind, path=name, manifest_sha256=digest))
    session.flush()
    return made


def make_contest(
    session: Session,
    challenger: Checkpoint,
    champion: Checkpoint,
    *,
    kind: ContestKind = ContestKind.GATE,
    of: Round | None = None,
    **values: Any,
) -> Contest:
    """A contest between two policies, open unless ``values`` say otherwise, and nothing counted yet."""
    made = Contest(
        round_id=(of or current_round(session)).id,
        kind=kind,
        challenger_id=challenger.id,
        champion_id=champion.id,
        budget=values.pop("budget", 400),
        **values,
    )
    session.add(made)
    session.flush()
    return made


def complete_round(session: Session, ended: Round, **values: Any) -> Round:
    """The round ends, trained on all that was judged; the next one, which collects."""
    everything = select(Annotation.id).join(Comparison, Comparison.id == Annotation.comparison_id)
    ids = list(session.scalars(everything.where(COUNTS, purposes.trains)))
    snapshot = Snapshot(
        name=f"snapshot-{secrets.token_hex(4)}",
        state=SnapshotState.READY,
        filter={"until": max(ids, default=0)},
        sha256="0" * 64,
    )
    session.add(snapshot)
    session.flush()
    session.add_all(SnapshotAnnotation(snapshot_id=snapshot.id, annotation_id=key) for key in ids)
    reward = make_checkpoint(session, f"reward-{secrets.token_hex(4)}", CheckpointKind.REWARD)
    session.add(
        TrainingRun(
            round_id=ended.id,
            kind=RunKind.REWARD,
            state=RunState.SUCCEEDED,
            snapshot_id=snapshot.id,
            checkpoint_id=reward.id,
            config={"scope": "all rounds", "base_id": 0, "run": {"name": reward.name}},
        )
    )
    for name, value in {"state": RoundState.COMPLETE, "completed_at": func.now(), **values}.items():
        setattr(ended, name, value)
    session.flush()
    following = Round(number=ended.number + 1)
    session.add(following)
    session.commit()
    return following


def make_steps(*results: str, said: str = "", failed: bool = False, **arguments: Any) -> list[dict[str, Any]]:
    """The steps of a response that called the calculator once for each result."""
    steps: list[dict[str, Any]] = []
    for number, result in enumerate(results, 1):
        function = {"name": "calculator", "arguments": json.dumps(arguments, ensure_ascii=False)}
        call = {"id": f"call_{number}", "type": "function", "function": function}
        raw = f"<function=calculator>{function['arguments']}</function>"
        steps += [
            {"role": "assistant", "content": said, "tool_calls": [call], "said": raw},
            {"role": "tool", "name": "calculator", "tool_call_id": call["id"], "content": result}
            | ({"failed": True} if failed else {}),
        ]
    return steps


def make_traced(session: Session, *steps: list[dict[str, Any]] | None, batch: Batch | None = None) -> Comparison:
    """A comparison of responses to a prompt with a calculator, each with the steps that came before it."""
    prompt = make_prompt(
        session, batch or make_batch(session, candidates_per_prompt=len(steps)), state=PromptState.READY
    )
    prompt.tools = [{"type": "function", "function": {"name": "calculator"}}]
    for index, each in enumerate(steps):
        source = make_deployment(session, label="focused" if index % 2 == 0 else "varied")
        make_candidate(session, prompt, f"It is {42 + index}.", deployment=source, sample_index=index, steps=each)
    comparison = comparing.create_comparison(session, prompt)
    assert comparison is not None
    comparison.position = 0
    session.commit()
    return comparison
