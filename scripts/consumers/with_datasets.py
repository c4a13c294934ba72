"""``datasets`` loads every view: with all rows, and with no argument of a call that the row does not have."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path


def main() -> None:
    """Load every table of the folder."""
    datasets = import_module("datasets")
    folder = Path(sys.argv[1])
    cache = str(folder / f"cache-{datasets.__version__}")
    for name, rows in json.loads((folder / "rows.json").read_text()).items():
        shape, _, form = name.rpartition(".")
        if form in {"csv", "json"} or (form == "zip" and shape == "argilla") or (form, shape) == ("jsonl", "canonical"):
            continue  # a canonical row holds JSON of any shape: for ``datasets`` it is Parquet
        files = {"path": str(folder / shape)}
        if form != "zip":
            files = {"path": {"jsonl": "json", "parquet": "parquet"}[form], "data_files": str(folder / name)}
        found = datasets.load_dataset(**files, split="train", cache_dir=cache) if rows else []
        if len(found) != rows:
            raise SystemExit(f"{name} has {rows} rows, and datasets {datasets.__version__} read {len(found)}")
        for row in found:
            check_calls(name, row)
    print(f"datasets {datasets.__version__} loaded every view")


def check_calls(name: str, row: dict[str, object]) -> None:
    """Whether the arguments of each call are the text that was exported."""
    messages = row.get("prompt")
    for message in messages if isinstance(messages, list) else []:
        for call in message.get("tool_calls") or []:
            if json.loads(call["function"]["arguments"]) != {"city": "Lyon"}:
                raise SystemExit(f"{name}: a call came back as {call}")


if __name__ == "__main__":
    main()
