"""An installation in the middle of its life, so that every page has something to show."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.accounts import second_step, teams
from app.accounts import service as accounts
from app.accounts.models import Role, SecondStep, User
from app.annotations.models import Annotation, Retraction, RetractionScope
from app.batches import appending
from app.board import service as board_service
from app.board.models import Board
from app.candidates.models import Candidate
from app.comparisons import service as comparing
from app.dialogues.forms import Seed
from app.dialogues.models import Dialogue
from app.findings import service as checking
from app.judgements.vocabulary import ShowFindings
from app.lineage import service as lineage
from app.preferences.models import Snapshot, SnapshotAnnotation, SnapshotState
from app.preferences.queries import last_annotation_id
from app.prompts import service as prompts
from app.prompts.models import BatchState, Prompt, PromptState
from app.quality import service as quality
from app.registry.models import Checkpoint, CheckpointKind, External
from app.rounds.models import Evaluation, InputRole, RunInput, RunKind, RunState, TrainingEvent, TrainingRun
from app.synthesis import ledger
from app.synthesis import service as ordering
from app.synthesis.forms import SynthesisOrder
from app.synthesis.models import Synthesis
from app.webhooks import service as webhooks
from app.webhooks.forms import WebhookIn
from app.webhooks.models import Delivery, DeliveryState, Occasion, Webhook
from tests import factories, talking
from tests.browser.history import PASTS, make_history
from tests.browser.sourced import make_sources
from tests.findings.checking import checkable, found, submit
from training.formats import mix

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

WITH_STEP = "wilhelmina@example.org"
"""Whose second step is on."""
ADVICE = mix.Portion("advice", "中文 and العربية", "human_edit", 20, 2500)


UPLOAD = b"""{"prompt": "Why?", "responses": {"a-rival-whose-name-is-as-long-as-names-of-models-become-today": "So."}}
{"prompt": "Where?", "responses": ["Here.", "There."]}
{"prompt": ""}
{"prompt": "How?", "responses": ["Slowly."]}
{"prompt": "When?", "chosen": "Now."}
"""


@dataclass(frozen=True)
class Scene:
    """Who is there, and the ids that paths are made of."""

    people: dict[Role, User]
    ids: dict[str, int | str]


def set_scene(session: Session, path: str = "") -> Scene:
    """Three people, two batches, work in every state, an upload under preview, a snapshot, a checkpoint and a run.

    The many judgements of a board are there for the pages that show them alone.
    """
    alice = factories.make_user(session, Role.ANNOTATOR, "Alice")
    rita = factories.make_user(session, Role.REVIEWER, "Rita")
    bob = factories.make_user(session, Role.ADMIN, "Bob")
    contests = make_history(session)
    # Names as long as people give them: no list, table or select may push a narrow page sideways.
    long = "Wilhelmina Featherstonehaugh-Cholmondeley of the evening shift"
    wilhelmina = factories.make_user(session, Role.ANNOTATOR, long, email=WITH_STEP)
    second_step.begin(session, wilhelmina)
    session.execute(update(SecondStep).values(confirmed_at=func.now()))
    factories.make_batch(session, name="Questions_about_refunds_and_returns_from_the_shop_of_last_autumn, second half")
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
    synthesis = make_order(session, bob)
    upload = prompts.create_upload(session, bob, "new.jsonl", UPLOAD)
    more = appending.hold(session, bob, pairs, "more.jsonl", UPLOAD)
    invite = accounts.create_invite(session, role=Role.ANNOTATOR, created_by=bob)
    run = make_run(session, bob)
    retraction = make_lineage(session, bob, run, annotation)
    if path.startswith("/board"):
        make_board(session)
        make_solved(session)
    rival = Checkpoint(name="rival-large", kind=CheckpointKind.EXTERNAL, path="rival")
    rival.external = External(endpoint="rival", model="large-2", may_train=False, note="Their terms, section 4.")
    session.add(rival)
    checked = make_checks(session, alice) if "check" in path else {}
    blank = make_blank(session, alice) if "essay" in path else {}
    proof = make_proof(session, alice) if "proof" in path else {}
    traced = make_traced(session, alice) if "traced" in path else {}
    webhook = make_webhook(session, bob)
    team = teams.create(session, bob, "Evening shift", [alice.id, wilhelmina.id])
    sources = make_sources(session, bob, run) if "source" in path else {}
    session.commit()
    by_name = dict(session.execute(select(Checkpoint.name, Checkpoint.id)).all())
    ids: dict[str, int | str] = {
        "okapi": by_name["okapi-policy"],
        "zebra": by_name["zebra-base"],
        "external": rival.id,
        "invite": invite,
        "upload": upload.id,
        "more": more.id,
        "synthesis": synthesis.id,
        "webhook": webhook.id,
        "team": team.id,
        "batch": pairs.id,
        "prompt": prompt.id,
        "pair": held.id,
        "four": four.id,
        "done": annotation.assignment_id,
        "said": annotation.id,
        "annotator": alice.id,
        "dialogues": talk.batch_id,
        "dialogue": talk.id,
        "turn": turns[0].id,
        "written": turns[1].id,
        "writing": writing.id,
        "checkpoint": run.checkpoint_id or 0,
        "snapshot": run.snapshot_id,
        "run": run.id,
        "retraction": retraction.id,
        "retracted": retraction.target_id,
        "contest": contests[-1].id,
        "settled": contests[0].id,
        "challenging": len(PASTS),
        **checked,
        **(make_trials(session, bob) if "playground" in path else {}),
        **blank,
        **proof,
        **traced,
        **sources,
    }
    return Scene({Role.ANNOTATOR: alice, Role.REVIEWER: rita, Role.ADMIN: bob}, ids)


def make_checks(session: Session, alice: User) -> dict[str, int]:
    """An item whose findings are shown while it is judged, and one that Alice submitted with the wrong one first."""
    batch = factories.make_batch(session, name="Sums")
    batch.show_findings = ShowFindings.JUDGING
    evidence = {"wanted": "42", "found": "It is exactly 41, which is a very long way of being wrong " * 3}
    items = []
    for _ in range(2):
        comparison = checkable(session, "It is 42.", "It is 41.", batch=batch)
        items.append(factories.make_assignment(session, alice, comparison))
        while (held := checking.claim(session)) is not None:
            right = "42" in checking.work_of(session, held).case["response"]
            said = "5 of 5 tests" if right else "language: de wanted, en found in averylongwordwithoutanyplacetobreakit"
            unsure = found(None, "There is no sandbox here: install bubblewrap.", "calls")
            checking.record(session, held, "0" * 64, [found(right, said, evidence=evidence), unsure])
        if len(items) == 1:
            items[0].order_shown = sorted(items[0].order_shown, reverse=True)
            session.commit()
            submit(session, alice, items[0], edited_text="It is surely 42.")
            held = checking.claim(session)
            assert held is not None
            checking.record(session, held, "0" * 64, [found()])
    return {"checked": items[0].id, "checking": items[1].id}


def make_trials(session: Session, user: User) -> dict[str, int]:
    """A trial that went on from an answer and is complete, and one that is being written."""
    first = talking.make_trial(session, user, "How many pairs are there among n things?", MARKDOWN, "Just count them.")
    after = talking.make_trial(session, user, "ماذا عن 日本語?", MARKDOWN, "```\nn * (n - 1) // 2\n```", after=first.id)
    trying = talking.make_trial(session, user, "Hello", blind=True)
    return {"trial": after.id, "trying": trying.id}


def make_blank(session: Session, alice: User) -> dict[str, int]:
    """An item whose answer Alice writes, of a batch that checks it, and one that she has written."""
    items = factories.make_writing(session, "What is 6 · 7?", "ما هو لون السماء؟ 为什么天空是蓝色的？", name="Essays")
    session.get_one(Prompt, items[1].prompt_id).reference = "42"
    session.commit()
    said = factories.make_annotation(session, alice, items[0], edited_text=MARKDOWN)
    return {"essay": factories.make_assignment(session, alice, items[1]).id, "essay_done": said.assignment_id}


def make_proof(session: Session, alice: User) -> dict[str, int]:
    """A response whose steps Alice labels, in several scripts, with code and a long formula, and one that she has labelled."""
    words = "2 + 2 = 4\n\nلأن المجموع هو **4** 个。\n`pairs(items)` gives $n \\cdot (n - 1) / 2$\n" + "Therefore" * 30
    items = factories.make_labelling(session, "2 + 2 = 4\n4 + 1 = 6\nSo it is 6.", words, name="Proofs")
    said = factories.make_labels(session, alice, items[0], 1, -1, right_step="4 + 1 = **5**")
    return {"proof": factories.make_assignment(session, alice, items[1]).id, "proof_done": said.assignment_id}


def make_traced(session: Session, alice: User) -> dict[str, int]:
    """An item of which one response called a tool twice, in vain and with a long result."""
    rows = json.dumps([{"city": f"東京都千代田区{n}", "مدينة": "القاهرة"} for n in range(20)], ensure_ascii=False)
    steps = factories.make_steps("Error: no such city", rows, said="让我查一下。", expression="x" * 90, where="القاهرة")
    steps[1]["failed"] = True
    return {"traced": factories.make_assignment(session, alice, factories.make_traced(session, steps, None)).id}


def make_dialogues(session: Session, user: User) -> tuple[Dialogue, list[Prompt], Dialogue]:
    """A dialogue with a branch, and one whose answers are being written."""
    talks = talking.make_dialogue_batch(session, Seed(system="Answer in *one* sentence."), name="Steerability")
    talk = talking.begin_dialogue(session, user, talks)
    first = talking.say(session, user, talk, "How many pairs are there among n things?")
    talking.write_replies(session, first, MARKDOWN, "Just count them.")
    talking.judge_turn(session, user, first, edited_text="Count them, then halve.")
    second = talking.say(session, user, talk, "And triples?", first)
    talking.write_replies(session, second, "n choose 3.", "As many again.")
    another = talking.make_dialogue_batch(session, name="Free talk")
    writing = talking.begin_dialogue(session, user, another)
    talking.say(session, user, writing, "Hello")
    return talk, [first, second], writing


def make_board(session: Session) -> Board:
    """Three policies that four people have judged, as the worker computed it: enough for every column."""
    from workers.board.computing import compute  # a second, for the pages that show it alone

    policies = ("zebra-base", "okapi-policy", "policy-r2-5d8f01c2")
    people = [factories.make_user(session, Role.ANNOTATOR, name) for name in ("Anna", "Amir", "Aida", "Arne")]
    draw = random.Random(3)
    batch = factories.make_batch(session, name="Everyday questions", annotators_per_prompt=2)
    for number in range(24):
        one, other = policies[number % 3], policies[(number + 1) % 3]
        prompt = factories.make_prompt(session, batch, state=PromptState.READY)
        prompt.capability = ("general", "reasoning")[number % 2]
        for index, name in enumerate((one, other)):
            text = f"{name} counts them: " + "one by one, " * (number % 5 + 2 * index)
            factories.make_candidate(
                session, prompt, text, deployment=factories.make_deployment(session, name), sample_index=index
            )
        item = comparing.create_comparison(session, prompt)
        assert item is not None
        session.commit()
        ids = session.scalars(
            select(Candidate.id).where(Candidate.prompt_id == prompt.id).order_by(Candidate.sample_index)
        ).all()
        for person in draw.sample(people, 2):
            newer = max(one, other, key=policies.index)
            order = sorted(
                ids, key=lambda each: ids.index(each) == (one, other).index(newer), reverse=draw.random() < 0.7
            )
            factories.make_annotation(
                session, person, item, ranking=[[each] for each in order], strengths=[draw.randint(1, 4)]
            )
    board = board_service.claim(session, board_service.request(session, None).id)
    assert board is not None
    board_service.finish(session, board, compute(session, board))
    session.commit()
    return board


def make_solved(session: Session) -> None:
    """What two policies of the board solve of the held-out prompts that can be checked."""
    rates = [{"value": at, "low": at - 0.1, "high": at + 0.1, "prompts": 40} for at in (0.3, 0.55)]
    metrics = {
        name: {"verified/maths": rate, "verified/code": rate, "verified": rate}
        for name, rate in zip(("before_metrics", "after_metrics"), rates, strict=True)
    }
    before, after = (
        session.scalars(select(Checkpoint.id).where(Checkpoint.name == name)).one()
        for name in ("zebra-base", "okapi-policy")
    )
    number = factories.current_round(session).id
    session.add(Evaluation(round_id=number, checkpoint_id=after, against_id=before, passed=True, metrics=metrics))
    session.commit()


def make_run(session: Session, user: User) -> TrainingRun:
    """A reward model that was trained on a snapshot, with its curve."""
    round_now = factories.current_round(session)
    snapshot = Snapshot(
        name="snapshot-1", state=SnapshotState.READY, filter={"until": last_annotation_id(session)},
        rows=40, train_rows=30, held_out_rows=10, sha256="0" * 64, path="/nowhere", created_by_id=user.id,
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


def make_lineage(session: Session, user: User, run: TrainingRun, said: Annotation) -> Retraction:
    """What the run learnt from and what came of it; one of those who judged was retracted since."""
    batch = factories.make_batch(session, name="Letters")
    people = [factories.make_user(session, name=name) for name in ("Charlie", "Dora", "Erin")]
    more = [factories.make_annotation(session, who, factories.make_comparison(session, batch=batch)) for who in people]
    batch.state = BatchState.CLOSED
    held = [SnapshotAnnotation(snapshot_id=run.snapshot_id, annotation_id=each.id) for each in (said, *more)]
    session.add_all(held)
    imitates = factories.make_checkpoint(session, "sft-r1-00", CheckpointKind.SFT)
    imitation = TrainingRun(
        round_id=run.round_id, kind=RunKind.SFT, state=RunState.SUCCEEDED, snapshot_id=run.snapshot_id,
        config={}, checkpoint_id=imitates.id, created_by_id=user.id,
    )  # fmt: skip
    session.add(imitation)
    session.flush()
    session.add(RunInput(run_id=imitation.id, role=InputRole.CHOSE, checkpoint_id=run.checkpoint_id or 0))
    report = mix.report([mix.Portion("maths", "english", "rejection_sampling", 30, 7500), ADVICE], {"language:zh": 0.5})
    session.add(TrainingEvent(run_id=imitation.id, seq=1, event="mix", values=report, at=datetime.now(UTC)))
    session.commit()
    dora = more[1].annotator_id
    return lineage.retract(session, user, RetractionScope.PERSON, dora, "She judged with the sides swapped.")


def make_order(session: Session, bob: User) -> Synthesis:
    """An order of prompts that is half done, with numbers that gave none."""
    order = SynthesisOrder.model_validate(
        {"generator": "arithmetic", "count": 40, "settings": {"name": "Sums of spring"}}
    )
    synthesis = ordering.order(session, bob, order)
    claim = ledger.claim(session)
    assert claim is not None
    made = [ledger.Row(number, {"prompt": f"What is {number} + 1?"}) for number in range(16)]
    said = ["a number was lost in translation", "the model gave no JSON object with question, answer: <html>…</html>"]
    ledger.record(session, claim, [*made, *(ledger.Row(16 + place, None, why) for place, why in enumerate(said))])
    ledger.release(session, claim)
    return synthesis


def make_webhook(session: Session, bob: User) -> Webhook:
    """Somebody who is told of verdicts: one arrived, one waits after a try, one failed."""
    url = "https://hooks.example.org/services/a-team-with-a-long-name/corral?channel=nightly-training"
    made, _ = webhooks.add(session, bob, WebhookIn(url=url, occasions=["round.verdict", "export.ready"]))
    for number, state in enumerate(DeliveryState, start=1):
        away = state is not DeliveryState.DELIVERED
        session.add(
            Delivery(
                webhook_id=made.id,
                occasion=Occasion.ROUND_VERDICT,
                subject_id=number,
                data={"round": number, "verdict": "refused", "reason": "It was worse.", "path": f"/rounds/{number}"},
                state=state,
                attempts=9 if state is DeliveryState.FAILED else 1,
                last_error="It answers 500." if away else None,
                delivered_at=None if away else func.now(),
            )
        )
    session.flush()
    return made
