"""The admin's work packages: uploads under preview, batches, and their prompts with the generation ledger."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    and_,
    case,
    func,
    literal_column,
    or_,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.judgements.vocabulary import EditPolicy, ShowFindings
from app.kernel.db import Base, Created, Json, Key, Time, enum_column
from app.kernel.leases import Retried
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.worded import Worded
from app.prompts.origins import Origin


class Upload(Base):
    """A file that an admin sent, kept until it is confirmed as a batch or discarded. ``report`` is the preview."""

    __tablename__ = "uploads"

    id: Mapped[Key]
    uploaded_by_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    filename: Mapped[str] = mapped_column(String(255))
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    sha256: Mapped[str] = mapped_column(String(64))
    report: Mapped[Json]
    """Counts, the first prompts, and every refused line with its number and reason.

    Of more prompts for a batch also ``for_batch``, its id, and ``known``: how many it has already.
    """
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id"), unique=True)
    created_at: Mapped[Created]


class Document(Base):
    """A text that the search tool of a batch's prompts finds; deleted, it is gone from the next search on."""

    __tablename__ = "documents"
    __table_args__ = (UniqueConstraint("batch_id", "filename"), CheckConstraint("text <> ''", name="holds_text"))

    id: Mapped[Key]
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    filename: Mapped[str] = mapped_column(String(255))
    sha256: Mapped[str] = mapped_column(String(64))
    """Of the file as it was sent."""
    text: Mapped[str] = mapped_column(deferred=True)
    uploaded_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]


class BatchState(Worded):
    """``preparing`` (candidates are generated, annotators do not see it) → ``open`` ⇄ ``paused`` → ``closed``."""

    PREPARING = N_("preparing")
    OPEN = N_("open")
    PAUSED = N_("paused")
    CLOSED = N_("closed")


class BatchKind(StrEnum):
    """``prompts``: uploaded prompts are answered beforehand. ``dialogue``: annotators write the turns themselves."""

    PROMPTS = "prompts"
    DIALOGUE = "dialogue"


class BatchTask(StrEnum):
    """What people do with the prompts.

    ``compare``: they judge responses of models. ``write``: they write the answer, and nothing is generated. ``steps``: they label
    the steps of one response, up to the first wrong one.
    """

    COMPARE = "compare"
    WRITE = "write"
    STEPS = "steps"

    @property
    def label(self) -> str:
        """As people read it."""
        return _(_TASKS[self])


_TASKS = {
    BatchTask.COMPARE: N_("compare responses of models"),
    BatchTask.WRITE: N_("write the answer from scratch"),
    BatchTask.STEPS: N_("label the steps of a response"),
}


class PairSelection(StrEnum):
    """Which of more responses a batch shows. Some prompts, all held-out ones among them, are drawn at random in any case."""

    RANDOM = "random"
    BALD = "bald"
    """Those that models of what people said so far contradict one another about most."""
    DIFFERENT_POLICIES = "different_policies"
    BEST_WORST = "best_worst"

    @property
    def label(self) -> str:
        """As people read it."""
        return _(_SELECTIONS[self])


_SELECTIONS = {
    PairSelection.RANDOM: N_("at random"),
    PairSelection.BALD: N_("by what teaches most"),
    PairSelection.DIFFERENT_POLICIES: N_("of different policies"),
    PairSelection.BEST_WORST: N_("best against worst"),
}


class Priority(Worded):
    """Which batches people are given first. Three levels: of numbers each admin would take a higher one than the last."""

    LOW = N_("low")
    NORMAL = N_("normal")
    HIGH = N_("high")


