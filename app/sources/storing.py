"""Writes the folder of a source: ``rows.jsonl`` and, last, ``manifest.json``.

As of a snapshot: the folder is filled under a temporary name, synced to disk and renamed, so that there is all of it or none.
Rows are read and written one by one; of those before only a hash is held.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.kernel import store, stored_words
from app.kernel.errors import BadInput, DiskFull, is_disk_full
from app.kernel.locales import N_, ngettext, number
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.prompts.bounded_json import Refused
from app.prompts.files import open_file
from app.prompts.importers import Importer
from app.prompts.intake import SentFile
from app.prompts.parsing import MAX_REFUSALS, NAMED_REFUSALS, limits_of
from app.prompts.reports import by_reason
from app.prompts.service import clean_filename
from app.prompts.units import counted, place
from app.sources.forms import SourceIn
from app.sources.models import Source, SourceKind
from app.sources.reading import rows_of
from training.formats import checkpoints, files

log = structlog.get_logger()

ROWS, MANIFEST = "rows.jsonl", "manifest.json"


@dataclass
class Stored:
    """What was written, still under its temporary name."""

    draft: Path
    filename: str
    rows: int = 0
    bytes: int = 0
    sha256: str = ""
    left_out: dict[str, int] = field(default_factory=dict)

    def keep(self) -> str:
        """Give the folder its name, which is returned.

        Raises:
            Unavailable: hosts exchange files through a store, and that is away.
        """
        name = f"source-{secrets.token_hex(8)}"
        kept = self.draft.rename(self.draft.parent / name)
        files.sync(self.draft.parent)
        store.push(kept, pauses=store.BRIEFLY)
        return name


@contextmanager
def stored(file: SentFile, wanted: SourceIn) -> Iterator[Stored]:
    """The rows of ``file`` in a folder that goes again unless it is kept.

    Raises:
        BadInput: the file cannot be used, has no row, or has refused ones and ``leave_out_refused`` does not allow them;
            ``errors`` lists the first of these with their lines.
        DiskFull: there is no room for it.
    """
    folder = get_settings().sources_dir
    draft = folder / f".{secrets.token_hex(8)}.tmp"
    try:
        draft.mkdir(parents=True)
        found = Stored(draft, clean_filename(file.filename))
        _write(found, file, wanted)
        yield found
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise DiskFull(_("The disk filled up while the source was written. Free some space and try again.")) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def rows_file(source: Source) -> Path:
    """Where the rows of a source lie."""
    return get_settings().sources_dir / source.path / ROWS


def damage(rows: Path, sha256: str) -> str | None:
    """What is wrong with the rows of a source that were added with ``sha256``; None where nothing is."""
    try:
        digest = checkpoints.sha256(rows)
    except OSError as error:
        return f"cannot be read: {error.filename} ({error.strerror})"
    return None if digest == sha256 else f"has rows that differ from what was added (SHA-256 {digest[:12]}…)"


def fetch(folder: Path, sha256: str) -> None:
    """See that the source whose rows were added with ``sha256`` lies in ``folder``. Without a store nothing happens.

    Raises:
        Unavailable: the store does not answer.
        OSError: the disk refuses.
    """
    store.need(folder, lambda here: damage(here / ROWS, sha256) is None)


def first_row(source: Source) -> dict[str, Any] | None:
    """The first row, as an example; None where the file cannot be read."""
    try:
        with rows_file(source).open(encoding="utf-8") as lines:
            found: dict[str, Any] = json.loads(next(lines))
    except (OSError, ValueError, StopIteration):
        return None
    return found


def remove_deleted(session: Session) -> None:
    """Remove the folders of sources whose file was deleted, on this host and in the store. Safe to call at any time."""
    for source in session.scalars(select(Source).where(Source.file_deleted_at.is_not(None))):
        folder = rows_file(source).parent
        store.forget(folder, store.BRIEFLY)
        if folder.exists():
            shutil.rmtree(folder)
            log.info("source_removed", source=source.id, folder=folder.name)


def _write(found: Stored, file: SentFile, wanted: SourceIn) -> None:
    limits = limits_of(get_settings())
    form, records = open_file(file.filename, file.content, limits)
    lines = _Lines(form, wanted.kind, limits.prompt_chars)
    digest = hashlib.sha256()
    with (found.draft / ROWS).open("wb") as out:
        for number, value in records:
            for line in lines.of(number, value):
                digest.update(line)
                out.write(line)
                found.rows, found.bytes = found.rows + 1, found.bytes + len(line)
        _flush(out)
    _check(form, lines.refused, found.rows, wanted)
    found.sha256 = digest.hexdigest()
    found.left_out = {each["reason"]: each["count"] for each in by_reason(lines.refused)}
    said = (
        asdict(found) | wanted.model_dump(mode="json") | {"created_at": datetime.now(UTC).isoformat(timespec="seconds")}
    )
    del said["draft"]
    with (found.draft / MANIFEST).open("wb") as out:
        out.write(json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n")
        _flush(out)
    files.sync(found.draft)


class _Lines:
    """The lines of records, and what was refused of them."""

    def __init__(self, form: Importer, kind: SourceKind, limit_chars: int) -> None:
        self._form, self._kind, self._limit = form, kind, limit_chars
        self._seen: dict[bytes, int] = {}
        self.refused: list[dict[str, Any]] = []

    def of(self, number: int, value: Any) -> Iterator[bytes]:
        """Those of one record."""
        try:
            rows = rows_of(self._kind, value, number, self._form, self._limit)
        except Refused as refusal:
            rows = [refusal]
        for row in rows:
            reason = str(row) if isinstance(row, Refused) else self._twin(row, number)
            if reason is None:
                yield json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
                continue
            self.refused.append({"line": number, "reason": reason})
            if len(self.refused) > MAX_REFUSALS:
                raise _hopeless(self._form.unit, self.refused)

    def _twin(self, row: dict[str, Any] | Refused, number: int) -> str | None:
        """Why a row is left out that says the same as one before."""
        said = {key: value for key, value in dict(row).items() if key != "id"} if isinstance(row, dict) else {}
        content = hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).digest()
        first = self._seen.setdefault(content, number)
        return (
            None
            if first == number
            else N_("says the same as {place}: remove one of them").format(place=f"{self._form.unit} {first:,}")
        )


def _check(form: Importer, refused: list[dict[str, Any]], rows: int, wanted: SourceIn) -> None:
    named = refused[:NAMED_REFUSALS]
    if not rows:
        raise BadInput(
            _("This file has no row that can be learnt from.") + _first(form.unit, refused),
            errors=named,
            unit=form.unit,
        )
    if refused and not wanted.leave_out_refused:
        raise BadInput(
            ngettext(
                "{lines} is refused.", "{lines} are refused.", len(refused), lines=counted(form.unit, len(refused))
            )
            + _first(form.unit, refused)
            + " "
            + _(
                "Correct the file and upload it again, or choose to keep the {n} valid rows and leave the rest out.",
                n=number(rows),
            ),
            errors=named,
            unit=form.unit,
        )


def _first(unit: str, refused: list[dict[str, Any]]) -> str:
    if not refused:
        return ""
    where, why = place(unit, refused[0]["line"]), stored_words.said(refused[0]["reason"])
    return " " + _("The first: {place} {reason}.", place=where, reason=why)


def _hopeless(unit: str, refused: list[dict[str, Any]]) -> BadInput:
    return BadInput(
        _(
            "More than {lines} were refused, so this is probably a file of something else.",
            lines=counted(unit, MAX_REFUSALS),
        )
        + _first(unit, refused),
        errors=refused[:NAMED_REFUSALS],
        unit=unit,
    )


def _flush(out: BinaryIO) -> None:
    out.flush()
    os.fsync(out.fileno())
