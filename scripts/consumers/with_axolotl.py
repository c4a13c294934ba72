"""axolotl's strategies render every row: chat_template.default of DPO, and bradley_terry.chat_template."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def main() -> None:
    """Both, with the template of the tokenizer."""
    folder = Path(sys.argv[1])
    datasets, transformers = import_module("datasets"), import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model", trust_remote_code=False)
    config = import_module("axolotl.utils.dict").DictDefault
    of_data = {"chat_template": "tokenizer_default"}
    told = {"chat_template": "tokenizer_default", "datasets": [of_data], "sequence_len": 4096, "reward_model": True}

    def rows(shape: str) -> Any:
        return datasets.load_dataset(str(folder / shape), split="train", cache_dir=str(folder / "cache-axolotl"))

    strategy = import_module("axolotl.prompt_strategies.dpo.chat_template")
    render, _ = strategy.default(config(told))
    for row in rows("axolotl"):
        made = render(row, tokenizer=tokenizer)
        if row["chosen"]["content"] not in made["chosen"] or not made["prompt"]:
            raise SystemExit(f"axolotl rendered {made}")
    made = import_module("axolotl.prompt_strategies.bradley_terry.chat_template").load(tokenizer, config(told), of_data)
    for row in rows("axolotl_reward"):
        found = made.tokenize_prompt(dict(row))
        if not all(found[name] for name in found if "ids" in name):
            raise SystemExit(f"axolotl made {found}")
    print("axolotl rendered every pair")


if __name__ == "__main__":
    main()