class Batch(Base):
    """The admin's work package of prompts, with its guidelines and settings."""

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint(
            "candidates_per_prompt BETWEEN 2 AND 8 OR (task = 'steps' AND candidates_per_prompt = 1)",
            name="candidates_per_prompt_range",
        ),
        CheckConstraint("annotators_per_prompt BETWEEN 1 AND 20", name="annotators_per_prompt_range"),
        CheckConstraint("max_tokens BETWEEN 1 AND 32768", name="max_tokens_range"),
        CheckConstraint("verify_percent BETWEEN 0 AND 100", name="verify_percent_range"),
        CheckConstraint("gold_percent BETWEEN 0 AND 50", name="gold_percent_range"),
        CheckConstraint("qualification_items BETWEEN 0 AND 20", name="qualification_items_range"),
        CheckConstraint("qualification_percent BETWEEN 0 AND 100", name="qualification_percent_range"),
        CheckConstraint("max_turns BETWEEN 1 AND 50", name="max_turns_range"),
        CheckConstraint("sampled_per_prompt BETWEEN 2 AND 16", name="sampled_per_prompt_range"),
        CheckConstraint("overlap_percent BETWEEN 0 AND 100", name="overlap_percent_range"),
        CheckConstraint("quota BETWEEN 1 AND 1000000", name="quota_range"),
    )

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(120), unique=True)
    state: Mapped[BatchState] = mapped_column(enum_column(BatchState, "state"), default=BatchState.PREPARING)
    round_id: Mapped[int] = mapped_column(ForeignKey("rounds.id"), index=True)
    capability: Mapped[str | None] = mapped_column(String(60))
    language: Mapped[str | None] = mapped_column(String(12))
    """Code of the language of prompts that do not say their own; None: unknown, everybody is given them."""
    guidelines: Mapped[str] = mapped_column(server_default="")
    candidates_per_prompt: Mapped[int] = mapped_column(default=4)
    annotators_per_prompt: Mapped[int] = mapped_column(default=1)
    overlap_percent: Mapped[int] = mapped_column(default=0, server_default="0")
    """Share of prompts that one more person judges where a single one is asked: who agrees with whom is known by these."""
    selection: Mapped[PairSelection] = mapped_column(
        enum_column(PairSelection, "selection"),
        default=PairSelection.RANDOM,
        server_default=PairSelection.RANDOM.value,
    )
    sampled_per_prompt: Mapped[int] = mapped_column(default=8, server_default="8")
    """Responses from which the shown ones are chosen, where they are not drawn at random."""
    edit_policy: Mapped[EditPolicy] = mapped_column(enum_column(EditPolicy, "edit_policy"), default=EditPolicy.OPTIONAL)
    max_tokens: Mapped[int] = mapped_column(default=256)
    sampling: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    """Overrides of the rotation's sampling: ``temperature``, ``top_p``. Empty: each deployment's own."""
    kind: Mapped[BatchKind] = mapped_column(
        enum_column(BatchKind, "kind"), default=BatchKind.PROMPTS, server_default=BatchKind.PROMPTS.value
    )
    guidelines_version: Mapped[int] = mapped_column(default=1, server_default="1")
    """Of ``guidelines`` and ``strength_examples``; every version is kept in ``guideline_versions``."""
    strength_examples: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    """Markdown by strength, "1" to "4": what a response looks like that is better by so much."""
    attributes: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"), default=list)
    """What is asked of each response: ``[{"name": "helpful", "label": "Helpful", "scale": ["no", "partly", "yes"]}]``."""
    task: Mapped[BatchTask] = mapped_column(
        enum_column(BatchTask, "task"), default=BatchTask.COMPARE, server_default=BatchTask.COMPARE.value
    )
    """Decided when the prompts are imported."""
    verify_percent: Mapped[int] = mapped_column(default=0, server_default="0")
    """Share of edits that somebody else compares with the original, blind."""
    gold_percent: Mapped[int] = mapped_column(default=0, server_default="0")
    """Share of items that have a known answer, mixed in invisibly."""
    qualification_items: Mapped[int] = mapped_column(default=0, server_default="0")
    """Gold items that come before an annotator's first real one; 0: none are required."""
    qualification_percent: Mapped[int] = mapped_column(default=75, server_default="75")
    """Share of them that must agree with the known answer."""
    requires_tour: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """Whether nobody gets an item before they have finished the tour."""
    max_turns: Mapped[int] = mapped_column(default=8, server_default="8")
    """Turns of one dialogue, the longest way through its tree."""
    verifiers: Mapped[list[str] | None] = mapped_column(JSONB(none_as_null=True))
    """What checks responses and edits: names of verifiers. None: all that have something to check; an empty list: nothing."""
    required: Mapped[list[str]] = mapped_column(JSONB, server_default=text("'[]'"), default=list)
    """Those that a response must pass before training imitates it."""
    show_findings: Mapped[ShowFindings] = mapped_column(
        enum_column(ShowFindings, "show_findings"), default=ShowFindings.AFTER, server_default=ShowFindings.AFTER.value
    )
    times_extended: Mapped[int] = mapped_column(default=0, server_default="0")
    """How often it was given more to do: prompts, annotators, prompts that were restored. Each time it can be done again."""
    assigned_only: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """Whether only those get items whom it is assigned to: people and members of teams. With none of either, nobody does."""
    readers_only: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """Whether items of a known language go to nobody who has not said that they read it."""
    priority: Mapped[Priority] = mapped_column(
        enum_column(Priority, "priority"), default=Priority.NORMAL, server_default=Priority.NORMAL.value
    )
    deadline: Mapped[Time | None]
    quota: Mapped[int | None]
    """How many items of it, or dialogues, one person may have."""
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    opened_at: Mapped[Time | None]
    closed_at: Mapped[Time | None]
    created_at: Mapped[Created]


