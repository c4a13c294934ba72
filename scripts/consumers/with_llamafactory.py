"""LLaMA-Factory's loader finds its dataset_info.json in the unpacked zip, and keeps every row."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace


def main() -> None:
    """Its parser of dataset_info.json and its converters, as its loader calls them."""
    folder = Path(sys.argv[1])
    parser, converter = (import_module(f"llamafactory.data.{name}") for name in ("parser", "converter"))
    datasets = import_module("datasets")
    rows = json.loads((folder / "rows.json").read_text())
    for shape in ("llamafactory", "llamafactory_alpaca"):
        [about] = parser.get_dataset_list(["corral"], str(folder / shape))
        file = folder / shape / about.dataset_name
        data = datasets.load_dataset(
            "parquet", data_files=str(file), split=about.split, cache_dir=str(folder / "cache-lf")
        )
        told = SimpleNamespace(
            streaming=False, preprocessing_num_workers=1, overwrite_cache=True, media_dir=str(folder)
        )
        found = converter.align_dataset(data, about, told, SimpleNamespace(local_process_index=0))
        kept = [row for row in found if row["_prompt"] and len(row["_response"]) == 2]
        if len(kept) != rows[f"{shape}.parquet"]:
            raise SystemExit(f"{shape} has {rows[f'{shape}.parquet']} rows, and LLaMA-Factory kept {len(kept)}")
        print(f"LLaMA-Factory kept all {len(kept)} rows of {shape}")


if __name__ == "__main__":
    main()
