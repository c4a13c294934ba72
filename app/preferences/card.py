"""The card of a folder of preferences: what stands in it, whose words they are, and how it is read.

It begins as the dataset cards of the Hugging Face hub do, so that ``datasets.load_dataset`` finds the rows of the folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from app.kernel import locales
from app.kernel.settings import get_settings
from app.preferences.exporters import Shape
from app.preferences.forms import ExportFilter, Treatment
from app.preferences.private.kinds import MISSES, Kind, found_by
from app.preferences.private.masking import Counted
from training.formats import snapshots
from training.formats.columns import Column, words

HEAD = """---
configs:
- config_name: default
  data_files: {data}
---

# Preferences of {when}

People compared responses of language models in Corral, and said which is better. {what}

- Rows: {rows}. Selection: {selection}.
- Held out: {percent}% of all prompts, by a hash of the prompt; {held_out} of these rows. `split` says the side.
- People stand in it under pseudonyms. {texts}
"""
AS_WRITTEN = (
    "Prompts and texts are as they were imported, sampled and written: they may hold what is private or unsafe."
)


@locales.in_english()
def card(
    *,
    name: str,
    purpose: str,
    columns: Iterable[Column],
    wanted: ExportFilter,
    counts: Mapping[str, int],
    made: datetime | None = None,
    beside: Mapping[str, str] | None = None,
    private: Counted | None = None,
) -> str:
    """The card of the rows in the file ``name``, in Markdown.

    ``counts`` are `rows` and `held_out_rows`, ``made`` is when (now), and ``beside`` says what each other file of the folder is.
    ``private`` is what patterns found, where that is still known.
    """
    head = HEAD.format(
        data=json.dumps(name),
        when=f"{made or datetime.now(UTC):%Y-%m-%d}",
        what=purpose,
        rows=f"{counts['rows']:,}",
        selection=_inline(wanted.words()),
        percent=get_settings().held_out_percent,
        held_out=f"{counts['held_out_rows']:,}",
        texts=_texts(wanted.private, private),
    )
    table = "\n".join(f"| `{each.name}` | {words(each.type)} | {each.meaning} |" for each in columns)
    files = "".join(f"| `{file}` | {what} |\n" for file, what in {name: "the rows", **(beside or {})}.items())
    files = f"| file | what it is |\n|---|---|\n{files}"
    return f"{head}\n{files}\n## Columns\n\n| column | type | what it is |\n|---|---|---|\n{table}\n"


def _texts(how: Treatment | None, private: Counted | None) -> str:
    """What was done to the texts, by what, and what that misses."""
    if how is None:
        return AS_WRITTEN
    done = (
        f"Private data that patterns find is masked: {Kind.EMAIL.placeholder} or the like stands in its place, and `masked` "
        "names the kinds in a judgement."
        if how is Treatment.MASK
        else "Judgements with private data that patterns find are left out."
    )
    counted = "" if private is None else f" {_counted(private)}, found by {found_by()} with check digits and formats."
    return f"{done}{counted} **What that misses**: {MISSES}"


def _counted(private: Counted) -> str:
    kinds = ", ".join(f"{private.passages[kind]:,} {kind.label}" for kind in Kind if private.passages[kind])
    judgements = f"{private.judgements:,} judgement{'' if private.judgements == 1 else 's'}"
    return f"These were {judgements}, with {kinds}" if kinds else "There was none"


def of_snapshot(
    wanted: ExportFilter,
    rows: int,
    held_out_rows: int,
    made: datetime | None = None,
    private: Counted | None = None,
) -> str:
    """The card of a snapshot's folder."""
    return card(
        name=snapshots.ROWS,
        purpose=Shape.CANONICAL.exporter.purpose,
        columns=Shape.CANONICAL.exporter.columns(),
        wanted=wanted,
        counts={"rows": rows, "held_out_rows": held_out_rows},
        made=made,
        private=private,
        beside={
            snapshots.PROMPTS: "every prompt of the batches that the rows are of, judged or not",
            snapshots.MANIFEST: "numbers, the selection, and the SHA-256 of both files",
        },
    )


def _inline(said: str) -> str:
    """Names of batches and people are data: in one line, and no markup."""
    return "".join(f"\\{each}" if each in "\\`*_[]<>#|&!" else each for each in " ".join(said.split()))