class BatchTeam(Base):
    """A team that a batch is assigned to."""

    __tablename__ = "batch_teams"

    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    team_id: Mapped[int] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True, index=True)


class BatchPerson(Base):
    """A person whom a batch is assigned to or, where ``barred``, who may not judge it, whatever their teams."""

    __tablename__ = "batch_people"

    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True, index=True)
    barred: Mapped[bool]


class GuidelineVersion(Base):
    """What the guidelines said, version by version; an annotation can be read by what its annotator was told."""

    __tablename__ = "guideline_versions"
    __table_args__ = (UniqueConstraint("batch_id", "version"),)

    id: Mapped[Key]
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    version: Mapped[int]
    guidelines: Mapped[str]
    strength_examples: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    written_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]


class GuidelineReading(Base):
    """The newest version of a batch's guidelines that a person has been shown: a later one is announced."""

    __tablename__ = "guideline_readings"

    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    version: Mapped[int]
    read_at: Mapped[Created]


class PromptState(Worded):
    """``pending`` → ``generating`` (leased) → ``ready``; after the last try ``quarantined``, with the reason.

    ``unanimous``: all answers are the same text, so nobody has anything to compare, and checks say whether it is right.
    Right, it stays so; otherwise it is asked again like any other prompt with identical answers.

    ``withdrawn``: an admin has taken it out before anybody judged it. Nothing is generated for it and nobody is given it.
    """

    PENDING = N_("pending")
    GENERATING = N_("generating")
    READY = N_("ready")
    UNANIMOUS = N_("unanimous")
    QUARANTINED = N_("quarantined")
    WITHDRAWN = N_("withdrawn")


