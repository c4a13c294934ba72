"""OpenRLHF's datasets of pairs render every row, for reward models (with margin) and for DPO."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace


def main() -> None:
    """Its RewardDataset, with the flags that docs/formats.md names."""
    folder = Path(sys.argv[1])
    reader = import_module("openrlhf.datasets.reward_dataset").RewardDataset
    datasets, transformers = import_module("datasets"), import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model", trust_remote_code=False)
    flags = {"prompt_key": "prompt", "chosen_key": "chosen", "rejected_key": "rejected", "apply_chat_template": True}
    args = SimpleNamespace(**flags, tokenizer_chat_template=None, input_template=None, data=SimpleNamespace(**flags))
    rows = json.loads((folder / "rows.json").read_text())
    for shape in ("trl", "trl_reward"):
        data = datasets.load_dataset(str(folder / shape), split="train", cache_dir=str(folder / "cache-openrlhf"))
        for is_dpo in (False, True):
            found = reader(data, tokenizer, 4096, SimpleNamespace(args=args), is_dpo=is_dpo, num_processors=1)
            if len(found) != rows[f"{shape}.parquet"]:
                raise SystemExit(f"{shape} has {rows[f'{shape}.parquet']} rows, and OpenRLHF kept {len(found)}")
            found.collate_fn([found[place] for place in range(len(found))])
        if shape == "trl_reward" and not any(float(found[place][4]) for place in range(len(found))):
            raise SystemExit("OpenRLHF read no margin")
    print("OpenRLHF rendered every pair")


if __name__ == "__main__":
    main()
