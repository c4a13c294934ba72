"""What a run needs on this host, and what another host would need to go on with it, by way of the store.

A run that is claimed here may have been begun elsewhere. Its snapshot, its base and the checkpoints that it reads are pulled; so
are the files that its finished stages made, its newest saved state, and a checkpoint that was trained but not registered. The
events come from the database, which knows each of them by its number. From then on what a stage makes is pushed once it is
finished, and the state each time that training saves one. Where hosts share a disk nothing here does anything.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Self

import structlog
from sqlalchemy import select

from app.kernel import store
from app.kernel.db import session_scope
from app.lineage.erasing import remove_files
from app.rounds.claims import Claim
from app.rounds.models import TrainingEvent
from training.formats import checkpoints, events
from training.formats.errors import CheckpointError

log = structlog.get_logger()

STATES = "trainer"
KEPT = 2
"""States in the store: the newest, and the one before it, should that be damaged."""
POLL_SECONDS = 1.0


def fetch(claim: Claim) -> None:
    """Bring here what the run reads and what is left of its earlier attempts.

    Raises:
        Unavailable: the store does not answer.
        OSError: the disk refuses.
    """
    with session_scope() as session:
        remove_files(session)  # texts of a person who was erased since they were pulled
    for each in claim.fetches:
        each()
    store.fill(claim.folder)
    for product in claim.products:
        store.pull(product)
    _fetch_state(claim.folder / STATES)
    _restore_events(claim)


def keep(claim: Claim) -> None:
    """Push what the stages have made that are finished: checkpoints, and the files of the run's folder.

    Raises:
        Unavailable: the store does not answer.
    """
    for product in claim.products:
        if product.is_dir():
            store.push(product)
    made = [name for name in _files(claim.folder) if not _is_own(name)]
    if made:
        store.push(claim.folder, only=made)


def let_go(claim: Claim) -> None:
    """The run has succeeded: nobody resumes it."""
    _forget(claim.folder / STATES)


def refuse(checkpoint: Path) -> None:
    """A retry elsewhere must not find what was refused, and take itself for finished."""
    _forget(checkpoint)


def _forget(folder: Path) -> None:
    try:
        store.forget(folder, store.BRIEFLY)
    except store.StoreAway as error:
        log.warning("store_not_cleared", folder=folder.name, reason=str(error))


def _files(folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]


def _is_own(name: str) -> bool:
    """Whether a file of a run's folder is this host's alone: settings with its paths, its log, what training resumes from."""
    first = name.split("/", 1)[0]
    return first == STATES or name.startswith(".") or name.endswith((".toml", ".lock", ".txt")) or name == events.NAME


def _number(name: str) -> int:
    """Of a saved state, the step; of anything else −1."""
    _, _, number = name.partition("checkpoint-")
    return int(number) if name.startswith("checkpoint-") and number.isdecimal() else -1


def _states(folder: Path) -> list[Path]:
    """The whole states, the newest first."""
    found = folder.glob(f"checkpoint-*/{checkpoints.MANIFEST}")
    return sorted(
        (each.parent for each in found if _number(each.parent.name) >= 0), key=lambda each: -_number(each.name)
    )


def _fetch_state(folder: Path) -> None:
    """The newest state that is whole, unless a later one lies here."""
    here = [_number(each.name) for each in _states(folder)]
    for name in sorted(store.below(folder), key=_number, reverse=True):
        if _number(name) <= max(here, default=-1):
            return
        try:
            store.pull(folder / name)
            checkpoints.verify(folder / name, "trainer_state")
        except (store.StoreAway, CheckpointError) as error:
            log.warning("state_not_pulled", state=name, reason=str(error))  # the one before it will do
        else:
            return


def _restore_events(claim: Claim) -> None:
    """Write the events that the database has and this host has not: training goes on with the number after them."""
    file = claim.folder / events.NAME
    with session_scope() as session:
        rows = session.scalars(
            select(TrainingEvent).where(TrainingEvent.run_id == claim.run_id).order_by(TrainingEvent.seq)
        ).all()
        lines = [""] * (rows[-1].seq + 1 if rows else 0)
        for row in rows:
            told = {"event": row.event, "time": row.at.timestamp(), "step": row.step, **row.values}
            lines[row.seq] = json.dumps(told, ensure_ascii=False)
    here = file.read_bytes().count(b"\n") if file.exists() else 0
    if here >= len(lines):
        return
    claim.folder.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.tmp")
    draft.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    draft.replace(file)


class StatePusher:
    """Pushes each state that training saves, beside the training; one that is gone before it was sent is passed over."""

    def __init__(self, claim: Claim) -> None:
        self._folder = claim.folder / STATES
        self._pushed = max((_number(each.name) for each in _states(self._folder)), default=-1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="states", daemon=True)

    def __enter__(self) -> Self:
        if store.is_shared():
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()  # what is on its way is not waited for: the process ends whether it has arrived or not

    def _run(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            states = _states(self._folder)
            if states and _number(states[0].name) > self._pushed:
                self._push(states[0])

    def _push(self, state: Path) -> None:
        try:
            store.push(state)
        except (store.StoreAway, OSError) as error:
            log.warning("state_not_pushed", state=state.name, reason=str(error))
            return
        self._pushed = _number(state.name)
        try:
            for old in sorted(store.below(self._folder), key=_number, reverse=True)[KEPT:]:
                store.forget(self._folder / old)
        except store.StoreAway as error:
            log.warning("states_not_removed", reason=str(error))
