"""A frozen export: a folder of rows, the prompts that they are of and others, and last a manifest with numbers and hashes.

Snapshots of earlier releases have no prompts: nothing but what was judged is known of them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.formats import checkpoints

ROWS = "preferences.jsonl"
PROMPTS = "prompts.jsonl"
MANIFEST = checkpoints.MANIFEST
CHECKED_BY = ("reference", "tests")
"""What a row says of its prompt that an answer can be checked against."""
ABOUT = ("capability", "language", "verifiers", "required")
"""What it says beside that: what the prompt tests, its language, which verifiers check it and which of them have to pass."""


@dataclass(frozen=True)
class Seal:
    """What a manifest says of the rows beside it, and what they are; `sha256` are hex digests."""

    noted_sha256: str
    noted_rows: int
    sha256: str


def seal(folder: Path) -> Seal:
    """Read the manifest of a snapshot and hash its rows.

    Raises:
        OSError: one of the two files cannot be read.
        ValueError: the manifest says neither the rows' hash nor their number.
    """
    digest = checkpoints.sha256(folder / ROWS)
    body = json.loads((folder / MANIFEST).read_bytes())
    try:
        return Seal(str(body["sha256"]), int(body["rows"]), digest)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{MANIFEST} has no {error}") from error


def prompts_changed(folder: Path) -> bool:
    """Whether the prompts beside a manifest are not those that it was written for; where it names none, they are not asked.

    Raises:
        OSError: one of the two files cannot be read.
    """
    noted = json.loads((folder / MANIFEST).read_bytes()).get("prompts_sha256")
    return noted is not None and checkpoints.sha256(folder / PROMPTS) != noted


def asked(folder: Path) -> Iterator[dict[str, Any]]:
    """The prompts of a snapshot as `docs/formats.md` describes them; none where it is of an earlier release.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is no JSON.
    """
    if not (folder / PROMPTS).exists():
        return
    with (folder / PROMPTS).open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield json.loads(line)
