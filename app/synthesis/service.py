"""Writes and rules of orders: what may be ordered, and how an order ends.

An order becomes a batch through the ordinary import: its records are a file of JSON Lines, and every rule of an import holds.
The ledger between (claims, rows) is :mod:`app.synthesis.ledger`.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.accounts.service import audit
from app.kernel.errors import BadInput, Conflict, NotFound, TooLarge, refused
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import N_, english, number
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.prompts.forms import BatchSettings
from app.prompts.models import Batch, Prompt
from app.prompts.service import confirm_upload, create_upload
from app.registry.models import Checkpoint, CheckpointKind
from app.synthesis.catalogue import KINDS, Kind, Material
from app.synthesis.forms import MATERIAL_CHARS, MOST_DOCUMENTS, SynthesisOrder
from app.synthesis.models import Synthesis, SynthesisRow, SynthesisState

AT_ONCE = 5
"""Orders that are under way at one time."""


def order(session: Session, user: User, wanted: SynthesisOrder) -> Synthesis:
    """Order prompts; a worker makes them.

    Raises:
        BadInput: the order cannot be carried out, with the field that is wrong.
        Conflict: too many are under way.
    """
    kind = KINDS[wanted.generator]
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("syntheses.order", 0))))
    running = select(func.count()).where(Synthesis.state == SynthesisState.RUNNING)
    if (session.scalar(running) or 0) >= AT_ONCE:
        raise Conflict(_("{n} orders are under way already: wait for one to end, or stop it.", n=AT_ONCE))
    if session.scalar(select(Batch.id).where(Batch.name == wanted.settings.name)) is not None:
        raise refused("name", _("A batch with this name already exists: choose another name."))
    synthesis = Synthesis(
        generator=kind.name,
        settings=wanted.settings.model_dump(mode="json"),
        seed=wanted.seed,
        options=_options(kind, wanted),
        material=_material(session, kind, wanted),
        asks_id=_writer(session, kind, wanted),
        wanted=wanted.count,
        created_by_id=user.id,
    )
    session.add(synthesis)
    session.flush()
    about: dict[str, Any] = {
        "generator": kind.name,
        "count": wanted.count,
        "name": synthesis.name,
        "model": wanted.model,
    }
    audit(session, user, "synthesis.order", "synthesis", synthesis.id, **about)
    enqueue(session, Job.MAKE_PROMPTS)
    return synthesis


def _options(kind: Kind, wanted: SynthesisOrder) -> dict[str, Any]:
    given = {"tasks": wanted.tasks, "languages": wanted.languages}
    for name, value in given.items():
        if value and name not in kind.options:
            said = (
                N_("{title} takes no tasks: leave them out.")
                if name == "tasks"
                else N_("{title} takes no languages: leave them out.")
            )
            raise refused(name, _(said, title=_(kind.title)))
    if "languages" in kind.options and not wanted.languages:
        raise refused("languages", _("Say into which languages prompts are translated, such as German, Japanese."))
    return {name: value for name, value in given.items() if value}


def _writer(session: Session, kind: Kind, wanted: SynthesisOrder) -> int | None:
    if not kind.asks:
        if wanted.model:
            raise refused("model", _("{title} asks no model: leave it out.", title=_(kind.title)))
        return None
    external = select(Checkpoint).where(Checkpoint.kind == CheckpointKind.EXTERNAL, Checkpoint.path != "")
    if not wanted.model:
        there = session.scalar(external.limit(1)) is not None
        said = (
            N_("{title} needs an external model that writes: choose one.")
            if there
            else N_(
                "{title} needs an external model that writes: name its endpoint in CORRAL_ENDPOINTS and add it under "
                "Checkpoints first."
            )
        )
        raise refused("model", _(said, title=_(kind.title)))
    found = session.scalar(external.where(Checkpoint.name == wanted.model))
    if found is None:
        raise refused("model", _("There is no external model called {model}.", model=wanted.model))
    session.refresh(found, ["external"])
    if found.external is None or found.external.endpoint not in get_settings().endpoints:
        raise refused("model", _("The endpoint of {name} is no longer set up in CORRAL_ENDPOINTS.", name=found.name))
    if not found.external.may_train:
        raise refused(
            "model",
            _(
                "What {name} writes may not be trained on: choose another model, or note on its page that it may.",
                name=found.name,
            ),
        )
    return found.id


def _material(session: Session, kind: Kind, wanted: SynthesisOrder) -> list[dict[str, str]]:
    if kind.material is Material.NOTHING:
        if wanted.documents or wanted.batch_id is not None:
            raise refused("documents", _("{title} is made of nothing: leave the texts out.", title=_(kind.title)))
        return []
    if wanted.batch_id is not None and kind.material is not Material.PROMPTS:
        raise refused("batch_id", _("{title} takes no batch: add texts instead.", title=_(kind.title)))
    found = [each.model_dump() for each in wanted.documents]
    if wanted.batch_id is not None:
        found += _prompts_of(session, wanted.batch_id)
    if not found:
        raise refused("documents", _("{title} is made of texts, and there is none: add them.", title=_(kind.title)))
    if sum(len(each["text"]) for each in found) > MATERIAL_CHARS:
        raise refused(
            "documents",
            _(
                "The texts have more than {most} characters: order in parts.",
                most=number(MATERIAL_CHARS),
            ),
        )
    if len({each["name"] for each in found}) < len(found):
        raise refused("documents", _("Two texts have the same name: give each its own."))
    return found


def _prompts_of(session: Session, batch_id: int) -> list[dict[str, str]]:
    """The prompts of a batch that are one question without a system prompt or tools."""
    if session.get(Batch, batch_id) is None:
        raise refused("batch_id", _("There is no such batch."))
    single = func.jsonb_array_length(Prompt.messages) == 1
    query = select(Prompt.external_id, Prompt.messages).where(
        Prompt.batch_id == batch_id, Prompt.dialogue_id.is_(None), Prompt.tools.is_(None), single
    )
    rows = session.execute(query.order_by(Prompt.id).limit(MOST_DOCUMENTS)).all()
    return [{"name": row.external_id, "text": row.messages[0]["content"]} for row in rows]


def stop(session: Session, user: User, synthesis: Synthesis) -> None:
    """Make no more. What is made becomes the batch; where nothing is, the order ends without one."""
    query = select(Synthesis).where(Synthesis.id == synthesis.id)  # alone: nothing can be locked across an outer join
    session.execute(query.with_for_update().execution_options(populate_existing=True))
    if synthesis.state is not SynthesisState.RUNNING:
        raise Conflict(_("This order has ended already."))
    audit(session, user, "synthesis.stop", "synthesis", synthesis.id, made=synthesis.made)
    if synthesis.made:
        synthesis.wanted, synthesis.next_try_at = synthesis.next_number, func.now()
        enqueue(session, Job.MAKE_PROMPTS)
    else:
        end(synthesis, SynthesisState.STOPPED)
    session.flush()


def end(synthesis: Synthesis, state: SynthesisState, reason: str | None = None) -> None:
    """An order is over; its texts need not be kept."""
    synthesis.state, synthesis.last_error = state, reason
    synthesis.lease_until, synthesis.finished_at, synthesis.material = None, func.now(), []


def import_made(session: Session, synthesis: Synthesis) -> None:
    """Make a batch of what was made; where that cannot be, the order has failed and says why.

    A record that the import refuses (a duplicate) is left out, and the reason stands with its number.
    """
    rows = list(
        session.execute(
            select(SynthesisRow.number, SynthesisRow.record)
            .where(SynthesisRow.synthesis_id == synthesis.id, SynthesisRow.record.is_not(None))
            .order_by(SynthesisRow.number)
        )
    )
    if not rows:
        end(synthesis, SynthesisState.FAILED, N_("None of the numbers gave a prompt; the reasons stand below."))
        return
    content = "".join(json.dumps(row.record, ensure_ascii=False) + "\n" for row in rows).encode()
    try:
        with session.begin_nested():
            batch, errors = _imported(session, synthesis, content)
    except (BadInput, Conflict, TooLarge, NotFound) as error:
        end(synthesis, SynthesisState.FAILED, english(error.message))  # it is kept for whoever reads it next
        return
    for line, reason in errors:
        session.execute(
            update(SynthesisRow)
            .where(SynthesisRow.synthesis_id == synthesis.id, SynthesisRow.number == rows[line - 1].number)
            .values(reason=reason)
        )
    synthesis.made -= len(errors)
    synthesis.batch_id = batch.id
    end(synthesis, SynthesisState.DONE)


def _imported(session: Session, synthesis: Synthesis, content: bytes) -> tuple[Batch, list[tuple[int, str]]]:
    user = session.get_one(User, synthesis.created_by_id)
    name = synthesis.name
    if session.scalar(select(Batch.id).where(Batch.name == name)) is not None:  # taken since it was ordered
        name = f"{name[:100]} ({synthesis.id})"
    settings = BatchSettings.model_validate(synthesis.settings | {"name": name, "leave_out_refused": True})
    upload = create_upload(session, user, f"{synthesis.generator}-{synthesis.id}.jsonl", content)
    batch = confirm_upload(session, user, upload, settings)
    return batch, [(each["line"], each["reason"]) for each in upload.report["errors"]]
