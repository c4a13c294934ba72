"""Writes a snapshot's folder: ``preferences.jsonl``, ``prompts.jsonl``, ``README.md`` and, last, ``manifest.json``.

The folder is filled under a temporary name, synced to disk and renamed. A process that is killed at any moment leaves the
finished snapshot or none; what it left under the temporary name goes when the snapshot is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.kernel.errors import DiskFull, is_disk_full
from app.kernel.settings import get_settings
from app.preferences import card, export, prompt_lines, queries
from app.preferences.exporters import Format, Shape
from app.preferences.exporters.zip import CARD
from app.preferences.forms import ExportFilter
from app.preferences.private.kinds import found_by
from app.preferences.private.masking import Counted
from training.formats import files, snapshots

SAMPLE = 200
RESERVE_BYTES = 16 * 1024 * 1024
"""Left free on the disk, so that the database and the log still have room."""


@dataclass(frozen=True)
class Frozen:
    """What was written."""

    rows: int
    train_rows: int
    held_out_rows: int
    sha256: str
    annotation_ids: list[int]
    private: Counted


def freeze(session: Session, wanted: ExportFilter, folder: Path) -> Frozen:
    """Write the canonical rows of ``wanted`` into ``folder``, in place of what an interrupted build left there.

    Raises:
        DiskFull: there is no room for it; nothing is left behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.parent / f".{folder.name}.tmp"
    for leftover in (draft, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    check_disk(folder.parent, estimated_bytes(session, wanted))
    draft.mkdir()
    try:
        frozen = _write_rows(session, wanted, draft / snapshots.ROWS)
        said = _write_prompts(session, wanted, draft / snapshots.PROMPTS)
        _write_card(wanted, frozen, draft / CARD)
        if wanted.without:
            said["flagged"] = queries.flagged(session, wanted, get_settings().held_out_percent)
        _write_manifest(wanted, frozen, said, draft / snapshots.MANIFEST)
        files.sync(draft)
        draft.rename(folder)
        files.sync(folder.parent)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise DiskFull(
            f"The disk filled up while {folder.name} was being written. Free some space and try again."
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return frozen


def estimated_bytes(session: Session, wanted: ExportFilter) -> int:
    """How large the files will be: the rows judged by the first annotations, and the prompts."""
    percent = get_settings().held_out_percent
    prompts = prompt_lines.estimated_bytes(session, wanted)
    sample = list(queries.sources(session, wanted, percent, limit=SAMPLE))
    if not sample:
        return prompts
    size = sum(len(line) for source in sample for line in export.lines_of(source, Shape.CANONICAL, wanted))
    annotations = sum(row.annotations for row in queries.tally(session, wanted, percent))
    return prompts + size * annotations // len(sample)


def check_disk(folder: Path, needed: int) -> None:
    """Refuse to begin what will not fit.

    Raises:
        DiskFull: saying how much is free and how much is needed.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE_BYTES:
        raise DiskFull(
            f"The disk under {folder.name}/ has {free // 1_000_000} MB free, and the snapshot needs about "
            f"{(needed + RESERVE_BYTES) // 1_000_000 + 1} MB. Free some space and try again."
        )


def _write_rows(session: Session, wanted: ExportFilter, path: Path) -> Frozen:
    progress = export.Progress()
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for chunk in export.stream(session, Shape.CANONICAL, Format.JSONL, wanted, progress):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    ids = progress.annotation_ids.tolist()
    return Frozen(progress.rows, progress.train_rows, progress.held_out_rows, digest.hexdigest(), ids, progress.private)


def _write_prompts(session: Session, wanted: ExportFilter, path: Path) -> dict[str, Any]:
    """Write them; what the manifest says of them."""
    digest, count, private = hashlib.sha256(), 0, Counted()
    with path.open("wb") as file:
        for line in prompt_lines.lines(session, wanted, private):
            digest.update(line)
            file.write(line)
            count += 1
        file.flush()
        os.fsync(file.fileno())
    body = {"prompts": count, "prompts_sha256": digest.hexdigest()}
    return body | ({"private_in_prompts": _of_private(private)} if wanted.private else {})


def _of_private(counted: Counted) -> dict[str, Any]:
    """What the manifest says of what patterns found."""
    return {
        "judgements_or_prompts": counted.judgements,
        **{each.value: n for each, n in sorted(counted.passages.items())},
    }


def _write_card(wanted: ExportFilter, frozen: Frozen, path: Path) -> None:
    said = card.of_snapshot(wanted, frozen.rows, frozen.held_out_rows, private=frozen.private)
    with path.open("w", encoding="utf-8") as file:
        file.write(said)
        file.flush()
        os.fsync(file.fileno())


def _write_manifest(wanted: ExportFilter, frozen: Frozen, said: dict[str, Any], path: Path) -> None:
    body = (
        asdict(frozen)
        | said
        | {
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "filter": wanted.stored(),
            "held_out_percent": get_settings().held_out_percent,
        }
    )
    del body["annotation_ids"]  # the rows name them, and the database keeps them
    del body["private"]
    if wanted.private:
        body |= {"private": _of_private(frozen.private), "private_found_by": found_by()}
    with path.open("w", encoding="utf-8") as file:
        json.dump(body, file, indent=2, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
