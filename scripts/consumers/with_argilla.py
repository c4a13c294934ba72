"""Argilla's own reader of JSON makes a record of every annotation, with its fields and suggestions."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path


def main() -> None:
    """Read the list, and the one in the zip."""
    reader = import_module("argilla.records._io._json").JsonIO
    folder = Path(sys.argv[1])
    rows = json.loads((folder / "rows.json").read_text())["argilla.json"]
    for path in (folder / "argilla.json", folder / "argilla" / "records.json"):
        records = reader._records_from_json(path)  # noqa: SLF001 - what Dataset.records.from_json calls, without a server
        if len(records) != rows:
            raise SystemExit(f"{path.name} has {rows} records, and argilla read {len(records)}")
        for record in records:
            said = record.api_model()
            if not said.fields or not said.suggestions:
                raise SystemExit(f"{path.name}: record {record.id} came without fields or suggestions")
    print(f"argilla {import_module('argilla').__version__} read {rows} records")


if __name__ == "__main__":
    main()
