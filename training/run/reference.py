"""Log-probabilities of the reference, computed once and kept for the nights to come.

The reference of DPO is the policy before its first step: the base model, or the parent's adapter on it. It never changes
during a run, and a preference that is trained on again the next night has the same value, so a night pays only for its
new rows. No second model and no second adapter is held for it.

The file is named by everything that a value depends on beside its row: the weights of base model and parent, the
precision (of the weights, too, which training all of them keeps in float32), the kind of device, and the version of mask
and layout (bf16 values differ by up to 0.6 nats between layouts of a batch). In it, one line of JSON a response: the hash of
prompt, response and scored tokens, and the value.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from training.data.rows import Row
from training.formats import checkpoints
from training.formats.aside import is_broken, set_aside
from training.formats.events import EventLog
from training.formats.settings import RunConfig
from training.model import models, processes
from training.model.packing import BLOCKS, SHARED, Form

LAYOUT = "shared-prompt-2"  # counts up when packing.py lays tokens out in another way
PACKS = 8  # between two writes, for each process, however long their rows are
SECONDS = 10.0  # between two reports
Logps = Callable[[Sequence[Row]], list[tuple[float, ...]]]


def with_reference(
    rows: list[Row], store: "ReferenceStore", compute: Logps, pack_tokens: int, events: EventLog | None = None
) -> tuple[list[Row], int]:
    """The rows with their reference log-probabilities, and how many rows were computed for it.

    Args:
        rows: In any order.
        store: Where known values lie, and new ones are put.
        compute: Summed log-probabilities (nats) of the scored tokens of each response, for rows.
        pack_tokens: Of one pass of `compute`.
        events: Where to report how far it is.
    """
    missing = sorted((row for row in rows if store.of(row) is None), key=lambda row: row.length)
    reported = time.monotonic()
    computed = 0
    for chunk in _chunks(missing, PACKS * pack_tokens * processes.count()):
        store.add(zip(chunk, compute(chunk), strict=True))
        computed += len(chunk)
        if events and time.monotonic() - reported > SECONDS:
            reported = time.monotonic()
            events.emit("reference", computed=computed, missing=len(missing), stored=len(rows) - len(missing))
    if events:
        events.emit("reference", computed=len(missing), missing=len(missing), stored=len(rows) - len(missing))
    return [replace(row, reference=store.of(row) or ()) for row in rows], len(missing)


def _chunks(rows: Sequence[Row], tokens: int) -> Iterator[list[Row]]:
    """The rows in order, together as long as they are within so many tokens; a longer one by itself."""
    chunk: list[Row] = []
    left = tokens
    for row in rows:
        if chunk and row.length > left:
            yield chunk
            chunk, left = [], tokens
        chunk.append(row)
        left -= row.length
    if chunk:
        yield chunk


class ReferenceStore:
    """The values of one reference; see the module."""

    def __init__(self, folder: Path, identity: str, *, scored: str) -> None:
        self.scored = scored
        self.path = folder / f"{identity}.jsonl"
        if processes.is_main():
            for place, right in ((folder, Path.is_dir), (self.path, Path.is_file)):
                if is_broken(place, right):
                    set_aside(place)
            folder.mkdir(parents=True, exist_ok=True)
        self._known = processes.agreed(self._read() if processes.is_main() else {})

    def _read(self) -> dict[str, float]:
        """What earlier runs have added; a line that a killed process left unfinished is cut off.

        A line that cannot be read (a disk's fault) is passed over: its value is computed anew and stands further down.
        """
        with self._locked():
            whole = self.path.read_bytes() if self.path.exists() else b""
            end = whole.rfind(b"\n") + 1
            if end < len(whole):
                os.truncate(self.path, end)
        return dict(item for line in whole[:end].split(b"\n") if (item := _item(line)))

    def of(self, row: Row) -> tuple[float, ...] | None:
        """One value for each response, or None where one is not known."""
        found = [self._known.get(key) for key in self._keys(row)]
        known = tuple(value for value in found if value is not None)
        return known if len(known) == len(found) else None

    def add(self, values: Iterable[tuple[Row, tuple[float, ...]]]) -> None:
        """Remember values. One that is not a number is not kept for other nights: training will stop on it."""
        new = {key: value for row, logps in values for key, value in zip(self._keys(row), logps, strict=True)}
        self._known |= new
        if not processes.is_main():
            return
        with self._locked(), self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(item) + "\n" for item in new.items() if math.isfinite(item[1]))

    def _locked(self) -> AbstractContextManager[None]:
        return checkpoints.locked(self.path.with_suffix(".lock"), wait=True)

    def _keys(self, row: Row) -> list[str]:
        prompt = hashlib.sha256(json.dumps([self.scored, row.prompt_ids]).encode())
        keys = []
        for response in row.responses:
            key = prompt.copy()
            of = [response.ids, response.content if self.scored == "content" else None]
            key.update(json.dumps([*of, response.given] if any(response.given) else of).encode())
            keys.append(key.hexdigest()[:32])
        return keys


def _item(line: bytes) -> tuple[str, float] | None:
    """Key and value of one line; None where it holds no such thing."""
    try:
        key, value = json.loads(line)
        return (str(key), float(value)) if math.isfinite(value) else None
    except (ValueError, TypeError):
        return None


def identity(config: RunConfig, form: Form = SHARED) -> str:
    """What all values of a run's reference depend on, as a name for a file; of the forms, who computes attention."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = config.model
    parts: list[Any] = [LAYOUT, device, model.dtype, model.trains, models.weights_sha256(config.base_model)]
    if form == BLOCKS:
        parts.append(form)
    if config.parent_adapter:
        parts.append(checkpoints.manifest_sha256(config.parent_adapter))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