class Prompt(Retried, Base):
    """Messages that end at a user turn, and the ledger row of their generation."""

    __tablename__ = "prompts"
    __table_args__ = (
        UniqueConstraint("batch_id", "external_id"),
        Index(
            "uq_prompts_content",
            "batch_id",
            "content_hash",
            unique=True,
            postgresql_where=text("dialogue_id IS NULL"),  # two people may begin a dialogue with the same words
        ),
        Index(None, "content_hash"),
        Index("ix_prompts_dialogue_id", "dialogue_id", postgresql_where=text("dialogue_id IS NOT NULL")),
        CheckConstraint("jsonb_typeof(messages) = 'array' AND jsonb_array_length(messages) > 0", name="messages_array"),
        CheckConstraint("messages -> -1 ->> 'role' = 'user'", name="ends_at_user_turn"),
        CheckConstraint("(state = 'generating') = (lease_until IS NOT NULL)", name="lease_while_generating"),
        Index("ix_prompts_waiting", "batch_id", "next_try_at", "id", postgresql_where=text("state = 'pending'")),
        Index("ix_prompts_leased", "lease_until", postgresql_where=text("state = 'generating'")),
        Index("ix_prompts_batch_state", "batch_id", "state"),
        Index(
            "ix_prompts_language_unknown",
            "id",
            postgresql_where=text("language IS NULL AND language_detected IS NULL"),
        ),
    )

    id: Mapped[Key]
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    external_id: Mapped[str] = mapped_column(String(200))
    """The ``id`` of the upload, or its line number."""
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("prompts.id"))
    """The turn before, in a dialogue."""
    dialogue_id: Mapped[int | None] = mapped_column(ForeignKey("dialogues.id"))
    messages: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    tools: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    content_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    """SHA-256 of the canonical messages; the train/held-out split is made of it, the same in every round. Of content that
    was stored before there was one form it is the hash that it had then (:class:`EarlierPrompt`).

    A turn of a dialogue has the hash of the turn that its path begins with: a later one repeats the earlier ones, so a whole path
    has to fall on one side. (Of the path, not of the dialogue: another branch may begin with words that are a path elsewhere.)
    """
    capability: Mapped[str | None] = mapped_column(String(60))
    language: Mapped[str | None] = mapped_column(String(12))
    """Code of the language that its file says; None: that of its batch, else the detected one."""
    language_detected: Mapped[str | None] = mapped_column(String(12))
    """What a worker takes it for where its file says nothing (:mod:`app.prompts.detection`). Empty: it could not tell; None:
    nobody has looked."""
    origin: Mapped[Origin] = mapped_column(
        enum_column(Origin, "origin"), default=Origin.IMPORTED, server_default=Origin.IMPORTED.value
    )
    reference: Mapped[str | None]
    tests: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    extra: Mapped[Json] = mapped_column("metadata", JSONB, server_default=text("'{}'"), default=dict)
    state: Mapped[PromptState] = mapped_column(enum_column(PromptState, "state"), default=PromptState.PENDING)
    created_at: Mapped[Created]

    batch: Mapped[Batch] = relationship(lazy="raise")


LANGUAGE: ColumnElement[str | None] = func.coalesce(
    Prompt.language, Batch.language, func.nullif(Prompt.language_detected, "")
)
"""The language of a prompt (joined with its batch): what its file or its batch says, and only else what was detected."""
LANGUAGE_FROM: ColumnElement[str | None] = case(
    (Prompt.language.is_not(None), "file"),
    (Batch.language.is_not(None), "batch"),
    (func.nullif(Prompt.language_detected, "").is_not(None), "detected"),
)
"""Who says so; null where nobody does."""

_NO_LIST: ColumnElement[Any] = literal_column("'[]'::jsonb")
_NO_OBJECT: ColumnElement[Any] = literal_column("'{}'::jsonb")
_SAYS = or_(
    func.coalesce(Prompt.reference, "") != "",
    func.coalesce(Prompt.tests, _NO_LIST).not_in([_NO_LIST, _NO_OBJECT]),
)
_IS_CHECKED = func.coalesce(Batch.verifiers, _NO_OBJECT) != _NO_LIST
ANSWER_KNOWN = and_(_SAYS, _IS_CHECKED)
"""Whether a prompt (joined with its batch) says what an answer must come to: what training measures and learns by."""
CHECKABLE = and_(or_(_SAYS, func.coalesce(Prompt.tools, _NO_LIST) != _NO_LIST), _IS_CHECKED)
"""Whether answers to a prompt (joined with its batch) can be checked against something that came with it."""


class EarlierPrompt(Base):
    """What a prompt was before messages had one form and a content one name (:mod:`app.prompts.upkeep`)."""

    __tablename__ = "earlier_prompts"

    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id", ondelete="CASCADE"), primary_key=True)
    messages: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB(none_as_null=True))
    """None where they were in the one form already."""
    content_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    canonical_hash: Mapped[bytes] = mapped_column(LargeBinary(32), index=True)
    """What the same content is called when it is imported today; the prompt keeps the name it was stored under."""
