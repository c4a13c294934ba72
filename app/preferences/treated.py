"""What became of private and unsafe texts in what a training learns from, in sentences: as chosen now, and of one snapshot.

The numbers are those of the snapshot's manifest, which are those that an export of the same selection would give.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from app.judgements.vocabulary import Flag
from app.kernel.locales import gettext as _
from app.kernel.locales import ngettext, number
from app.preferences import files
from app.preferences.forms import ExportFilter, Treatment
from app.preferences.models import Snapshot, SnapshotState
from app.preferences.private.kinds import Kind
from training.formats import snapshots


def chosen(wanted: ExportFilter) -> list[str]:
    """What the next training does with such texts."""
    if wanted.private is Treatment.MASK:
        found = [_("Private data that patterns find is masked before it is trained on.")]
    elif wanted.private is Treatment.LEAVE_OUT:
        found = [_("Judgements and prompts in which patterns find private data are left out: it may find fewer pairs.")]
    else:
        found = [_("Nothing looks for private data: texts are trained on as they were written.")]
    if wanted.without:
        flags = ", ".join(Flag(each).label for each in wanted.without)
        found.append(_("Prompts with what people flagged are left out ({flags}).", flags=flags))
    return found


def of_snapshot(snapshot: Snapshot) -> list[str]:
    """What was done to the texts of one that was frozen, and how often; nothing of one that is not ready."""
    if snapshot.state is not SnapshotState.READY:
        return []
    wanted = ExportFilter.model_validate(snapshot.filter)
    if wanted.private is None and not wanted.without:
        return [_("Nothing looked for private data: its texts are as they were written.")]
    try:
        manifest = json.loads((files.folder(snapshot) / snapshots.MANIFEST).read_bytes())
    except (OSError, ValueError):
        away = _("The numbers stand in the manifest of its snapshot, which is not on this machine.")
        return [_("It was frozen so: {selection}.", selection=wanted.words()), away]
    found = [_patterns(wanted.private, manifest)] if wanted.private else []
    if wanted.without:
        found.append(_flags(wanted, manifest))
    return found


def _patterns(how: Treatment, manifest: Mapping[str, Any]) -> str:
    rows, prompts = manifest.get("private", {}), manifest.get("private_in_prompts", {})
    found = {
        "judgements": _judgements(int(rows.get("judgements_or_prompts", 0))),
        "prompts": ngettext("{n} prompt", "{n} prompts", int(prompts.get("judgements_or_prompts", 0))),
        "kinds": ", ".join(
            f"{kind.label}: {number(int(rows.get(kind.value, 0)))}" for kind in Kind if kind.value in rows
        ),
    }
    if how is Treatment.MASK:
        said = _("Private data that patterns find was masked in {judgements} and {prompts}.", **found)
    else:
        said = _("Left out for private data that patterns find: {judgements} and {prompts}.", **found)
    return " ".join([said, _("Of each kind in judgements: {kinds}.", **found)]) if found["kinds"] else said


def _flags(wanted: ExportFilter, manifest: Mapping[str, Any]) -> str:
    flagged = manifest.get("flagged", {})
    return _(
        "Left out for what people flagged: {judgements} ({flags}).",
        judgements=_judgements(int(flagged.get("judgements", 0))),
        flags=", ".join(f"{Flag(each).label}: {number(int(flagged.get(each.value, 0)))}" for each in wanted.without),
    )


def _judgements(count: int) -> str:
    return ngettext("{n} judgement", "{n} judgements", count)
