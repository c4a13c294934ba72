"""An installation in the middle of its life, so that every page has something to show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import Role, User
from app.dialogues.forms import Seed
from app.dialogues.models import Dialogue
from app.preferences.models import Snapshot, SnapshotState
from app.prompts import service as prompts
from app.prompts.models import Prompt, PromptState
from app.quality import service as quality
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds.models import RunKind, RunState, TrainingEvent, TrainingRun
from tests import factories

MARKDOWN = """Two ways:

1. **Count** them, `len(items)`.
2. Use $n \\cdot (n - 1) / 2$.

```python
def pairs(n: int) -> int:
    return n * (n - 1) // 2
```

| n | pairs |
|---|---|
| 3 | 3 |
| 4 | 6 |
"""


@dataclass(frozen=True)
class Scene:
    """Who is there, and the ids that paths are made of."""

    people: dict[Role, User]
    ids: dict[str, int | str]


def set_scene(session: Session) -> Scene:
    """Three people, two batches, work in every state, an upload under preview, a snapshot, a checkpoint and a run."""
    alice = factories.make_user(session, Role.ANNOTATOR, "Alice")
    rita = factories.make_user(session, Role.REVIEWER, "Rita")
    bob = factories.make_user(session, Role.ADMIN, "Bob")
    pairs = factories.make_batch(session, name="Pairs")
    pairs.strength_examples = {"4": "Only *one* of them answers.", "3": "One is plainly clearer."}
    texts = [MARKDOWN, "Just count them."]
    done = factories.make_comparison(session, batch=pairs, texts=texts)
    annotation = factories.make_annotation(session, alice, done, edited_text="Count them, then halve.")
    quality.make_gold(session, rita, annotation, "The longer one shows *why*.")
    prompt = factories.make_prompt(session, pairs, "How many pairs are there among n things?", state=PromptState.READY)
    pair = factories.make_comparison(session, prompt=prompt, texts=texts)
    held = factories.make_assignment(session, alice, pair)
    ranked = factories.make_batch(session, name="Rankings", candidates_per_prompt=4)
    ranked.strength_examples = pairs.strength_examples
    four = factories.make_assignment(session, alice, factories.make_comparison(session, 4, batch=ranked))
    talk, turns, writing = make_dialogues(session, alice)
    upload = prompts.create_upload(session, bob, "new.jsonl", b'{"prompt": "Why?"}\n{"prompt": ""}\n')
    invite = accounts.create_invite(session, role=Role.ANNOTATOR, created_by=bob)
    run = make_run(session, bob)
    session.commit()
    ids: dict[str, int | str] = {
        "invite": invite,
        "upload": upload.id,
        "batch": pairs.id,
        "prompt": prompt.id,
        "pair": held.id,
        "four": four.id,
        "done": annotation.assignment_id,
        "said": annotation.id,
        "dialogues": talk.batch_id,
        "dialogue": talk.id,
        "turn": turns[0].id,
        "written": turns[1].id,
        "writing": writing.id,
        "checkpoint": run.checkpoint_id or 0,
        "snapshot": run.snapshot_id,
        "run": run.id,
    }
    return Scene({Role.ANNOTATOR: alice, Role.REVIEWER: rita, Role.ADMIN: bob}, ids)


def make_dialogues(session: Session, user: User) -> tuple[Dialogue, list[Prompt], Dialogue]:
    """A dialogue with a branch, and one whose answers are being written."""
    talks = factories.make_dialogue_batch(session, Seed(system="Answer in *one* sentence."), name="Steerability")
    talk = factories.begin_dialogue(session, user, talks)
    first = factories.say(session, user, talk, "How many pairs are there among n things?")
    factories.write_replies(session, first, MARKDOWN, "Just count them.")
    factories.judge_turn(session, user, first, edited_text="Count them, then halve.")
    second = factories.say(session, user, talk, "And triples?", first)
    factories.write_replies(session, second, "n choose 3.", "As many again.")
    another = factories.make_dialogue_batch(session, name="Free talk")
    writing = factories.begin_dialogue(session, user, another)
    factories.say(session, user, writing, "Hello")
    return talk, [first, second], writing


def make_run(session: Session, user: User) -> TrainingRun:
    """A reward model that was trained on a snapshot, with its curve."""
    round_now = factories.current_round(session)
    snapshot = Snapshot(
        name="snapshot-1", state=SnapshotState.READY, filter={}, rows=40, train_rows=30, held_out_rows=10,
        sha256="0" * 64, path="/nowhere", created_by_id=user.id,
    )  # fmt: skip
    reward = Checkpoint(name="reward-r1-00", kind=CheckpointKind.REWARD, path="/nowhere", manifest_sha256="1" * 64)
    session.add_all([snapshot, reward])
    session.flush()
    metrics = {"held_out/accuracy": 0.8, "held_out/pairs": 10, "held_out/accuracy/strength_4": 1.0, "loss": 0.41}
    told = {
        "kind": "reward", "name": "reward-r1-00", "base_model": "/models/base", "recipe": "laptop", "seed": 17,
        "data": {"min_strength": 3},
    }  # fmt: skip
    now = datetime.now(UTC)
    run = TrainingRun(
        round_id=round_now.id, kind=RunKind.REWARD, state=RunState.SUCCEEDED, snapshot_id=snapshot.id,
        config={"scope": "all rounds", "run": told}, step=20, total_steps=20,
        baseline={"held_out/accuracy": 0.4, "held_out/pairs": 10}, metrics=metrics, checkpoint_id=reward.id,
        created_by_id=user.id, started_at=now, finished_at=now,
    )  # fmt: skip
    session.add(run)
    session.flush()
    for step in range(1, 21):
        values = {"loss": 0.7 - step / 80, "rewards/accuracies": 0.5 + step / 60, "rewards/margins": step / 30}
        session.add(TrainingEvent(run_id=run.id, seq=step, event="step", step=step, values={"metrics": values}, at=now))
    measured = [("baseline", None, 0.4), ("evaluation", 10, 0.7), ("final", None, 0.8)]
    for seq, (event, at_step, value) in enumerate(measured, 21):
        values = {f"held_out/accuracy/strength_{level}": value + level / 20 for level in (1, 2, 3, 4)}
        values |= {"held_out/accuracy": value, "held_out/reward_margin": value}
        session.add(
            TrainingEvent(run_id=run.id, seq=seq, event=event, step=at_step, values={"metrics": values}, at=now)
        )
    session.commit()
    return run
