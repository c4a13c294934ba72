"""What stands in the form of a batch before anybody types: as texts, by field."""

from __future__ import annotations

from app.prompts.attributes import to_lines
from app.prompts.forms import BatchSettings
from app.prompts.models import Batch, PairSelection, Upload
from app.prompts.verifiers import to_text


def suggested(upload: Upload) -> dict[str, str]:
    """Of a new one: the defaults, and a name from the file's."""
    fields = BatchSettings.model_fields
    values = {name: str(field.default) for name, field in fields.items() if isinstance(field.default, str | int)}
    name = upload.filename.rpartition(".")[0].replace("_", " ").replace("-", " ").strip()
    return (
        {key: values.get(key, "") for key in fields}
        | {"leave_out_refused": ""}
        | {"name": name[:120], "edit_policy": "optional", "selection": PairSelection.BALD.value}
        | {"show_findings": "after", "may_train": "", "requires_tour": "false", "readers_only": "false"}
        | _as_many_as_came(upload)
    )


def _as_many_as_came(upload: Upload) -> dict[str, str]:
    """As many responses to a prompt as the file brings, as far as a batch shows them."""
    most = upload.report.get("responses", {}).get("most", 0)
    return {"candidates_per_prompt": str(max(2, min(most, 8)))} if most else {}


def of_batch(batch: Batch) -> dict[str, str]:
    """Of one that is there: its settings."""
    numbers = (
        "annotators_per_prompt",
        "overlap_percent",
        "sampled_per_prompt",
        "verify_percent",
        "gold_percent",
        "qualification_items",
        "qualification_percent",
    )
    return (
        {name: str(getattr(batch, name)) for name in numbers}
        | {"name": batch.name}
        | {"attributes": to_lines(batch.attributes), "language": batch.language or ""}
        | {"verifiers": to_text(batch.verifiers), "required": ", ".join(batch.required)}
        | {"show_findings": batch.show_findings.value, "selection": batch.selection.value}
        | {"requires_tour": str(batch.requires_tour).lower()}
        | {f"example_{level}": batch.strength_examples.get(level, "") for level in "1234"}
    )
