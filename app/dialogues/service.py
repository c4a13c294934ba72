"""The rules of conversing. Nothing here commits.

A turn is a prompt: the conversation up to the annotator's message, with the turn before it as its parent, which makes the
tree. Two policies answer it while its annotator watches (the ledger is ``app.candidates.live``); when both texts have
come, they are compared like any others, by their annotator alone. What is said next follows the chosen answer, or the
edited one, as it stood then: a later correction changes no turn that was built on it.

Whoever writes locks the dialogue first, so that two windows of one person take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from app.accounts.models import User
from app.accounts.service import audit
from app.candidates import live, live_pace
from app.candidates.models import Candidate, LiveGeneration, LiveKind, LiveState
from app.candidates.policy import draw
from app.comparisons import claims, seats
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.comparisons.service import create_comparison
from app.dialogues import queries
from app.dialogues.answers import is_usable, problem_of
from app.dialogues.forms import DialogueSettings, Finish, Message
from app.dialogues.models import Dialogue, DialogueSeed, DialogueState
from app.kernel.errors import Conflict, NotFound, Unavailable, refused
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.prompts import guidelines
from app.prompts.models import Batch, BatchKind, BatchState, Prompt, PromptState
from app.prompts.origins import Origin
from app.prompts.service import create_batch
from app.registry.models import Deployment
from app.registry.service import rotation, serving
from training.formats.prompts import content_hash

SLOTS = (0, 1)
"""The two answers, left and right."""
AFTER_ANSWERS: list[Callable[[Session, int], object]] = []
"""What rooms above do with a turn whose answers are recorded, in the transaction that records them."""


# ── The admin's ──────────────────────────────────────────────────────────────────────────────────────────────────────
def create(session: Session, user: User, settings: DialogueSettings) -> Batch:
    """A batch of dialogues, in preparation.

    Nobody begins twice from one seed. Where the annotator writes the first message a seed is nothing that could be met
    twice, so each of its dialogues gets a seed of its own.
    """
    batch = create_batch(session, user, settings.as_batch, None, kind=BatchKind.DIALOGUE, max_turns=settings.max_turns)
    for seed in settings.seeds:
        times, wanted = (seed.dialogues, 1) if seed.opening is None else (1, seed.dialogues)
        session.add_all(
            DialogueSeed(
                batch_id=batch.id,
                system=seed.system,
                opening=seed.opening,
                tests=seed.tests or None,
                dialogues_wanted=wanted,
                seats_free=wanted,
            )
            for _ in range(times)
        )
    audit(session, user, "batch.create", "batch", batch.id, name=batch.name, seeds=len(settings.seeds))
    session.flush()
    return batch


# ── The annotator's ──────────────────────────────────────────────────────────────────────────────────────────────────
def begin(session: Session, user: User, batch_id: int) -> Dialogue:
    """The dialogue that ``user`` has open in this batch, else a new one from the next seed.

    Raises:
        Conflict: the batch is not open, or nothing in it is left for ``user``.
    """
    batch = session.get(Batch, batch_id)
    if batch is None or batch.kind is not BatchKind.DIALOGUE or batch.state is BatchState.PREPARING:
        raise NotFound
    claims.serialise(session, user.id)  # two tabs that begin at once share one dialogue
    mine = Dialogue.annotator_id == user.id, Dialogue.batch_id == batch.id, Dialogue.state == DialogueState.OPEN
    found = session.scalars(select(Dialogue).where(*mine).order_by(Dialogue.id).limit(1)).one_or_none()
    if found is not None:
        return found
    _check_takes(batch)
    seed = _take_seed(session, user, batch)
    dialogue = Dialogue(batch_id=batch.id, seed_id=seed.id, annotator_id=user.id)
    session.add(dialogue)
    session.flush()
    guidelines.meet(session, user.id, batch.id)
    return dialogue


def _take_seed(session: Session, user: User, batch: Batch) -> DialogueSeed:
    free = queries.free_seeds(user).where(DialogueSeed.batch_id == batch.id).order_by(DialogueSeed.id).limit(1)
    # one that nobody else is taking at this moment; where there is none, wait for them and see what they left
    for skip in (True, False):
        seed = session.scalars(free.with_for_update(skip_locked=skip, of=DialogueSeed)).one_or_none()
        if seed is not None:
            seed.seats_free -= 1
            return seed
    raise Conflict(_("There is nothing left for you to begin in this batch."))


def say(session: Session, user: User, dialogue_id: int, message: Message) -> Prompt:
    """Add a turn and have it answered. The same ``key`` gives the same turn again.

    Raises:
        BadInput: the seed says how the dialogue begins, there is no such answer to go on from, or the key was used for
            another message.
        Conflict: the dialogue is finished, has its most turns, or the turn before is not judged.
        TooMany: the quota is used up; nothing was added.
        Unavailable: no model can be asked now.
    """
    dialogue = _lock(session, user, dialogue_id)
    request_key = f"turn:{dialogue.id}:{message.key}"
    asked = message.model_dump(mode="json")
    earlier = live.asked_before(session, user, _slot_key(request_key, SLOTS[0]), asked)
    if earlier is not None:
        return session.get_one(Prompt, earlier.prompt_id)
    _check_takes(dialogue.batch)
    _check_open(dialogue)
    said = {"role": "user", "content": message.text}
    before = None if message.after is None else queries.turn(session, dialogue, message.after)
    messages = [*_before(session, dialogue, before, message), said]
    most = dialogue.batch.max_turns
    if sum(each["role"] == "user" for each in messages) > most:
        raise Conflict(
            _("A dialogue in this batch has at most {n} turns: finish it, or continue from an earlier one.", n=most)
        )
    if sum(len(each["content"]) for each in messages) > get_settings().prompt_limit_chars:
        raise Conflict(_("The conversation is too long to continue: finish it, or continue from an earlier turn."))
    with session.begin_nested():  # a quota that is used up takes the turn back, and nothing else
        turn = Prompt(
            batch_id=dialogue.batch_id,
            dialogue_id=dialogue.id,
            parent_id=before.id if before else None,
            external_id=f"d{dialogue.id}-{queries.count_turns(session, dialogue) + 1}",
            messages=messages,
            content_hash=before.content_hash if before else content_hash(messages),
            capability=dialogue.batch.capability,
            tests=dialogue.seed.tests,
            origin=Origin.HUMAN,
            state=PromptState.READY,  # it is answered by itself, not by the generation of its batch
        )
        session.add(turn)
        session.flush()
        writers = dict(zip(SLOTS, _two(session, turn.id), strict=True))
        _ask(session, user, dialogue.batch, turn, writers, request_key, asked)
    return turn


def _before(session: Session, dialogue: Dialogue, before: Prompt | None, message: Message) -> list[dict[str, str]]:
    """What was said before the new message: the seed, or the turn before with the answer that goes on."""
    if before is None:
        seed = dialogue.seed
        if seed.opening is not None and message.text != seed.opening:
            raise refused("text", _("This dialogue has a fixed first message: send it unchanged."))
        return [] if seed.system is None else [{"role": "system", "content": seed.system}]
    answers = queries.answers(session, before)
    if not answers:
        raise Conflict(_("Judge the answers to this turn first: the dialogue continues from the one that you choose."))
    wanted = message.answer or answers[0].name
    answer = next((each for each in answers if each.name == wanted), None)
    if answer is None:
        raise refused(
            "answer",
            _(
                "The dialogue can only continue from an answer in first place, or from your edit of it: choose one of those."
            ),
        )
    return [*before.messages, {"role": "assistant", "content": answer.text}]


def again(session: Session, user: User, dialogue_id: int, turn_id: int, key: str) -> None:
    """Regenerate what cannot be compared: answers that failed or are empty, or one of two identical ones.

    Of answers that were stopped both are asked for anew: one alone would tell which of them had not begun.

    Raises:
        Conflict: the answers are compared already, or are still being written.
    """
    dialogue = _lock(session, user, dialogue_id)
    turn = queries.turn(session, dialogue, turn_id)
    replies = live.replies(session, turn.id)
    request_key = f"again:{turn.id}:{key}"
    if any(reply.request_key == _slot_key(request_key, reply.slot) for reply in replies):
        return
    _check_takes(dialogue.batch)
    _check_open(dialogue)
    if queries.assignment_of(session, user, turn.id) is not None:
        raise Conflict(_("These answers are already complete: judge them."))
    _check_written(replies)
    if problem_of(replies) is None:
        return
    writers = _writers(session, turn.id, replies)
    renewed = {reply.slot: writers[reply.slot] for reply in _to_renew(replies)}
    with session.begin_nested():  # both, or none when the quota is for one only
        _ask(session, user, dialogue.batch, turn, renewed, request_key, turn.id)


def watch(session: Session, user: User, dialogue_id: int, turn_id: int) -> live_pace.Together:
    """The two answers to a turn of ``user``'s own, to be followed.

    Raises:
        NotFound: there is no such turn, or it is somebody else's.
    """
    dialogue = queries.access(session, user, dialogue_id)
    replies = live.replies(session, queries.turn(session, dialogue, turn_id).id)
    if dialogue.annotator_id != user.id or not replies:
        raise NotFound
    return live_pace.together(replies)


def judge(session: Session, user: User, dialogue_id: int, turn_id: int) -> int:
    """The assignment in which the answers to a turn are judged, made when both have come. Asked twice it is the same.

    Raises:
        Conflict: they are still being written, or cannot be compared.
    """
    dialogue = _lock(session, user, dialogue_id)
    turn = queries.turn(session, dialogue, turn_id)
    found = queries.assignment_of(session, user, turn.id)
    if found is not None:
        return found.id
    replies = live.replies(session, turn.id)
    _check_written(replies)
    problem = problem_of(replies)
    if problem is not None:
        raise Conflict(problem)
    length = live_pace.shared_length(replies)
    order = [_record(session, reply, length) for reply in replies]
    comparison = create_comparison(session, turn)
    assert comparison is not None  # noqa: S101 - two texts that differ
    for act in AFTER_ANSWERS:
        act(session, turn.id)
    seats.take_seat(session, comparison.id)
    return seats.assign(session, user.id, comparison.id, order).id  # as they were watched: left stays left


def finish(session: Session, user: User, dialogue_id: int, wanted: Finish) -> Dialogue:
    """End a dialogue. Finishing twice changes nothing.

    Raises:
        BadInput: the verdict on the system prompt is missing, or there is none to judge.
        Conflict: answers wait to be judged.
    """
    dialogue = _lock(session, user, dialogue_id)
    if dialogue.state is DialogueState.FINISHED:
        return dialogue
    has_system = dialogue.seed.system is not None
    if has_system and wanted.system_kept is None and queries.count_turns(session, dialogue):
        raise refused("system_kept", _("Say whether the answers kept to the system prompt."))
    if not has_system and wanted.system_kept is not None:
        raise refused("system_kept", _("This dialogue has no system prompt."))
    waiting = session.scalar(
        select(Prompt.id)
        .join(Comparison, Comparison.prompt_id == Prompt.id)
        .join(Assignment, Assignment.comparison_id == Comparison.id)
        .where(
            Prompt.dialogue_id == dialogue.id,
            Assignment.state.in_([AssignmentState.ACTIVE, AssignmentState.RELEASED]),
        )
        .limit(1)
    )
    if waiting is not None:
        raise Conflict(_("Some answers in this dialogue are not judged yet: judge or skip them first."), turn=waiting)
    dialogue.state, dialogue.finished_at = DialogueState.FINISHED, func.now()
    dialogue.system_kept, dialogue.note = wanted.system_kept, wanted.note
    session.flush()
    session.refresh(dialogue)
    return dialogue


# ── Answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _to_renew(replies: Sequence[LiveGeneration]) -> Sequence[LiveGeneration]:
    """Of answers that cannot be compared, those to regenerate."""
    if any(reply.state is LiveState.STOPPED for reply in replies):
        return replies
    return [reply for reply in replies if not is_usable(reply, None)] or replies[-1:]


def _record(session: Session, reply: LiveGeneration, length: int | None) -> int:
    candidate = Candidate(
        prompt_id=reply.prompt_id,
        checkpoint_id=reply.deployment.checkpoint_id,
        deployment_id=reply.deployment_id,
        sample_index=reply.slot,
        text=reply.text[:length],
        finish_reason="stopped" if length is not None else reply.finish_reason or "stop",
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        sampling=reply.sampling,
        engine_version=reply.engine_version or "",
    )
    session.add(candidate)
    session.flush()
    return candidate.id


def _two(session: Session, turn_id: int) -> list[Deployment]:
    """The champion and whoever stands beside it on this turn, in an order that says nothing."""
    drawn = [each.deployment for each in draw(turn_id, len(SLOTS), serving(session)) for _ in range(each.n)]
    if not drawn:
        raise _nobody()
    SystemRandom().shuffle(drawn)
    return drawn


def _writers(session: Session, turn_id: int, replies: Sequence[LiveGeneration]) -> dict[int, Deployment]:
    """By slot the same writer again, or where it is there no more one of those who would answer now; two, if there are."""
    drawn = _two(session, turn_id)
    there = {each.id: each for each in rotation(session)}
    writers = {reply.slot: there[reply.deployment_id] for reply in replies if reply.deployment_id in there}
    for reply in replies:
        if reply.slot not in writers:
            taken = {writer.checkpoint_id for writer in writers.values()}
            writers[reply.slot] = next((each for each in drawn if each.checkpoint_id not in taken), drawn[0])
    return writers


def _ask(
    session: Session,
    user: User,
    batch: Batch,
    turn: Prompt,
    writers: dict[int, Deployment],
    request_key: str,
    asked: Any,
) -> None:
    for slot, deployment in writers.items():
        live.request(
            session,
            user,
            prompt_id=turn.id,
            kind=LiveKind.REPLY,
            messages=turn.messages,
            deployment=deployment,
            max_tokens=batch.max_tokens,
            request_key=_slot_key(request_key, slot),
            asked=asked,
            sampling=batch.sampling,
            slot=slot,
        )


def _slot_key(request_key: str, slot: int) -> str:
    return f"{request_key}:{slot}"


def _nobody() -> Unavailable:
    return Unavailable(_("No model is loaded right now. Your message is kept; try again later."), retry_after=30)


# ── Checks ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _lock(session: Session, user: User, dialogue_id: int) -> Dialogue:
    """A dialogue of ``user``'s own, which nobody else can change now."""
    found = session.scalars(
        select(Dialogue)
        .where(Dialogue.id == dialogue_id, Dialogue.annotator_id == user.id)
        .options(joinedload(Dialogue.batch), joinedload(Dialogue.seed))
        .with_for_update(of=Dialogue)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if found is None:
        raise NotFound
    return found


def _check_takes(batch: Batch) -> None:
    if batch.state is BatchState.PAUSED:
        raise Conflict(_("This batch is paused: continue when it is open again. Your message is kept."))
    if batch.state is not BatchState.OPEN:
        raise Conflict(_("This batch is closed: no more answers are generated for it."))


def _check_open(dialogue: Dialogue) -> None:
    if dialogue.state is not DialogueState.OPEN:
        raise Conflict(_("You already finished this dialogue."))


def _check_written(replies: Sequence[LiveGeneration]) -> None:
    if any(reply.state in live.OPEN for reply in replies):
        raise Conflict(_("The answers are still being written: wait for them, or stop them."), retry_after=2)
